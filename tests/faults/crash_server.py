"""Server processes that are there at once: forked from one that has imported all they need.

    python -m tests.faults.crash_server

is that one. For each line it reads it forks a `python -m app`, says its process id, waits until it
has ended, and says its exit code. With a seed as its argument, to kill one is to cut its power.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random

import trio

from actors.session import dumping
from actors.stores import directory, journal
from actors.testing import PowerCutDisk
from tests.app.process import environment

__all__ = ["Server", "Servers", "open_servers"]

BEGAN = re.compile(r"^began (\d+)$", re.MULTILINE)
READY = re.compile(r"^Greenroom is ready at (\S+)$", re.MULTILINE)
ENDED = re.compile(r"^ended (-?\d+)$", re.MULTILINE)
GUARD = 60.0


class Server:
    """One life. `url` is known once it is ready."""

    def __init__(self, servers: "Servers", pid: int) -> None:
        self.pid = pid
        self.url = ""
        self._servers = servers
        self._code: int | None = None

    @property
    def stderr(self) -> str:
        return self._servers.errors.decode()

    async def wait_ready(self) -> None:
        self.url = await self._servers.said(READY)

    async def kill(self) -> None:
        await self.stop(signal.SIGKILL)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end. Gives the exit code."""
        if self._code is None:
            os.kill(self.pid, number)
            self._code = int(await self._servers.said(ENDED))
        return self._code


class Servers:
    """One after the other. `output` and `errors` are what the present one has written."""

    def __init__(self, process: trio.Process) -> None:
        self.output = b""
        self.errors = b""
        self._process = process
        self._more = trio.Event()

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """It may not be ready yet. It is killed at the end of the block, if it lives."""
        assert self._process.stdin is not None
        self.output = self.errors = b""
        await self._process.stdin.send_all(b"\n")
        server = Server(self, int(await self.said(BEGAN)))
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server.kill()

    async def said(self, pattern: re.Pattern[str]) -> str:
        """Wait for a line."""
        with trio.fail_after(GUARD):
            while (found := pattern.search(self.output.decode())) is None:
                if pattern is not ENDED and ENDED.search(self.output.decode()):
                    raise AssertionError(f"it ended: {self.output!r} {self.errors.decode()}")
                await self._more.wait()
        return found[1]

    async def collect(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect, "output", self._process.stdout)
            nursery.start_soon(self._collect, "errors", self._process.stderr)

    async def _collect(self, name: str, pipe: trio.abc.ReceiveStream) -> None:
        async for part in pipe:
            setattr(self, name, getattr(self, name) + part)
            self._more.set()
            self._more = trio.Event()


@asynccontextmanager
async def open_servers(
    data_dir: Path, env: Mapping[str, str], *power: str
) -> AsyncIterator[Servers]:
    """All on one directory, and with the same settings. `power`: a seed, for power cuts."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.faults.crash_server", *power],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(data_dir, env),
    )
    servers = Servers(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(servers.collect)
        try:
            yield servers
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


def serve(number: int, power: Sequence[str]) -> int:
    """One life. Gives its exit code."""
    import app.cli

    if number % 2:  # every other life amends records however short they are
        dumping.AMENDED_FROM = 0
    if not power:
        return app.cli.main([])
    disk = PowerCutDisk(Path(os.environ["GREENROOM_DATA_DIR"]), Random(f"{power} {number}"))
    directory.RealDisk = journal.RealDisk = lambda: disk  # type: ignore[assignment,misc]
    code = app.cli.main([])
    disk.write_back()
    return code


def main(power: Sequence[str]) -> None:
    # What the command line imports late.
    import app.cli
    import app.house
    import app.run  # noqa: F401

    for number in count():
        if not os.read(0, 1):
            return
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os._exit(serve(number, power))
        print(f"began {pid}", flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
