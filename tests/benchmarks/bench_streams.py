"""Live answers: durable before they are shown, over SSE, from one process.

The server's own way to speak HTTP/1.1 is compared with stock Hypercorn on the same work, by the
CPU of the server; readers are one thread of raw sockets (`Readers`).
"""

import os
import re
import selectors
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import httpx
import trio

from tests.app.process import ServerProcess, running_server

from .load import HEADERS, cpu_seconds, resident
from .table import PAIRS, heading, row

COMMAND = (sys.executable, "-m", "tests.benchmarks.metronome")
STAMP = re.compile(rb"(\d+\.\d{4}) ")
END = b"event: stream_end"
PATIENCE = 60.0
STARTERS = 8
SECONDS_TO_START = 0.02  # a turn or a reader


@dataclass
class Run:
    """What readers were shown. `lags` are seconds, from said to read."""

    expected: int
    tokens: int
    cpu: float
    seconds: float
    lags: list[float]
    rss: int  # bytes, when all had begun

    @property
    def microseconds(self) -> float:
        """Of the server's CPU, for a token that a reader has seen."""
        return self.cpu / max(self.tokens, 1) * 1e6

    @property
    def p99(self) -> float:
        return quantiles(self.lags, n=100)[98] * 1000 if len(self.lags) > 1 else 0.0

    @property
    def p50(self) -> float:
        return median(self.lags) * 1000 if self.lags else 0.0

    def __str__(self) -> str:
        lost = (
            "none lost" if self.tokens == self.expected else f"{self.expected - self.tokens} LOST"
        )
        return (
            f"{self.tokens / self.seconds:,.0f}/s, {lost},"
            f" lag p50 {self.p50:,.0f} ms p99 {self.p99:,.0f} ms,"
            f" CPU {self.cpu / self.seconds:.2f}, {self.microseconds:,.0f} us a token"
        )


class Reader:
    def __init__(self, server: ServerProcess, stream_id: str) -> None:
        self.socket = socket.create_connection((server.host, server.port))
        self.tokens = 0
        self.lags: list[float] = []
        self.done = False
        self._rest = b""
        request = f"GET /api/chat/stream?stream_id={stream_id} HTTP/1.1\r\n{HEADERS}\r\n"
        self.socket.sendall(request.encode())

    def read(self) -> None:
        data = self.socket.recv(1 << 18)
        now = time.monotonic()
        text = self._rest + data
        last = 0
        if not self.done:  # its end carries the whole answer once more
            end = text.find(b"event: done")
            for found in STAMP.finditer(text, 0, len(text) if end < 0 else end):
                self.tokens += 1
                self.lags.append(now - float(found[1]))
                last = found.end()
            self.done = end >= 0
        self._rest = text[max(last, len(text) - 32) :]
        if not data or END in text:
            self.done = True
            self.socket.close()


async def start(client: httpx.AsyncClient, prompt: str) -> str:
    session = (await client.post("/api/session/new", json={})).json()["session"]
    body = {"session_id": session["session_id"], "message": prompt}
    return (await client.post("/api/chat/start", json=body)).raise_for_status().json()["stream_id"]


async def started(client: httpx.AsyncClient, prompt: str, streams: int) -> list[str]:
    ids: list[str] = []

    async def some() -> None:
        while len(ids) < streams:
            ids.append("")
            ids[ids.index("")] = await start(client, prompt)

    async with trio.open_nursery() as nursery:
        for _ in range(STARTERS):
            nursery.start_soon(some)
    return ids


async def run(http: str, streams: int, readers: int, rate: float, count: int) -> Run:
    """So many turns at once, each with so many readers."""
    with tempfile.TemporaryDirectory() as directory:
        async with (
            running_server(
                Path(directory), command=COMMAND, env={"GREENROOM_HTTP": http}
            ) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60) as client,
        ):
            begin = time.monotonic() + 1 + (streams + streams * readers) * SECONDS_TO_START
            ids = await started(client, f"{count} {rate} {begin:.4f}", streams)
            with selectors.DefaultSelector() as selector:
                crowd = [Reader(server, stream_id) for stream_id in ids for _ in range(readers)]
                for reader in crowd:
                    selector.register(reader.socket, selectors.EVENT_READ, reader)
                read = partial(_read, selector)
                await trio.to_thread.run_sync(read, begin - 0.5)
                assert not any(reader.tokens for reader in crowd), "it took too long to start"
                await trio.to_thread.run_sync(read, begin)
                cpu, rss = cpu_seconds(server.pid), resident(server.pid)
                await trio.to_thread.run_sync(read, begin + PATIENCE)
            took = time.monotonic() - begin
            cpu = cpu_seconds(server.pid) - cpu
    return Run(
        expected=streams * readers * count,
        tokens=sum(reader.tokens for reader in crowd),
        cpu=cpu,
        seconds=took,
        lags=[lag for reader in crowd for lag in reader.lags],
        rss=rss,
    )


def _read(selector: selectors.BaseSelector, until: float) -> None:
    """Until then, or until all have ended."""
    while selector.get_map():
        ready = selector.select(max(until - time.monotonic(), 0))
        if not ready:
            return
        for key, _ in ready:
            key.data.read()
            if key.data.socket.fileno() < 0:
                selector.unregister(key.fileobj)


def flush_milliseconds() -> float:
    """The median of appending a token's entry to a file, durably."""
    times = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 100)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return median(times) * 1000


async def live(streams: int, goal: str) -> Run:
    result = await run("own", streams, 1, 10, 60)
    row(f"{streams:,} live, 10 tokens/s, durable", f"{result}", "", f"{result.p99:,.0f} ms", goal)
    return result


async def against_stock(name: str, readers: int, rate: float, count: int, goal: str) -> None:
    """The CPU of a token that a reader has seen, on stock Hypercorn to ours."""
    pairs = [
        [await run(http, 1, readers, rate, count) for http in ("own", "stock")]
        for _ in range(PAIRS)
    ]
    ratio = median(stock.microseconds / own.microseconds for own, stock in pairs)
    own, stock = (median(r.microseconds for r in runs) for runs in zip(*pairs, strict=True))
    load = median(run.cpu / run.seconds for run, _ in pairs)
    row(name, f"{own:.1f} us CPU", f"{stock:.1f} us, stock; CPU {load:.2f}", f"{ratio:.1f}x", goal)


async def main() -> None:
    heading("Live answers over SSE, durable before they are shown")
    flush = flush_milliseconds()
    first = median([(await run("own", 1, 1, 10, 30)).p50 for _ in range(PAIRS)])
    row("a token to its reader", f"{first:.1f} ms", f"{flush:.1f} ms, a flush", "", "flush + 5 ms")
    fast = [await run("own", 1, 1, 0, 50_000) for _ in range(PAIRS)]
    rate = median(each.tokens / each.seconds for each in fast)
    row("one stream, as fast as it goes", f"{rate:,.0f}/s", "to one reader", "", ">= 20,000/s")
    await against_stock("100 readers of one, 100/s", 100, 100, 600, ">= 3x")
    await against_stock("1,000 readers of one, 10/s", 1000, 10, 40, ">= 3x, CPU < 0.6")
    pairs = [
        (await run("own", 1, 50, 10, 120), await run("own", 50, 1, 10, 120)) for _ in range(PAIRS)
    ]
    share = median(one.microseconds / many.microseconds for one, many in pairs)
    row("50 readers of one, 10/s", "", "50 streams", f"{share:.2f}x", "<= 0.2x")
    few, many = await live(200, "p99 < 250 ms"), await live(1000, "p99 < 1 s")
    bytes_each = (many.rss - few.rss) / 800
    row("memory of a live stream, reader", f"{bytes_each / 1024:.0f} KiB", "", "", "<= 64 KiB")


if __name__ == "__main__":
    trio.run(main)
