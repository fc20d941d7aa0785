"""What a server costs that nobody is connected to."""

import tempfile
from pathlib import Path

import trio

from tests.app.process import running_server

from .bench_list import fill
from .load import cpu_seconds
from .table import heading, row

SECONDS = 20.0


async def main() -> None:
    heading("A server that nobody asks anything")
    with tempfile.TemporaryDirectory() as directory:
        fill(Path(directory), 1000)
        async with running_server(Path(directory)) as server:
            await trio.sleep(1)  # it has just begun
            cpu = cpu_seconds(server.pid)
            await trio.sleep(SECONDS)
            cpu = cpu_seconds(server.pid) - cpu
    row(f"CPU in {SECONDS:.0f} s", f"{cpu * 1000:.0f} ms", "", "", "0")


if __name__ == "__main__":
    trio.run(main)
