"""Group commit: whatever waits for the disk is done as one batch."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import perf_counter
from typing import Generic, TypeVar

import trio

from .disk import Disk
from .durations import Durations, DurationsSummary
from .errors import store_error

__all__ = ["Done", "Writer", "WriterStatistics", "background", "open_writer", "wait_durable"]

J = TypeVar("J")

Done = Callable[[BaseException | None], None]
"""Called in the Trio thread, once: with None when the job is durable, or with what went wrong."""

Commit = Callable[[Sequence[J]], Sequence[BaseException | None]]
"""Does a batch of jobs, and says of each how it went."""


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """`busy_seconds` is how long the batch that is with the disk has been there; 0 if none is.
    `failures` counts the batches of which the disk refused some.
    """

    commits: DurationsSummary
    busy_seconds: float
    failures: int


class Hold:
    """A pause between two batches: for a writer in a thread, or in a task."""

    def __init__(self) -> None:
        self.reached = trio.Event()
        self.over = Event()
        self.over_in_trio = trio.Event()

    def end(self) -> None:
        self.over.set()
        self.over_in_trio.set()


class Writer(Generic[J]):
    """Hands jobs to whoever commits them. Jobs are done in the order in which they came."""

    def __init__(
        self,
        queue: Callable[[tuple[J, Done] | Hold], None],
        commit: Commit[J],
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._commit = commit
        self._clock = clock
        self._durations = Durations()
        self._began: float | None = None
        self._failures = 0

    def statistics(self) -> WriterStatistics:
        began = self._began
        busy = 0.0 if began is None else self._clock() - began
        return WriterStatistics(self._durations.summary(), busy, self._failures)

    def submit(self, job: J, done: Done) -> None:
        """Never waits. The job is done whatever becomes of who submitted it."""
        self._queue((job, done))

    async def do(self, job: J) -> None:
        """Wait until the job is durable; see `wait_durable`."""
        await wait_durable(partial(self.submit, job))

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nothing is written inside the block. What was submitted before it is done, and what is
        submitted meanwhile waits.
        """
        hold = Hold()
        self._queue(hold)
        try:
            await hold.reached.wait()
            yield
        finally:
            hold.end()

    # -- for who does the work: in its thread, then in Trio's ------------------------------------

    def begin(self) -> None:
        """A batch goes to the disk."""
        self._began = self._clock()

    def run(self, batch: Sequence[tuple[J, Done]]) -> Sequence[BaseException | None]:
        try:
            return self._commit([job for job, _ in batch])
        except Exception as error:  # noqa: BLE001 - the door: it goes to all who wait for the batch
            return [error] * len(batch)

    def took(self) -> float:
        """How long the batch took."""
        began, self._began = self._began, None
        assert began is not None
        return self._clock() - began

    def deliver(
        self,
        batch: Sequence[tuple[J, Done]],
        outcomes: Sequence[BaseException | None],
        seconds: float,
    ) -> None:
        self._durations.add(seconds)
        self._failures += any(isinstance(outcome, OSError) for outcome in outcomes)
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            done(outcome)


async def wait_durable(submit: Callable[[Done], None]) -> None:
    """Submit, and wait until it is durable; raises `StoreError`. Cancelled means not begun: once
    it is, the wait is a disk write's length, and the answer is worth having.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    finished = trio.Event()
    failures: list[BaseException] = []

    def done(error: BaseException | None) -> None:
        failures.extend(() if error is None else (error,))
        finished.set()

    submit(done)
    with trio.CancelScope(shield=True):
        await finished.wait()
    if failures:
        raise store_error(failures[0])


@asynccontextmanager
async def open_writer(
    commit: Commit[J], disk: Disk, name: str = "writer"
) -> AsyncIterator[Writer[J]]:
    """In a thread of its own if the disk blocks, else in a task. What was submitted is done before
    the block is left.
    """
    if disk.blocking:
        async with _threaded(commit, name) as writer:
            yield writer
    else:
        async with _inline(commit, disk) as writer:
            yield writer


@asynccontextmanager
async def background(work: Callable[[], Awaitable[None]]) -> AsyncIterator[trio.CancelScope]:
    """Run `work` beside the block, and wait for it. What the block raises comes out as it is, in
    no group: nobody outside can know that there is a nursery.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        try:
            yield nursery.cancel_scope
        except Exception as error:  # noqa: BLE001 - raised again below
            failure = error
    if failure is not None:
        raise failure


@asynccontextmanager
async def _threaded(commit: Commit[J], name: str) -> AsyncIterator[Writer[J]]:
    # A dedicated thread: a hop costs a tenth of one to Trio's thread pool.
    queue: SimpleQueue[tuple[J, Done] | Hold] = SimpleQueue()
    end = Hold()
    token = trio.lowlevel.current_trio_token()
    finished = trio.Event()
    writer = Writer(queue.put, commit, perf_counter)

    def work() -> None:
        item = queue.get()
        while item is not end:
            if isinstance(item, Hold):
                token.run_sync_soon(item.reached.set)
                item.over.wait()
                item = queue.get()
                continue
            batch, following = _waiting(queue, item)
            writer.begin()
            outcomes = writer.run(batch)
            token.run_sync_soon(writer.deliver, batch, outcomes, writer.took())
            item = following or queue.get()
        token.run_sync_soon(finished.set)

    Thread(target=work, name=f"greenroom {name}", daemon=True).start()
    try:
        yield writer
    finally:
        queue.put(end)
        with trio.CancelScope(shield=True):
            await finished.wait()


def _waiting(
    queue: SimpleQueue[tuple[J, Done] | Hold], first: tuple[J, Done]
) -> tuple[list[tuple[J, Done]], Hold | None]:
    """All jobs that wait now, and what ends the row of them, if anything does."""
    batch = [first]
    while True:
        try:
            item = queue.get_nowait()
        except Empty:
            return batch, None
        if isinstance(item, Hold):
            return batch, item
        batch.append(item)


@asynccontextmanager
async def _inline(commit: Commit[J], disk: Disk) -> AsyncIterator[Writer[J]]:
    waiting: list[tuple[J, Done] | Hold] = []
    wake = trio.lowlevel.ParkingLot()
    closing = False

    def queue(item: tuple[J, Done] | Hold) -> None:
        waiting.append(item)
        wake.unpark()

    writer = Writer(queue, commit, trio.current_time)

    async def work() -> None:
        with trio.CancelScope(shield=True):
            while waiting or not closing:
                first = waiting[0] if waiting else None
                if isinstance(first, Hold):
                    del waiting[0]
                    first.reached.set()
                    await first.over_in_trio.wait()
                elif first is not None:
                    writer.begin()
                    await trio.sleep(disk.latency)
                    batch = _up_to_a_hold(waiting)
                    del waiting[: len(batch)]
                    outcomes = writer.run(batch)
                    writer.deliver(batch, outcomes, writer.took())
                else:
                    await wake.park()

    async with background(work):
        try:
            yield writer
        finally:
            closing = True
            wake.unpark()


def _up_to_a_hold(waiting: Sequence[tuple[J, Done] | Hold]) -> list[tuple[J, Done]]:
    batch = []
    for item in waiting:
        if isinstance(item, Hold):
            break
        batch.append(item)
    return batch
