"""What an inspector costs: nothing when nobody looks, and little when somebody does.

Each pair is the same work without and with an open stream of the inspector, with a thousand live
actors, in one process: the stream is driven as the server drives it, and its bytes are dropped.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from actors.greenroom import open_greenroom
from actors.session.agent import AgentTurn, Emit, TextDelta
from actors.session.messages import CreateSession, GetSession, SaveDraft, StartTurn
from actors.stores import MemoryDisk
from app.inspector import watched

from .table import compare, heading

ACTORS = 1_000
ASKS = 100_000
TOLD = 1_000  # at once: as many as a mailbox takes
TIMES = 10
WORDS = 6_000
MINE, OTHER = f"{0:012x}", f"{1:012x}"


async def talkative(turn: AgentTurn, emit: Emit) -> None:
    for _ in range(WORDS):
        await emit(TextDelta("word "))


@asynccontextmanager
async def looking(greenroom, session_id: str | None) -> AsyncIterator[None]:
    async def look() -> None:
        async with aclosing(watched(greenroom, trio.Event(), session_id, 30)) as chunks:
            async for _ in chunks:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def looked_at(greenroom, session_id: str | None) -> AsyncIterator[None]:
    """Nobody looks, if it is None."""
    if session_id is None:
        yield
    else:
        async with looking(greenroom, session_id):
            yield


def in_memory():
    return open_greenroom(Path("/data"), talkative, disk=MemoryDisk(), model_titles=False)


async def words(seen: str | None) -> int:
    """On a disk of its own: appending to a long file in memory is slow."""
    async with in_memory() as greenroom, looked_at(greenroom, seen):
        session = greenroom.session(MINE)
        await session.ask(CreateSession())
        accepted = await session.ask(StartTurn("go"))
        reader = greenroom.feeds.read(accepted.turn_id)
        assert reader is not None
        while await reader.next():
            pass
    return WORDS


async def main() -> None:
    heading(f"The inspector, with {ACTORS:,} live actors (words: with one)")
    async with in_memory() as greenroom:
        for n in range(ACTORS):
            await greenroom.session(f"{n:012x}").ask(CreateSession())
        session = greenroom.session(MINE)

        async def ask(seen: str | None) -> int:
            async with looked_at(greenroom, seen):
                for _ in range(ASKS):
                    await session.ask(GetSession())
            return ASKS

        async def tell(seen: str | None) -> int:
            async with looked_at(greenroom, seen):
                for _ in range(TIMES):
                    for _ in range(TOLD):
                        session.tell(SaveDraft({"text": "x"}))
                    await session.ask(GetSession())
            return TOLD * TIMES

        for name, work in (("ask", ask), ("tell, saved", tell), ("words", words)):
            for which, seen in (("another", OTHER), ("this chat", MINE)):
                watched_one, alone = partial(work, seen), partial(work, None)
                await compare(f"{name}: {which} is watched", watched_one, alone, "unseen", "near 1")


if __name__ == "__main__":
    trio.run(main)
