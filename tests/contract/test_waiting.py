"""A second message while one streams: what becomes of it is the request's to say."""

import trio

from tests.contract.house import contents


async def test_by_default_it_is_refused(house):
    async with house.up():
        session_id = await house.client.new()
        stream_id, _ = await house.talk(session_id, "first")
        response = await house.start(session_id, "second")
        assert response.status_code == 409
        error = "session already has an active stream"
        assert response.json() == {"error": error, "active_stream_id": stream_id}
        unknown = await house.start(session_id, "second", if_busy="sometimes")
        assert unknown.status_code == 400
        assert "if_busy" in unknown.json()["error"]


async def test_queued_messages_are_seen_everywhere_and_have_their_turns_in_order(house):
    async with house.up() as client:
        session_id = await client.new()
        running, turn = await house.talk(session_id, "first")
        ids = []
        for text in ("second", "third", "fourth"):
            response = await house.start(session_id, text, if_busy="queue")
            assert response.status_code == 202
            ids.append(response.json()["stream_id"])
        session = await client.session(session_id)
        assert [row["message"] for row in session["queue"]] == ["second", "third", "fourth"]
        assert [row["id"] for row in session["queue"]] == ids
        edited = await house.post(
            "/api/session/queue/edit", session_id=session_id, id=ids[1], message="third, better"
        )
        assert [row["message"] for row in edited.json()["queue"]][1] == "third, better"
        removed = await house.post("/api/session/queue/remove", session_id=session_id, id=ids[0])
        assert [row["id"] for row in removed.json()["queue"]] == ids[1:]
        assert (await client.events(ids[0]))[-1].name == "cancel"
        gone = await house.post("/api/session/queue/remove", session_id=session_id, id=ids[0])
        assert gone.status_code == 404
        await turn.answer("one")
        for prompt, stream_id in (("third, better", ids[1]), ("fourth", ids[2])):
            following = await house.upstream.next_turn()
            assert following.prompts[-1] == prompt
            await following.answer(f"answer to {prompt}")
            assert (await client.events(stream_id))[-1].name == "stream_end"
        assert [
            text for role, text in contents(await house.rows(session_id)) if role == "user"
        ] == [
            "first",
            "third, better",
            "fourth",
        ]
        assert (await client.events(running))[-1].name == "stream_end"


async def test_a_reader_may_follow_a_message_that_waits(house):
    async with house.up() as client:
        session_id = await client.new()
        _, turn = await house.talk(session_id, "first")
        waiting = (await house.start(session_id, "second", if_busy="queue")).json()["stream_id"]
        events = []

        async def follow():
            events.extend(await client.events(waiting))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await turn.answer("one")
            await (await house.upstream.next_turn()).answer("two")
        assert [event.name for event in events][-1] == "stream_end"
        assert "".join(e.data["text"] for e in events if e.name == "token") == "two"


async def test_queued_messages_survive_a_kill_and_a_graceful_end(house):
    async with house.up():
        session_id = await house.client.new()
        _, turn = await house.talk(session_id, "first")
        await turn.say("half")
        for text in ("second", "third"):
            await house.start(session_id, text, if_busy="queue")
        await house.kill()
    async with house.up() as client:
        second = await house.upstream.next_turn()
        assert second.prompts[-1] == "second"
        assert [row["message"] for row in (await client.session(session_id))["queue"]] == ["third"]
        assert await house.server.stop() == 0
    async with house.up() as client:
        third = await house.upstream.next_turn()
        assert third.prompts[-1] == "third"
        await third.answer("three")
        stream_id = (await client.session(session_id))["active_stream_id"]
        if stream_id is not None:
            await client.events(stream_id)
        said = contents(await house.rows(session_id))
        assert [text for role, text in said if role == "user"] == ["first", "second", "third"]
        assert said[-1] == ("assistant", "three")


async def test_interrupt_keeps_what_was_shown_and_goes_on_with_the_new_message(house):
    async with house.up() as client:
        session_id = await client.new()
        first, turn = await house.talk(session_id, "first")
        await turn.say("half")
        await house.shown(first, "half")
        second, following = await house.talk(session_id, "second", if_busy="interrupt")
        with trio.fail_after(30):
            await turn.closed.wait()
        assert (await client.events(first))[-1].name == "cancel"
        await following.answer("two")
        await client.events(second)
        assert contents(await house.rows(session_id)) == [
            ("user", "first"),
            ("assistant", "half"),
            ("marker", "Cancellation details"),
            ("user", "second"),
            ("assistant", "two"),
        ]


async def test_rollback_takes_the_running_turn_away(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("zero", session_id, "before")
        first, turn = await house.talk(session_id, "first")
        await turn.say("half")
        await house.shown(first, "half")
        second, following = await house.talk(session_id, "second", if_busy="rollback")
        assert following.prompts == ["before", "zero", "second"]
        await following.answer("two")
        await client.events(second)
        assert contents(await house.rows(session_id)) == [
            ("user", "before"),
            ("assistant", "zero"),
            ("user", "second"),
            ("assistant", "two"),
        ]


async def test_an_agent_that_cannot_be_steered_gets_the_message_next(house):
    async with house.up() as client:
        session_id = await client.new()
        _, turn = await house.talk(session_id, "first")
        response = await house.start(session_id, "second", if_busy="steer")
        assert response.status_code == 202
        assert response.json()["fallback"] == "agent_lacks_steer"
        refused = await house.post("/api/chat/steer", session_id=session_id, text="left")
        assert refused.json() == {
            "accepted": False,
            "fallback": "agent_lacks_steer",
            "stream_id": None,
        }
        await turn.answer("one")
        assert (await house.upstream.next_turn()).prompts[-1] == "second"
        nobody = await house.post("/api/chat/steer", session_id="nobody", text="left")
        assert nobody.json()["fallback"] == "session_not_found"
        assert client is house.client


async def test_an_agent_that_can_be_steered_takes_it_up(house):
    async with house.up(AGENT="demo") as client:
        session_id = await client.new()
        stream_id = await client.start(session_id, "a slow answer")
        await house.shown(stream_id, "You")
        response = await house.start(session_id, "shorter please", if_busy="steer")
        assert response.json()["steered"] is True
        assert response.json()["stream_id"] == stream_id
        await house.shown(stream_id, "shorter please")
        await client.cancel(stream_id)
        said = contents(await house.rows(session_id))
        assert ("user", "shorter please") in said
        assert (await client.session(session_id))["queue"] == []


async def test_there_is_an_end_to_what_may_wait(house):
    async with house.up():
        session_id = await house.client.new()
        await house.talk(session_id, "first")
        for n in range(50):
            assert (await house.start(session_id, f"{n}", if_busy="queue")).status_code == 202
        full = await house.start(session_id, "one more", if_busy="queue")
        assert full.status_code == 429
        assert "Retry-After" in full.headers
        assert len((await house.client.session(session_id))["queue"]) == 50


async def test_the_last_answer_is_made_again_unless_the_conversation_has_changed(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("one", session_id, "first")
        revision = (await client.session(session_id))["regeneration_revision"]
        again = {"regenerate": True, "regeneration_revision": revision}
        started = await house.start(session_id, "", **again)
        turn = await house.upstream.next_turn()
        assert turn.prompts == ["first"]
        assert "regeneration_revision" not in await client.session(session_id)
        await turn.answer("better")
        await client.events(started.json()["stream_id"])
        assert contents(await house.rows(session_id)) == [
            ("user", "first"),
            ("assistant", "better"),
        ]
        stale = await house.start(session_id, "", **again)
        assert stale.status_code == 409
        assert stale.json()["type"] == "stale_regeneration_revision"
        assert contents(await house.rows(session_id))[-1] == ("assistant", "better")


async def test_no_answer_that_shows_what_waits_shows_a_secret(house):
    key = "sk-proj-abcdefghij0123456789ABCDEF"
    async with house.up() as client:
        session_id = await client.new()
        _, turn = await house.talk(session_id, "hello")
        queued = await house.start(session_id, f"use {key}", if_busy="queue")
        assert queued.json()["queue"][0]["message"] == "use [secret]"
        where = {"session_id": session_id, "id": queued.json()["stream_id"]}
        edited = await house.post("/api/session/queue/edit", **where, message=f"use {key} now")
        session = await client.http.get("/api/session", params=where)
        queue = await client.http.get("/api/session/queue", params=where)
        for answer in (edited, session, queue):
            assert "use [secret] now" in answer.text
            assert key not in answer.text
        await turn.answer("hi")
        second = await house.upstream.next_turn()
        assert second.prompts[-1] == f"use {key} now"
        await second.answer("used")
