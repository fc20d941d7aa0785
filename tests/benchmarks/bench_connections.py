"""Ten thousand connections that do nothing, and some that do harm: what the others notice."""

import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles

import httpx
import trio

from tests.app.process import ServerProcess, running_server

from .table import heading, row

IDLE = 10_000
SLOW = 500
GREEDY = 100
REQUESTS = 200
AT_ONCE = 100
ONE_REQUEST = b"GET /api/auth/status HTTP/1.1\r\nHost: localhost\r\n\r\n"


def memory_of(server: ServerProcess) -> float:
    """MB."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def latencies(url: str) -> tuple[float, float]:
    """Of a request, in milliseconds: p50 and p99."""
    times = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for _ in range(REQUESTS):
            began = time.perf_counter()
            (await client.get("/api/sessions", params={"limit": 50})).raise_for_status()
            times.append((time.perf_counter() - began) * 1000)
    return median(times), quantiles(times, n=100)[98]


class Crowd:
    """Connections that stay."""

    def __init__(self, server: ServerProcess) -> None:
        self.streams: list[trio.SocketStream] = []
        self._server = server

    async def come(self, count: int, begin: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        room = trio.CapacityLimiter(AT_ONCE)

        async def one() -> None:
            async with room:
                stream = await trio.open_tcp_stream(self._server.host, self._server.port)
                self.streams.append(stream)
                await begin(stream)

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)

    async def leave(self) -> None:
        for stream in self.streams:
            await trio.aclose_forcefully(stream)


async def idle(stream: trio.SocketStream) -> None:
    """It has had an answer, and is kept."""
    await stream.send_all(ONE_REQUEST)
    await stream.receive_some()


async def slow_head(stream: trio.SocketStream) -> None:
    await stream.send_all(ONE_REQUEST[:-2])


async def slow_body(stream: trio.SocketStream) -> None:
    head = b"POST /api/session/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    await stream.send_all(head)


def greedy(path: str) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def begin(stream: trio.SocketStream) -> None:
        """It asks for more than fits into the buffers, and reads none of it."""
        request = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(request * 20)

    return begin


async def main() -> None:
    heading("Connections that do nothing, or harm: a page of the list for somebody else")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as directory:
        async with running_server(Path(directory)) as server:
            crowd = Crowd(server)
            count = min(IDLE, most - 2000)
            await tell("nobody else", server)
            began = time.perf_counter()
            await crowd.come(count, idle)
            took = time.perf_counter() - began
            await tell(f"{count:,} idle connections", server, f"made in {took:.1f} s")
            await crowd.come(SLOW, slow_head)
            await crowd.come(SLOW, slow_body)
            await tell(f"and {SLOW} slow heads, {SLOW} bodies", server)
            await crowd.come(GREEDY, greedy("/static/vendor/purify.js"))
            await tell(f"and {GREEDY} that never read", server)
            await crowd.leave()
            await tell("they have left", server)


async def tell(name: str, server: ServerProcess, more: str = "") -> None:
    middle, worst = await latencies(server.url)
    rest = f"p99 {worst:.1f} ms, {memory_of(server):.0f} MB {more}"
    row(name, f"p50 {middle:.1f} ms", rest, "", "")


if __name__ == "__main__":
    trio.run(main)
