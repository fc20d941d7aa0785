"""Rotation: the old id and the new one resolve to the same live owner, for requests that are under
way too; both transcripts can be recovered at every point of a crash; the list shows one row;
`parent_session_id` links new to old; the client is told both ids, and the end under the id that it
opened; a concurrent delete of the old id breaks nothing.
"""

import pytest
import trio

from actors.session.amendments import amended
from tests.contract.house import contents

LONG = "word " * 1200  # enough to come near the smallest context


async def two_turns(house):
    session_id = await house.client.new()
    await house.answer_from("one", session_id, "first")
    await house.answer_from("two", session_id, "second")
    return session_id


async def compress(house, session_id, summary="They counted."):
    """As a user asks for it. Gives the server's answer."""
    answers = []

    async def ask():
        answers.append(await house.post("/api/session/compress", session_id=session_id))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        turn = await house.upstream.next_turn()
        assert turn.purpose == "summary"
        await turn.answer(summary)
    return answers[0]


async def test_on_request_the_session_goes_on_under_a_new_id_and_the_old_one_leads_there(house):
    async with house.up() as client:
        old = await two_turns(house)
        before = await house.rows(old)
        answer = (await compress(house, old)).json()
        new = answer["new_session_id"]
        assert new != old == answer["old_session_id"]
        for name in (old, new):
            session = await client.session(name)
            assert session["session_id"] == new
            assert session["parent_session_id"] == old
            assert session["messages"] == before, "what was said stays, all of it"
            assert session["compression_anchor_summary"] == "They counted."
        assert [row["session_id"] for row in await house.listed()] == [new]
        _, turn = await house.talk(old, "third")
        again = await house.post("/api/session/compress", session_id=old)
        assert again.status_code == 409, "not while a turn runs, whatever was done before"
        assert turn.prompts[0].endswith("They counted.")
        assert turn.prompts[-1] == "third"
        assert "first" not in turn.prompts
        await house.kill()
    async with house.up() as client:
        assert (await client.session(old))["session_id"] == new
        assert [row["session_id"] for row in await house.listed()] == [new]
        assert contents(await house.rows(old))[:4] == contents(before)


async def test_near_the_models_limit_a_turn_begins_with_a_summary_under_a_new_id(house):
    async with house.up(CONTEXT_TOKENS="1000") as client:
        old = await client.new()
        await house.answer_from("one", old, "first")
        await house.answer_from(LONG, old, "second")
        response = await house.start(old, "third")
        stream_id = response.json()["stream_id"]
        summary = await house.upstream.next_turn()
        assert summary.purpose == "summary"
        await summary.answer("They counted.")
        turn = await house.upstream.next_turn()
        assert turn.purpose == "answer"
        assert turn.prompts[0].endswith("They counted.")
        assert turn.prompts[-1] == "third"
        await turn.answer("three")
        events = {event.name: event.data for event in await client.events(stream_id)}
        new = events["compressed"]["new_session_id"]
        assert events["compressing"]["session_id"] == old
        assert events["compressed"]["old_session_id"] == old
        assert events["done"]["session"]["session_id"] == new
        assert events["stream_end"]["session_id"] == old
        said = contents(await house.rows(old))
        assert said[0] == ("user", "first")
        assert said[-2:] == [("user", "third"), ("assistant", "three")]


async def test_undo_across_a_compression_restores_what_the_model_saw_before_it(house):
    async with house.up(CONTEXT_TOKENS="1000") as client:
        old = await client.new()
        await house.answer_from("one", old, "first")
        await house.answer_from(LONG, old, "second")
        stream_id = (await house.start(old, "third")).json()["stream_id"]
        await (await house.upstream.next_turn()).answer("They counted.")
        await (await house.upstream.next_turn()).answer("three")
        await client.events(stream_id)
        assert (await house.post("/api/session/undo", session_id=old)).json()["removed_count"] == 2
        assert (await house.post("/api/session/undo", session_id=old)).json()["removed_count"] == 2
        session = await client.session(old)
        assert session["compression_anchor_summary"] is None
        assert house.record(session["session_id"])["context_messages"] == []
        _, turn = await house.talk(old, "again")
        assert turn.prompts == ["first", "one", "again"]


async def test_a_provider_that_says_too_long_is_asked_again_with_a_summary(house):
    """Nobody had said how much fits."""
    async with house.up() as client:
        old = await two_turns(house)
        stream_id, turn = await house.talk(old, "third")
        await turn.chunk({"error": {"message": "too long", "code": "context_length_exceeded"}})
        summary = await house.upstream.next_turn()
        assert summary.purpose == "summary"
        await summary.answer("They counted.")
        await (await house.upstream.next_turn()).answer("three")
        assert (await client.events(stream_id))[-1].name == "stream_end"
        assert contents(await house.rows(old))[-1] == ("assistant", "three")


async def test_a_summary_that_fails_leaves_everything_as_it_was(house):
    async with house.up() as client:
        session_id = await two_turns(house)
        before = house.record(session_id)
        answer = await compress(house, session_id, summary="")
        assert answer.status_code == 400
        assert "Compression failed" in answer.json()["error"]
        assert house.record(session_id) == before
        assert (await client.session(session_id))["session_id"] == session_id


async def test_what_changes_the_transcript_meanwhile_wins_over_the_compression(house):
    async with house.up() as client:
        session_id = await two_turns(house)
        started = await house.post("/api/session/compress/start", session_id=session_id)
        assert started.json()["status"] == "running"
        summary = await house.upstream.next_turn()
        again = await house.post("/api/session/compress/start", session_id=session_id)
        assert again.json()["status"] == "running", "one at a time"
        await house.post("/api/session/undo", session_id=session_id)
        async with house.listening("/api/session/stream", session_id=session_id) as events:
            await summary.answer("They counted.")
            async for _, data in events:
                if data.get("source") == "compression_ended":
                    break
        status = await client.get("/api/session/compress/status", session_id=session_id)
        assert status["status"] == "error"
        assert "modified during compression" in status["error"]
        assert len(await house.rows(session_id)) == 2


async def test_too_little_to_compress_is_said(house):
    async with house.up():
        session_id = await house.client.new()
        await house.answer_from("one", session_id, "first")
        answer = await house.post("/api/session/compress", session_id=session_id)
        assert answer.status_code == 400
        assert "at least 4 messages" in answer.json()["error"]


async def test_every_id_of_a_long_chain_leads_to_the_session_also_after_a_restart(house):
    async with house.up() as client:
        names = [await two_turns(house)]
        for _ in range(20):
            names.append((await compress(house, names[-1])).json()["new_session_id"])
        for name in names:
            assert (await client.session(name))["session_id"] == names[-1]
        await house.kill()
    async with house.up() as client:
        for name in names:
            assert (await client.session(name))["session_id"] == names[-1]
        lineage = await client.get("/api/session/lineage/report", session_id=names[0])
        assert lineage["lineage"][0] == names[-1]
        await house.post("/api/session/delete", session_id=names[0])
        for name in names:
            response = await client.http.get(f"/api/session?session_id={name}")
            assert response.status_code == 404
        assert not {f"{name}.json" for name in names} & house.files()
        assert await house.listed() == []


@pytest.mark.parametrize("died", ["before the old one points there", "before the old one is gone"])
async def test_a_crash_in_mid_rotation_or_in_mid_delete_leaves_one_session_or_none(house, died):
    async with house.up():
        old = await two_turns(house)
        whole = (house.sessions / f"{old}.json").read_bytes()
        new = (await compress(house, old)).json()["new_session_id"]
        await house.kill()
    if died == "before the old one points there":
        (house.sessions / f"{old}.json").write_bytes(whole)
    else:
        (house.sessions / f"{new}.json").unlink()
    async with house.up() as client:
        listed = [row["session_id"] for row in await house.listed()]
        response = await client.http.get(f"/api/session?session_id={old}")
        if died == "before the old one points there":
            assert listed == [old], "nobody was told of the new one"
            assert len(response.json()["session"]["messages"]) == 4
            assert amended(whole) == house.record(old)
        else:
            assert listed == []
            assert response.status_code == 404
            assert f"{old}.json" not in house.files()


async def test_requests_that_cross_a_rotation_all_reach_the_session(house):
    """Renames by the old id while the summary is being made and applied, then a delete."""
    async with house.up() as client:
        old = await two_turns(house)
        statuses = []

        async def rename(n):
            response = await house.post("/api/session/rename", session_id=old, title=f"t{n}")
            statuses.append(response.status_code)

        await house.post("/api/session/compress/start", session_id=old)
        summary = await house.upstream.next_turn()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(summary.answer, "They counted.")
            for n in range(30):
                nursery.start_soon(rename, n)
        assert statuses == [200] * 30
        session = await client.session(old)
        assert session["title"].startswith("t")
        assert len(session["messages"]) == 4
        await house.post("/api/session/delete", session_id=old)
        assert await house.listed() == []


async def test_undo_and_clear_after_a_compression_leave_nothing_of_it_behind(house):
    async with house.up() as client:
        old = await two_turns(house)
        new = (await compress(house, old)).json()["new_session_id"]
        await house.post("/api/session/clear", session_id=old)
        for path in house.sessions.glob("[!_]*.json"):
            assert "They counted" not in path.read_text()
            assert "first" not in path.read_text()
        assert (await client.session(old))["session_id"] == new
        _, turn = await house.talk(old, "anew")
        assert turn.prompts == ["anew"]


async def test_a_delete_of_the_old_id_that_crosses_a_rotation_leaves_nothing(house):
    async with house.up() as client:
        old = await two_turns(house)
        await house.post("/api/session/compress/start", session_id=old)
        summary = await house.upstream.next_turn()
        answers = []

        async def delete():
            answers.append(await house.post("/api/session/delete", session_id=old))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(summary.answer, "They counted.")
            nursery.start_soon(delete)
        assert answers[0].status_code == 200
        assert (await client.http.get(f"/api/session?session_id={old}")).status_code == 404
        assert await house.listed() == []
        await house.kill()
    async with house.up() as client:
        assert (await client.http.get(f"/api/session?session_id={old}")).status_code == 404
        assert await house.listed() == []
        assert [name for name in house.files() if not name.startswith("_")] == []
