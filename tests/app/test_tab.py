"""The one stream of a tab: list, session and turns together, and where it goes on."""

import pytest
import trio

from app.sse import KEEPALIVE_SECONDS
from tests.app.upstream import open_upstream
from tests.contract.house import House

EVENTS = "/api/tab/events"


@pytest.fixture
async def house(tmp_path):
    async with open_upstream() as upstream:
        yield House(tmp_path / "data", upstream)


async def until(events, *names):
    """All events up to one of these names."""
    seen = []
    with trio.fail_after(30):
        async for name, data in events:
            seen.append((name, data))
            if name in names:
                return seen
    raise AssertionError(f"the stream ended after {seen}")


def said(seen):
    return "".join(data["text"] for name, data in seen if name == "token")


async def test_a_tab_that_shows_no_session_hears_of_the_list_alone(house):
    async with house.up() as client, house.listening(EVENTS) as events:
        assert (await until(events, "hello"))[-1][1] == {"session": None}
        session_id = await client.new()
        await house.answer_from("hi", session_id, "hello")
        seen = await until(events, "changed")
        assert seen[-1][1]["session_ids"] == [session_id]
        await client.post("/api/session/rename", session_id=session_id, title="Mine")
        while "session_rename" not in seen[-1][1]["reasons"]:
            seen += await until(events, "changed")
        assert {name for name, _ in seen} == {"changed"}


async def test_the_session_that_is_open_brings_every_turn_with_it(house):
    async with house.up() as client:
        session_id = await client.new()
        async with house.listening(EVENTS, session_id=session_id) as events:
            standing = (await until(events, "hello"))[-1][1]["session"]
            assert standing["message_count"] == 0
            assert standing["active_stream_id"] is None
            for prompt, answer in (("one", "first"), ("two", "second")):
                stream_id, turn = await house.talk(session_id, prompt)
                began = (await until(events, "turn_began"))[-1][1]
                assert began["stream_id"] == stream_id
                assert began["message"] == prompt
                await turn.answer(answer)
                seen = await until(events, "stream_end")
                assert said(seen) == answer
                assert "session" not in next(data for name, data in seen if name == "done")


async def test_a_tab_that_comes_late_gets_the_turn_from_its_beginning(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "hello")
        await turn.say("al", "ready")
        await house.shown(stream_id, "already")
        async with house.listening(EVENTS, session_id=session_id) as events:
            seen = await until(events, "turn_began")
            assert seen[0][1]["session"]["active_stream_id"] == stream_id
            await turn.answer(", and more")
            assert said(await until(events, "stream_end")) == "already, and more"


@pytest.mark.parametrize("killed", [False, True], ids=["a cut connection", "a killed server"])
async def test_with_its_cursor_it_gets_nothing_twice_and_misses_nothing(house, killed):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "hello")
        await turn.say("seen ")
        cursor = await house.shown(stream_id, "seen ")
        await turn.say("missed")
        await house.shown(stream_id, "seen missed")
        where = {"session_id": session_id, "stream_id": stream_id, "after_seq": cursor}
        if not killed:
            async with house.listening(EVENTS, **where) as events:
                await turn.answer("!")
                assert said(await until(events, "stream_end")) == "missed!"
            return
        await house.kill()
    async with house.up(), house.listening(EVENTS, **where) as events:
        assert said(await until(events, "apperror")) == "missed"


async def test_a_turn_that_nobody_can_replay_is_said_to_be_gone(house):
    async with house.up() as client:
        session_id = await client.new()
        where = {"session_id": session_id, "stream_id": "0" * 32, "after_seq": 3}
        async with house.listening(EVENTS, **where) as events:
            seen = await until(events, "turn_gone")
            assert seen[-1][1] == {"stream_id": "0" * 32}
            _, turn = await house.talk(session_id, "hello")
            await turn.answer("hi")
            assert said(await until(events, "stream_end")) == "hi"


async def test_what_waits_follows_without_a_new_connection(house):
    async with house.up() as client:
        session_id = await client.new()
        async with house.listening(EVENTS, session_id=session_id) as events:
            _, turn = await house.talk(session_id, "one")
            queued = await house.start(session_id, "two", if_busy="queue")
            await turn.answer("first")
            second = await house.upstream.next_turn()
            await second.answer("second")
            seen = await until(events, "stream_end")
            seen += await until(events, "stream_end")
            assert said(seen) == "firstsecond"
            began = [data for name, data in seen if name == "turn_began"]
            assert began[-1]["stream_id"] == queued.json()["stream_id"]
            assert began[-1]["message"] == "two"


async def test_a_deleted_session_is_none_and_another_tab_is_told(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("hi", session_id, "hello")
        async with house.listening(EVENTS, session_id=session_id) as events:
            await until(events, "hello")
            await client.post("/api/session/delete", session_id=session_id)
            changed = (await until(events, "changed"))[-1][1]
            assert changed == {"session_ids": [session_id], "reasons": ["session_delete"]}
        async with house.listening(EVENTS, session_id=session_id) as events:
            assert (await until(events, "hello"))[-1][1] == {"session": None}


async def test_the_end_of_the_server_is_the_end_of_the_stream_after_that_of_the_turn(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "hello")
        await turn.say("so far")
        await house.shown(stream_id, "so far")
        async with house.listening(EVENTS, session_id=session_id) as events:
            await until(events, "token")
            house.server.process.terminate()
            seen = await until(events, "apperror")
            assert seen[-1][1]["type"] == "interrupted"
            with trio.fail_after(KEEPALIVE_SECONDS * 6):
                assert [name async for name, _ in events if name != "changed"] == []


async def test_the_short_list_has_what_a_list_shows(house):
    async with house.up() as client:
        session_id = await client.new()
        _, turn = await house.talk(session_id, "hello")
        listed = (await client.get("/api/tab/sessions"))["sessions"]
        assert [(row["session_id"], row["running"]) for row in listed] == [(session_id, True)]
        await turn.answer("hi")
        await client.post("/api/session/archive", session_id=session_id)
        (row,) = (await client.get("/api/tab/sessions"))["sessions"]
        assert row["archived"] is True
        assert row["title"] == "hello"
