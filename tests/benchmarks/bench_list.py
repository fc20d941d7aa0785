"""Start-up and the list, with many idle sessions and few: what is idle should cost nothing."""

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import httpx
import trio

from actors.index.file import checked, encode_parts
from actors.index.messages import STAMP
from actors.session.dumping import dump
from actors.session.record import Record, summary
from actors.stores import RecordInfo
from app.authority.secrets import hash_of
from app.authority.users import Token, User, Users, change_users
from tests.app.process import running_server

from .table import PAIRS, heading, row

COUNTS = (1_000, 10_000, 100_000)
SHARED = (10_000, 100_000)
USERS = 100
LOST = 10_000
REQUESTS = 20
TOKEN = "of the first user"


def fill(data_dir: Path, count: int, messages: int = 6, users: int = 0) -> None:
    """Sessions of so many messages each, as a server leaves them that was stopped. Of so many
    users, the first of whom shows `TOKEN`.
    """
    sessions = data_dir / "sessions"
    sessions.mkdir(parents=True)
    said = ({"role": "user", "content": "hello " * 20}, {"role": "assistant", "content": "x" * 200})
    rows = []
    for n in range(count):
        record = Record(
            session_id=f"{n:012x}",
            title=f"Session {n}",
            updated_at=float(n),
            messages=said * (messages // 2),
            owner=f"user{n % users}" if users else None,
        )
        path = sessions / f"{n:012x}.json"
        path.write_bytes(dump(record))
        status = path.stat()
        info = RecordInfo(record.session_id, status.st_mtime_ns, status.st_size, status.st_ino)
        rows.append({**summary(record), STAMP: info.stamp})
    (sessions / "_index.json").write_bytes(checked(b"".join(encode_parts(rows))))
    if users:
        token = Token("t", "user0", "", "write", hash_of(TOKEN), 0.0)
        people = tuple(User(f"user{n}", f"user{n}", "", False, 0.0) for n in range(users))
        change_users(data_dir, lambda _: Users(users=people, tokens=(token,)))


async def started(data_dir: Path) -> float:
    """Seconds from the process's start to its ready line."""
    began = time.perf_counter()
    async with running_server(data_dir):
        took = time.perf_counter() - began
    return took


async def wait_for_list(client: httpx.AsyncClient, count: int) -> None:
    """Until every row is there: a rebuild goes on in the background."""
    while True:
        response = await client.get("/api/sessions", params={"limit": 1})
        if response.json()["webui_session_count"] == count:
            return
        await trio.sleep(0.05)


async def first_list(data_dir: Path, count: int) -> tuple[float, float]:
    """Milliseconds to the first answer of a new server, and until the list is whole."""
    async with (
        running_server(data_dir) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        began = time.perf_counter()
        (await client.get("/api/sessions", params={"limit": 50})).raise_for_status()
        first = time.perf_counter() - began
        await wait_for_list(client, count)
        whole = time.perf_counter() - began
        await server.stop()  # the index is written
    return first * 1000, whole * 1000


async def page(data_dir: Path, count: int) -> float:
    """Milliseconds for a page of 50, the median."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        running_server(data_dir, "--limit", "requests=0") as server,
        httpx.AsyncClient(base_url=server.url, timeout=60, headers=headers) as client,
    ):
        await wait_for_list(client, count)
        times = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            (await client.get("/api/sessions", params={"limit": 50})).raise_for_status()
            times.append(time.perf_counter() - began)
    return median(times) * 1000


async def compared(
    name: str, measure: Callable[[Path], Awaitable[float]], sizes: dict[int, Path], unit: str
) -> None:
    """All sizes in turns; each against the least."""
    rounds = [[await measure(path) for path in sizes.values()] for _ in range(PAIRS)]
    columns = [*zip(*rounds, strict=True)]
    for count, times in zip(sizes, columns, strict=True):
        ratio = median(mine / few for mine, few in zip(times, columns[0], strict=True))
        row(f"{name}, {count:,}", f"{median(times):,.1f} {unit}", "", f"{ratio:.2f}x", "<= 1.5x")


async def main() -> None:
    heading("The list, with many idle sessions")
    with tempfile.TemporaryDirectory() as directory:
        sizes = {count: Path(directory, f"{count}") for count in COUNTS}
        for count, path in sizes.items():
            fill(path, count)

        async def start(data_dir: Path) -> float:
            return await started(data_dir) * 1000

        async def a_page(data_dir: Path) -> float:
            return await page(data_dir, int(data_dir.name))

        await compared("start-up to ready", start, sizes, "ms")
        await compared("a page of 50", a_page, sizes, "ms")
        shared = {count: Path(directory, f"shared{count}") for count in SHARED}
        for count, path in shared.items():
            fill(path, count, users=USERS)

        async def a_page_of_ones_own(data_dir: Path) -> float:
            return await page(data_dir, int(data_dir.name[6:]) // USERS)

        await compared(f"the same for one of {USERS} users", a_page_of_ones_own, shared, "ms")
        for count, path in sizes.items():
            first, _ = await first_list(path, count)
            row(f"the first list, {count:,}", f"{first:,.0f} ms", "", "", "")
        (sizes[LOST] / "sessions" / "_index.json").unlink()
        first, whole = await first_list(sizes[LOST], LOST)
        row(f"index lost, {LOST:,}", f"{first:,.0f} ms", f"whole after {whole:,.0f} ms", "", "")


if __name__ == "__main__":
    trio.run(main)
