"""Tool calls that somebody must allow: asked, answered exactly once, and true after a crash."""

from contextlib import asynccontextmanager

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from actors.session.agent import TextDelta, ToolCompleted, ToolStarted
from actors.session.approvals import open_approvals
from actors.session.dumping import dump
from actors.session.entries import ApprovalAsked, ApprovalEnded, StreamEnded, TurnCancelled
from actors.session.messages import (
    AnswerApproval,
    CancelTurn,
    Clear,
    CreateSession,
    Once,
    RevokeGrant,
    StartSideTurn,
    StartTurn,
)
from actors.session.record import Record
from actors.session.refusals import ApprovalClosed, ApprovalNotFound, StorageFailed
from actors.stores import MemoryDisk
from actors.testing.faulty_disk import FaultyDisk
from tests.session.conftest import SESSIONS

PATH = {"path": "/tmp/x"}


class Remover:
    """An agent that wants to remove a file in each turn, and counts how often it has."""

    def __init__(self):
        self.verdicts = []
        self.runs = 0

    async def __call__(self, turn, emit):
        verdict = await turn.approve("c1", "remove", PATH)
        self.verdicts.append(verdict.choice)
        if verdict.allowed:
            await emit(ToolStarted("c1", "remove", PATH))
            self.runs += 1
            await emit(ToolCompleted("c1", "gone"))
        await emit(TextDelta(f"It came to {verdict.choice}."))


@pytest.fixture
async def asked(open_room):
    """A room whose agent has asked, and what for."""
    async with open_room(agent=Remover()) as room:
        yield room, await ask(room)


async def ask(room, prompt="Remove it"):
    """Start a turn; what it asks for, once that is shown."""
    if "s1.json" not in room.files():
        await room.new(keep=True)
    accepted = await room.session().ask(StartTurn(prompt))
    await wait_all_tasks_blocked(0.01)
    (row,) = open_approvals(await room.record())
    assert row["turn_id"] == accepted.turn_id
    return row


async def finished(room, row):
    return [entry.event for entry in await room.events(row["turn_id"])]


async def test_the_agent_waits_until_the_call_is_allowed(asked):
    room, row = asked
    assert (row["tool"], row["arguments"]) == ("remove", PATH)
    assert row["expires_at"] == row["asked_at"] + 600
    assert room.agent.verdicts == []
    await room.session().ask(AnswerApproval(row["id"], "once"))
    events = await finished(room, row)
    assert ApprovalAsked(row["id"], "c1", "remove", PATH, row["expires_at"]) in events
    assert events.index(ApprovalEnded(row["id"], "once")) < events.index(
        ToolStarted("c1", "remove", PATH)
    )
    assert isinstance(events[-1], StreamEnded)
    record = await room.record()
    assert open_approvals(record) == ()
    assert [r["choice"] for r in record.approvals] == ["once"]
    assert "arguments" not in record.approvals[0]  # the transcript has them
    assert record.grants == ()


@pytest.mark.parametrize("first", ["once", "session", "deny"])
async def test_only_the_first_answer_counts_and_the_second_is_told_what_it_was(asked, first):
    room, row = asked
    await room.session().ask(AnswerApproval(row["id"], first))
    await finished(room, row)
    before = await room.record()
    for second in ("once", "session", "deny"):
        with pytest.raises(ApprovalClosed) as refusal:
            await room.session().ask(AnswerApproval(row["id"], second))
        assert refusal.value.choice == first
    assert await room.record() == before
    assert room.agent.verdicts == [first]
    assert room.agent.runs == (first != "deny")


async def test_two_answers_at_once_are_one_answer_and_one_refusal(asked):
    room, row = asked
    results = []

    async def answer(choice):
        try:
            await room.session().ask(AnswerApproval(row["id"], choice))
            results.append(choice)
        except ApprovalClosed as closed:
            results.append(f"no, {closed.choice}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, "deny")
        nursery.start_soon(answer, "once")
    await finished(room, row)
    won = next(result for result in results if not result.startswith("no"))
    assert sorted(results) == sorted([won, f"no, {won}"])
    assert room.agent.verdicts == [won]


async def test_what_nobody_asked_for_cannot_be_answered(asked):
    room, _ = asked
    before = await room.record()
    with pytest.raises(ApprovalNotFound):
        await room.session().ask(AnswerApproval("no such", "once"))
    assert await room.record() == before


async def test_a_tool_allowed_for_the_session_is_asked_for_again_once_that_is_taken_back(
    asked, open_room
):
    room, row = asked
    await room.session().ask(AnswerApproval(row["id"], "session"))
    await finished(room, row)
    async with open_room(room.disk.crash(), agent=Remover()) as after:
        assert [grant["tool"] for grant in (await after.record()).grants] == ["remove"]
        accepted = await after.session().ask(StartTurn("And again"))
        await after.events(accepted.turn_id)
        assert after.agent.verdicts == ["session"]
        await after.session().ask(RevokeGrant("remove"))
        assert (await after.record()).grants == ()
        assert (await ask(after))["tool"] == "remove"


async def test_a_tool_allowed_for_the_session_is_allowed_for_all_calls_that_wait(open_room):
    choices = {}

    async def agent(turn, emit):
        async def call(call_id, tool, server=""):
            choices[call_id] = (await turn.approve(call_id, tool, {}, server)).choice

        async with trio.open_nursery() as nursery:
            for asked in (("a", "remove"), ("b", "remove"), ("c", "other"), ("d", "remove", "x")):
                nursery.start_soon(call, *asked)
        await emit(TextDelta("done"))

    async with open_room(agent=agent) as room:
        session = await room.new(keep=True)
        accepted = await session.ask(StartTurn("go"))
        await wait_all_tasks_blocked(0.01)
        rows = {row["call_id"]: row for row in open_approvals(await room.record())}
        await session.ask(AnswerApproval(rows["a"]["id"], "session"))
        left = open_approvals(await room.record())
        assert {row["call_id"] for row in left} == {"c", "d"}
        with pytest.raises(ApprovalClosed):
            await session.ask(AnswerApproval(rows["b"]["id"], "deny"))
        await session.ask(AnswerApproval(rows["c"]["id"], "deny"))
        await session.ask(AnswerApproval(rows["d"]["id"], "deny"))
        events = [entry.event for entry in await room.events(accepted.turn_id)]
    assert choices == {"a": "session", "b": "session", "c": "deny", "d": "deny"}
    assert sum(isinstance(event, ApprovalEnded) for event in events) == 4


async def test_what_is_allowed_of_one_server_is_not_allowed_of_another(open_room):
    server, choices = "one", []

    async def agent(turn, emit):
        choices.append((await turn.approve("c1", "remove", PATH, server)).choice)
        await emit(TextDelta("done"))

    async with open_room(agent=agent) as room:
        row = await ask(room)
        await room.session().ask(AnswerApproval(row["id"], "session"))
        await finished(room, row)
        again = await room.session().ask(StartTurn("And again"))
        await room.events(again.turn_id)
        assert choices == ["session", "session"]
        server = "two"
        row = await ask(room)
        await room.session().ask(AnswerApproval(row["id"], "session"))
        await finished(room, row)
        assert [g["server"] for g in (await room.record()).grants] == ["one", "two"]
        await room.session().ask(RevokeGrant("remove"))
        assert (await room.record()).grants == ()


async def test_a_grant_from_when_tools_went_by_their_names_is_read_and_asked_for_again(open_room):
    async with open_room(agent=Remover()) as room:
        await room.new(keep=True)
        old = replace(await room.record(), grants=({"tool": "remove", "at": 1.0},))
    room.disk.remove(SESSIONS / "s1.json")
    room.disk.create(SESSIONS / "s1.json", dump(old))
    async with open_room(room.disk, agent=Remover()) as after:
        assert (await after.record()).grants == old.grants
        row = await ask(after)
        await after.session().ask(AnswerApproval(row["id"], "session"))
        await finished(after, row)
        assert [g.get("server") for g in (await after.record()).grants] == [None, ""]


async def test_a_grant_taken_back_while_the_turn_runs_stays_taken_back(asked, open_room):
    room, row = asked
    await room.session().ask(AnswerApproval(row["id"], "session"))
    await room.session().ask(RevokeGrant("remove"))
    await finished(room, row)
    async with open_room(room.disk.crash(), agent=Remover()) as after:
        assert (await after.record()).grants == ()


async def test_what_nobody_answers_is_denied_in_time(open_room, autojump_clock):
    async with open_room(agent=Remover(), approval_seconds=60.0) as room:
        await room.new(keep=True)
        began = trio.current_time()
        accepted = await room.session().ask(StartTurn("Remove it"))
        events = [entry.event for entry in await room.events(accepted.turn_id)]
        assert trio.current_time() - began == pytest.approx(60, abs=1)
        (row,) = (await room.record()).approvals
        assert row["choice"] == "expired"
        assert ApprovalEnded(row["id"], "expired") in events
        assert room.agent.verdicts == ["expired"]
        with pytest.raises(ApprovalClosed) as late:
            await room.session().ask(AnswerApproval(row["id"], "once"))
        assert late.value.choice == "expired"


async def test_a_stopped_turn_closes_what_it_had_asked_for(asked):
    room, row = asked
    assert await room.session().ask(CancelTurn(row["turn_id"]))
    assert isinstance((await finished(room, row))[-1], TurnCancelled)
    record = await room.record()
    assert [r["choice"] for r in record.approvals] == ["cancelled"]
    (card,) = record.messages[1]["_partial_tool_calls"]
    assert card["not_run"]
    assert "nobody had allowed it" in card["snippet"]
    with pytest.raises(ApprovalClosed) as late:
        await room.session().ask(AnswerApproval(row["id"], "once"))
    assert late.value.choice == "cancelled"
    assert room.agent.runs == 0


async def test_clearing_forgets_what_was_asked_for(asked):
    room, row = asked
    await room.session().ask(Clear())
    assert (await room.record()).approvals == ()
    with pytest.raises(ApprovalNotFound):
        await room.session().ask(AnswerApproval(row["id"], "once"))


async def test_nobody_is_asked_beside_the_conversation(open_room):
    async with open_room(agent=Remover()) as room:
        await room.new(keep=True)
        accepted = await room.session().ask(StartSideTurn("By the way, remove it"))
        await room.events(accepted.turn_id)
        assert room.agent.verdicts == ["unasked"]
        assert (await room.record()).approvals == ()


async def test_a_copy_of_the_session_may_do_nothing_that_was_allowed_there(asked):
    from actors.session.copies import branch_of, duplicate_of

    room, row = asked
    await room.session().ask(AnswerApproval(row["id"], "session"))
    await finished(room, row)
    record = await room.record()
    for copied in (duplicate_of(record), branch_of(record, None, None)):
        assert (copied.grants, copied.approvals) == ((), ())


async def test_the_same_answer_under_the_same_key_is_answered_alike_after_a_crash(asked, open_room):
    room, row = asked
    once = Once("key", "fingerprint", AnswerApproval(row["id"], "deny"))
    await room.session().ask(once)
    async with open_room(room.disk.crash(), agent=Remover()) as after:
        await after.session().ask(once)
        with pytest.raises(ApprovalClosed):
            await after.session().ask(AnswerApproval(row["id"], "deny"))


async def test_a_full_disk_asks_nobody_and_accepts_no_answer(open_room):
    full = False
    disk = FaultyDisk(MemoryDisk(), lambda number, name: full and name == "create")
    async with open_room(disk, agent=Remover()) as room:
        row = await ask(room)
        full = True
        with pytest.raises(StorageFailed):
            await room.session().ask(AnswerApproval(row["id"], "once"))
        assert open_approvals(await room.record())
        assert room.agent.verdicts == []
        full = False
        await room.session().ask(AnswerApproval(row["id"], "deny"))
        assert (await finished(room, row))[-1]
    assert room.agent.verdicts == ["deny"]


# -- the power is cut ------------------------------------------------------------------------------


class Cuts:
    """What a power cut would leave at each step of the disk, and what was true by then."""

    def __init__(self):
        self.disk = MemoryDisk()
        self.agent = Remover()
        self.answered = False
        self.cuts = []

    def look(self, number, name):
        self.cuts.append((self.disk.crash(), self.answered, self.agent.runs))
        return False


@pytest.mark.parametrize("choice", ["once", "session", "deny"])
async def test_wherever_the_power_is_cut_the_record_tells_what_was_done(open_room, choice):
    watch = Cuts()
    async with open_room(FaultyDisk(watch.disk, watch.look), agent=watch.agent) as room:
        row = await ask(room)
        await room.session().ask(AnswerApproval(row["id"], choice))
        watch.answered = True
        await finished(room, row)
    told = set()
    for disk, was_answered, runs in watch.cuts:
        told.add(await check_cut(open_room, disk, row, choice, was_answered, runs))
    assert "interrupted" in told, told  # between request and answer
    assert choice in told, told
    assert "nothing" in told, told  # before it was asked


async def check_cut(open_room, disk, row, choice, was_answered, runs):
    async with open_room(disk, agent=Remover()) as after:
        if "s1.json" not in after.files():
            return "nothing"
        record = await after.record()
        assert not record.busy
        assert open_approvals(record) == ()
        await wait_all_tasks_blocked()
        assert after.agent.verdicts == [], "nothing goes on by itself"
        if not record.approvals:
            assert not was_answered
            assert runs == 0
            return "nothing"
        (closed,) = record.approvals
        if was_answered:
            assert closed["choice"] == choice
        assert closed["choice"] in (choice, "interrupted")
        granted = [grant["tool"] for grant in record.grants]
        assert granted == (["remove"] if closed["choice"] == "session" else [])
        with pytest.raises(ApprovalClosed) as late:
            await after.session().ask(AnswerApproval(row["id"], "once"))
        assert late.value.choice == closed["choice"]
        check_told(record, closed, runs)
        return closed["choice"]


def check_told(record, closed, runs):
    """What was run is never told as not run."""
    partial = next((r for r in record.messages if r.get("_partial")), None)
    if partial is None:
        return
    cards = partial.get("_partial_tool_calls", [])
    if closed["choice"] == "deny":
        assert runs == 0
    (card,) = cards or [{}]
    if runs:
        assert not card.get("not_run")
    elif card.get("not_run"):
        words = {"interrupted": "nobody had allowed", "deny": "denied"}
        assert words.get(closed["choice"], "allowed, but not run") in card["snippet"]
    else:
        assert card == {} or card.get("done") is False or closed["choice"] == "deny"


async def test_a_tool_that_was_begun_is_on_disk_before_it_runs(open_room):
    """The window that matters most: it runs, and the power is cut."""
    disk = MemoryDisk()
    left = []

    async def agent(turn, emit):
        await emit(ToolStarted("c1", "remove", PATH))
        left.append(disk.crash())
        await emit(TextDelta("done"))

    async with open_room(disk, agent=agent) as room:
        session = await room.new(keep=True)
        await room.events((await session.ask(StartTurn("go"))).turn_id)
    async with open_room(left[0], agent=agent) as after:
        (card,) = (await after.record()).messages[1]["_partial_tool_calls"]
    assert (card["tid"], card["done"], card.get("not_run")) == ("c1", False, None)


# -- what an agent keeps ---------------------------------------------------------------------------


class Keeper:
    """An agent that keeps one thing open."""

    def __init__(self):
        self.story = []
        self.fails = 0

    @asynccontextmanager
    async def open(self):
        if self.fails:
            self.fails -= 1
            raise OSError("it does not start")
        self.story.append("open")
        try:
            yield self
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            self.story.append("closed")

    async def __call__(self, turn, emit):
        assert await turn.keep("thing", self.open) is self
        self.story.append("turn")
        await emit(TextDelta("ok"))


async def test_what_an_agent_keeps_is_opened_once_and_closed_with_the_session(
    open_room, autojump_clock
):
    async with open_room(agent=Keeper()) as room:
        session = await room.new(keep=True)
        for prompt in ("one", "two"):
            await room.events((await session.ask(StartTurn(prompt))).turn_id)
        assert room.agent.story == ["open", "turn", "turn"]
        await trio.sleep(1000)  # it is put away
        assert room.agent.story == ["open", "turn", "turn", "closed"]
        await room.events((await session.ask(StartTurn("three"))).turn_id)
    assert room.agent.story == ["open", "turn", "turn", "closed", "open", "turn", "closed"]


async def test_what_could_not_be_opened_is_tried_again_by_the_next_turn(open_room):
    async with open_room(agent=Keeper()) as room:
        room.agent.fails = 1
        session = await room.new(keep=True)
        await room.events((await session.ask(StartTurn("one"))).turn_id)
        assert "it does not start" in (await room.record()).messages[-1]["content"]
        await room.events((await session.ask(StartTurn("two"))).turn_id)
        assert room.agent.story == ["open", "turn"]


async def test_each_session_has_its_own(open_room):
    async with open_room(agent=Keeper()) as room:
        for key in ("s1", "s2"):
            await room.session(key).ask(CreateSession(Record(session_id=""), True))
            turn_id = (await room.session(key).ask(StartTurn("go"))).turn_id
            await room.events(turn_id)
        assert room.agent.story == ["open", "turn", "open", "turn"]
