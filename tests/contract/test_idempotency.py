"""`Idempotency-Key`: the first answer again, also after a kill; one key, one request; no error is
kept, for it changed nothing.
"""

import pytest
import trio

from tests.contract.house import contents


async def test_a_start_that_is_sent_twice_is_one_turn_also_after_a_kill(house):
    async with house.up() as client:
        session_id = await client.new()
        body = {"session_id": session_id, "message": "hello"}
        first = await house.post("/api/chat/start", "k1", **body)
        turn = await house.upstream.next_turn()
        again = await house.post("/api/chat/start", "k1", **body)
        assert again.content == first.content
        assert again.headers["Idempotency-Replayed"] == "true"
        other = await house.post("/api/chat/start", "k1", **(body | {"message": "other"}))
        assert other.status_code == 422
        await turn.answer("hi")
        await client.events(first.json()["stream_id"])
        await house.kill()
    async with house.up() as client:
        after = await house.post("/api/chat/start", "k1", **body)
        assert after.content == first.content
        assert contents(await house.rows(session_id)) == [("user", "hello"), ("assistant", "hi")]
        other = await house.post("/api/session/undo", "k1", session_id=session_id)
        assert other.status_code == 422


async def test_a_key_whose_answer_was_lost_in_a_crash_is_not_done_twice(house):
    """The change is on disk, its answer is not: as if the process had died in between."""
    async with house.up() as client:
        session_id = await client.new()
        for n in range(3):
            await house.answer_from(f"answer {n}", session_id, f"prompt {n}")
        undo = await house.post("/api/session/undo", "u", session_id=session_id)
        branch = await house.post("/api/session/branch", "b", session_id=session_id)
        project = await house.post("/api/projects/create", "p", name="Work")
        task = {"session_id": session_id, "prompt": "look it up"}
        behind = await house.post("/api/background", "t", **task)
        start = await house.post("/api/chat/start", "s", session_id=session_id, message="more")
        await house.kill()
    for path in (house.data_dir / "answers").iterdir():
        path.unlink()
    async with house.up() as client:
        again = await house.post("/api/session/undo", "u", session_id=session_id)
        assert again.json() == undo.json()
        assert len(await house.rows(session_id)) == 4 + 2, "and the prompt that was cut off"
        again = await house.post("/api/session/branch", "b", session_id=session_id)
        assert again.json()["session_id"] == branch.json()["session_id"]
        again = await house.post("/api/projects/create", "p", name="Work")
        assert again.json()["project"] == project.json()["project"]
        again = await house.post("/api/background", "t", **task)
        assert again.json()["task_id"] == behind.json()["task_id"]
        again = await house.post("/api/chat/start", "s", session_id=session_id, message="more")
        assert again.json()["stream_id"] == start.json()["stream_id"]
        other = await house.post("/api/chat/start", "s", session_id=session_id, message="else")
        assert other.status_code == 422
        prompts = [text for role, text in contents(await house.rows(session_id)) if role == "user"]
        assert prompts.count("more") == 1
        assert len((await client.get("/api/projects"))["projects"]) == 1
        assert len(await house.listed()) == 2


async def test_the_first_answer_stands_whatever_happened_since(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("hi", session_id, "hello")
        first = await house.post("/api/session/rename", "r", session_id=session_id, title="One")
        await house.post("/api/session/rename", session_id=session_id, title="Two")
        again = await house.post("/api/session/rename", "r", session_id=session_id, title="One")
        assert again.json()["session"]["title"] == first.json()["session"]["title"] == "One"
        assert (await client.session(session_id))["title"] == "Two"


async def test_many_at_once_with_one_key_are_done_once(house):
    async with house.up() as client:
        answers = []

        async def make():
            answers.append((await house.post("/api/session/import", "i", messages=[])).json())

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(make)
        assert len({answer["session"]["session_id"] for answer in answers}) == 1
        assert len([name for name in house.files() if not name.startswith("_")]) == 1
        assert client is house.client


async def test_an_error_is_not_kept(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "first")
        body = {"session_id": session_id, "message": "second"}
        assert (await house.post("/api/chat/start", "k", **body)).status_code == 409
        await turn.answer("one")
        await client.events(stream_id)
        assert (await house.post("/api/chat/start", "k", **body)).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tin it"])
async def test_a_key_that_cannot_be_one_is_refused(house, key):
    async with house.up():
        response = await house.post("/api/session/new", key)
        assert response.status_code == 400
        assert "Idempotency-Key" in response.json()["error"]


async def test_an_endpoint_of_two_paths_does_not_wait_for_itself(house):
    async with house.up() as client:
        await client.new()
        for path in ("/api/sessions/cleanup", "/api/sessions/cleanup_zero_message"):
            with trio.fail_after(30):
                answer = await house.post(path, f"of {path}")
            assert answer.json()["ok"]
