"""A real `python -m app` process for a test: started, awaited, and gone afterwards.

async with running_server(tmp_path) as server:
    ... server.url ...
    assert await server.stop() == 0
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

__all__ = ["COMMAND", "ServerProcess", "running_server", "started"]

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "app")
READY = re.compile(r"Greenroom is ready at (http://(\S+):(\d+))\n")
# Guards against a hang, not expectations: a busy machine may take its time.
START_SECONDS = 60
END_SECONDS = 30
# A child of a server that was killed holds the pipes open for as long as it lives.
PIPES_SECONDS = 5


class ServerProcess:
    """A process and all that it has written. The address is known once it is ready."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.url = ""
        self.host = ""
        self.port = 0
        self._output = {"stdout": b"", "stderr": b""}
        self._more = trio.Event()
        self._complete = trio.Event()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        return self._output["stdout"].decode()

    @property
    def stderr(self) -> str:
        return self._output["stderr"].decode()

    async def wait_ready(self) -> None:
        """Wait for the ready line, which must be the first on stdout."""
        await self.wait_written("stdout", "\n")
        ready = READY.fullmatch(self.stdout)
        assert ready, f"not ready: {self.stdout}\n{self.stderr}"
        self.url, self.host, self.port = ready[1], ready[2].strip("[]"), int(ready[3])

    async def wait_written(self, where: str, text: str) -> None:
        """Wait until `text` is in "stdout" or "stderr"."""
        with trio.fail_after(START_SECONDS):
            while text.encode() not in self._output[where]:
                assert not self._complete.is_set(), f"it ended: {self.stdout}\n{self.stderr}"
                await self._more.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end. Gives the exit code."""
        self.process.send_signal(number)
        return await self.wait()

    async def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        self.process.kill()
        await self.wait()

    async def wait(self) -> int:
        """Wait for the end, and for what was written until then. Gives the exit code."""
        with trio.fail_after(END_SECONDS):
            code = await self.process.wait()
        with trio.move_on_after(PIPES_SECONDS):
            await self._complete.wait()
        return code

    async def collect(self) -> None:
        """Read both pipes to their ends."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._collect, "stdout", self.process.stdout)
                nursery.start_soon(self._collect, "stderr", self.process.stderr)
        finally:
            self._complete.set()
            self._more.set()

    async def _collect(self, where: str, pipe: trio.abc.ReceiveStream) -> None:
        async with pipe:
            async for part in pipe:
                self._output[where] += part
                self._more.set()
                self._more = trio.Event()


def environment(data_dir: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what would make a test depend on whose machine it is."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GREENROOM_") and name != "OPENAI_API_KEY"
    }
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {
        **kept,
        "PYTHONPATH": path,
        "GREENROOM_DATA_DIR": str(data_dir),
        "GREENROOM_PORT": "0",
        "GREENROOM_AGENT": "demo",
        "GREENROOM_TITLES": "local",
        **(extra or {}),
    }


@asynccontextmanager
async def started(
    data_dir: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
) -> AsyncIterator[ServerProcess]:
    """A process that may not be ready, or may never be. It is killed at the end of the block."""
    process = await trio.lowlevel.open_process(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(data_dir, env),
    )
    server = ServerProcess(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.collect)
        try:
            yield server
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await server.wait()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_server(
    data_dir: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
) -> AsyncIterator[ServerProcess]:
    """A ready server: on a free port, with the demo agent, unless the arguments say otherwise."""
    async with started(data_dir, *arguments, env=env, command=command) as server:
        await server.wait_ready()
        yield server
