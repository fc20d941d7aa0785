"""Stop is a guarantee: also towards an agent that does not want to, and at any instant."""

import random
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.greenroom import open_greenroom
from actors.session.agent import (
    AgentError,
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
)
from actors.session.context import estimated_tokens
from actors.session.messages import CancelTurn, StartTurn
from actors.session.refusals import SessionBusy
from actors.session.turns import STOP_SECONDS
from actors.stores import MemoryDisk
from app.views import event_of
from tests.app.client import Event
from tests.faults.stop import run
from tests.faults.stop_checks import check_stopped, check_usage, check_whole, shown_by
from tests.session.conftest import DATA_DIR, Room

CANCELS = 60


@pytest.mark.process
async def test_cancels_at_random_times_keep_the_promise(tmp_path):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    trial = await run(CANCELS, seed, tmp_path / "data")
    assert not trial.violations, trial.report()
    assert sum(trial.phases.values()) == CANCELS


# -- agents that do not take it well ------------------------------------------------------------

GHOSTS = (
    TextDelta("ghost"),
    ReasoningDelta("ghost"),
    ToolStarted("g", "ghost"),
    ToolCompleted("g", "ghost"),
    Usage(6666, 6666),
)


async def haunt(emit, seconds):
    """Go on as if nothing had been, until somebody makes it stop."""
    with trio.CancelScope(shield=True), suppress(trio.BrokenResourceError):
        for _ in range(seconds):
            await trio.sleep(1)
            for ghost in GHOSTS:
                await emit(ghost)


async def takes_its_time(emit):
    try:
        await trio.sleep_forever()
    finally:
        await haunt(emit, 3)


async def never_heard_of_it(emit):
    with suppress(trio.Cancelled):
        await trio.sleep_forever()
    await haunt(emit, 30)


async def answers_all_the_same(emit):
    with suppress(trio.Cancelled):
        await trio.sleep_forever()
    await haunt(emit, 1)


async def fails_on_the_way_out(emit):
    with suppress(trio.Cancelled):
        await trio.sleep_forever()
    raise AgentError("rate_limit", "ghost")


async def fails_long_after(emit):
    with suppress(trio.Cancelled):
        await trio.sleep_forever()
    await haunt(emit, 20)
    raise ValueError("ghost")


async def fails_in_a_task_of_its_own(emit):
    async def task():
        with suppress(trio.Cancelled):
            await trio.sleep_forever()
        await haunt(emit, 2)
        raise ValueError("ghost")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        nursery.start_soon(trio.sleep_forever)


# How long each of them makes whoever stops it wait.
BAD = {
    takes_its_time: 3.0,
    never_heard_of_it: STOP_SECONDS,
    answers_all_the_same: 1.0,
    fails_on_the_way_out: 0.0,
    fails_long_after: STOP_SECONDS,
    fails_in_a_task_of_its_own: 2.0,
}


class Possessed:
    """Answers the first prompt in a bad way; any other well, while ghosts may be about."""

    def __init__(self, bad):
        self._bad = bad

    async def __call__(self, turn, emit):
        if turn.messages[-1]["content"] == "first":
            await emit(ReasoningDelta("a thought"))
            await emit(TextDelta("shown"))
            await self._bad(emit)
        else:
            await trio.sleep(10)
            await emit(TextDelta("fresh"))
            await emit(Usage(70, 7))


@asynccontextmanager
async def room_of(agent, disk=None):
    disk = disk or MemoryDisk()
    async with open_greenroom(
        DATA_DIR, agent, disk=disk, clock=lambda: 1_000_000.0 + trio.current_time()
    ) as greenroom:
        yield Room(greenroom, disk, agent)


async def told(room, turn_id):
    """The whole stream, as it goes out."""
    entries = await room.events(turn_id)
    return [Event(f"{turn_id}:{entry.seq}", *event_of(entry.event)) for entry in entries]


def session_of(record):
    names = ("input_tokens", "output_tokens", "usage_estimated")
    return {name: getattr(record, name) for name in names}


async def check_successor(room, accepted, old, before):
    """It is answered, and neither it nor the stopped turn is changed by what was said since."""
    events, record = before
    assert await room.session().ask(CancelTurn(old)) is False
    shown = shown_by(accepted.turn_id, await told(room, accepted.turn_id))
    assert (shown.text, shown.reasoning, shown.calls) == ("fresh", "", [])
    assert shown.names[-1] == "stream_end"
    after = await room.record()
    assert after.messages[: len(record.messages)] == record.messages
    check_whole(list(after.messages[len(record.messages) :]), "next", shown)
    assert session_of(after) == {
        "input_tokens": 70,
        "output_tokens": 7,
        "usage_estimated": False,
    }
    assert await told(room, old) == events
    async with room_of(room.agent, room.disk.crash()) as again:
        assert await again.record() == after
        assert await told(again, old) == events


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__.replace("_", " "))
async def test_what_an_agent_says_after_its_stop_reaches_neither_feed_nor_disk_nor_successor(
    autojump_clock, bad
):
    async with room_of(Possessed(bad)) as room:
        session = await room.new()
        old = (await session.ask(StartTurn("first"))).turn_id
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert await session.ask(CancelTurn(old)) is True
        last = room.greenroom.feeds.last_seq(old)
        assert trio.current_time() - began == pytest.approx(BAD[bad])
        events, record = await told(room, old), await room.record()
        shown = shown_by(old, events)
        assert last == len(events)
        assert (shown.text, shown.reasoning, shown.names[-1]) == ("shown", "a thought", "cancel")
        check_stopped(list(record.messages), "first", shown)
        check_usage(session_of(record), shown, None)
        if BAD[bad] == STOP_SECONDS:
            with pytest.raises(SessionBusy):
                await session.ask(StartTurn("too early"))
            async with room_of(room.agent, room.disk.crash()) as now:
                assert await now.record() == record
            await trio.sleep(60)
        accepted = await session.ask(StartTurn("next"))
        await check_successor(room, accepted, old, (events, record))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__.replace("_", " "))
@pytest.mark.parametrize("way", ["it waits", "it interrupts"])
async def test_a_successor_that_is_there_already_is_not_ended_by_the_end_of_the_one_before(
    autojump_clock, bad, way
):
    async with room_of(Possessed(bad)) as room:
        session = await room.new()
        old = (await session.ask(StartTurn("first"))).turn_id
        await wait_all_tasks_blocked()
        if way == "it waits":
            accepted = await session.ask(StartTurn("next", if_busy="queue"))
            assert await session.ask(CancelTurn(old)) is True
        elif BAD[bad] < STOP_SECONDS:
            accepted = await session.ask(StartTurn("next", if_busy="interrupt"))
        else:
            with pytest.raises(SessionBusy):
                await session.ask(StartTurn("next", if_busy="interrupt"))
            await trio.sleep(60)
            accepted = await session.ask(StartTurn("next"))
        events, record = await told(room, old), await room.record()
        check_stopped(list(record.messages), "first", shown_by(old, events))
        await check_successor(room, accepted, old, (events, record))


async def test_whoever_keeps_the_way_to_speak_speaks_to_nobody(autojump_clock):
    kept = []

    async def keep(emit):
        kept.append(emit)
        await trio.sleep_forever()

    async with room_of(Possessed(keep)) as room, trio.open_nursery() as outside:
        session = await room.new()
        old = (await session.ask(StartTurn("first"))).turn_id
        await wait_all_tasks_blocked()
        outside.start_soon(haunt, kept[0], 30)
        assert await session.ask(CancelTurn(old)) is True
        before = await told(room, old), await room.record()
        check_stopped(list(before[1].messages), "first", shown_by(old, before[0]))
        accepted = await session.ask(StartTurn("next"))
        await check_successor(room, accepted, old, before)


# -- any instant --------------------------------------------------------------------------------

STEPS = (
    ReasoningDelta("hm "),
    TextDelta("one "),
    ToolStarted("c1", "look", {"at": "it"}),
    ToolStarted("c2", "look", {}),
    ToolCompleted("c1", "seen"),
    ToolCompleted("c2", "lost", True),
    Usage(50, 5),
    TextDelta("two"),
)


async def step_by_step(turn, emit):
    for step in STEPS:
        await trio.sleep(1)
        await emit(step)
    await trio.sleep(1)


@pytest.mark.parametrize("step", range(len(STEPS) + 2))
async def test_a_cancel_at_the_instant_of_any_step_keeps_all_that_was_shown_and_no_more(
    autojump_clock, step
):
    ends = set()
    for turns_later in range(12):  # of the scheduler: before the step, within it, and after it
        async with room_of(step_by_step) as room:
            session = await room.new()
            turn_id = (await session.ask(StartTurn("first"))).turn_id
            await trio.sleep(step)
            for _ in range(turns_later):
                await trio.lowlevel.checkpoint()
            stopped = await session.ask(CancelTurn(turn_id))
            last = room.greenroom.feeds.last_seq(turn_id)
            events, record = await told(room, turn_id), await room.record()
            shown = shown_by(turn_id, events)
            assert stopped == (shown.names[-1] == "cancel") == ("done" not in shown.names)
            assert last == len(events) or not stopped
            (check_stopped if stopped else check_whole)(list(record.messages), "first", shown)
            check_usage(session_of(record), shown, None)
            if shown.usage is None:
                asked = [{"role": "user", "content": "first"}]
                assert record.input_tokens == estimated_tokens(asked)
            async with room_of(step_by_step, room.disk.crash()) as again:
                assert await again.record() == record
                assert await told(again, turn_id) == events
            ends.add((stopped, len(shown.names)))
    assert len(ends) > 1 or step == 0
