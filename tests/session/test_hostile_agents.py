"""Agents are other people's code: whatever one does, its turn ends with a word on it, what was
shown is kept, the next turn works, and the other sessions do not notice.
"""

import asyncio

import pytest
import trio

from actors.session import agent_door
from actors.session.agent import (
    AgentError,
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
    Warned,
)
from actors.session.entries import StreamEnded, TurnCancelled, TurnFailed
from actors.session.messages import CancelTurn, CreateSession, StartSideTurn, StartTurn
from actors.session.record import Record
from actors.stores import MemoryDisk


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("not even that")


class Like(BaseException):
    """As KeyboardInterrupt is, but nobody's."""


FAILURES = [
    RuntimeError("plain"),
    Unprintable(),
    ValueError("\ud800 half a character"),
    ValueError("x" * 1_000_000),
    AgentError(None, 5, hint=["no", "text"], details={"a": float("nan")}),
    AgentError("rate_limit", "\udfff" * 3),
    MemoryError(),
    RecursionError(),
    StopAsyncIteration(),
    StopIteration(),
    GeneratorExit(),
    SystemExit(3),
    asyncio.CancelledError(),
    Like(),
    ExceptionGroup("several", [ValueError("a"), AgentError("timeout", "late")]),
    BaseExceptionGroup("several", [ValueError("a"), SystemExit(1), Like()]),
    trio.BusyResourceError(),
    trio.TooSlowError(),
]
PLACES = ["at once", "after a word", "in a child", "while it is stopped", "in a child when stopped"]


class Hostile:
    """Does what the test says, in the session `s1`; elsewhere it answers."""

    steerable = True

    def __init__(self, act):
        self.act = act

    async def __call__(self, turn, emit):
        if turn.session_id == "s1" and turn.messages[-1]["content"] == "go":
            await self.act(turn, emit)
        else:
            await emit(TextDelta("fine"))


async def ends(room, turn_id):
    """How the turn ended, and what was shown of it."""
    with trio.fail_after(60):
        events = [entry.event for entry in await room.events(turn_id)]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return events[-1], text


async def fine(room, key):
    started = await room.session(key).ask(StartTurn("and you?"))
    last, text = await ends(room, started.turn_id)
    assert isinstance(last, StreamEnded)
    assert text == "fine"


@pytest.fixture
def hostile(open_room):
    """Start a turn of such an agent; when the block ends, everything else must still work."""

    async def opened(act, stop=False, shown="", **options):
        async with open_room(agent=Hostile(act), **options) as room:
            session, _ = await room.new("s1"), await room.new("s2")
            started = await session.ask(StartTurn("go"))
            if stop:
                await trio.testing.wait_all_tasks_blocked()
                await session.ask(CancelTurn(started.turn_id))
            last, text = await ends(room, started.turn_id)
            assert text == shown
            rows = (await room.record()).messages
            assert [r["content"] for r in rows[:1] if shown] == (["go"] if shown else [])
            if shown:
                assert rows[1]["content"] == shown
            await fine(room, "s2")
            await trio.sleep(20)  # it may take its time to leave
            await fine(room, "s1")
            statistics = room.greenroom.statistics()
            assert sum(cell.restarts for cell in statistics.cells) == 0
            return last

    return opened


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
async def test_whatever_it_raises_wherever_is_a_failed_turn(
    autojump_clock, hostile, failure, place
):
    async def fail():
        await trio.lowlevel.checkpoint()
        raise failure

    async def act(turn, emit):
        if place == "at once":
            raise failure
        await emit(TextDelta("half"))
        if place == "in a child":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                await trio.sleep_forever()
        try:
            if "stopped" in place:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(waits_then_fails if "child" in place else trio.sleep_forever)
                    await trio.sleep_forever()
        finally:
            raise failure

    async def waits_then_fails():
        try:
            await trio.sleep_forever()
        finally:
            raise failure

    stop = "stopped" in place
    last = await hostile(act, stop, "" if place == "at once" else "half")
    assert isinstance(last, TurnCancelled if stop else TurnFailed)
    if not stop:
        assert last.message.strip()
        assert len(last.message) < 10_000


@pytest.mark.parametrize(
    "junk",
    [
        None,
        "text",
        b"bytes",
        5,
        object(),
        TextDelta,
        TextDelta(5),
        TextDelta(None),
        TextDelta("\ud800"),
        TextDelta(["a"]),
        ReasoningDelta(b"x"),
        Usage(input_tokens=float("nan")),
        Usage(input_tokens="many"),
        Usage(output_tokens=10**30000),
        ToolStarted(5, "name"),
        ToolStarted("c", "name", [1]),
        ToolStarted("c", "name", {"a": object()}),
        ToolStarted("c", "name", {1j: 1}),
        ToolCompleted("c", object()),
        ToolCompleted("c", "x", "maybe"),
        Warned(None, None),
        StreamEnded("s1"),
        TurnCancelled("never mind"),
    ],
    ids=lambda junk: type(junk).__name__,
)
async def test_what_is_no_event_is_refused_where_it_was_emitted(autojump_clock, hostile, junk):
    refused = []

    async def act(turn, emit):
        await emit(TextDelta("half"))
        try:
            await emit(junk)
        except Exception as error:
            refused.append(error)
            raise

    last = await hostile(act, shown="half")
    assert len(refused) == 1
    assert isinstance(last, TurnFailed)


@pytest.mark.parametrize(
    "junk",
    [
        (5, "name", {}),
        ("c", None, {}),
        ("c", "name", {"a": object()}),
        ("c", "name", {}, 5),
        ("c", "name", {}, "\ud800"),
    ],
)
async def test_what_nobody_can_be_asked_is_refused_where_it_was(autojump_clock, hostile, junk):
    async def act(turn, emit):
        await emit(TextDelta("half"))
        await turn.approve(*junk)

    assert isinstance(await hostile(act, shown="half"), TurnFailed)


async def test_what_it_was_given_is_a_copy_and_what_it_gave_is_one_too(
    autojump_clock, hostile, open_room
):
    parts = [{"type": "text", "text": "old"}]
    arguments = {"a": [1]}

    async def act(turn, emit):
        for row in turn.messages:
            if isinstance(row["content"], list):
                row["content"][0]["text"] = "forged"
                row["content"].clear()
            row["role"] = "system"
        turn.messages.clear()
        await emit(ToolStarted("c", "look", arguments))
        arguments["a"].append(arguments)
        await emit(TextDelta("done"))

    async with open_room(agent=Hostile(act)) as room:
        session = room.session()
        rows = ({"role": "user", "content": parts}, {"role": "assistant", "content": "yes"})
        await session.ask(CreateSession(Record(session_id="", messages=rows), keep=True))
        started = await session.ask(StartTurn("go"))
        last, _ = await ends(room, started.turn_id)
        assert isinstance(last, StreamEnded)
        kept = (await room.record()).messages
        assert kept[0] == {"role": "user", "content": [{"type": "text", "text": "old"}]}
        assert kept[2]["role"] == "user"
        assert kept[3]["tool_calls"][0]["function"]["arguments"] == '{"a":[1]}'


async def test_an_answer_without_end_is_stopped_and_kept(autojump_clock, hostile, monkeypatch):
    monkeypatch.setattr(agent_door.Emitted.__init__, "__defaults__", (10_000,))

    async def act(turn, emit):
        while True:
            await emit(TextDelta("x"))

    last = await hostile(act, shown="x" * (10_000 // len('["text","x"]')))
    assert "without end" in last.message


async def test_one_that_goes_on_after_its_answer_is_not_heard(autojump_clock, hostile):
    late = []

    async def act(turn, emit):
        async def more():
            for n in range(1000):
                await trio.sleep(0.01)
                await emit(TextDelta(f"late {n}"))
                late.append(n)

        nursery.start_soon(more)
        await emit(TextDelta("whole"))

    async with trio.open_nursery() as nursery:
        assert isinstance(await hostile(act, shown="whole"), StreamEnded)
        assert late
        nursery.cancel_scope.cancel()


async def test_one_that_swallows_its_cancellation_leaves_no_trace(autojump_clock, hostile):
    async def act(turn, emit):
        await emit(TextDelta("half"))
        with pytest.raises(trio.Cancelled):
            await trio.sleep_forever()
        with pytest.raises(trio.Cancelled):
            await emit(TextDelta("not heard"))

    assert isinstance(await hostile(act, stop=True, shown="half"), TurnCancelled)


async def test_one_that_shields_itself_keeps_only_its_own_session_waiting(autojump_clock, hostile):
    async def act(turn, emit):
        await emit(TextDelta("half"))
        with trio.CancelScope(shield=True):
            await trio.sleep(15)
            await emit(TextDelta("not heard"))

    assert isinstance(await hostile(act, stop=True, shown="half"), TurnCancelled)


@pytest.mark.parametrize("answer", [None, 5, b"x", object()], ids=lambda each: type(each).__name__)
async def test_what_it_returns_is_nobodys_business(autojump_clock, hostile, answer):
    async def act(turn, emit):
        await emit(TextDelta("whole"))
        return answer

    assert isinstance(await hostile(act, shown="whole"), StreamEnded)


async def test_a_function_that_is_no_agent_is_a_failed_turn(open_room):
    async with open_room(agent=lambda turn, emit: None) as room:
        session = await room.new()
        started = await session.ask(StartTurn("go"))
        last, _ = await ends(room, started.turn_id)
        assert isinstance(last, TurnFailed)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
async def test_a_title_or_a_side_question_is_never_worth_a_session(open_room, failure):
    async def agent(turn, emit):
        if turn.purpose == "answer" and turn.messages[-1]["content"] != "aside":
            await emit(TextDelta("fine"))
        else:
            raise failure

    async with open_room(agent=agent, side_agent=agent) as room:
        session = await room.new()
        await fine(room, "s1")
        aside = await session.ask(StartSideTurn("aside"))
        last, _ = await ends(room, aside.turn_id)
        assert isinstance(last, TurnFailed)
        await fine(room, "s1")


async def test_large_events_wait_for_the_disk_one_at_a_time(open_room, autojump_clock):
    """A mailbox counts messages: without a bound of their own, a thousand of these lie in it."""

    async def agent(turn, emit):
        for _ in range(12):
            await emit(TextDelta("x" * 1_000_000))

    async with open_room(MemoryDisk(latency=1), agent=agent) as room:
        session = await room.new()
        started = await session.ask(StartTurn("go"))
        last, text = await ends(room, started.turn_id)
        (cell,) = (c for c in room.greenroom.statistics().cells if c.address == "session/s1")
    assert isinstance(last, StreamEnded)
    assert len(text) == 12_000_000
    assert cell.high_water < 10
