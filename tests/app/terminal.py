"""A `greenroom` command on a terminal of its own: typed to, and read as a person would."""

import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.app.process import COMMAND, END_SECONDS, START_SECONDS, environment

__all__ = ["CTRL_C", "CTRL_D", "Typed", "on_terminal"]

CTRL_C, CTRL_D = "\x03", "\x04"
SIZE = (40, 60)  # lines, columns


class Typed:
    """`shown` is all that has reached the terminal, echo included."""

    def __init__(self, process: trio.Process, terminal: trio.lowlevel.FdStream) -> None:
        self.process, self._terminal = process, terminal
        self.shown = ""
        self._more, self._end = trio.Event(), trio.Event()

    async def type(self, text: str) -> None:
        await self._terminal.send_all(text.encode())

    async def wait_shown(self, text: str, times: int = 1) -> None:
        with trio.fail_after(START_SECONDS):
            while self.shown.count(text) < times:
                assert self.process.returncode is None, f"it ended: {self.shown}"
                await self._more.wait()

    async def wait(self) -> int:
        """For the end, and for what was shown until then."""
        with trio.fail_after(END_SECONDS):
            code = await self.process.wait()
            await self._end.wait()
        return code

    async def read(self) -> None:
        try:
            while part := await self._terminal.receive_some():
                self.shown += part.decode(errors="replace")
                self._more.set()
                self._more = trio.Event()
        except trio.BrokenResourceError:
            pass  # what a terminal says when nobody is on it any more
        self._end.set()
        self._more.set()


def _take_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as a shell does; who started us may ignore it
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@asynccontextmanager
async def on_terminal(data_dir: Path, *arguments: str, **env: str) -> AsyncIterator[Typed]:
    """Killed at the end of the block."""
    settings = environment(data_dir, {"TERM": "xterm", **env})
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        settings.pop(name, None)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    try:
        process = await trio.lowlevel.open_process(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env=settings,
        )
    finally:
        os.close(slave)
    async with trio.lowlevel.FdStream(master) as terminal, trio.open_nursery() as nursery:
        typed = Typed(process, terminal)
        nursery.start_soon(typed.read)
        try:
            yield typed
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
