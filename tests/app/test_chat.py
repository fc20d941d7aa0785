"""The main job over real HTTP, against a real server process and a provider on strings."""

from contextlib import aclosing, asynccontextmanager

import pytest
import trio

from tests.app.client import open_client, text_of
from tests.app.process import running_server
from tests.app.upstream import open_upstream

pytestmark = pytest.mark.process

TERMINAL = {"stream_end", "cancel", "apperror"}


@asynccontextmanager
async def greenroom(data_dir, upstream, **options):
    arguments = ("--agent", "openai", "--base-url", upstream.url, "--model", "m")
    async with (
        running_server(data_dir, *arguments, **options) as server,
        open_client(server.url) as client,
    ):
        client.server = server
        yield client


@pytest.fixture
async def upstream():
    async with open_upstream() as opened:
        yield opened


@pytest.fixture
async def client(tmp_path, upstream):
    async with greenroom(tmp_path, upstream) as opened:
        yield opened


async def read_until(events, text):
    """Follow a stream until it has shown `text`; gives the events."""
    seen = []
    with trio.fail_after(30):
        async for event in events:
            seen.append(event)
            if text in text_of(seen):
                return seen
    raise AssertionError(f"the stream ended before {text!r}: {seen}")


async def test_a_turn_from_the_first_message_to_the_last_event(client, upstream):
    session_id = await client.new()
    stream_id = await client.start(session_id, "What time is it?")
    turn = await upstream.next_turn()
    assert turn.request["model"] == "m"
    assert turn.prompts == ["What time is it?"]
    await turn.say("It is ", "noon.")
    await turn.finish()
    events = await client.events(stream_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[0].name == "context_status"
    assert text_of(events) == "It is noon."
    assert [event.name for event in events][-3:] == ["done", "title_status", "stream_end"]
    done = events[-3].data
    rows = [(row["role"], row["content"]) for row in done["session"]["messages"]]
    assert rows == [("user", "What time is it?"), ("assistant", "It is noon.")]
    assert done["usage"]["output_tokens"] == 3
    assert done["session"]["messages"][-1]["_turnUsage"] == {"input_tokens": 7, "output_tokens": 3}
    listed = (await client.get("/api/sessions"))["sessions"]
    assert [(row["title"], row["message_count"]) for row in listed] == [("What time is it?", 2)]
    usage = await client.get("/api/session/usage", session_id=session_id)
    assert usage["total_tokens"] == 10


async def test_during_a_turn_everybody_sees_that_it_runs_and_what_was_asked(client, upstream):
    session_id = await client.new()
    stream_id = await client.start(session_id, "go")
    turn = await upstream.next_turn()
    session = await client.session(session_id)
    assert session["active_stream_id"] == stream_id
    assert (session["pending_user_message"], session["messages"]) == ("go", [])
    status = await client.get("/api/session/status", session_id=session_id)
    assert status["agent_running"] is True
    probe = await client.get("/api/chat/stream/status", stream_id=stream_id)
    assert (probe["active"], probe["replay_available"]) == (True, True)
    (row,) = (await client.get("/api/sessions"))["sessions"]
    assert (row["is_streaming"], row["message_count"]) == (True, 1)
    refused = await client.http.post(
        "/api/chat/start", json={"session_id": session_id, "message": "me too"}
    )
    assert refused.status_code == 409
    assert refused.json() == {
        "error": "session already has an active stream",
        "active_stream_id": stream_id,
    }
    await turn.say("x")
    await turn.finish()
    await client.events(stream_id)
    (row,) = (await client.get("/api/sessions"))["sessions"]
    assert row["is_streaming"] is False


async def test_stop_closes_the_providers_connection_and_keeps_what_was_shown(client, upstream):
    session_id = await client.new()
    stream_id = await client.start(session_id, "go")
    turn = await upstream.next_turn()
    await turn.say("half of ")
    async with aclosing(client.follow(stream_id)) as events:
        await read_until(events, "half of ")
        assert await client.cancel(stream_id) is True
        with trio.fail_after(10):
            await turn.closed.wait()
        rest = [event async for event in events]
    assert [event.name for event in rest] == ["cancel"]
    user, partial, marker = (await client.session(session_id))["messages"]
    assert (user["content"], partial["content"]) == ("go", "half of ")
    assert marker["_error"]
    assert await client.cancel(stream_id) is False
    following = await client.start(session_id, "go on")
    turn = await upstream.next_turn()
    assert turn.prompts == ["go", "half of ", "go on"]
    await turn.say("the rest")
    await turn.finish()
    assert text_of(await client.events(following)) == "the rest"


async def test_every_cursor_gets_what_is_behind_it_and_nonsense_gets_all(client, upstream):
    session_id = await client.new()
    stream_id = await client.start(session_id, "go")
    turn = await upstream.next_turn()
    async with aclosing(client.follow(stream_id)) as events:
        for word in ("one ", "two ", "three "):
            await turn.say(word)
            await read_until(events, word)
    await turn.finish()
    everything = await client.events(stream_id)
    numbers = [event.seq for event in everything]
    assert numbers == sorted(set(numbers))

    async def behind(headers=None, **params):
        return [event.seq for event in await client.events(stream_id, headers, **params)]

    later = [n for n in numbers if n > 3]
    assert await behind(after_seq=3) == later
    assert await behind(after_event_id=f"{stream_id}:3") == later
    assert await behind({"Last-Event-ID": f"{stream_id}:3"}) == later
    assert await behind({"Last-Event-ID": f"{stream_id}:3"}, after_seq=2) == [
        n for n in numbers if n > 2
    ]
    for nonsense in ("x", "-1", "99999999999999999999", "", "³"):
        assert await behind(after_seq=nonsense) == numbers
    assert await behind(after_seq=len(numbers) + 50) == numbers
    assert await behind(after_event_id="another:3") == numbers
    assert await behind(replay=1) == numbers


async def test_two_tabs_see_the_same_whole_answer(client, upstream):
    session_id = await client.new()
    stream_id = await client.start(session_id, "go")
    turn = await upstream.next_turn()
    seen = []

    async def tab():
        seen.append(await client.events(stream_id))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(tab)
        await turn.say(*"abcdefgh")
        await turn.finish()
    assert {text_of(events) for events in seen} == {"abcdefgh"}
    assert len({tuple(event.id for event in events) for events in seen}) == 1


@pytest.mark.parametrize("rounds", [3])
async def test_killed_in_mid_answer_it_comes_back_with_every_byte_that_was_shown(
    tmp_path, upstream, rounds
):
    shown, session_id = {}, None
    for n in range(rounds):
        async with greenroom(tmp_path, upstream) as client:
            session_id = session_id or await client.new()
            stream_id = await client.start(session_id, f"prompt {n}")
            turn = await upstream.next_turn()
            await turn.say("some ", f"words {n} ", "and mo")
            async with aclosing(client.follow(stream_id)) as events:
                shown[stream_id] = await read_until(events, "and mo")
                await client.server.kill()
    async with greenroom(tmp_path, upstream) as client:
        session = await client.session(session_id)
        assert session["active_stream_id"] is None
        rows = session["messages"]
        assert [row["content"] for row in rows if row["role"] == "user"] == [
            f"prompt {n}" for n in range(rounds)
        ]
        partials = [row["content"] for row in rows if row.get("_partial")]
        assert partials == [text_of(events) for events in shown.values()]
        assert sum(row.get("type") == "interrupted" for row in rows) == rounds
        for stream_id, events in shown.items():
            again = await client.events(stream_id)
            assert [(e.id, e.data) for e in again][: len(events)] == [
                (e.id, e.data) for e in events
            ]
            last = events[-1].seq
            missed = await client.events(stream_id, after_seq=last)
            assert [event.seq for event in missed] == [last + 1]
            assert missed[-1].name == "apperror"
            assert missed[-1].data["type"] == "interrupted"
        listed = (await client.get("/api/sessions"))["sessions"]
        assert [row["session_id"] for row in listed] == [session_id]
        assert await client.server.stop() == 0
    assert not [path.name for path in (tmp_path / "sessions").iterdir() if ".tmp." in path.name]


async def test_a_provider_that_hangs_up_fails_the_turn_and_what_came_is_kept(client, upstream):
    session_id = await client.new()
    stream_id = await client.start(session_id, "go")
    turn = await upstream.next_turn()
    await turn.say("half")
    await turn.hang_up()
    events = await client.events(stream_id)
    assert (events[-1].name, events[-1].data["type"]) == ("apperror", "connection")
    assert sum(event.name in TERMINAL for event in events) == 1
    user, partial, error = (await client.session(session_id))["messages"]
    assert (user["content"], partial["content"]) == ("go", "half")
    assert error["_error"]


async def test_sigterm_settles_the_turn_ends_the_stream_and_exits_0(tmp_path, upstream):
    async with greenroom(tmp_path, upstream) as client:
        session_id = await client.new()
        stream_id = await client.start(session_id, "go")
        turn = await upstream.next_turn()
        await turn.say("half")
        async with aclosing(client.follow(stream_id)) as events:
            await read_until(events, "half")
            async with trio.open_nursery() as nursery:
                codes = []

                async def stop():
                    codes.append(await client.server.stop())

                nursery.start_soon(stop)
                rest = [event async for event in events]
        assert codes == [0]
        assert [event.name for event in rest] == ["apperror"]
        assert rest[0].data["type"] == "interrupted"
    async with greenroom(tmp_path, upstream) as client:
        rows = (await client.session(session_id))["messages"]
        assert [row["content"] for row in rows[:2]] == ["go", "half"]
        assert len(rows) == 3


async def test_undo_retry_rename_pin_archive_and_delete(client, upstream):
    session_id = await client.new()
    for n in (1, 2):
        stream_id = await client.start(session_id, f"question number {n}, and a long one it is")
        turn = await upstream.next_turn()
        await turn.say(f"answer {n}")
        await turn.finish()
        await client.events(stream_id)
    assert await client.post("/api/session/undo", session_id=session_id) == {
        "ok": True,
        "removed_count": 2,
        "removed_preview": "question number 2, and a long one it is"[:40],
    }
    retried = await client.post("/api/session/retry", session_id=session_id)
    assert retried["last_user_text"] == "question number 1, and a long one it is"
    assert await client.post("/api/session/retry", session_id=session_id) == {
        "error": "No previous message to retry."
    }
    assert await client.post("/api/session/undo", session_id=session_id) == {
        "error": "Nothing to undo."
    }
    renamed = await client.post("/api/session/rename", session_id=session_id, title=" Mine ")
    assert renamed["session"]["title"] == "Mine"
    pinned = await client.post("/api/session/pin", session_id=session_id, pinned=True)
    assert (pinned["ok"], pinned["session"]["pinned"]) == (True, True)
    await client.post("/api/session/archive", session_id=session_id)
    assert (await client.get("/api/sessions"))["sessions"] == []
    archived = await client.get("/api/sessions", include_archived="1")
    assert [row["session_id"] for row in archived["sessions"]] == [session_id]
    assert (await client.post("/api/session/delete", session_id=session_id))["ok"] is True
    assert (await client.post("/api/session/delete", session_id=session_id))["ok"] is True
    gone = await client.http.get("/api/session", params={"session_id": session_id})
    assert (gone.status_code, gone.json()) == (404, {"error": "Session not found"})


async def test_what_is_exported_can_be_imported_as_another_session(client, upstream):
    session_id = await client.new()
    stream_id = await client.start(session_id, "go")
    turn = await upstream.next_turn()
    await turn.say("x")
    await turn.finish()
    await client.events(stream_id)
    export = await client.http.get("/api/session/export", params={"session_id": session_id})
    assert f"hermes-{session_id}.json" in export.headers["Content-Disposition"]
    imported = await client.http.post("/api/session/import", content=export.content)
    session = imported.json()["session"]
    assert session["session_id"] != session_id
    assert session["messages"] == export.json()["messages"]


async def test_long_answers_are_compressed_for_those_who_can_read_it(client):
    rows = [{"role": "user", "content": "word " * 1000}]
    session = (await client.post("/api/session/import", messages=rows))["session"]
    assert session["messages"] == rows
    params = {"session_id": session["session_id"]}
    packed = await client.http.get("/api/session", params=params)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < 2000
    assert packed.json()["session"]["messages"] == rows
    plain = await client.http.get(
        "/api/session", params=params, headers={"Accept-Encoding": "identity"}
    )
    assert "Content-Encoding" not in plain.headers
    assert plain.json() == packed.json()
    short = await client.http.get("/api/session/usage", params=params)
    assert "Content-Encoding" not in short.headers
