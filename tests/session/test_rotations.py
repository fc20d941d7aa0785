"""Ids that were left lead to the session, however often it went on under another one."""

from contextlib import suppress

import trio

from actors import ActorError
from actors.index.messages import ListRows
from actors.session.agent import TextDelta
from actors.session.entries import TERMINAL
from actors.session.messages import (
    Compress,
    CompressionStatus,
    CreateSession,
    DeleteSession,
    GetSession,
    Once,
    RemoveLastTurn,
    StartSideTurn,
    StartTurn,
)
from actors.session.record import Record
from actors.stores import MemoryDisk
from actors.testing.faulty_disk import FaultyDisk
from tests.session.conftest import SESSIONS


class Echo:
    """Answers at once, but for a prompt that begins with "wait": that one waits for `go`."""

    def __init__(self):
        self.go = trio.Event()

    async def __call__(self, turn, emit):
        prompt = turn.messages[-1]["content"]
        if prompt.startswith("wait"):
            await self.go.wait()
        await emit(TextDelta(f"{turn.purpose} to it all"))


async def whole(room, turn_id):
    entries = await room.events(turn_id)
    assert sum(isinstance(entry.event, TERMINAL) for entry in entries) == 1
    return entries


async def converse(room):
    """What a user does."""
    session = room.session("s1")
    await session.ask(CreateSession(Record(session_id="", workspace="/")))
    for prompt in ("one", "two"):
        accepted = await session.ask(StartTurn(prompt))
        await whole(room, accepted.turn_id)
    running = await session.ask(StartTurn("wait three"))
    waiting = await session.ask(StartTurn("four", if_busy="queue"))
    room.agent.go.set()
    await whole(room, running.turn_id)
    await whole(room, waiting.turn_id)
    await session.ask(Compress())
    while (await session.ask(CompressionStatus())).status == "running":
        await room.greenroom.notices.after(room.greenroom.notices.last)
    task = await session.ask(StartSideTurn("behind", keep=True))
    await whole(room, task.turn_id)
    await session.ask(Once("key", "print", RemoveLastTurn()))
    other = room.session("s2")
    await other.ask(CreateSession(Record(session_id="", title="Other"), keep=True))
    await other.ask(DeleteSession())


def open_it(open_room, disk):
    agent = Echo()
    return open_room(disk, agent, side_agent=agent)


async def test_a_long_chain_of_rotations_leads_to_the_session(open_room, autojump_clock):
    async with open_it(open_room, MemoryDisk()) as room:
        session = room.session("s1")
        await session.ask(CreateSession(Record(session_id="")))
        for prompt in ("one", "two"):
            await whole(room, (await session.ask(StartTurn(prompt))).turn_id)
        names = ["s1"]
        for _ in range(300):
            seen = room.greenroom.notices.last
            await session.ask(Compress())
            while (await session.ask(CompressionStatus())).status == "running":
                await room.greenroom.notices.after(seen)
                seen = room.greenroom.notices.last
            names.append((await session.ask(GetSession())).record.session_id)
        assert len(set(names)) == 301
        disk = room.disk
    async with open_it(open_room, disk.crash()) as after:
        first = (await after.session("s1").ask(GetSession())).record
        middle = (await after.session(names[150]).ask(GetSession())).record
        assert first is middle
        assert first.session_id == names[-1]
        assert [row["content"] for row in first.messages if row["role"] == "user"] == ["one", "two"]
        assert [row["session_id"] for row in await after.index.ask(ListRows())] == [names[-1]]
        await after.session(names[3]).ask(DeleteSession())
        assert after.files() <= {"_index.json"}


async def test_what_a_crash_left_of_a_rotation_does_not_outlive_the_session(
    open_room, autojump_clock
):
    """A record that nobody was told of came back when the session that it was to continue had been
    rotated otherwise, and deleted. Found by the fault suite.
    """
    memory, cuts = MemoryDisk(), []

    def look(number, name):
        with suppress(FileNotFoundError):
            if b'"rotating_to"' in memory.read(SESSIONS / "s1.json"):
                cuts.append(memory.kill())
        return False

    async with open_it(open_room, FaultyDisk(memory, look)) as room:
        await converse(room)
    assert len(cuts) > 4
    for n, cut in enumerate(cuts):
        async with open_it(open_room, cut) as after:
            after.agent.go.set()
            session = after.session("s1")
            with suppress(ActorError):
                await session.ask(Compress())
                while (await session.ask(CompressionStatus())).status == "running":
                    await after.greenroom.notices.after(after.greenroom.notices.last)
            await session.ask(DeleteSession())
            await after.session("s2").ask(DeleteSession())
            assert not await after.index.ask(ListRows()), n
        async with open_it(open_room, cut.crash()) as again:
            assert not await again.index.ask(ListRows()), n
            await trio.sleep(10)
            assert again.files() <= {"_index.json"}, n
