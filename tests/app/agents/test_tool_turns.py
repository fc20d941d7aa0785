"""The openai agent with tools: what the model is told of each call, whatever becomes of it."""

from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import trio
from trio.testing import Sequencer

from actors.session.agent import (
    AgentError,
    AgentTurn,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
    Verdict,
    Warned,
)
from app.agents.openai import ROUNDS, OpenAIAgent, open_client
from app.agents.tool_round import MOST_CALLS
from app.tools.config import ToolServer
from app.tools.results import LONGEST, Outcome
from app.tools.toolbox import Toolbox
from tests.app.upstream import open_upstream


class Source:
    """A server whose tools are functions of the test."""

    def __init__(self, approval="allow", problem=None, **tools):
        self.server = ToolServer(name="s", command="x", approval=approval)
        self.functions = tools
        self.tools = [
            SimpleNamespace(name=name, description=name, input_schema={"type": "object"})
            for name in tools
        ]
        self.problem = problem

    async def ready(self):
        return True

    async def call(self, tool, arguments):
        return await self.functions[tool](**arguments)


async def echo(text="nothing"):
    return Outcome(f"echo {text}")


class Talk:
    """A turn of the agent, and the model's end of it."""

    def __init__(self, upstream, nursery):
        self.emitted = []
        self.asked = []
        self.error = None
        self.verdict = Verdict("once")
        self.over = trio.Event()
        self._upstream = upstream
        self._nursery = nursery

    def begin(self, source):
        self._nursery.start_soon(self._run, source)

    async def _run(self, source):
        async def keep(name, open_toolbox):
            return await self._nursery.start(self._hold, open_toolbox)

        async def emit(event):
            self.emitted.append(event)

        messages = [{"role": "user", "content": "go"}]
        turn = AgentTurn("s", "t", messages, "m", approve=self._approve, keep=keep)
        async with open_client(self._upstream.url, None) as client:
            agent = OpenAIAgent(client, "m", open_toolbox=partial(opened, source))
            try:
                await agent(turn, emit)
            except AgentError as error:
                self.error = error
        assert len(messages) == 1, "what the session owns is left alone"
        self.over.set()

    async def _hold(self, open_toolbox, task_status):
        async with open_toolbox() as toolbox:
            task_status.started(toolbox)
            await trio.sleep_forever()

    async def _approve(self, call_id, tool, arguments, server):
        self.asked.append((call_id, tool, arguments, server))
        return self.verdict

    async def asks_for(self, *calls, text=""):
        """The model's next answer: these calls, each (id, name, arguments). Gives the request."""
        turn = await self._upstream.next_turn()
        if text:
            await turn.say(text)
        deltas = [
            {"index": n, "id": id, "function": {"name": name, "arguments": arguments}}
            for n, (id, name, arguments) in enumerate(calls)
        ]
        await turn.chunk({"choices": [{"delta": {"tool_calls": deltas}}]})
        await turn.finish(10, 5)
        return turn.request

    async def says(self, text):
        turn = await self._upstream.next_turn()
        await turn.answer(text)
        with trio.fail_after(30):
            await self.over.wait()
        return turn.request

    def results(self):
        return {e.call_id: e for e in self.emitted if isinstance(e, ToolCompleted)}


@asynccontextmanager
async def opened(source):
    yield Toolbox([source])


@pytest.fixture
async def talk():
    async with open_upstream() as upstream, trio.open_nursery() as nursery:
        yield Talk(upstream, nursery)
        nursery.cancel_scope.cancel()


async def test_a_call_and_its_answer_in_the_providers_form(talk):
    talk.begin(Source(echo=echo))
    first = await talk.asks_for(("a", "s__echo", '{"text": "hello"}'), text="Let me see.")
    assert [tool["function"]["name"] for tool in first["tools"]] == ["s__echo"]
    second = await talk.says("Done.")
    call = {"name": "s__echo", "arguments": '{"text":"hello"}'}
    assert second["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "a", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "a", "name": "s__echo", "content": "echo hello"},
    ]
    assert talk.asked == []
    assert talk.error is None
    assert [e for e in talk.emitted if not isinstance(e, Usage)] == [
        TextDelta("Let me see."),
        ToolStarted("a", "s__echo", {"text": "hello"}, 1),
        ToolCompleted("a", "echo hello"),
        TextDelta("Done."),
    ]
    usage = [e for e in talk.emitted if isinstance(e, Usage)][-1]
    assert (usage.input_tokens, usage.output_tokens, usage.last_prompt_tokens) == (17, 8, 7)


async def test_calls_of_one_answer_run_at_once(talk):
    order = Sequencer()

    async def first():
        async with order(0):
            pass
        async with order(2):
            return Outcome("first")

    async def second():
        async with order(1):
            return Outcome("second")

    talk.begin(Source(first=first, second=second))
    await talk.asks_for(("a", "s__first", ""), ("b", "s__second", ""))
    request = await talk.says("Both.")
    assert [row["content"] for row in request["messages"][2:]] == ["first", "second"]


async def test_what_is_wrong_with_a_call_is_told_to_the_model_which_goes_on(talk):
    talk.begin(Source(echo=echo))
    await talk.asks_for(
        ("a", "s__echo", '{"text": '), ("b", "s__nothing", "{}"), ("c", "s__echo", "[]")
    )
    request = await talk.says("I see.")
    answers = [row["content"] for row in request["messages"][2:]]
    assert answers[0].startswith("The arguments are no JSON")
    assert answers[1] == "There is no tool 's__nothing'. There are: s__echo."
    assert answers[2] == "The arguments must be a JSON object."
    assert all(result.is_error for result in talk.results().values())
    assert talk.error is None


@pytest.mark.parametrize(
    ("choice", "said"),
    [("deny", "denied"), ("expired", "in time"), ("unasked", "nobody can be asked")],
)
async def test_a_call_that_is_not_allowed_is_not_run(talk, choice, said):
    ran = []

    async def remove():
        ran.append(1)
        return Outcome("gone")

    talk.verdict = Verdict(choice)
    talk.begin(Source(approval="ask", remove=remove))
    await talk.asks_for(("a", "s__remove", "{}"))
    request = await talk.says("Then not.")
    assert said in request["messages"][2]["content"]
    assert talk.asked == [("a", "s__remove", {}, "s")]
    assert ran == []


async def test_nobody_is_asked_about_a_call_that_cannot_be_made(talk):
    talk.begin(Source(approval="ask", echo=echo))
    await talk.asks_for(("a", "s__echo", "{"), ("b", "s__none", "{}"))
    await talk.says("I see.")
    assert talk.asked == []


async def test_a_long_result_is_cut_with_a_note(talk):
    async def flood():
        return Outcome("a" + "x" * 10 * LONGEST + "z")

    talk.begin(Source(flood=flood))
    await talk.asks_for(("a", "s__flood", "{}"))
    request = await talk.says("Too much.")
    text = request["messages"][2]["content"]
    assert len(text) < LONGEST + 100
    assert (text[0], text[-1]) == ("a", "z")
    assert f"[... {9 * LONGEST + 2} characters of the result left out ...]" in text
    assert talk.results()["a"].result == text


async def test_more_calls_at_once_than_may_be_are_answered_not_run(talk):
    ran = []

    async def count():
        ran.append(1)
        return Outcome("ok")

    talk.begin(Source(count=count))
    await talk.asks_for(*[(f"c{n}", "s__count", "{}") for n in range(MOST_CALLS + 3)])
    request = await talk.says("Many.")
    assert len(ran) == MOST_CALLS
    assert len(request["messages"]) == 2 + MOST_CALLS + 3
    assert "at most" in request["messages"][-1]["content"]


async def test_a_model_that_calls_without_end_is_told_to_answer(talk):
    talk.begin(Source(echo=echo))
    for n in range(ROUNDS):
        request = await talk.asks_for((f"c{n}", "s__echo", "{}"))
        assert "tool_choice" not in request
    request = await talk.says("Enough.")
    assert request["tool_choice"] == "none"
    assert talk.error is None
    assert [e.kind for e in talk.emitted if isinstance(e, Warned)] == ["tool_limit_reached"]


async def test_one_that_calls_even_then_fails_clearly(talk):
    talk.begin(Source(echo=echo))
    for n in range(ROUNDS + 1):
        await talk.asks_for((f"c{n}", "s__echo", "{}"))
    with trio.fail_after(30):
        await talk.over.wait()
    assert talk.error.type == "tool_limit_reached"
    assert len(talk.results()) == ROUNDS


async def test_the_same_id_in_two_rounds_is_two_calls(talk):
    talk.begin(Source(echo=echo))
    await talk.asks_for(("call_0", "s__echo", "{}"))
    await talk.asks_for(("call_0", "s__echo", "{}"))
    request = await talk.says("Twice.")
    ids = [row["tool_call_id"] for row in request["messages"] if row["role"] == "tool"]
    assert len(set(ids)) == 2
    assert set(ids) == talk.results().keys()


async def test_what_is_wrong_with_a_server_is_a_warning(talk):
    talk.begin(Source(problem="The tool server 's' cannot be started: it is gone."))
    request = await talk.says("Without.")
    assert "tools" not in request
    (warned,) = [e for e in talk.emitted if isinstance(e, Warned)]
    assert warned.kind == "tool_server"
    assert "it is gone" in warned.message


async def test_what_was_begun_is_not_asked_for_again_when_it_turns_out_too_long(talk):
    async def flood():
        return Outcome("x" * LONGEST)

    talk.begin(Source(flood=flood))
    await talk.asks_for(("a", "s__flood", "{}"))
    turn = await talk._upstream.next_turn()
    await turn.say("Well")
    await turn.chunk({"error": {"code": "context_length_exceeded", "message": "too long"}})
    with trio.fail_after(30):
        await talk.over.wait()
    assert talk.error.type == "context_length"
    assert "Ask for less" in talk.error.hint
    assert [e.text for e in talk.emitted if isinstance(e, TextDelta)] == ["Well"]


async def test_a_conversation_that_is_too_long_by_itself_says_nothing_of_tools(talk):
    talk._upstream.fits = lambda request: False
    talk.begin(Source(echo=echo))
    with trio.fail_after(30):
        await talk.over.wait()
    assert talk.error.type == "context_length"
    assert "What the tools gave" not in talk.error.hint
    assert talk.emitted == []
