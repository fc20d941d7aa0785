"""A second tab is told of a new turn, a rename, a delete: it does not poll."""

import trio

from tests.contract.house import contents


async def next_of(events, name, **data):
    """The next event of that name that says all this."""
    with trio.fail_after(30):
        async for event, found in events:
            if event == name and data.items() <= found.items():
                return found
    raise AssertionError("the stream ended")


async def test_the_list_hears_of_everything_that_it_shows(house):
    async with house.up() as client, house.listening("/api/sessions/events") as events:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "hello")
        await next_of(events, "sessions_changed", session_id=session_id, reason="turn_started")
        await turn.answer("hi")
        await client.events(stream_id)
        for path, body, reason in (
            ("rename", {"title": "Mine"}, "session_rename"),
            ("pin", {"pinned": True}, "session_pin"),
            ("archive", {"archived": True}, "session_archive"),
            ("undo", {}, "session_undo"),
            ("delete", {}, "session_delete"),
        ):
            await house.post(f"/api/session/{path}", session_id=session_id, **body)
            found = await next_of(events, "sessions_changed", session_id=session_id, reason=reason)
            assert isinstance(found["version"], int)


async def test_the_session_hears_of_a_turn_that_another_tab_began_and_of_its_end(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("hi", session_id, "hello")
        path = "/api/session/stream"
        async with house.listening(path, session_id=session_id, known_count=2) as events:
            await next_of(events, "initial", session_id=session_id)
            stream_id, turn = await house.talk(session_id, "from the other tab")
            found = await next_of(events, "server_turn_started")
            assert found["stream_id"] == stream_id
            assert found["session_id"] == session_id
            await turn.answer("done")
            found = await next_of(events, "session-updated", message_count=4)
            assert found["session_id"] == session_id
            await house.post("/api/session/delete", session_id=session_id)
            await next_of(events, "session-deleted", session_id=session_id)


async def test_what_happened_before_it_listened_is_told_first(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("hi", session_id, "hello")
        path = "/api/session/stream"
        async with house.listening(path, session_id=session_id, known_count=0) as events:
            await next_of(events, "session-updated", message_count=2, known_count=0)
        stream_id, turn = await house.talk(session_id, "more")
        async with house.listening(path, session_id=session_id, known_count=2) as events:
            await next_of(events, "server_turn_started", stream_id=stream_id, recovered=True)
        await turn.answer("x")
        assert (await client.http.get(path, params={"session_id": "nobody"})).status_code == 404
        assert (await client.http.get(path)).status_code == 400


async def test_a_tab_that_knows_the_old_id_hears_of_the_session_after_a_rotation(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("one", session_id, "first")
        await house.answer_from("two", session_id, "second")
        path = "/api/session/stream"
        async with house.listening(path, session_id=session_id, known_count=4) as events:
            await house.post("/api/session/compress/start", session_id=session_id)
            await (await house.upstream.next_turn()).answer("They counted.")
            await next_of(events, "session-updated", source="session_compressed")
            stream_id, turn = await house.talk(session_id, "third")
            found = await next_of(events, "server_turn_started", stream_id=stream_id)
            assert found["session_id"] == session_id, "the name it knows"
            await turn.answer("three")
            await next_of(events, "session-updated", message_count=6)


async def test_the_streams_end_when_the_server_does(house):
    async with house.up(), house.listening("/api/sessions/events") as events:
        assert await house.server.stop() == 0
        with trio.fail_after(30):
            assert [event async for event in events] == []


async def test_a_question_by_the_way_leaves_no_trace(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("hi", session_id, "hello")
        before = house.record(session_id)
        asked = (await house.post("/api/btw", session_id=session_id, question="why?")).json()
        assert asked["parent_session_id"] == session_id
        turn = await house.upstream.next_turn()
        assert turn.prompts == ["hello", "hi", "why?"]
        await turn.answer("because")
        events = await client.events(asked["stream_id"])
        done = next(event.data for event in events if event.name == "done")
        assert done["ephemeral"] is True
        assert done["answer"] == "because"
        assert contents(done["session"]["messages"]) == [("user", "hello"), ("assistant", "hi")]
        assert events[-1].name == "stream_end"
        assert house.record(session_id) == before
        assert len(await house.listed()) == 1


async def test_a_task_in_the_background_runs_beside_a_turn_and_its_result_is_given_once(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("hi", session_id, "hello")
        stream_id, turn = await house.talk(session_id, "in front")
        task = (await house.post("/api/background", session_id=session_id, prompt="behind")).json()
        behind = await house.upstream.next_turn()
        assert behind.prompts[-1] == "behind"
        status = "/api/background/status"
        assert (await client.get(status, session_id=session_id))["results"] == []
        await behind.answer("found it")
        await client.events(task["stream_id"])
        results = (await client.get(status, session_id=session_id))["results"]
        assert [(r["task_id"], r["answer"]) for r in results] == [(task["task_id"], "found it")]
        assert (await client.get(status, session_id=session_id))["results"] == []
        await turn.answer("done")
        await client.events(stream_id)
        assert contents(await house.rows(session_id))[-2:] == [
            ("user", "in front"),
            ("assistant", "done"),
        ]
