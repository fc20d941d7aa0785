"""Requests: what our routes cost beside a bare one on the same stack, and against a peer.

The bare route answers the same bytes; the peer has a thread for each request (`peer.py`).
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import trio
from quart_trio import QuartTrio

from actors.stores import RealDisk
from tests.app.process import running_server

from .bench_list import fill, wait_for_list
from .load import HEADERS, Load, get, importing_and_undoing, keep_asking
from .table import PAIRS, heading, row

SECONDS = 1.0
CLIENTS = (1, 16, 64)
REFERENCE_CYCLES = 6
RECORD_BYTES = 2_500  # of what is imported, about

Measure = Callable[[], Load]


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[tuple[int, str, int]]:
    """Gives its process id, host and port."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # threads say which of their clients went
    )
    assert process.stdout is not None
    try:
        port = b""
        while not port.endswith(b"\n"):
            port += await process.stdout.receive_some() or b"it ended\n"
        yield process.pid, "127.0.0.1", int(port)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def compared(name: str, ours: Measure, others: dict[str, tuple[Measure, str]]) -> None:
    """In turns. A peer with a goal of at most so much is compared by the server's CPU, others by
    their rates.
    """
    rounds = [
        {
            who: await trio.to_thread.run_sync(measure)
            for who, (measure, _) in {"": (ours, ""), **others}.items()
        }
        for _ in range(PAIRS)
    ]
    for who, (_, goal) in others.items():
        pairs = [(loads[""], loads[who]) for loads in rounds]
        by_cpu = goal.startswith("<=")
        figure = (lambda load: load.microseconds) if by_cpu else (lambda load: load.rate)
        unit = "us CPU" if by_cpu else "/s"
        mine, theirs = (median(map(figure, column)) for column in zip(*pairs, strict=True))
        ratio = median(figure(one) / figure(other) for one, other in pairs)
        row(name, f"{mine:,.0f} {unit}", f"{theirs:,.0f} {unit} {who}", f"{ratio:.2f}x", goal)


async def status(directory: Path, http: str = "own") -> None:
    async with running_server(directory / "data", env={"GREENROOM_HTTP": http}) as server:
        path = "/api/chat/stream/status?stream_id=0123456789abcdef0123456789abcdef"
        body = directory / "status.json"
        async with httpx.AsyncClient(base_url=server.url) as client:
            body.write_bytes((await client.get(path)).content)
        async with (
            child("bare", http, str(body)) as bare,
            child("peer", str(directory / "peer")) as peer,
            child("peer", str(directory / "kept"), "HTTP/1.1") as kept,
        ):
            for clients in CLIENTS:
                asked = partial(keep_asking, clients=clients, seconds=SECONDS)
                await compared(
                    f"status, {clients} clients, {http}",
                    partial(asked, server.pid, server.host, server.port, get(path)),
                    {
                        "a bare route": (partial(asked, *bare, get("/same")), "<= 1.3x"),
                        "a thread a request": (partial(asked, *peer, get(path)), "> 1x"),
                        "a thread a client": (partial(asked, *kept, get(path)), ""),
                    },
                )


def quart_alone(seconds: float = SECONDS) -> Load:
    """A route of Quart-Trio, asked without a server: what no server can do better with it."""
    app = QuartTrio(__name__)

    @app.get("/same")
    async def same() -> bytes:
        return b"{}"

    headers = [
        (name.lower().encode(), value.encode())
        for name, value in (line.split(": ", 1) for line in HEADERS.splitlines())
    ]
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/same",
        "raw_path": b"/same",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def once() -> None:
        async def receive() -> Any:
            if not asked:
                asked.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await trio.sleep_forever()

        async def send(message: object) -> None: ...

        asked: list[bool] = []
        await app(scope, receive, send)

    async def keep_on() -> Load:
        done, began, cpu = 0, time.perf_counter(), time.thread_time()
        while (took := time.perf_counter() - began) < seconds:
            await once()
            done += 1
        return Load(done, took, time.thread_time() - cpu)

    return trio.run(keep_on)


async def limit(directory: Path) -> None:
    path = "/api/chat/stream/status?stream_id=0123456789abcdef0123456789abcdef"
    async with child("peer", str(directory / "limit"), "HTTP/1.1") as peer:
        asked = partial(keep_asking, *peer, get(path), clients=16, seconds=SECONDS)
        others = {"a thread a client": (asked, "the limit")}
        await compared("Quart-Trio alone, no server", quart_alone, others)


async def whole_session(directory: Path) -> None:
    data = directory / "hundred"
    fill(data, 1, messages=100)
    path = f"/api/session?session_id={0:012x}&messages=1"
    async with running_server(data) as server, httpx.AsyncClient(base_url=server.url) as client:
        body = directory / "session.json"
        # Not gzipped, as a browser would get it: the bare route has none of that.
        body.write_bytes((await client.get(path, headers={"Accept-Encoding": "identity"})).content)
        async with child("bare", "own", str(body)) as bare:
            asked = partial(keep_asking, clients=16, seconds=SECONDS)
            await compared(
                f"a session of 100 messages, {body.stat().st_size / 1000:.0f} kB",
                partial(asked, server.pid, server.host, server.port, get(path)),
                {"a bare route": (partial(asked, *bare, get("/same")), "<= 2x")},
            )


def disk_alone(directory: Path, size: int, seconds: float = SECONDS) -> Load:
    """What one thread can save of records of this size, with nothing else to do: the limit."""
    disk, data, done = RealDisk(), b"x" * size, 0
    directory.mkdir()
    began, cpu = time.perf_counter(), time.thread_time()
    while (took := time.perf_counter() - began) < seconds:
        temporary = directory / f"{done}.tmp"
        disk.create(temporary, data)
        disk.flush(temporary)
        disk.replace(temporary, directory / f"{done // 2}.json")
        done += 1
    return Load(done, took, time.thread_time() - cpu)


async def cycles(directory: Path, sessions: int) -> None:
    """Import and undo at 16 clients, durable; against the reference's 6 a second."""
    data, theirs = directory / f"{sessions}", directory / f"{sessions} of the peer"
    fill(data, sessions)
    shutil.copytree(data / "sessions", theirs)
    asked = partial(keep_asking, asking=importing_and_undoing(4), clients=16, seconds=3.0)
    async with (
        running_server(data) as server,
        httpx.AsyncClient(base_url=server.url) as client,
        child("peer", str(theirs), "HTTP/1.1") as peer,
    ):
        await wait_for_list(client, sessions)
        ours = partial(asked, server.pid, server.host, server.port)
        measures = (ours, partial(asked, *peer))
        pairs = [
            [await trio.to_thread.run_sync(measure) for measure in measures] for _ in range(PAIRS)
        ]
    rate, peers = (median(load.rate for load in loads) / 2 for loads in zip(*pairs, strict=True))
    cost = median(load.microseconds for load, _ in pairs) * 2
    name = f"import + undo, {sessions:,} sessions"
    row(
        name,
        f"{rate:,.0f}/s",
        f"{REFERENCE_CYCLES}/s, the reference; {cost:,.0f} us CPU",
        f"{rate / REFERENCE_CYCLES:.0f}x",
        ">= 50x",
    )
    ratio = median(load.rate / peer.rate for load, peer in pairs)
    row(name, f"{rate:,.0f}/s", f"{peers:,.0f}/s a thread a client", f"{ratio:.0f}x", "")
    saves = [disk_alone(directory / f"{sessions} alone {n}", RECORD_BYTES) for n in range(PAIRS)]
    limit = median(load.rate for load in saves) / 2
    row(
        name,
        f"{rate:,.0f}/s",
        f"{limit:,.0f}/s the disk alone",
        f"{rate / limit:.2f}x",
        "the limit",
    )


async def main() -> None:
    heading("Requests over keep-alive connections")
    with tempfile.TemporaryDirectory() as directory:
        await status(Path(directory))
        await status(Path(directory), "stock")
        await limit(Path(directory))
        await whole_session(Path(directory))
        for sessions in (1_000, 10_000):
            await cycles(Path(directory), sessions)


if __name__ == "__main__":
    trio.run(main)
