"""The demo agent."""

import pytest

from actors.session.agent import (
    AgentError,
    AgentTurn,
    TextDelta,
    ToolCompleted,
    Usage,
    Verdict,
)
from app.agents.demo import DemoAgent


async def answer(prompt, choice="deny"):
    emitted = []

    async def emit(event):
        emitted.append(event)

    async def approve(call_id, tool, arguments, server=""):
        return Verdict(choice)

    messages = [{"role": "user", "content": prompt}]
    await DemoAgent()(AgentTurn("s", "t", messages, approve=approve), emit)
    return emitted


async def test_it_says_what_it_is_and_shows_every_kind_of_event(autojump_clock):
    emitted = await answer("hello there")
    assert "demo agent" in "".join(e.text for e in emitted if isinstance(e, TextDelta))
    assert [event.result for event in emitted if isinstance(event, ToolCompleted)] == ["2"]
    assert isinstance(emitted[-1], Usage)
    assert emitted == await answer("hello there")


async def test_words_try_what_can_go_wrong(autojump_clock):
    assert await answer("say nothing") == []
    with pytest.raises(AgentError):
        await answer("an error, please")
    assert len(await answer("a long one")) > 10 * len(await answer("a short one"))


@pytest.mark.parametrize(("choice", "counted"), [("once", "2"), ("deny", "You did not allow it.")])
async def test_it_asks_before_it_counts_if_it_is_told_to(autojump_clock, choice, counted):
    emitted = await answer("allow it", choice)
    assert [event.result for event in emitted if isinstance(event, ToolCompleted)] == [counted]
