"""/v1/responses with the official Python client, against a real server."""

import openai
import pytest
import trio

from tests.app.client import open_client
from tests.app.openai_api.house import open_house, text_of

pytestmark = pytest.mark.process

THOUGHT = "Somebody greets me."
# What the official API documents for a response that thinks, then speaks in two pieces.
ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def test_a_streamed_response_is_told_in_order_and_found_again_after_a_restart(tmp_path):
    async with open_house(tmp_path) as house:
        request = {"input": "Hello", "instructions": "Be brief.", "metadata": {"for": "a test"}}
        stream = await house.create(**request, temperature=0.5, max_output_tokens=9, stream=True)
        turn = await house.upstream.next_turn()
        assert turn.request["temperature"] == 0.5
        assert turn.request["max_tokens"] == 9
        assert turn.request["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ]
        await turn.chunk({"choices": [{"delta": {"reasoning_content": THOUGHT}}]})
        events = await house.until(stream, "response.reasoning_text.delta")
        await turn.say("Good ")
        events += await house.until(stream, "response.output_text.delta")
        await turn.say("day.")
        await turn.finish(prompt_tokens=11, completion_tokens=4)
        events += await house.rest(stream)
        assert [event.type for event in events] == ORDER
        assert [event.sequence_number for event in events] == list(range(len(ORDER)))
        done = events[-1].response
        assert (done.status, done.output_text) == ("completed", "Good day.")
        assert done.output[0].content[0].text == THOUGHT
        assert (done.usage.input_tokens, done.usage.output_tokens) == (11, 4)
        assert (done.metadata, done.instructions) == ({"for": "a test"}, "Be brief.")
        again = await house.call(house.client.responses.retrieve, done.id)
        assert again.to_dict() == done.to_dict()
        assert await house.server.stop() == 0
        async with house.open():
            again = await house.call(house.client.responses.retrieve, done.id)
            assert again.to_dict() == done.to_dict()
            items = await house.call(house.client.responses.input_items.list, done.id)
            assert [item.content[0].text for item in items.data] == ["Hello"]
            replayed = await house.call(house.client.responses.retrieve, done.id, stream=True)
            assert [e.to_dict() for e in await house.rest(replayed)] == [
                e.to_dict() for e in events
            ]
            async with house.much_later():
                retrieve = house.client.responses.retrieve
                assert (await house.call(retrieve, done.id)).to_dict() == done.to_dict()
                told = await house.rest(await house.call(retrieve, done.id, stream=True))
                assert told[-1].response.to_dict() == done.to_dict()
                with pytest.raises(openai.BadRequestError, match="not kept any more"):
                    await house.call(retrieve, done.id, stream=True, starting_after=3)


async def test_a_stream_cut_by_kill_9_is_resumed_after_the_restart(tmp_path):
    async with open_house(tmp_path) as house:
        stream = await house.create(input="Count", background=True, stream=True)
        turn = await house.upstream.next_turn()
        events = []
        for word in ("one ", "two ", "three "):
            await turn.say(word)
            events += await house.until(stream, "response.output_text.delta")
        name, seen = events[0].response.id, events[-2]
        await house.server.kill()
        async with house.open():
            resumed = await house.call(
                house.client.responses.retrieve,
                name,
                stream=True,
                starting_after=seen.sequence_number,
            )
            rest = await house.rest(resumed)
            whole = events[: events.index(seen) + 1] + rest
            assert [event.sequence_number for event in whole] == list(range(len(whole)))
            assert text_of(whole) == "one two three "
            assert rest[0].to_dict() == events[-1].to_dict()
            assert rest[-1].type == "response.failed"
            found = await house.call(house.client.responses.retrieve, name)
            assert (found.status, found.error.type) == ("failed", "interrupted")
            assert "stopped before the answer was complete" in found.error.message
            assert (found.output_text, found.output[0].status) == ("one two three ", "incomplete")
            _, asked = await house.answered("Go on", "four", previous_response_id=name)
            assert [m["content"] for m in asked["messages"]] == ["Count", "one two three ", "Go on"]


async def test_a_dropped_stream_goes_on_and_nothing_is_told_twice(tmp_path):
    async with open_house(tmp_path) as house:
        stream = await house.create(input="Count", stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("one ")
        events = await house.until(stream, "response.output_text.delta")
        await house.call(stream.close)
        await turn.say("two ")
        await turn.finish()
        last = events[-1].sequence_number
        retrieve, name = house.client.responses.retrieve, events[0].response.id
        resumed = await house.call(retrieve, name, stream=True, starting_after=last)
        events += await house.rest(resumed)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert text_of(events) == "one two "
        assert events[-1].type == "response.completed"


async def test_in_the_background_it_answers_at_once_and_can_be_cancelled(tmp_path):
    async with open_house(tmp_path) as house:
        responses = house.client.responses
        begun = await house.create(input="Slowly", background=True)
        assert (begun.status, begun.background) == ("in_progress", True)
        turn = await house.upstream.next_turn()
        with pytest.raises(openai.ConflictError):
            await house.create(input="And then?", previous_response_id=begun.id)
        reading = await house.call(responses.retrieve, begun.id, stream=True)
        await turn.say("half")
        await house.until(reading, "response.output_text.delta")
        half = await house.call(responses.retrieve, begun.id)
        assert (half.status, half.output_text) == ("in_progress", "half")
        cancelled = await house.call(responses.cancel, begun.id)
        assert (cancelled.status, cancelled.output_text) == ("cancelled", "half")
        assert (await house.rest(reading))[-1].response.status == "cancelled"
        with trio.fail_after(30):
            await turn.closed.wait()
        other = await house.create(input="Again", background=True)
        await (await house.upstream.next_turn()).answer("whole")
        last = (await house.rest(await house.call(responses.retrieve, other.id, stream=True)))[-1]
        found = await house.call(responses.retrieve, other.id)
        assert found.status == "completed"
        assert found.to_dict() == last.response.to_dict()


async def test_a_response_goes_on_where_another_ended_and_branches_behind_it(tmp_path):
    async with open_house(tmp_path) as house:
        first, _ = await house.answered("A?", "a", instructions="Only now.", model="gpt-other")
        second, asked = await house.answered("B?", "b", previous_response_id=first.id)
        assert asked["model"] == first.model == second.model == "gpt-other"
        assert [m["content"] for m in asked["messages"]] == ["A?", "a", "B?"]
        assert len(house.sessions()) == 1
        third, asked = await house.answered("C?", "c", previous_response_id=first.id)
        assert [m["content"] for m in asked["messages"]] == ["A?", "a", "C?"]
        assert len(house.sessions()) == 2
        assert third.previous_response_id == first.id
        _, asked = await house.answered("D?", "d", previous_response_id=second.id)
        assert [m["content"] for m in asked["messages"]] == ["A?", "a", "B?", "b", "D?"]
        await house.call(house.client.responses.delete, first.id)
        with pytest.raises(openai.NotFoundError):
            await house.call(house.client.responses.retrieve, first.id)
        assert (await house.call(house.client.responses.retrieve, second.id)).output_text == "b"
        await house.call(house.client.responses.delete, third.id)
        with pytest.raises(openai.BadRequestError):
            await house.create(input="E?", previous_response_id=third.id)


async def test_items_of_earlier_turns_may_be_handed_back(tmp_path):
    async with open_house(tmp_path) as house:
        given = [
            {"role": "developer", "content": "Rhyme."},
            {"role": "user", "content": [{"type": "input_text", "text": "A?"}]},
        ]
        first, asked = await house.answered(given, "a")
        assert asked["messages"][0] == {"role": "system", "content": "Rhyme."}
        given = [*given, *(item.to_dict() for item in first.output)]
        _, asked = await house.answered([*given, {"role": "user", "content": "B?"}], "b")
        assert [m["content"] for m in asked["messages"]] == ["Rhyme.", "A?", "a", "B?"]


async def test_what_is_not_stored_leaves_nothing_behind(tmp_path):
    async with open_house(tmp_path) as house, open_client(house.server.url) as page:
        kept, _ = await house.answered("Keep", "kept")
        assert len(house.sessions()) == 1
        given = [{"role": "user", "content": text} for text in ("Unheard", "Forget")]
        stream = await house.create(
            input=given, store=False, stream=True, previous_response_id=kept.id
        )
        turn = await house.upstream.next_turn()
        await turn.say("soon ")
        events = await house.until(stream, "response.output_text.delta")
        assert len(house.sessions()) == 2
        assert len((await page.get("/api/sessions"))["sessions"]) == 1
        assert len((await page.get("/api/sessions/search", q="kept"))["sessions"]) == 1
        indexed = [file.read_bytes() for file in tmp_path.glob("search.sqlite*")]
        assert any(b"kept" in data for data in indexed)
        assert not any(b"Unheard" in data for data in indexed)
        await turn.finish()
        events += await house.rest(stream)
        assert events[-1].response.status == "completed"
        with pytest.raises(openai.NotFoundError):
            await house.call(house.client.responses.retrieve, events[0].response.id)
        assert len(house.sessions()) == 1


async def test_an_unstored_one_that_a_crash_cut_off_is_gone_after_the_restart(tmp_path):
    async with open_house(tmp_path) as house:
        stream = await house.create(input="Forget", store=False, stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("soon ")
        await house.until(stream, "response.output_text.delta")
        assert len(house.sessions()) == 1
        await house.server.kill()
        async with house.open():
            assert house.sessions() == set()


async def test_who_leaves_an_unstored_one_stops_it(tmp_path):
    async with open_house(tmp_path) as house:
        stream = await house.create(input="Forget", store=False, stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("soon ")
        await house.until(stream, "response.output_text.delta")
        await house.call(stream.close)
        with trio.fail_after(30):
            await turn.closed.wait()


async def test_the_same_key_gives_the_same_response(tmp_path):
    async with open_house(tmp_path) as house:
        key = {"Idempotency-Key": "one"}
        first, _ = await house.answered("A?", "a", extra_headers=key)
        again = await house.create(input="A?", extra_headers=key)
        assert again.to_dict() == first.to_dict()
        with pytest.raises(openai.UnprocessableEntityError):
            await house.create(input="B?", extra_headers=key)
        key, more = {"Idempotency-Key": "two"}, {"previous_response_id": first.id, "stream": True}
        stream = await house.create(input="C?", **more, extra_headers=key)
        turn = await house.upstream.next_turn()
        await turn.say("c")
        events = await house.until(stream, "response.output_text.delta")
        await house.call(stream.close)
        twin = await house.create(input="C?", **more, extra_headers=key)
        await turn.finish()
        all_events = await house.rest(twin)
        assert [e.to_dict() for e in all_events[: len(events)]] == [e.to_dict() for e in events]
        assert text_of(all_events) == "c"
        assert len(house.sessions()) == 1


async def test_a_limit_that_was_reached_is_said(tmp_path):
    async with open_house(tmp_path) as house:
        stream = await house.create(input="Long", max_output_tokens=1, stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("Once")
        await turn.chunk({"choices": [{"delta": {}, "finish_reason": "length"}]})
        await turn.finish()
        last = (await house.rest(stream))[-1]
        assert last.type == "response.incomplete"
        assert last.response.incomplete_details.reason == "max_output_tokens"
        async with house.much_later():
            found = await house.call(house.client.responses.retrieve, last.response.id)
            assert found.to_dict() == last.response.to_dict()


async def test_a_provider_that_fails_is_told_of(tmp_path):
    async with open_house(tmp_path) as house:
        stream = await house.create(input="Hello", stream=True)
        turn = await house.upstream.next_turn()
        await turn.say("Hal")
        await turn.hang_up()
        last = (await house.rest(stream))[-1]
        assert last.type == "response.failed"
        assert last.response.error.type == "connection"
        assert last.response.output_text == "Hal"
        found = await house.call(house.client.responses.retrieve, last.response.id)
        assert found.to_dict() == last.response.to_dict()
        async with house.much_later():
            found = await house.call(house.client.responses.retrieve, last.response.id)
            assert (found.status, found.output_text) == ("failed", "Hal")
            assert found.error.type == "connection"
