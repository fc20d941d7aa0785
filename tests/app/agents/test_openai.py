"""The agent for OpenAI-compatible endpoints, against llmock, which nobody here wrote."""

import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from actors.session.agent import AgentError, AgentTurn, ReasoningDelta, TextDelta, Usage
from app.agents import open_agent
from app.agents.openai import OpenAIAgent, open_client
from app.agents.provider_errors import agent_error
from app.config import make_config
from tests.app.upstream import open_upstream

KEY = "sk-very-secret-key"
TURN = AgentTurn("s", "t", [{"role": "user", "content": "Say hello to me."}], model="gpt-4o")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@asynccontextmanager
async def llmock(*options):
    """A real llmock process; gives its base URL."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("llmock")), "serve", "-p", str(port)]
    process = await trio.lowlevel.open_process(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await wait_listening(port, process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def wait_listening(port, process):
    with trio.fail_after(60):
        while process.poll() is None:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            except OSError:
                await trio.sleep(0.05)  # it says nothing when it is ready
            else:
                return
    raise AssertionError("llmock did not start")


async def ask(base_url, turn=TURN, *, read_seconds=20.0, sleeps=None):
    """What the agent emits, and the error with which it ends."""
    emitted = []

    async def emit(event):
        emitted.append(event)

    async def sleep(seconds):
        if sleeps is not None:
            sleeps.append(seconds)

    async with open_client(base_url, KEY, read_seconds=read_seconds) as client:
        agent = OpenAIAgent(client, "gpt-4o", sleep=sleep, jitter=lambda: 0.0)
        try:
            await agent(turn, emit)
        except AgentError as error:
            return emitted, error
    return emitted, None


def text_of(emitted):
    return "".join(event.text for event in emitted if isinstance(event, TextDelta))


async def test_an_answer_streams_and_its_usage_is_told():
    async with llmock("--response-style", "hello") as base_url:
        emitted, error = await ask(base_url)
    assert error is None
    assert len(text_of(emitted)) > 3
    (usage,) = [event for event in emitted if isinstance(event, Usage)]
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("disconnect", "connection"), ("truncate", "connection"), ("malformed", "error")],
)
async def test_a_stream_that_breaks_is_an_error_that_says_how(fault, kind):
    async with llmock("--stream-fault", f"{fault}=1.0", "--response-style", "varied") as base_url:
        _, error = await ask(base_url)
    assert error is not None
    assert error.type == kind
    assert error.hint


async def test_a_stream_that_stalls_is_a_timeout():
    options = ("--stream-fault", "stall=1.0", "--stream-stall-seconds", "30")
    async with llmock(*options) as base_url:
        _, error = await ask(base_url, read_seconds=1.0)
    assert error.type == "timeout"


async def test_how_long_a_provider_may_say_nothing_is_set(tmp_path):
    outcome = []

    async def run(agent):
        with pytest.raises(AgentError) as failure:
            await agent(TURN, emit)
        outcome.append(failure.value)

    async def emit(event):
        emitted.append(event)

    emitted = []
    async with open_upstream() as upstream:
        config = make_config(
            data_dir=tmp_path, base_url=upstream.url, agent="openai", read_seconds=0.3
        )
        async with open_agent(config) as opened, trio.open_nursery() as nursery:
            nursery.start_soon(run, opened.agent)
            turn = await upstream.next_turn()
            await turn.say("half")
            with trio.fail_after(30):
                await turn.closed.wait()
    assert emitted == [TextDelta("half")]
    assert outcome[0].type == "timeout"
    assert "--read-seconds" in outcome[0].hint


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [(401, "auth_mismatch", 1), (429, "rate_limit", 3), (500, "error", 1), (503, "error", 3)],
)
async def test_statuses_have_their_meaning_and_only_passing_ones_are_tried_again(
    status, kind, tries
):
    sleeps = []
    async with llmock("--error-rate", f"{status}=1.0") as base_url:
        emitted, error = await ask(base_url, sleeps=sleeps)
    assert emitted == []
    assert (error.type, len(sleeps)) == (kind, tries - 1)
    assert error.hint


async def test_a_prompt_that_is_too_long_says_so():
    async with llmock("--context-window", "10") as base_url:
        _, error = await ask(
            base_url,
            AgentTurn("s", "t", [{"role": "user", "content": "word " * 500}], model="gpt-4o"),
        )
    assert error.type == "context_length"


async def test_nobody_there_is_a_connection_error():
    sleeps = []
    _, error = await ask(f"http://127.0.0.1:{free_port()}/v1", sleeps=sleeps)
    assert (error.type, len(sleeps)) == ("connection", 2)


async def test_cancelling_closes_the_providers_connection_at_once():
    async with open_upstream() as upstream, open_client(upstream.url, KEY) as client:
        agent, heard = OpenAIAgent(client, "m"), trio.Event()

        async def emit(event):
            heard.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent, TURN, emit)
            turn = await upstream.next_turn()
            await turn.say("x")
            await heard.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await turn.closed.wait()


async def test_reasoning_and_errors_in_mid_stream_are_understood():
    async with open_upstream() as upstream:
        outcome = []

        async def run():
            outcome.append(await ask(upstream.url))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            turn = await upstream.next_turn()
            await turn.chunk({"choices": [{"delta": {"reasoning_content": "hmm"}}]})
            await turn.chunk({"choices": [{"delta": {"content": "half"}}]})
            await turn.chunk({"error": {"message": f"bad {KEY}", "code": "insufficient_quota"}})
        ((emitted, error),) = outcome
    assert emitted == [ReasoningDelta("hmm"), TextDelta("half")]
    assert error.type == "quota_exhausted"
    assert KEY not in str(error) + str(error.details)
    assert "[key]" in error.details


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"code": "insufficient_quota", "message": "x"}}, "quota_exhausted"),
        (429, {"error": {"message": "slow down"}}, "rate_limit"),
        (403, "forbidden quota", "auth_mismatch"),
        (404, "no", "model_not_found"),
        (400, {"error": "the request exceeds the available context size"}, "context_length"),
        (400, {"error": {"message": "The model `x` does not exist"}}, "model_not_found"),
        (502, None, "error"),
        (None, [1, 2], "error"),
    ],
)
def test_what_providers_say_is_mapped(status, body, kind):
    assert agent_error(status, body).type == kind


async def test_the_key_is_in_no_repr():
    async with open_client("http://x", KEY) as client:
        assert KEY not in repr(client) + repr(client.headers) + repr(OpenAIAgent(client, "m"))


async def test_an_endpoint_that_does_not_know_the_usage_option_is_asked_without_it():
    requests = []

    def answer(request):
        requests.append(request.read())
        if b"stream_options" in requests[-1]:
            return httpx.Response(400, json={"error": "unknown field stream_options"})
        body = b'data: {"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\n'
        return httpx.Response(200, content=body, headers={"Content-Type": "text/event-stream"})

    async with httpx.AsyncClient(
        base_url="http://x/v1", transport=httpx.MockTransport(answer)
    ) as client:
        emitted = []

        async def emit(event):
            emitted.append(event)

        await OpenAIAgent(client, "m")(TURN, emit)
    assert emitted == [TextDelta("ok")]
    assert len(requests) == 2
