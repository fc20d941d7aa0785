"""Remarks for an agent that works, and keys whose answers are needed again."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.session.agent import TextDelta
from actors.session.endings import cancelled, ending_of
from actors.session.entries import Steered, StreamEnded
from actors.session.events import Changed
from actors.session.messages import CancelTurn, GetSession, Once, Rename, StartTurn, Steer
from actors.session.operations import KEPT_SECONDS, MOST, answer_again, with_operation
from actors.session.record import Record
from actors.session.refusals import KeyReused, ShuttingDown, TurnRunning
from actors.stores import MemoryDisk
from tests.session.conftest import DATA_DIR


class Listener:
    """Takes up remarks when the test lets it, and says what it heard."""

    steerable = True

    def __init__(self):
        self.begun = []
        self.listen = trio.Event()
        self.finish = trio.Event()

    async def __call__(self, turn, emit):
        self.begun.append(turn.messages[-1]["content"])
        if len(self.begun) == 1:
            await emit(TextDelta("listening "))
            await self.listen.wait()
            for remark in await turn.remarks():
                await emit(TextDelta(f"heard {remark}"))
            await self.finish.wait()
        else:
            await emit(TextDelta("an answer"))


def said(record):
    return [(row["role"], row["content"]) for row in record.messages if not row.get("_error")]


async def idle(room, session):
    """The session when no turn runs and none waits."""
    while True:
        seen = room.greenroom.notices.last
        snapshot = await session.ask(GetSession())
        if not snapshot.running and not snapshot.record.waiting:
            return snapshot.record
        await room.greenroom.notices.after(seen)


async def test_a_remark_that_was_taken_up_is_a_row_where_it_was_said(open_room):
    agent = Listener()
    async with open_room(agent=agent) as room:
        session = await room.new()
        started = await session.ask(StartTurn("go"))
        steered = await session.ask(Steer("left"))
        assert steered.steered
        assert steered.turn_id == started.turn_id
        agent.listen.set()
        agent.finish.set()
        entries = await room.events(started.turn_id)
        assert sum(isinstance(entry.event, Steered) for entry in entries) == 1
        assert isinstance(entries[-1].event, StreamEnded)
        record = await idle(room, session)
        assert said(record) == [
            ("user", "go"),
            ("assistant", "listening "),
            ("user", "left"),
            ("assistant", "heard left"),
        ]
        assert agent.begun == ["go"]


async def test_a_remark_that_nobody_took_up_has_a_turn_of_its_own(open_room):
    agent = Listener()
    async with open_room(agent=agent) as room:
        session = await room.new()
        started = await session.ask(StartTurn("go"))
        await session.ask(Steer("left"))
        await session.ask(CancelTurn(started.turn_id))
        record = await idle(room, session)
        assert agent.begun == ["go", "left"]
        assert said(record)[-2:] == [("user", "left"), ("assistant", "an answer")]
        assert await session.ask(Steer("too late")) is None


@pytest.mark.parametrize("taken", [False, True])
async def test_a_crash_keeps_a_remark_once_whether_it_was_taken_up_or_not(open_room, taken):
    agent = Listener()
    async with open_room(MemoryDisk(), agent) as room:
        session = await room.new()
        await session.ask(StartTurn("go"))
        await session.ask(Steer("left"))
        if taken:
            agent.listen.set()
        await wait_all_tasks_blocked()
        disk = room.disk.crash()
    later = Listener()
    later.begun.append("the one before")
    async with open_room(disk, later) as room:
        record = await idle(room, room.session())
        assert [text for role, text in said(record) if role == "user"] == ["go", "left"]
        assert later.begun[1:] == ([] if taken else ["left"])


def test_a_key_is_kept_for_a_day_and_only_so_many():
    record, now = Record(session_id="a"), 1000.0
    for n in range(MOST + 50):
        once = Once(f"k{n}", "print", Rename("x"))
        record = with_operation(record, once, record, Changed({}, None), now + n)
    assert len(record.applied) == MOST
    assert f"k{MOST + 49}" in record.applied
    once = Once("late", "print", Rename("x"))
    later = with_operation(record, once, record, Changed({}, None), now + 2 * KEPT_SECONDS)
    assert list(later.applied) == ["late"]
    assert answer_again(later, once, False) is not None
    assert answer_again(later, Once("other", "print", Rename("x")), False) is None
    with pytest.raises(KeyReused):
        answer_again(later, Once("late", "another", Rename("x")), False)


async def test_what_waits_goes_before_what_comes_also_if_the_journal_is_lost(open_room):
    async with open_room(MemoryDisk(), Listener()) as room:
        session = await room.new()
        await session.ask(StartTurn("go"))
        await session.ask(StartTurn("waiting", if_busy="queue"))
        disk = room.disk.crash()
    for info in list(disk.scan(DATA_DIR / "journal")):
        disk.remove(DATA_DIR / "journal" / info.name)
    agent = Listener()
    async with open_room(disk, agent) as room:
        with pytest.raises(TurnRunning):
            await room.session().ask(StartTurn("a new one"))
        agent.listen.set()
        agent.finish.set()
        record = await idle(room, room.session())
        assert [text for role, text in said(record) if role == "user"] == ["go", "waiting"]


async def test_who_interrupts_as_the_server_ends_is_accepted_or_has_changed_nothing(
    open_room, autojump_clock
):
    """It was refused after the running turn had been stopped. Found by the fault suite."""
    async with open_room(MemoryDisk(latency=1.0)) as room:
        session = await room.new()
        await room.start("one")
        answers = []

        async def interrupt():
            answers.append(await session.ask(StartTurn("two", if_busy="interrupt")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            await trio.sleep(0.5)  # the turn is being stopped
            await room.greenroom.settle()
        assert answers[0].record.pending_user_message == "two"
        with pytest.raises(ShuttingDown):
            await session.ask(StartTurn("three", if_busy="interrupt"))


def test_the_stream_of_what_was_taken_back_says_so_also_after_a_crash():
    """It said that the server had stopped. Found by the fault suite."""
    assert ending_of(Record(session_id="s"), "turn", "s", ()) == (cancelled(),)
