"""A session when the disk is full. At every place: `tests/faults`."""

import pytest
import trio
import trio.testing

from actors.session.entries import TERMINAL, StreamEnded, TextDelta, TurnFailed
from actors.session.messages import (
    Compress,
    CompressionStatus,
    DeleteSession,
    Rename,
    StartTurn,
)
from actors.session.refusals import SessionNotFound, StorageFailed
from actors.stores import MemoryDisk
from actors.testing.faulty_disk import FaultyDisk
from actors.testing.puppet import Puppet


class Fault:
    """Fails every write while it is on."""

    def __init__(self):
        self.on = False

    def __call__(self, number, name):
        return self.on and name not in ("names", "read", "scan")


@pytest.fixture
def fault():
    return Fault()


@pytest.fixture
async def full_room(open_room, fault):
    async with open_room(FaultyDisk(MemoryDisk(), fault)) as room:
        yield room


async def test_a_start_on_a_full_disk_is_refused_and_works_once_there_is_room(full_room, fault):
    session = await full_room.new(keep=True, title="Mine")
    before = await full_room.record()
    fault.on = True
    for command in (StartTurn("go"), Rename("x"), DeleteSession()):
        with pytest.raises(StorageFailed) as refusal:
            await session.ask(command)
        assert refusal.value.full
    assert await full_room.record() == before
    assert full_room.greenroom.feeds.unsettled() == []
    assert len(full_room.greenroom.feeds) == 0
    fault.on = False
    turn_id, agent = await full_room.start("go")
    await agent.say("ok")
    agent.finish()
    assert isinstance((await full_room.events(turn_id))[-1].event, StreamEnded)


async def test_a_disk_that_fills_during_an_answer_ends_it_and_loses_nothing(
    full_room, fault, open_room, autojump_clock
):
    session = await full_room.new()
    turn_id, agent = await full_room.start("go")
    await agent.say("shown")
    reader = full_room.greenroom.feeds.read(turn_id)
    shown = []
    while not any(isinstance(entry.event, TextDelta) for entry in shown):
        shown += await reader.next()
    fault.on = True
    await agent.say(" and lost")
    while batch := await reader.next():
        shown += batch
    assert isinstance(shown[-1].event, TurnFailed)
    assert shown[-1].event.kind == "storage"
    assert sum(isinstance(entry.event, TERMINAL) for entry in shown) == 1
    rows = (await full_room.record()).messages
    assert rows[0]["content"] == "go"
    assert rows[1]["content"].startswith("shown")
    with pytest.raises(StorageFailed):
        await session.ask(StartTurn("more"))
    fault.on = False
    await trio.sleep(10)  # it saves itself as soon as there is room
    async with open_room(full_room.disk.disk.crash()) as after:
        assert (await after.record()).messages == rows
        assert not (await after.record()).busy


async def test_a_disk_that_is_full_at_the_end_of_an_answer_keeps_it_in_memory(
    full_room, fault, open_room, autojump_clock
):
    await full_room.new()
    turn_id, agent = await full_room.start("go")
    await agent.say("whole")
    reader = full_room.greenroom.feeds.read(turn_id)
    while not any(isinstance(entry.event, TextDelta) for entry in await reader.next()):
        pass
    fault.on = True
    agent.finish()
    last = []
    while batch := await reader.next():
        last = batch
    assert last[-1].event.kind == "storage"
    rows = (await full_room.record()).messages
    assert [row["content"] for row in rows] == ["go", "whole"]
    await trio.sleep(1000)  # never put away before it is saved
    assert (await full_room.record()).messages == rows
    fault.on = False
    await trio.sleep(10)
    async with open_room(full_room.disk.disk.crash()) as after:
        assert (await after.record()).messages == rows


async def test_what_is_not_saved_yet_is_saved_at_the_end_of_the_process(
    open_room, fault, autojump_clock
):
    disk = FaultyDisk(MemoryDisk(), fault)
    async with open_room(disk) as room:
        await room.new()
        turn_id, agent = await room.start("go")
        await agent.say("whole")
        reader = room.greenroom.feeds.read(turn_id)
        while not any(isinstance(entry.event, TextDelta) for entry in await reader.next()):
            pass
        fault.on = True
        agent.finish()
        await room.events(turn_id)
        fault.on = False
    async with open_room(disk.disk.crash()) as after:
        assert [row["content"] for row in (await after.record()).messages] == ["go", "whole"]


@pytest.mark.parametrize("rest", [10, 1000, 0])
async def test_what_was_refused_does_not_come_back(open_room, autojump_clock, rest):
    """The record was replaced, and only the flush of its directory failed: the disk has what the
    user was told had not been done. Found by the fault suite.
    """
    disk = FaultyDisk(MemoryDisk())
    async with open_room(disk) as room:
        session = await room.new(keep=True, title="Mine")
        for command in (Rename("x"), DeleteSession()):
            done = len(disk.trace)
            disk.fail = lambda n, name, done=done: n > done and name == "flush_directory"
            with pytest.raises(StorageFailed):
                await session.ask(command)
            assert (await room.record()).title == "Mine"
            disk.fail = lambda n, name: False
            await trio.sleep(rest)
            assert (await room.record()).title == "Mine"
    async with open_room(disk.disk.crash()) as after:
        assert (await after.record()).title == "Mine"


async def test_a_failed_rotation_leaves_the_session_where_it_was(open_room, autojump_clock):
    """Also when the old record is a pointer already, and only the flush after it failed."""
    agent = Puppet()
    disk = FaultyDisk(MemoryDisk())
    async with open_room(disk, agent, side_agent=agent, model_titles=False) as room:
        session = await room.new()
        for prompt in ("one", "two", "three"):
            await whole_turn(room, prompt, [])
        await session.ask(Compress())
        summary = await agent.next_turn()
        await summary.say("All of it")
        flushes = [name for name in disk.trace if name == "flush_directory"]

        def second_flush(n, name):
            flushes.append(name) if name == "flush_directory" else None
            return name == "flush_directory" and len(flushes) > before + 1

        before = len(flushes)
        disk.fail = second_flush
        summary.finish()
        while (await session.ask(CompressionStatus())).status == "running":
            await room.greenroom.notices.after(room.greenroom.notices.last)
        assert (await session.ask(CompressionStatus())).status == "error"
        disk.fail = lambda n, name: False
        await trio.sleep(1000)
        assert (await room.record()).session_id == "s1"
    async with open_room(disk.disk.crash()) as after:
        record = await after.record()
        assert (record.session_id, len(record.messages)) == ("s1", 6)


async def test_what_was_deleted_cannot_be_compressed(open_room):
    """Not even if a summary of it is still being made. Found by the fault suite."""
    agent = Puppet()
    async with open_room(agent=agent, side_agent=agent, model_titles=False) as room:
        session = await room.new()
        for prompt in ("one", "two", "three"):
            await whole_turn(room, prompt, [])
        await session.ask(Compress())
        await session.ask(DeleteSession())
        with pytest.raises(SessionNotFound):
            await session.ask(Compress())


async def whole_turn(room, prompt, acknowledged):
    turn_id, agent = await room.start(prompt)
    acknowledged.append(prompt)
    await agent.say(f"answer {prompt}")
    agent.finish()
    await room.events(turn_id)


async def test_a_disk_that_fails_after_its_sessions_have_ended_ends_nothing_else(
    open_room, fault, autojump_clock
):
    slow = MemoryDisk(latency=10)
    async with open_room(FaultyDisk(slow, fault)) as room:
        await room.new()
        _, agent = await room.start("go")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await agent.say("being written")
        fault.on = True
