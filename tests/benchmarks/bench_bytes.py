"""How many bytes an answer of 10,000 tokens takes, beside its text: on the disk and on the wire."""

import re
import socket
import tempfile
import time
from pathlib import Path

import httpx
import trio

from tests.app.process import ServerProcess, running_server

from .bench_streams import COMMAND, END, start
from .load import HEADERS
from .table import heading, row

TOKENS = 10_000
RETAINED = 125.0  # seconds after its end a stream is given back
SAID = re.compile(rb"\d+\.\d{4} ")


def read_all(server: ServerProcess, stream_id: str) -> bytes:
    with socket.create_connection((server.host, server.port)) as sock:
        request = f"GET /api/chat/stream?stream_id={stream_id} HTTP/1.1\r\n{HEADERS}\r\n"
        sock.sendall(request.encode())
        wire = b""
        while END not in wire[-300:]:
            more = sock.recv(1 << 18)
            assert more, "the stream ended early"
            wire += more
        return wire


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


async def measure(rate: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with (
            running_server(directory, command=COMMAND) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60) as client,
        ):
            stream = await start(client, f"{TOKENS} {rate} {time.monotonic() + 1:.4f}")
            wire = await trio.to_thread.run_sync(read_all, server, stream)
            shown, _, _ = wire.partition(b"event: done")
            text = sum(map(len, SAID.findall(shown)))
            journal = size(directory / "journal")
            await trio.sleep(RETAINED)
            kept = size(directory / "journal") + size(directory / "sessions")
    how = "as fast as it goes" if not rate else f"{rate:,.0f} tokens/s"
    for what, taken, goal in (
        ("wire", len(wire), "<= 3x"),
        ("journal, for two minutes", journal, "report"),
        ("disk, from then on", kept, "<= 1.5x"),
    ):
        row(f"{what}, {how}", f"{taken:,} bytes", f"{text:,}, text", f"{taken / text:.2f}x", goal)


async def main() -> None:
    heading(f"An answer of {TOKENS:,} tokens")
    for rate in (0, 1000):
        await measure(rate)


if __name__ == "__main__":
    trio.run(main)
