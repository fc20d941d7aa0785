"""/v1/chat/completions and /v1/models with the official Python client, against a real server."""

import openai
import pytest
import trio

from tests.app.agents.test_openai import llmock
from tests.app.client import open_client
from tests.app.openai_api.house import open_house
from tests.app.process import running_server

pytestmark = pytest.mark.process

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "A?"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": [{"type": "text", "text": "B?"}]},
]


async def complete(house, **body):
    return await house.call(house.client.chat.completions.create, model="gpt-other", **body)


async def test_a_completion_passes_on_what_it_was_asked_with_and_leaves_nothing(tmp_path):
    async with open_house(tmp_path) as house, open_client(house.server.url) as page:
        options = {"temperature": 0.1, "seed": 7, "stop": ["."], "max_completion_tokens": 5}
        told, asked = None, {}

        async def respond():
            turn = await house.upstream.next_turn()
            asked.update(turn.request)
            assert (await page.get("/api/sessions"))["sessions"] == []
            await turn.chunk({"choices": [{"delta": {"reasoning_content": "Hm."}}]})
            await turn.say("b")
            await turn.finish(prompt_tokens=9, completion_tokens=1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(respond)
            told = await complete(house, messages=MESSAGES, user="me", **options)
        assert [m["content"] for m in asked["messages"]] == ["Be brief.", "A?", "a", "B?"]
        expected = {"temperature": 0.1, "seed": 7, "stop": ["."], "max_tokens": 5}
        assert {name: asked.get(name) for name in expected} == expected
        assert asked["model"] == told.model == "gpt-other"
        (choice,) = told.choices
        assert (choice.message.content, choice.finish_reason) == ("b", "stop")
        assert choice.message.reasoning_content == "Hm."
        assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (9, 1)
        assert house.sessions() == set()


async def test_a_stored_one_is_a_session_like_any_other(tmp_path):
    async with open_house(tmp_path) as house, open_client(house.server.url) as page:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_next, house, "b")
            await complete(house, messages=MESSAGES, store=True)
        (row,) = (await page.get("/api/sessions"))["sessions"]
        assert row["title"] == "A?"
        session = await page.session(row["session_id"])
        assert [m["content"] for m in session["messages"]] == ["Be brief.", "A?", "a", "B?", "b"]


async def answer_next(house, text):
    await (await house.upstream.next_turn()).answer(text)


async def test_a_stream_tells_each_word_and_its_end_and_leaving_it_stops_the_model(tmp_path):
    async with open_house(tmp_path) as house:
        more = {"stream": True, "stream_options": {"include_usage": True}}
        stream = await complete(house, messages=MESSAGES, **more)
        turn = await house.upstream.next_turn()
        await turn.say("b", "!")
        await turn.chunk({"choices": [{"delta": {}, "finish_reason": "length"}]})
        await turn.finish(prompt_tokens=9, completion_tokens=2)
        chunks = await house.rest(stream)
        assert chunks[0].choices[0].delta.role == "assistant"
        said = [chunk.choices[0] for chunk in chunks if chunk.choices]
        assert "".join(choice.delta.content or "" for choice in said) == "b!"
        assert [choice.finish_reason for choice in said if choice.finish_reason] == ["length"]
        assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 11)
        assert len({chunk.id for chunk in chunks}) == 1
        stream = await complete(house, messages=MESSAGES, stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("b")
        await house.call(next, stream)
        await house.call(stream.close)
        with trio.fail_after(30):
            await turn.closed.wait()


async def test_the_same_key_joins_the_completion_that_runs_also_when_its_reader_left(tmp_path):
    async with open_house(tmp_path) as house:
        asked = {"messages": MESSAGES, "extra_headers": {"Idempotency-Key": "one"}}
        stream = await complete(house, **asked, stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("b")
        first = await house.call(next, stream)
        await house.call(stream.close)
        again = await complete(house, **asked, stream=True)
        await turn.say("!")
        await turn.finish()
        chunks = await house.rest(again)
        assert {chunk.id for chunk in chunks} == {first.id}
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "b!"
        late = await house.rest(await complete(house, **asked, stream=True))
        assert {chunk.id for chunk in late} == {first.id}
        assert house.sessions() == set()


async def test_a_failure_has_a_status_and_in_a_stream_an_error(tmp_path):
    async with open_house(tmp_path) as house:
        stream = await complete(house, messages=MESSAGES, stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("b")
        await turn.hang_up()
        with pytest.raises(openai.APIError) as caught:
            await house.rest(stream)
        assert caught.value.body["code"] == "connection"
        assert house.sessions() == set()
        key = {"Idempotency-Key": "one"}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up_next, house)
            with pytest.raises(openai.InternalServerError) as caught:
                await complete(house, messages=MESSAGES, extra_headers=key)
        assert caught.value.status_code == 502
        assert caught.value.body["code"] == "connection"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_next, house, "b")
            again = await complete(house, messages=MESSAGES, extra_headers=key)
        assert again.choices[0].message.content == "b"


async def hang_up_next(house):
    turn = await house.upstream.next_turn()
    await turn.say("b")
    await turn.hang_up()


async def test_models_are_the_providers_and_chat_goes_through_to_it(tmp_path):
    async with (
        llmock() as url,
        running_server(tmp_path, "--agent", "openai", "--base-url", url) as server,
    ):
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
            names = [m.id for m in (await trio.to_thread.run_sync(client.models.list)).data]
            assert "gpt-4o" in names
            model = await trio.to_thread.run_sync(client.models.retrieve, "gpt-4o")
            assert model.id == "gpt-4o"
            told = await trio.to_thread.run_sync(
                lambda: client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            )
            assert told.choices[0].message.content.strip()
