"""A greenroom inside an asyncio program: Trio as a guest of asyncio's loop, in one thread.

Actors run on Trio alone. What asyncio may do with them goes through `Guest`: it starts Trio beside
the loop, and runs Trio functions for asyncio tasks, which can give up waiting as they are used to.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from actors.greenroom import Greenroom, open_greenroom
from actors.session import AgentTurn, CreateSession, Emit, StartTurn, TextDelta

T = TypeVar("T")
R = TypeVar("R")


class Guest(Generic[T]):
    """`thing` is what was opened on Trio's side. Use it there alone, through `run`."""

    def __init__(self, thing: T, nursery: trio.Nursery, stop: trio.Event) -> None:
        self.thing = thing
        self._nursery = nursery
        self._stop = stop
        self._token = trio.lowlevel.current_trio_token()

    async def run(self, work: Callable[..., Awaitable[R]], *args: Any) -> R:
        """From asyncio: run this on Trio's side. Cancelled here, it is cancelled there."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        scope = trio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    answer = await work(*args)
                    if not future.done():
                        future.set_result(answer)
            except Exception as error:  # noqa: BLE001 - the asyncio task gets it
                if not future.done():
                    future.set_exception(error)

        self._token.run_sync_soon(self._nursery.start_soon, run)
        try:
            return await future
        except asyncio.CancelledError:
            self._token.run_sync_soon(scope.cancel)
            raise

    def stop(self) -> None:
        self._token.run_sync_soon(self._stop.set)


@asynccontextmanager
async def open_guest(
    open_thing: Callable[[], AbstractAsyncContextManager[T]],
) -> AsyncIterator[Guest[T]]:
    """In asyncio: hold `open_thing()` open on Trio's side for as long as this block lasts."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Guest[T]] = loop.create_future()
    ended: asyncio.Future[None] = loop.create_future()

    async def hold() -> None:
        stop = trio.Event()
        async with open_thing() as thing, trio.open_nursery() as nursery:
            opened.set_result(Guest(thing, nursery, stop))
            await stop.wait()
            nursery.cancel_scope.cancel()

    def done(outcome: Any) -> None:
        try:
            ended.set_result(outcome.unwrap())
        except BaseException as error:  # noqa: BLE001 - it is raised where the block ends
            (ended if opened.done() else opened).set_exception(error)

    trio.lowlevel.start_guest_run(
        hold,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=done,
        host_uses_signal_set_wakeup_fd=True,
    )
    guest = await opened
    try:
        yield guest
    finally:
        guest.stop()
        await ended


async def parrot(turn: AgentTurn, emit: Emit) -> None:
    for word in turn.messages[-1]["content"].split():
        await emit(TextDelta(word + " "))


async def answer(greenroom: Greenroom, prompt: str, words: "asyncio.Queue[str | None]") -> None:
    """On Trio's side. Both loops share one thread, so it may put into asyncio's queue."""
    session = greenroom.new_session()
    await session.ask(CreateSession())
    accepted = await session.ask(StartTurn(prompt))
    async for entry in greenroom.follow(accepted.turn_id):
        if isinstance(entry.event, TextDelta):
            words.put_nowait(entry.event.text)
    words.put_nowait(None)


async def main(directory: Path, prompt: str) -> None:
    """An asyncio program like any other."""
    async with open_guest(lambda: open_greenroom(directory, parrot)) as guest:
        words: asyncio.Queue[str | None] = asyncio.Queue()
        answering = asyncio.create_task(guest.run(answer, guest.thing, prompt, words))
        while (word := await words.get()) is not None:
            print(word, flush=True)
        await answering


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
