"""Systems and greenrooms that tell, at the end of their block, what was left behind."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import trio

from actors import CellStatistics, DeadLetter, Kind, Message, System, open_system
from actors.greenroom import Greenroom, open_greenroom
from actors.session import Agent
from actors.stores import Disk, MemoryDisk

from .probe import Probe
from .puppet import Puppet

__all__ = ["Leaked", "open_checked_greenroom", "open_checked_system"]

DATA_DIR = Path("/data")
BEGAN = 1_000_000.0  # epoch seconds, where the clock of a checked greenroom starts


class Leaked(AssertionError):
    """What the actors of a block have left behind, each on a line; also in `leaks`."""

    def __init__(self, leaks: Sequence[str]) -> None:
        super().__init__("\n  ".join(("left behind:", *leaks)))
        self.leaks = tuple(leaks)


class _Crashes(logging.Handler):
    """What the runtime logs of actors that crash; an actor's own errors do not come here."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[tuple[str, BaseException | None]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "actors":
            error = record.exc_info[1] if record.exc_info else None
            self.seen.append((record.getMessage(), error))


@contextmanager
def _crashes() -> Iterator[_Crashes]:
    crashes, logger = _Crashes(), logging.getLogger("actors")
    logger.addHandler(crashes)
    try:
        yield crashes
    finally:
        logger.removeHandler(crashes)


def _unexpected(
    crashes: _Crashes, expected: type[BaseException] | tuple[type[BaseException], ...]
) -> list[str]:
    return [
        f"a crash: {message}: {error!r}"
        for message, error in crashes.seen
        if not isinstance(error, expected)
    ]


@asynccontextmanager
async def open_checked_system(
    *kinds: Kind,
    drain_seconds: float = 5.0,
    expected_crashes: type[BaseException] | tuple[type[BaseException], ...] = (),
    expected_dead_letters: type[Message[Any]] | tuple[type[Message[Any]], ...] = (),
) -> AsyncIterator[System]:
    """`open_system`, whose block raises `Leaked` at its end if an actor did not end in time, a
    told message was not delivered, or an actor crashed, each unless it is expected.

    A block that raises is not checked: its exception says more.
    """
    letters: list[DeadLetter] = []
    with _crashes() as crashes:
        async with open_system(*kinds, drain_seconds=0, on_dead_letter=letters.append) as system:
            try:
                yield system
            finally:
                for kind in kinds:
                    if isinstance(kind.create, Probe):
                        kind.create.let_go()
                with trio.move_on_after(drain_seconds, shield=True):
                    await system.drain()
                late = system.statistics().cells
    leaks = [
        *(f"an actor that did not end in {drain_seconds} s: {_described(cell)}" for cell in late),
        *(
            f"a dead letter: {type(letter.message).__name__} to {letter.address}: {letter.reason}"
            for letter in letters
            if not isinstance(letter.message, expected_dead_letters)
        ),
        *_unexpected(crashes, expected_crashes),
    ]
    if leaks:
        raise Leaked(leaks)


def _described(cell: CellStatistics) -> str:
    parts = [f"{cell.address} is {cell.lifecycle}"]
    if cell.current is not None:
        parts.append(f"handles {cell.current} since {cell.current_seconds:.1f} s")
    if cell.waiting_on:
        parts.append(f"waits for {', '.join(cell.waiting_on)}")
    if cell.depth:
        parts.append(f"has {cell.depth} messages waiting")
    if cell.tasks:
        parts.append(f"runs {', '.join(cell.tasks)}")
    return ", ".join(parts)


@asynccontextmanager
async def open_checked_greenroom(
    disk: Disk | None = None,
    agent: Agent | None = None,
    *,
    life: int = 0,
    turns_may_run: bool = False,
    expected_crashes: type[BaseException] | tuple[type[BaseException], ...] = (),
    **options: Any,
) -> AsyncIterator[Greenroom]:
    """`open_greenroom` on a disk in memory, answered by a `Puppet`, on Trio's clock. It raises
    `Leaked` at its end if a turn still runs (unless `turns_may_run`), a file that should be
    gone is there, a message was not delivered, or an actor crashed (unless `expected_crashes`).

    Ids are numbers. Who opens the same disk again, say after `MemoryDisk.crash()`, gives another
    `life`, so that they differ.
    """
    disk = MemoryDisk() if disk is None else disk
    ids = (f"{number:032x}" for number in count(life * 1_000_000 + 1))
    leaks: list[str] = []
    with _crashes() as crashes:
        async with open_greenroom(
            DATA_DIR,
            Puppet() if agent is None else agent,
            disk=disk,
            clock=lambda: BEGAN + trio.current_time(),
            new_id=lambda: next(ids),
            **options,
        ) as greenroom:
            yield greenroom
            leaks += [
                f"a turn that runs: {feed.turn_id} of session {feed.session_id}"
                for feed in greenroom.running()
                if not turns_may_run
            ]
        if undelivered := greenroom.statistics().dead_letters:
            leaks.append(f"dead letters: {undelivered}; the log names them")
    leaks += [
        f"a file: {directory / name}"
        for directory in (DATA_DIR, DATA_DIR / "sessions", DATA_DIR / "journal")
        for name in disk.names(directory)
        if ".tmp." in name
    ]
    leaks += _unexpected(crashes, expected_crashes)
    if leaks:
        raise Leaked(leaks)
