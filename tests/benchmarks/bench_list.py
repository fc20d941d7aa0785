"""Start-up and the list, with many idle sessions against few: what is idle should cost nothing."""

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import httpx
import trio

from actors.session.dumping import dump
from actors.session.record import Record
from tests.app.process import running_server

from .table import PAIRS, heading, row

FEW, MANY = 100, 10_000
REQUESTS = 20


def fill(data_dir: Path, count: int, messages: int = 6) -> None:
    """Sessions of so many messages each, as a server leaves them that was stopped."""
    sessions = data_dir / "sessions"
    sessions.mkdir(parents=True)
    said = ({"role": "user", "content": "hello " * 20}, {"role": "assistant", "content": "x" * 200})
    for n in range(count):
        record = Record(
            session_id=f"{n:012x}",
            title=f"Session {n}",
            updated_at=float(n),
            messages=said * (messages // 2),
        )
        (sessions / f"{n:012x}.json").write_bytes(dump(record))


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
    async with (
        running_server(data_dir) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as client,
    ):
        await wait_for_list(client, count)
        times = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            (await client.get("/api/sessions", params={"limit": 50})).raise_for_status()
            times.append(time.perf_counter() - began)
    return median(times) * 1000


async def compared(
    name: str, measure: Callable[[Path], Awaitable[float]], many: Path, few: Path, unit: str
) -> None:
    pairs = [(await measure(many), await measure(few)) for _ in range(PAIRS)]
    ours, peer = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(mine / theirs for mine, theirs in pairs)
    row(name, f"{ours:,.1f} {unit}", f"{peer:,.1f} {unit} with {FEW}", f"{ratio:.2f}x", "flat")


async def main() -> None:
    heading(f"The list, with {MANY:,} idle sessions")
    with tempfile.TemporaryDirectory() as directory:
        many, few = Path(directory, "many"), Path(directory, "few")
        fill(many, MANY)
        fill(few, FEW)
        first, whole = await first_list(many, MANY)
        row("no index: first answer", f"{first:,.0f} ms", f"whole after {whole:,.0f} ms", "", "")
        await first_list(few, FEW)
        first, _ = await first_list(many, MANY)
        row("index as it was left: first answer", f"{first:,.0f} ms", "", "", "")

        async def start(data_dir: Path) -> float:
            return await started(data_dir) * 1000

        await compared("start-up to ready", start, many, few, "ms")

        async def a_page(data_dir: Path) -> float:
            return await page(data_dir, MANY if data_dir == many else FEW)

        await compared("a page of 50", a_page, many, few, "ms")


if __name__ == "__main__":
    trio.run(main)
