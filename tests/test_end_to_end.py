"""The main job with the real llama.cpp server and a real model. Nothing is faked here."""

import fcntl
import os
import subprocess
import sys
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import openai
import platformdirs
import pytest
import trio

from app.agents.local import CONTEXT
from app.agents.model_file import DEFAULT_MODEL, fetch_model
from tests.app.client import open_client, text_of
from tests.app.process import ROOT, running_server

pytestmark = [pytest.mark.process, pytest.mark.model, pytest.mark.timeout(600)]

LONG = "Tell me a long story about a sailor and the sea."
KEY = "a-key-for-the-test"
GUARD = 120  # seconds: a busy machine may take its time


def cache() -> Path:
    return Path(
        os.environ.get("GREENROOM_TEST_CACHE") or platformdirs.user_cache_dir("greenroom-tests")
    )


@pytest.fixture(autouse=True)
def one_model_at_a_time():
    """Two of them on the same cores take many times as long, and the tests may run side by side."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "in-use").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def model_server():
    """llama.cpp's server with the default model, and a client that may look at its slots."""
    file = await fetch_model(cache(), lambda state, share: None)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "app.agents.llama_server", str(file), str(CONTEXT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        await process.stdin.send_all(f"{KEY}\n".encode())
        with trio.fail_after(GUARD):
            address = (await process.stdout.receive_some(1024)).decode().strip()
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=GUARD) as http:
            yield http
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def answering(http):
    """How many answers the model server is working on."""
    return sum(slot["is_processing"] for slot in (await http.get("/slots")).json())


@asynccontextmanager
async def greenroom(data_dir, *arguments, **options):
    async with (
        running_server(data_dir, *arguments, **options) as server,
        open_client(server.url) as client,
    ):
        client.server = server
        yield client


async def read_some(events, least):
    """Follow a stream until so many events with text have come; None if it ends before that."""
    seen = []
    with trio.fail_after(GUARD):
        async for event in events:
            seen.append(event)
            if sum(event.name == "token" for event in seen) >= least:
                return seen
    return None


@asynccontextmanager
async def in_mid_answer(client, session_id):
    """A turn whose answer is under way: its id, what was shown so far, and what is still to come.

    The model is small and picks its words at random, so now and then it has little to say.
    """
    for _ in range(20):
        stream_id = await client.start(session_id, LONG)
        async with aclosing(client.follow(stream_id)) as events:
            seen = await read_some(events, 5)
            if seen is not None:
                yield stream_id, seen, events
                return
    raise AssertionError("the model has nothing to say today")


async def test_stream_stop_continue_kill_and_come_back_with_every_byte(tmp_path):
    async with model_server() as model:
        arguments = ("--agent", "openai", "--base-url", str(model.base_url.join("/v1")))
        env = {"GREENROOM_API_KEY": KEY}

        async with greenroom(tmp_path, *arguments, env=env) as client:
            session_id = await client.new()
            async with in_mid_answer(client, session_id) as (stream_id, stopped, events):
                assert await client.cancel(stream_id) is True
                stopped += [event async for event in events]
            assert stopped[-1].name == "cancel"
            with trio.fail_after(10):
                while await answering(model):  # noqa: ASYNC110 - another process, not ours
                    await trio.sleep(0.05)
            before = (await client.session(session_id))["messages"]
            assert before[-3]["content"] == LONG
            assert before[-2]["content"] == text_of(stopped)

            async with in_mid_answer(client, session_id) as (stream_id, shown, _):
                assert await answering(model) == 1
                await client.server.kill()

        async with greenroom(tmp_path, *arguments, env=env) as client:
            session = await client.session(session_id)
            assert session["active_stream_id"] is None
            *rows, user, partial, marker = session["messages"]
            assert rows[: len(before)] == before
            assert (user["content"], marker["type"]) == (LONG, "interrupted")
            missed = await client.events(stream_id, after_seq=shown[-1].seq)
            assert partial["content"] == text_of([*shown, *missed])
            numbers = [event.seq for event in [*shown, *missed]]
            assert numbers == list(range(1, len(numbers) + 1))
            assert (missed[-1].name, missed[-1].data["type"]) == ("apperror", "interrupted")

            whole = await client.events(await client.start(session_id, "Say hello."))
            assert whole[-1].name == "stream_end"
            usage = await client.get("/api/session/usage", session_id=session_id)
            assert usage["output_tokens"] > 0
            assert (await client.session(session_id))["messages"][-1]["content"] == text_of(whole)


async def test_the_local_agent_fetches_its_model_answers_and_leaves_no_orphan(tmp_path):
    async with greenroom(tmp_path, "--agent", "local") as client:
        session_id = await client.new()
        async with in_mid_answer(client, session_id) as (_, seen, _):  # waits for the model
            assert (await client.get("/health"))["agent"]["state"] == "ready"
            file = tmp_path / "models" / DEFAULT_MODEL.name
            assert file.stat().st_size == DEFAULT_MODEL.size
            assert [path.name for path in file.parent.iterdir()] == [file.name]
            children = children_of(client.server.pid)
            assert len(children) == 1
            await client.server.kill()
        with trio.fail_after(30):
            while any(is_alive(pid) for pid in children):  # noqa: ASYNC110 - likewise
                await trio.sleep(0.05)
    async with greenroom(tmp_path, "--agent", "local") as client:
        rows = (await client.session(session_id))["messages"]
        assert rows[-2]["content"].startswith(text_of(seen))
        events = await client.events(await client.start(session_id, "Say hello."))
        assert events[-1].name == "stream_end"
        children = children_of(client.server.pid)
        assert await client.server.stop() == 0
        assert not any(is_alive(pid) for pid in children)


def children_of(pid):
    lists = Path(f"/proc/{pid}/task").glob("*/children")  # a thread may have started them
    return [int(child) for children in lists for child in children.read_text().split()]


def is_alive(pid):
    """Running: not gone, and no zombie that waits for whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_the_model_itself_names_the_session_and_summarises_what_is_old(tmp_path):
    file = await fetch_model(cache(), lambda state, share: None)
    arguments = ("--agent", "local", "--model", str(file), "--titles", "model")
    async with greenroom(tmp_path, *arguments, "--context-tokens", "512") as client:
        session_id = await client.new()
        named = await names_of(client, await client.start(session_id, "Name a colour of the sea."))
        assert named[-2:] in (["title", "stream_end"], ["title_status", "stream_end"])
        long = "Tell me about the sea. " * 100  # too much, however short the first answer was
        stream_id = await client.start(session_id, long)
        await client.cancel(stream_id)
        stream_id = await client.start(session_id, "And the sky?")
        async with aclosing(client.follow(stream_id)) as events:
            assert await read_some(events, 1) is not None
        await client.cancel(stream_id)
        session = await client.session(session_id)
        assert session["session_id"] != session_id
        assert session["compression_anchor_summary"]
        prompts = [row["content"] for row in session["messages"] if row["role"] == "user"]
        assert prompts == ["Name a colour of the sea.", long, "And the sky?"]


async def names_of(client, stream_id):
    with trio.fail_after(GUARD):
        async with aclosing(client.follow(stream_id)) as events:
            return [event.name async for event in events]


async def test_the_official_client_of_openai_talks_to_a_real_model(tmp_path):
    async def call(function, *args, **kwargs):
        with trio.fail_after(GUARD):
            return await trio.to_thread.run_sync(
                partial(function, *args, **kwargs), abandon_on_cancel=True
            )

    async with model_server() as model:
        arguments = ("--agent", "openai", "--base-url", str(model.base_url.join("/v1")))
        async with greenroom(tmp_path, *arguments, env={"GREENROOM_API_KEY": KEY}) as client:
            url = f"{client.server.url}/v1"
            with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as official:
                responses, chat = official.responses, official.chat.completions
                short = await call(responses.create, input=LONG, max_output_tokens=8)
                assert short.incomplete_details.reason == "max_output_tokens"
                assert short.usage.output_tokens == 8
                more = {"previous_response_id": short.id, "max_output_tokens": 30}
                stream = await call(
                    responses.create, input="Go on.", **more, background=True, stream=True
                )
                events = await call(list, stream)
                done = events[-1].response
                assert done.output_text == "".join(
                    e.delta for e in events if e.type == "response.output_text.delta"
                )
                assert done.usage.input_tokens > short.usage.input_tokens
                assert (await call(responses.retrieve, done.id)).to_dict() == done.to_dict()
                (name,) = [model.id for model in await call(official.models.list)]
                messages = [{"role": "user", "content": LONG}]
                told = await call(
                    chat.create, model=name, messages=messages, max_completion_tokens=8
                )
                assert told.choices[0].finish_reason == "length"
                assert told.usage.completion_tokens == 8
