"""Group commit: whatever waits for the disk is done as one batch."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import trio

from .disk import Disk
from .errors import store_error

__all__ = ["Done", "Writer", "background", "open_writer", "wait_durable"]

J = TypeVar("J")

Done = Callable[[BaseException | None], None]
"""Called in the Trio thread, once: with None when the job is durable, or with what went wrong."""

Commit = Callable[[Sequence[J]], Sequence[BaseException | None]]
"""Does a batch of jobs, and says of each how it went."""


class Writer(Generic[J]):
    """Hands jobs to whoever commits them. Jobs are done in the order in which they came."""

    def __init__(self, queue: Callable[[tuple[J, Done]], None]) -> None:
        self._queue = queue

    def submit(self, job: J, done: Done) -> None:
        """Never waits. The job is done whatever becomes of who submitted it."""
        self._queue((job, done))

    async def do(self, job: J) -> None:
        """Wait until the job is durable; see `wait_durable`."""
        await wait_durable(partial(self.submit, job))


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
async def open_writer(commit: Commit[J], disk: Disk) -> AsyncIterator[Writer[J]]:
    """In a thread of its own if the disk blocks, else in a task. What was submitted is done before
    the block is left.
    """
    if disk.blocking:
        async with _threaded(commit) as writer:
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


def _deliver(batch: Sequence[tuple[J, Done]], outcomes: Sequence[BaseException | None]) -> None:
    for (_, done), outcome in zip(batch, outcomes, strict=True):
        done(outcome)


def _run(commit: Commit[J], batch: Sequence[tuple[J, Done]]) -> Sequence[BaseException | None]:
    try:
        return commit([job for job, _ in batch])
    except Exception as error:  # noqa: BLE001 - the door: it goes to all who wait for the batch
        return [error] * len(batch)


@asynccontextmanager
async def _threaded(commit: Commit[J]) -> AsyncIterator[Writer[J]]:
    # A dedicated thread: a hop costs a tenth of one to Trio's thread pool.
    queue: SimpleQueue[tuple[J, Done] | None] = SimpleQueue()
    token = trio.lowlevel.current_trio_token()
    finished = trio.Event()

    def work() -> None:
        while (first := queue.get()) is not None:
            batch, more = _waiting(queue, first)
            token.run_sync_soon(_deliver, batch, _run(commit, batch))
            if not more:
                break
        token.run_sync_soon(finished.set)

    Thread(target=work, name="greenroom writer", daemon=True).start()
    try:
        yield Writer(queue.put)
    finally:
        queue.put(None)
        with trio.CancelScope(shield=True):
            await finished.wait()


def _waiting(
    queue: "SimpleQueue[tuple[J, Done] | None]", first: tuple[J, Done]
) -> tuple[list[tuple[J, Done]], bool]:
    """All jobs that wait now, and whether there will be more."""
    batch = [first]
    while True:
        try:
            job = queue.get_nowait()
        except Empty:
            return batch, True
        if job is None:
            return batch, False
        batch.append(job)


@asynccontextmanager
async def _inline(commit: Commit[J], disk: Disk) -> AsyncIterator[Writer[J]]:
    waiting: list[tuple[J, Done]] = []
    wake = trio.lowlevel.ParkingLot()
    closing = False

    def queue(job: tuple[J, Done]) -> None:
        waiting.append(job)
        wake.unpark()

    async def work() -> None:
        with trio.CancelScope(shield=True):
            while waiting or not closing:
                if waiting:
                    await trio.sleep(disk.latency)
                    batch, waiting[:] = waiting[:], []
                    _deliver(batch, _run(commit, batch))
                else:
                    await wake.park()

    async with background(work):
        try:
            yield Writer(queue)
        finally:
            closing = True
            wake.unpark()
