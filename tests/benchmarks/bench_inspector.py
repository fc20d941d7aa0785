"""What an inspector costs: nothing when nobody looks, and little when somebody does.

Each pair is the same work without and with an open stream of the inspector, with a thousand live
actors, in one process: the stream is driven as the server drives it, and its bytes are dropped.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
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
WORDS = 8_000


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


async def main() -> None:
    heading(f"The inspector, with {ACTORS:,} live actors")
    async with open_greenroom(
        Path("/data"), talkative, disk=MemoryDisk(), model_titles=False
    ) as greenroom:
        for n in range(ACTORS):
            await greenroom.session(f"{n:012x}").ask(CreateSession())
        session = greenroom.session(f"{0:012x}")

        async def ask() -> int:
            for _ in range(ASKS):
                await session.ask(GetSession())
            return ASKS

        async def tell() -> int:
            for _ in range(TIMES):
                for _ in range(TOLD):
                    session.tell(SaveDraft({"text": "x"}))
                await session.ask(GetSession())
            return TOLD * TIMES

        async def answer() -> int:
            accepted = await session.ask(StartTurn("go"))
            reader = greenroom.feeds.read(accepted.turn_id)
            assert reader is not None
            while await reader.next():
                pass
            return WORDS

        for name, work in (("ask", ask), ("tell, saved", tell), ("words of an answer", answer)):
            for what, seen in (("another chat", f"{1:012x}"), ("this very chat", session.key)):

                async def looked_at(work=work, seen=seen) -> int:
                    async with looking(greenroom, seen):
                        return await work()

                await compare(
                    f"{name}, {what} is watched", looked_at, work, "nobody looks", "near 1"
                )


if __name__ == "__main__":
    trio.run(main)
