"""Cancel keeps work: the prompt once, what was shown of the answer if anything was, one marker that
no model sees, and no turn any more. A second cancel, or one that comes too late, changes nothing
and tells nobody anything.
"""

from contextlib import aclosing, suppress

import pytest
import trio

from tests.contract.house import contents

MARKER = ("marker", "Cancellation details")
TURN_FIELDS = {
    "active_stream_id": None,
    "pending_user_message": None,
    "pending_attachments": [],
    "pending_started_at": None,
    "pending_user_source": None,
}
# What the provider has sent: thoughts and words. An answer of thoughts alone is no news to a model.
SHOWN = {
    "before the first token": ("", ""),
    "in the middle": ("", "half of it"),
    "with reasoning": ("Let me think.", "half of it"),
    "with reasoning alone": ("Let me think.", ""),
}
WAYS = ("get", "post with a query", "post with a body")


async def cancel(house, stream_id, way="get"):
    path, http = "/api/chat/cancel", house.client.http
    if way == "post with a body":
        response = await http.post(path, json={"stream_id": stream_id})
    else:
        send = http.get if way == "get" else http.post
        response = await send(path, params={"stream_id": stream_id})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["ok"], answer["stream_id"]) == (True, stream_id)
    return answer["cancelled"]


async def streaming(house, session_id, prompt, thought="", text="", **body):
    """A turn of which so much was shown."""
    stream_id, turn = await house.talk(session_id, prompt, **body)
    for key, said in (("reasoning_content", thought), ("content", text)):
        if said:
            await turn.chunk({"choices": [{"delta": {key: said}}]})
            with trio.fail_after(30):
                async with aclosing(house.client.follow(stream_id)) as events:
                    while (await anext(events)).data.get("text") != said:
                        pass
    return stream_id, turn


async def all_of(house, session_id, stream_id):
    """Whatever a cancel could change: on disk, in the answers, in the stream, in the list."""
    events = [(event.id, event.name) for event in await house.client.events(stream_id)]
    session = await house.client.session(session_id)
    return house.record(session_id), session, events, await house.listed()


def check_cancelled(session, prompt, thought, text):
    """One turn, and it was stopped."""
    user, *partial, marker = session["messages"]
    assert contents([user, marker]) == [("user", prompt), MARKER]
    assert marker["_error"]
    assert len(partial) == bool(thought or text)
    for row in partial:
        assert (row["_partial"], row["content"], row.get("reasoning", "")) == (True, text, thought)
    assert {name: session[name] for name in TURN_FIELDS} == TURN_FIELDS


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_shown_stays_and_the_next_start_is_accepted_at_once(house, way, subtests):
    left = {}
    async with house.up() as client:
        for name, (thought, text) in SHOWN.items():
            with subtests.test(name):
                session_id = await client.new()
                files = [{"name": "notes.txt"}]
                stream_id, turn = await streaming(
                    house, session_id, "first", thought, text, attachments=files
                )
                assert await cancel(house, stream_id, way) is True
                session, on_disk = await client.session(session_id), house.record(session_id)
                _, following = await house.talk(session_id, "second")
                check_cancelled(session, "first", thought, text)
                check_cancelled(on_disk, "first", thought, text)
                assert session["messages"][0]["attachments"] == files
                assert following.prompts == ["first", *([text] if text else []), "second"]
                with trio.fail_after(30):
                    await turn.closed.wait()
                names = [event.name for event in await client.events(stream_id)]
                assert (names.count("cancel"), names[-1]) == (1, "cancel")
                await following.answer("whole")
                left[session_id] = on_disk["messages"]
        await house.kill()
    async with house.up() as client:
        for session_id, rows in left.items():
            session = await client.session(session_id)
            assert session["messages"][: len(rows)] == rows
            assert session["messages"][len(rows)]["content"] == "second"
            _, following = await house.talk(session_id, "third")
            assert not [said for said in following.prompts if "cancelled" in said]
            assert (following.prompts.count("first"), following.prompts[-1]) == (1, "third")


async def test_a_cancel_may_come_before_the_provider_was_asked(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id = await client.start(session_id, "first")
        assert await cancel(house, stream_id) is True
        check_cancelled(await client.session(session_id), "first", "", "")
        assert (await client.events(stream_id))[-1].name == "cancel"
        check_cancelled(house.record(session_id), "first", "", "")


async def test_of_many_who_cancel_one_does_and_the_others_change_nothing(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, _ = await streaming(house, session_id, "first", text="half")
        did = []

        async def press():
            did.append(await cancel(house, stream_id))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(press)
        assert sorted(did) == [False] * 7 + [True]
        before = await all_of(house, session_id, stream_id)
        check_cancelled(before[1], "first", "", "half")
        assert [name for _, name in before[2]].count("cancel") == 1
        for way in WAYS:
            assert await cancel(house, stream_id, way) is False
        assert await all_of(house, session_id, stream_id) == before


async def test_a_cancel_that_comes_after_the_end_changes_nothing_and_emits_nothing(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id = await house.answer_from("whole", session_id, "first")
        before = await all_of(house, session_id, stream_id)
        for way in WAYS:
            assert await cancel(house, stream_id, way) is False
        assert await all_of(house, session_id, stream_id) == before
        await house.kill()
    async with house.up():
        for way in WAYS:
            assert await cancel(house, stream_id, way) is False
        assert await all_of(house, session_id, stream_id) == before
        assert contents(before[1]["messages"]) == [("user", "first"), ("assistant", "whole")]


async def test_a_cancel_between_done_and_a_title_lets_the_title_come(house):
    async with house.up(TITLES="model") as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "first")
        await turn.answer("whole")
        title = await house.upstream.next_turn()
        assert title.purpose == "title"
        before = house.record(session_id)
        assert await cancel(house, stream_id) is False
        assert house.record(session_id) == before
        await title.answer("A Beginning")
        names = [event.name for event in await client.events(stream_id)]
        assert names[-4:] == ["done", "title_status", "title", "stream_end"]
        assert house.record(session_id) == before | {
            "title": "A Beginning",
            "llm_title_generated": True,
        }


@pytest.mark.parametrize("first", ["cancel", "finish"])
async def test_a_cancel_that_crosses_completion_wins_or_changes_nothing(house, first):
    async with house.up() as client:
        for _ in range(10):
            session_id = await client.new()
            stream_id, turn = await streaming(house, session_id, "first", text="whole")
            did = []

            async def press(stream_id=stream_id, did=did):
                did.append(await cancel(house, stream_id))

            async with trio.open_nursery() as nursery:
                if first == "cancel":
                    nursery.start_soon(press)
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await turn.finish()  # a provider that is left cannot
                if first == "finish":
                    nursery.start_soon(press)
            session = await client.session(session_id)
            names = [event.name for event in await client.events(stream_id)]
            if did == [True]:
                check_cancelled(session, "first", "", "whole")
                assert (names[-1], "done" in names) == ("cancel", False)
            else:
                assert contents(session["messages"]) == [("user", "first"), ("assistant", "whole")]
                assert {name: session[name] for name in TURN_FIELDS} == TURN_FIELDS
                assert (names[-1], "cancel" in names) == ("stream_end", False)


async def test_a_cancel_of_nothing_is_told_so(house):
    async with house.up() as client:
        assert await cancel(house, "0" * 32) is False
        for send in (client.http.get, client.http.post):
            response = await send("/api/chat/cancel")
            assert (response.status_code, response.json()["error"]) == (400, "stream_id required")
