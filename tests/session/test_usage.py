"""What a turn has cost is always known: as its provider has counted, or estimated and marked."""

import pytest
from trio.testing import wait_all_tasks_blocked

from actors.session.agent import AgentError, ReasoningDelta, TextDelta, ToolStarted, Usage
from actors.session.context import estimated_tokens
from actors.session.entries import TurnCompressed, TurnDone
from actors.session.messages import CancelTurn, RemoveLastTurn, StartSideTurn

SAID = (ReasoningDelta("Let me see. "), TextDelta("half of it"), ToolStarted("c1", "look", {}))
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "look", "arguments": "{}"},
}
SENT = [{"content": "half of itLet me see. ", "tool_calls": [CALL]}]


def figures(record):
    return record.input_tokens, record.output_tokens, record.usage_estimated


def guess(agent, sent=SENT):
    return estimated_tokens(agent.asked.messages), estimated_tokens(sent), True


async def speaking(room, *events, prompt="a question of some length"):
    """A turn of which all this is shown."""
    turn_id, agent = await room.start(prompt)
    await agent.say(*events)
    await wait_all_tasks_blocked()
    return turn_id, agent


@pytest.mark.parametrize("said", [SAID, ()], ids=["in the middle", "before a word"])
async def test_a_stopped_turn_is_estimated_and_the_next_counted_one_is_not(room, said):
    session = await room.new()
    turn_id, agent = await speaking(room, *said)
    await session.ask(CancelTurn(turn_id))
    assert figures(await room.record()) == guess(agent, SENT if said else [])
    turn_id, agent = await speaking(room, "whole", Usage(70, 2))
    agent.finish()
    done = [e.event for e in await room.events(turn_id) if isinstance(e.event, TurnDone)]
    assert figures(await room.record()) == (70, 2, False)
    assert done[0].usage["estimated"] is False


async def test_a_provider_that_has_counted_is_believed_however_its_turn_ends(room, open_room):
    session = await room.new()
    for n, end in enumerate(("stopped", "failed", "cut off")):
        turn_id, agent = await speaking(room, *SAID, Usage(50 + n, 9, cost=n))
        if end == "stopped":
            await session.ask(CancelTurn(turn_id))
        elif end == "failed":
            agent.finish(AgentError("connection", "gone"))
            await room.events(turn_id)
        else:
            async with open_room(room.disk.crash()) as after:
                record = await after.record()
            assert (figures(record), record.estimated_cost) == ((50 + n, 9, False), n)
            return
        record = await room.record()
        assert (figures(record), record.estimated_cost) == ((50 + n, 9, False), n)


async def test_a_failure_is_estimated_if_it_came_after_something_was_shown(room):
    await room.new()
    turn_id, agent = await speaking(room)
    agent.finish(AgentError("connection", "no such host"))
    await room.events(turn_id)
    assert figures(await room.record()) == (0, 0, False)
    turn_id, agent = await speaking(room, *SAID)
    agent.finish(AgentError("connection", "gone"))
    await room.events(turn_id)
    assert figures(await room.record()) == guess(agent)
    turn_id, agent = await speaking(room, ReasoningDelta("Hm."))
    agent.finish()  # in silence, which is a failure too
    await room.events(turn_id)
    assert figures(await room.record()) == guess(agent, [{"content": "Hm."}])


async def test_a_whole_answer_of_a_provider_that_does_not_count_says_that_it_is_estimated(room):
    await room.new()
    turn_id, agent = await speaking(room, "whole")
    agent.finish()
    done = [e.event for e in await room.events(turn_id) if isinstance(e.event, TurnDone)]
    expected = guess(agent, [{"content": "whole"}])
    assert figures(await room.record()) == expected
    shown = done[0].usage
    assert (shown["input_tokens"], shown["output_tokens"], shown["estimated"]) == expected


async def test_a_turn_that_a_crash_cut_off_is_estimated_once_and_the_mark_outlives_the_next(
    room, open_room
):
    await room.new()
    _, agent = await speaking(room, *SAID)
    async with open_room(room.disk.crash()) as after:
        assert figures(await after.record()) == guess(agent)
        async with open_room(after.disk.crash()) as again:
            assert figures(await again.record()) == guess(agent)
            await again.session().ask(RemoveLastTurn())
            assert figures(await again.record()) == guess(agent)


async def test_shutting_down_estimates_what_it_stops(room):
    await room.new()
    _, agent = await speaking(room, *SAID)
    await room.greenroom.settle()
    assert figures(await room.record()) == guess(agent)


async def test_a_question_by_the_way_is_estimated_for_its_readers_and_leaves_no_trace(room):
    session = await room.new()
    accepted = await session.ask(StartSideTurn("by the way"))
    agent = await room.agent.next_turn()
    await agent.say("indeed")
    agent.finish()
    (done,) = [
        e.event for e in await room.events(accepted.turn_id) if isinstance(e.event, TurnDone)
    ]
    shown = done.usage
    expected = guess(agent, [{"content": "indeed"}])
    assert (shown["input_tokens"], shown["output_tokens"], shown["estimated"]) == expected
    assert figures(await room.record()) == (0, 0, False)


async def test_what_is_estimated_is_what_the_model_saw_after_its_context_was_shortened(open_room):
    async def summarise(turn, emit):
        await emit(TextDelta("all of it"))

    async with open_room(side_agent=summarise, context_tokens=200) as room:
        session = await room.new()
        for prompt in ("one", "two"):
            turn_id, agent = await speaking(room, "word " * 60, prompt=prompt)
            agent.finish()
            await room.events(turn_id)
        turn_id, agent = await speaking(room, "half", prompt="three")
        assert "all of it" in agent.asked.messages[0]["content"]
        await session.ask(CancelTurn(turn_id))
        entries = await room.events(turn_id)
        assert any(isinstance(entry.event, TurnCompressed) for entry in entries)
        assert figures(await room.record()) == guess(agent, [{"content": "half"}])
