"""What may come with a prompt, and sessions that last for one turn."""

import pytest
import trio

from actors.index.messages import TEMPORARY, ListRows
from actors.session.entries import StreamEnded, TurnFailed
from actors.session.messages import (
    AddRows,
    Annotate,
    CreateSession,
    GetSession,
    Regenerate,
    StartTurn,
)
from actors.session.record import Record
from actors.session.refusals import SessionNotFound, StaleRevision, TurnRunning
from actors.session.transcript import revision
from actors.stores import MemoryDisk
from actors.testing.faulty_disk import FaultyDisk

BEFORE = ({"role": "user", "content": "A?"}, {"role": "assistant", "content": "a"})


def said(asked):
    return [(row["role"], row["content"]) for row in asked.messages]


async def test_a_prompt_brings_what_was_said_before_and_options_for_its_turn_alone(room):
    session = await room.new()
    options = {"instructions": "Be brief.", "temperature": 0.5}
    brought = StartTurn("B?", before=BEFORE, options=options, note={"mine": 1})
    accepted = await session.ask(brought)
    agent = await room.agent.next_turn()
    told = [("user", "A?"), ("assistant", "a"), ("user", "B?")]
    assert said(agent.asked) == [("system", "Be brief."), *told]
    assert agent.asked.options == {"temperature": 0.5}
    assert (await room.record()).pending_note == {"mine": 1}
    await agent.say("b")
    agent.finish()
    await room.events(accepted.turn_id)
    record = await room.record()
    assert [row.get("_brought_by") for row in record.messages] == [
        accepted.turn_id,
        accepted.turn_id,
        None,
        None,
    ]
    assert record.messages[2]["_note"] == {"mine": 1}
    assert (record.pending_options, record.pending_note) == ({}, {})
    # Answered again it is answered in the same way; the next prompt has nothing of it.
    again = await session.ask(Regenerate(revision(record)))
    agent = await room.agent.next_turn()
    assert said(agent.asked) == [("system", "Be brief."), *told]
    await agent.say("b")
    agent.finish()
    await room.events(again.turn_id)
    await session.ask(StartTurn("C?"))
    agent = await room.agent.next_turn()
    assert said(agent.asked) == [*told, ("assistant", "b"), ("user", "C?")]
    assert agent.asked.options == {}


async def test_a_waiting_prompt_keeps_what_it_brought_across_a_crash(room, open_room):
    session = await room.new()
    await room.start("running")
    await session.ask(
        StartTurn("B?", before=BEFORE, options={"seed": 1}, note={"mine": 1}, if_busy="queue")
    )
    async with open_room(room.disk.crash()) as after:
        agent = await after.agent.next_turn()
        assert said(agent.asked)[-3:] == [("user", "A?"), ("assistant", "a"), ("user", "B?")]
        assert agent.asked.options == {"seed": 1}
        assert (await after.record()).pending_note == {"mine": 1}


async def test_a_prompt_for_another_transcript_is_refused_and_nothing_changes(room):
    session = await room.new(keep=True)
    seen = revision(await room.record())
    await session.ask(AddRows(BEFORE))
    before = await room.record()
    with pytest.raises(StaleRevision):
        await session.ask(StartTurn("B?", revision=seen))
    assert await room.record() == before
    accepted = await session.ask(StartTurn("B?", revision=revision(before), turn_id="f" * 32))
    assert accepted.turn_id == "f" * 32


async def test_rows_are_added_between_turns_and_notes_at_any_time(room):
    session = await room.new(keep=True, extra={"a": 1})
    await session.ask(AddRows(BEFORE))
    assert (await room.record()).messages == BEFORE
    _, agent = await room.start("B?")
    with pytest.raises(TurnRunning):
        await session.ask(AddRows(BEFORE))
    await session.ask(Annotate({"b": 2}))
    assert (await room.record()).extra == {"a": 1, "b": 2}
    assert said(agent.asked) == [("user", "A?"), ("assistant", "a"), ("user", "B?")]


async def begun(room, key="s1"):
    """A temporary session whose turn runs."""
    session = room.session(key)
    content = Record(session_id="", session_source=TEMPORARY, manual_title=True)
    await session.ask(CreateSession(content))
    accepted = await session.ask(StartTurn("hello"))
    agent = await room.agent.next_turn()
    await agent.say("shown")
    return accepted.turn_id, agent


async def assert_gone(room):
    assert "s1.json" not in room.files()
    with pytest.raises(SessionNotFound):
        await room.session().ask(GetSession())


async def test_a_temporary_session_is_in_no_list_and_gone_when_its_end_is_told(room):
    turn_id, agent = await begun(room)
    assert await room.index.ask(ListRows(hidden=False)) == ()
    assert "s1.json" in room.files()
    reader = room.greenroom.feeds.read(turn_id)
    agent.finish()
    while batch := await reader.next():
        if isinstance(batch[-1].event, StreamEnded):
            assert "s1.json" not in room.files()
    await assert_gone(room)


async def test_a_temporary_session_that_a_crash_cut_off_is_gone(room, open_room):
    turn_id, _ = await begun(room)
    async with open_room(room.disk.crash()) as after:
        assert isinstance((await after.events(turn_id))[-1].event, TurnFailed)
        await assert_gone(after)


@pytest.fixture
async def kept_room(open_room):
    """In which nothing can be deleted, until `allow` is set."""
    faulty = FaultyDisk(MemoryDisk(), lambda number, name: name == "remove" and not room.allow)
    async with open_room(faulty) as room:
        room.allow = False
        turn_id, agent = await begun(room)
        agent.finish()
        assert isinstance((await room.events(turn_id))[-1].event, StreamEnded)
        await trio.sleep(1)  # until the journal says too that it has ended
        assert "s1.json" in room.files()
        yield room


async def test_a_temporary_session_that_the_disk_keeps_goes_later(kept_room, autojump_clock):
    kept_room.allow = True
    await trio.sleep(10)  # of the clock that jumps
    assert "s1.json" not in kept_room.files()
    await assert_gone(kept_room)


async def test_one_that_was_left_on_disk_is_swept_by_the_list(kept_room, open_room, autojump_clock):
    async with open_room(kept_room.disk.disk.crash()) as after:
        assert "s1.json" in after.files()
        assert await after.index.ask(ListRows()) == ()
        await trio.sleep(10)
        assert "s1.json" not in after.files()
