"""A session as those who ask it see it."""

import json
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed
from actors.index.messages import ListRows, PinLimit
from actors.session.agent import AgentError, TextDelta, ToolCompleted, ToolStarted, Usage
from actors.session.entries import (
    TERMINAL,
    StreamEnded,
    TitleSettled,
    TurnCancelled,
    TurnDone,
    TurnFailed,
)
from actors.session.messages import (
    Archive,
    CancelTurn,
    Checkpoint,
    DeleteSession,
    GetSession,
    Pin,
    RemoveLastTurn,
    Rename,
    StartSideTurn,
    StartTurn,
    TurnOutput,
    TurnReturned,
)
from actors.session.record import RecordDamaged
from actors.session.refusals import (
    NothingToRemove,
    SessionBusy,
    SessionNotFound,
    ShuttingDown,
    TurnRunning,
)
from actors.stores import MemoryDisk

RECORD = Path("/data/sessions/s1.json")


def contents(record):
    return [(row["role"], row["content"]) for row in record.messages]


def terminal(entries):
    return [entry for entry in entries if isinstance(entry.event, TERMINAL)]


async def test_a_turn_from_the_prompt_to_the_end(room):
    session = await room.new()
    turn_id, agent = await room.start("What time is it?")
    assert agent.asked.messages == [{"role": "user", "content": "What time is it?"}]
    assert (await room.record()).pending_user_message == "What time is it?"
    await agent.say("It is ", "noon.", Usage(12, 3))
    agent.finish()
    entries = await room.events(turn_id)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    shown = "".join(e.event.text for e in entries if isinstance(e.event, TextDelta))
    assert shown == "It is noon."
    ends = [type(entry.event) for entry in entries[-3:]]
    assert ends == [TurnDone, TitleSettled, StreamEnded]
    assert isinstance(entries[-1].event, StreamEnded)
    record = (await session.ask(GetSession())).record
    assert contents(record) == [("user", "What time is it?"), ("assistant", "It is noon.")]
    assert (record.input_tokens, record.output_tokens) == (12, 3)
    assert not record.busy


async def test_the_transcript_is_settled_before_the_end_is_shown(room):
    await room.new()
    turn_id, agent = await room.start()
    await agent.say("x")
    agent.finish()
    reader = room.greenroom.feeds.read(turn_id)
    while batch := await reader.next():
        if any(isinstance(entry.event, TurnDone) for entry in batch):
            assert not (await room.record()).busy


async def test_an_unknown_session_is_not_found_and_nothing_is_made_of_it(room):
    for command in (GetSession(), StartTurn("x"), Rename("x"), RemoveLastTurn(), Pin(True)):
        with pytest.raises(SessionNotFound):
            await room.session("nobody").ask(command)
    assert "nobody.json" not in room.files()


async def test_a_new_session_is_not_on_disk_until_something_was_said(room):
    await room.new("shell")
    assert await room.index.ask(ListRows()) == ()
    assert "shell.json" not in room.files()
    await room.start(key="shell")
    assert "shell.json" in room.files()
    assert [row["session_id"] for row in await room.index.ask(ListRows())] == ["shell"]


async def test_of_many_simultaneous_starts_one_wins_and_the_others_learn_which(room):
    session = await room.new()
    accepted, refused = [], []

    async def start(n):
        try:
            accepted.append(await session.ask(StartTurn(f"prompt {n}")))
        except TurnRunning as refusal:
            refused.append(refusal.turn_id)

    async with trio.open_nursery() as nursery:
        for n in range(20):
            nursery.start_soon(start, n)
    assert len(accepted) == 1
    assert refused == [accepted[0].turn_id] * 19
    agent = await room.agent.next_turn()
    await agent.say("ok")
    agent.finish()
    await room.events(accepted[0].turn_id)
    assert len([row for row in (await room.record()).messages if row["role"] == "user"]) == 1


async def test_cancel_keeps_what_was_shown_and_is_answered_when_all_is_over(room):
    session = await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("part", ToolStarted("c1", "search"))
    await wait_all_tasks_blocked()
    assert await session.ask(CancelTurn(turn_id)) is True
    assert agent.cancelled
    entries = await room.events(turn_id)
    assert isinstance(entries[-1].event, TurnCancelled)
    assert len(terminal(entries)) == 1
    user, partial, marker = (await room.record()).messages
    assert (user["content"], partial["content"]) == ("go", "part")
    assert partial["_partial"]
    assert marker["_error"]
    assert partial["_partial_tool_calls"][0]["tid"] == "c1"
    assert await session.ask(CancelTurn(turn_id)) is False
    assert len((await room.record()).messages) == 3
    _, second = await room.start("next")
    assert [row["content"] for row in second.asked.messages] == ["go", "part", "next"]


async def test_cancel_before_anything_was_said_leaves_the_prompt_and_the_marker(room):
    session = await room.new()
    turn_id, _ = await room.start("go")
    await session.ask(CancelTurn(turn_id))
    user, marker = (await room.record()).messages
    assert (user["role"], marker["_error"]) == ("user", True)


async def test_a_cancel_that_comes_too_late_changes_nothing(room):
    session = await room.new()
    turn_id, agent = await room.start()
    await agent.say("done")
    agent.finish()
    before = await room.events(turn_id)
    assert await session.ask(CancelTurn(turn_id)) is False
    assert len((await room.record()).messages) == 2
    assert [e.seq for e in await room.events(turn_id)] == [e.seq for e in before]


async def test_nothing_that_an_old_turn_says_touches_its_successor(room):
    session = await room.new()
    old, _ = await room.start("first")
    await session.ask(CancelTurn(old))
    new, agent = await room.start("second")
    for late in (
        TurnOutput(old, TextDelta("ghost")),
        TurnReturned(old, None),
        TurnReturned(old, ValueError("ghost")),
        Checkpoint(old),
    ):
        await session.send(late)
    assert await session.ask(CancelTurn(old)) is False
    record = await room.record()
    assert (record.active_stream_id, record.pending_user_message) == (new, "second")
    await agent.say("answer")
    agent.finish()
    shown = [e.event.text for e in await room.events(new) if isinstance(e.event, TextDelta)]
    assert shown == ["answer"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (AgentError("rate_limit", "slow down", hint="Wait."), "rate_limit"),
        (ExceptionGroup("many", [ValueError(), AgentError("timeout", "late")]), "timeout"),
        (ValueError("broken"), "error"),
    ],
)
async def test_a_failed_agent_leaves_the_prompt_what_was_shown_and_one_error_row(
    room, failure, kind
):
    await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("half")
    agent.finish(failure)
    entries = await room.events(turn_id)
    assert entries[-1].event.kind == kind
    assert len(terminal(entries)) == 1
    user, partial, error = (await room.record()).messages
    assert (user["content"], partial["content"]) == ("go", "half")
    assert error["_error"]
    _, second = await room.start("again")
    assert [row["content"] for row in second.asked.messages] == ["go", "half", "again"]


async def test_silence_is_a_failure_also_when_there_were_replies_before(room):
    await room.new()
    for prompt, answer in (("one", "1"), ("two", " \n")):
        turn_id, agent = await room.start(prompt)
        await agent.say(answer)
        agent.finish()
        entries = await room.events(turn_id)
    assert isinstance(entries[-1].event, TurnFailed)
    assert entries[-1].event.kind == "no_response"
    assert [row.get("_error", False) for row in (await room.record()).messages][-1] is True


async def test_changes_during_a_turn_apply_at_once_and_outlive_it(room):
    session = await room.new()
    turn_id, agent = await room.start()
    await session.ask(Rename("Mine"))
    await session.ask(Pin(True))
    await session.ask(Archive(True))
    await agent.say("x")
    agent.finish()
    await room.events(turn_id)
    record = await room.record()
    assert (record.title, record.pinned, record.archived) == ("Mine", True, True)


async def test_undo_during_a_turn_stops_it_and_takes_it_away(room):
    session = await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("half")
    await wait_all_tasks_blocked()
    removed = await session.ask(RemoveLastTurn())
    assert (removed.text, removed.count) == ("go", 3)
    assert isinstance((await room.events(turn_id))[-1].event, TurnCancelled)
    assert (await room.record()).messages == ()
    with pytest.raises(NothingToRemove):
        await session.ask(RemoveLastTurn())


async def test_a_session_deleted_during_a_turn_stays_deleted(room, open_room):
    session = await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("half")
    await wait_all_tasks_blocked()
    await session.ask(DeleteSession())
    assert agent.cancelled
    assert len(terminal(await room.events(turn_id))) == 1
    await session.send(TurnReturned(turn_id, None))
    with pytest.raises(SessionNotFound):
        await session.ask(GetSession())
    assert await room.index.ask(ListRows()) == ()
    await session.ask(DeleteSession())
    async with open_room(room.disk.crash()) as after:
        with pytest.raises(SessionNotFound):
            await after.record()
        assert await after.index.ask(ListRows()) == ()


async def test_an_agent_that_will_not_stop_is_left_behind_by_its_deadline(room, autojump_clock):
    class Stubborn:
        def __init__(self):
            self.release = trio.Event()

        async def __call__(self, turn, emit):
            with trio.CancelScope(shield=True):
                await self.release.wait()
                await emit(TextDelta("too late"))

    stubborn = Stubborn()
    room.greenroom._shared.agent = stubborn
    session = await room.new()
    turn_id = (await session.ask(StartTurn("go"))).turn_id
    began = trio.current_time()
    assert await session.ask(CancelTurn(turn_id)) is True
    waited = trio.current_time() - began
    with pytest.raises(SessionBusy):
        await session.ask(StartTurn("next"))
    messages = (await room.record()).messages
    await trio.sleep(2000)  # it is not put away either: who writes to it would wait for the agent
    assert [c.lifecycle for c in room.greenroom.statistics().cells] == ["running"] * 2
    stubborn.release.set()
    assert waited == pytest.approx(5.0)
    await wait_all_tasks_blocked()
    assert (await room.record()).messages == messages


async def test_a_crash_in_mid_answer_loses_nothing_that_was_shown(room, open_room):
    await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("shown ", "to the reader")
    await wait_all_tasks_blocked()
    seen = room.greenroom.feeds.find(turn_id).last
    started_at = (await room.record()).pending_started_at
    async with open_room(room.disk.crash()) as after:
        user, partial, marker = (await after.record()).messages
        assert (user["content"], user["timestamp"]) == ("go", started_at)
        assert partial["content"] == "shown to the reader"
        assert marker["type"] == "interrupted"
        assert not (await after.record()).busy
        entries = await after.events(turn_id)
        assert isinstance(entries[-1].event, TurnFailed)
        assert [e.seq for e in await after.events(turn_id, seen)] == [seen + 1]
        assert len(terminal(entries)) == 1
        async with open_room(after.disk.crash()) as again:
            assert (await again.record()).messages == (user, partial, marker)
            assert len(terminal(await again.events(turn_id))) == 1


async def test_an_accepted_prompt_survives_a_crash_at_any_later_moment(room, open_room):
    session = await room.new()
    await session.ask(StartTurn("precious", attachments=({"name": "a"},)))
    async with open_room(room.disk.crash()) as after:
        user, _ = (await after.record()).messages
        assert (user["content"], user["attachments"]) == ("precious", [{"name": "a"}])


async def test_a_completed_turn_is_not_called_interrupted_after_a_crash(room, open_room):
    await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("whole")
    agent.finish()
    await room.events(turn_id)
    async with open_room(room.disk.crash()) as after:
        assert contents(await after.record()) == [("user", "go"), ("assistant", "whole")]
        assert len(terminal(await after.events(turn_id))) == 1


async def test_a_checkpoint_is_written_only_when_a_tool_was_completed(room, autojump_clock):
    await room.new()
    _, agent = await room.start()
    before = (await room.record()).updated_at
    await trio.sleep(40)
    assert (await room.record()).updated_at == before
    await agent.say(ToolStarted("c1", "t"), ToolCompleted("c1", "r"))
    await trio.sleep(16)
    first = (await room.record()).updated_at
    assert first > before
    await trio.sleep(40)
    assert (await room.record()).updated_at == first


async def test_an_idle_session_is_put_away_and_comes_back_as_it_was(room, autojump_clock):
    await room.new()
    turn_id, agent = await room.start()
    await agent.say("x")
    agent.finish()
    await room.events(turn_id)
    before = await room.record()
    await trio.sleep(400)
    addresses = [cell.address for cell in room.greenroom.statistics().cells]
    assert "session/s1" not in addresses
    assert await room.record() == before


async def test_a_session_with_a_turn_is_never_put_away(room, autojump_clock):
    await room.new()
    turn_id, agent = await room.start()
    await trio.sleep(4000)
    await agent.say("still here")
    agent.finish()
    assert isinstance((await room.events(turn_id))[-1].event, StreamEnded)


async def test_a_shell_in_which_nothing_was_said_goes_after_half_an_hour(room, autojump_clock):
    await room.new()
    await trio.sleep(1500)
    await room.record()
    await trio.sleep(2500)
    with pytest.raises(SessionNotFound):
        await room.record()


async def test_the_pin_limit_holds_for_simultaneous_pins(room):
    for n in range(5):
        await room.new(f"p{n}", keep=True, title=f"t{n}")
    refused = []

    async def pin(n):
        try:
            await room.session(f"p{n}").ask(Pin(True))
        except PinLimit as refusal:
            refused.append(refusal.limit)

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(pin, n)
    assert refused == [3, 3]
    assert sum(row["pinned"] for row in await room.index.ask(ListRows())) == 3


async def test_settling_stops_what_runs_and_takes_nothing_new(room, autojump_clock):
    session = await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("half")
    await room.greenroom.settle()
    assert isinstance((await room.events(turn_id))[-1].event, TurnFailed)
    assert [row.get("type") for row in (await room.record()).messages][-1] == "interrupted"
    with pytest.raises(ShuttingDown):
        await session.ask(StartTurn("more"))
    assert not (await room.record()).busy


def rewrite(disk, data):
    """Somebody else wrote the record of s1."""
    disk.remove(RECORD)
    disk.create(RECORD, data)


async def test_a_damaged_record_is_reported_left_alone_and_harms_no_other(room, open_room):
    await room.new(keep=True)
    await room.new("fine", keep=True, title="Fine")
    disk = room.disk.crash()
    rewrite(disk, b'{"messages": [')
    async with open_room(disk) as after:
        for command in (GetSession(), StartTurn("x"), Rename("x"), DeleteSession()):
            with pytest.raises(RecordDamaged, match="s1"):
                await after.session().ask(command)
        assert disk.read(RECORD) == b'{"messages": ['
        assert (await after.record("fine")).title == "Fine"


async def test_what_others_wrote_into_a_record_survives_a_turn(room, open_room):
    await room.new(keep=True)
    disk = room.disk.crash()
    foreign = {"share_token": "t", "goal": {"a": [1]}}
    rewrite(disk, json.dumps(json.loads(disk.read(RECORD)) | foreign).encode())
    async with open_room(disk) as after:
        turn_id, agent = await after.start()
        await agent.say("x")
        agent.finish()
        await after.events(turn_id)
    written = json.loads(disk.read(RECORD))
    assert {name: written[name] for name in foreign} == foreign


@pytest.mark.parametrize("stream_id", ["0" * 32, None], ids=["with its stream", "without"])
async def test_a_turn_that_another_system_left_behind_is_repaired_at_first_sight(
    room, open_room, stream_id
):
    disk = MemoryDisk()
    left = {
        "session_id": "s1",
        "title": "Untitled",
        "messages": [{"role": "user", "content": "same"}, {"role": "assistant", "content": "a"}],
        "active_stream_id": stream_id,
        "pending_user_message": "same",
        "pending_attachments": [{"name": "f"}],
        "pending_started_at": 123.5,
        "updated_at": 124.0,
    }
    disk.create(RECORD, json.dumps(left).encode())
    async with open_room(disk) as after:
        record = await after.record()
        *before, user, marker = record.messages
        assert before == left["messages"]
        assert (user["content"], user["timestamp"], user["_recovered"]) == ("same", 123.5, True)
        assert user["attachments"] == [{"name": "f"}]
        assert marker["type"] == "interrupted"
        assert record.updated_at == 124.0
        assert not record.busy
    async with open_room(disk.crash()) as again:
        assert await again.record() == record


async def test_a_mark_of_a_turn_without_a_prompt_is_taken_away_without_a_word(room, open_room):
    disk = MemoryDisk()
    left = {"messages": [{"role": "user", "content": "x"}], "active_stream_id": "0" * 32}
    disk.create(RECORD, json.dumps(left).encode())
    async with open_room(disk) as after:
        record = await after.record()
        assert (record.active_stream_id, list(record.messages)) == (None, left["messages"])


async def test_a_crash_of_the_actor_in_mid_answer_ends_the_stream_and_keeps_what_was_shown(
    open_room,
):
    async with open_room(expected_crashes=AttributeError) as room:
        await crash_in_mid_answer(room)


async def crash_in_mid_answer(room):
    session = await room.new()
    turn_id, agent = await room.start("go")
    await agent.say("shown")
    reader, seen = room.greenroom.feeds.read(turn_id), []
    while not any(isinstance(entry.event, TextDelta) for entry in seen):
        seen += await reader.next()
    with pytest.raises(ActorCrashed):
        await session.ask(Rename(5))  # no title at all: a bug of whoever asks
    while batch := await reader.next():
        seen += batch
    assert agent.cancelled
    assert len(terminal(seen)) == 1
    assert seen[-1].event.kind == "interrupted"
    user, partial, marker = (await room.record()).messages
    assert (user["content"], partial["content"], marker["type"]) == ("go", "shown", "interrupted")
    _, agent = await room.start("next")
    assert [row["content"] for row in agent.asked.messages] == ["go", "shown", "next"]


@pytest.mark.parametrize(
    "garbage", [None, 5, {"text": "x"}, ToolStarted("c", "t", {"x": object()})]
)
async def test_an_agent_that_emits_garbage_fails_its_turn_and_no_more(room, garbage):
    async def agent(turn, emit):
        await emit(TextDelta("fine"))
        await emit(garbage)

    room.greenroom._shared.agent = agent
    session = await room.new()
    turn_id = (await session.ask(StartTurn("go"))).turn_id
    entries = await room.events(turn_id)
    assert entries[-1].event.kind == "error"
    assert [row["content"] for row in (await room.record()).messages][:2] == ["go", "fine"]
    assert all(cell.restarts == 0 for cell in room.greenroom.statistics().cells)


async def test_text_that_is_no_unicode_fails_its_turn_and_no_more(room):
    await room.new()
    turn_id, agent = await room.start("go")
    with pytest.raises(UnicodeEncodeError):
        await agent.say("\ud800")
    agent.finish()
    assert (await room.events(turn_id))[-1].event.kind == "no_response"


async def test_a_caller_that_gives_up_does_no_harm(room):
    session = await room.new()
    with trio.CancelScope() as scope:
        scope.cancel()
        await session.ask(StartTurn("never"))
    assert not (await room.record()).busy
    await room.start("fine")
    assert (await room.record()).pending_user_message == "fine"


async def test_a_task_in_the_background_is_no_news_for_other_tabs(room):
    session = await room.new(keep=True)
    seen = room.greenroom.notices.last
    await session.ask(StartSideTurn("aside", keep=True))
    assert room.greenroom.notices.last == seen
    (row,) = (await room.record()).background
    assert row["prompt"] == "aside"
