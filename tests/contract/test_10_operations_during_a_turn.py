"""Ops vs. running turn: each has its documented effect in every phase, and none is reverted by the
turn's completion; what is deleted stays deleted, before and after a restart.

| operation                                  | while a turn runs                                |
|--------------------------------------------|--------------------------------------------------|
| undo, retry, truncate, clear, delete       | stops the turn, keeping what was shown; applies  |
| rename, pin, archive, move, update, draft  | applies at once; the turn goes on                |
| edit or remove a waiting message           | applies at once; the turn goes on                |
| branch, duplicate, export, search, status  | of what is in the transcript; the turn goes on   |
| start                                      | by its policy: see `test_waiting.py`             |
| compress, btw                              | 409                                              |
| background                                 | runs beside it                                   |
| import, new, projects                      | are none of the session's business               |
"""

import pytest
import trio

from tests.contract.house import contents

STOPPING = {
    "undo": ("/api/session/undo", {}, []),
    "retry": ("/api/session/retry", {}, []),
    "truncate": ("/api/session/truncate", {"keep_count": 3}, [("user", "second")]),
    "clear": ("/api/session/clear", {}, []),
    "delete": ("/api/session/delete", {}, None),
}
AT_ONCE = {
    "rename": ("/api/session/rename", {"title": "Mine"}, ("title", "Mine")),
    "pin": ("/api/session/pin", {"pinned": True}, ("pinned", True)),
    "archive": ("/api/session/archive", {"archived": True}, ("archived", True)),
    "update": ("/api/session/update", {"model": "other"}, ("model", "other")),
    "draft": (
        "/api/session/draft",
        {"text": "unsent"},
        ("composer_draft", {"text": "unsent", "files": []}),
    ),
}
PHASES = ("idle", "streaming", "cancelling", "recovering", "passivated")


async def in_phase(house, phase, session_id):
    """Bring a session with one exchange into a phase. Gives the stream, if a turn runs in it."""
    if phase in ("streaming", "cancelling"):
        stream_id, turn = await house.talk(session_id, "second")
        await turn.say("half")
        await house.shown(stream_id, "half")
        return stream_id
    return None


async def first_exchange(house):
    session_id = await house.client.new()
    await house.answer_from("one", session_id, "first")
    return session_id


async def apply(house, phase, session_id, path, body, stream_id):
    """The operation, in that phase; while cancelling, it crosses the cancel."""
    answers = []

    async def operate():
        answers.append(await house.post(path, session_id=session_id, **body))

    async with trio.open_nursery() as nursery:
        if phase == "cancelling":
            nursery.start_soon(house.client.cancel, stream_id)
        nursery.start_soon(operate)
    assert answers[0].status_code == 200, answers[0].text
    return answers[0].json()


@pytest.mark.parametrize("name", STOPPING)
async def test_it_stops_the_turn_and_is_not_reverted(house, name):
    path, body, left = STOPPING[name]
    async with house.up() as client:
        session_id = await first_exchange(house)
        stream_id, turn = await house.talk(session_id, "second")
        await turn.say("half")
        await house.shown(stream_id, "half")
        await apply(house, "streaming", session_id, path, body, stream_id)
        with trio.fail_after(30):
            await turn.closed.wait()
        events = await client.events(stream_id)
        assert [event.name for event in events].count("cancel") == 1
        assert events[-1].name == "cancel"
        await check(house, name, session_id, left)
        await house.kill()
    async with house.up():
        await check(house, name, session_id, left)


async def check(house, name, session_id, left):
    response = await house.client.http.get(f"/api/session?session_id={session_id}")
    if left is None:
        assert response.status_code == 404
        assert f"{session_id}.json" not in house.files()
        assert session_id not in {row["session_id"] for row in await house.listed()}
        return
    begun = [] if name == "clear" else [("user", "first"), ("assistant", "one")]
    session = response.json()["session"]
    assert contents(session["messages"]) == begun + left
    assert session["active_stream_id"] is None


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", AT_ONCE)
async def test_it_applies_at_once_in_every_phase_and_is_not_reverted(house, name, phase):
    path, body, (field, value) = AT_ONCE[name]
    async with house.up() as client:
        session_id = await first_exchange(house)
        if phase == "recovering":
            _, turn = await house.talk(session_id, "second")
            await turn.say("half")
            await house.kill()
        else:
            stream_id = await in_phase(house, phase, session_id)
            await apply(house, phase, session_id, path, body, stream_id)
            if phase == "streaming":
                assert (await client.session(session_id))["active_stream_id"] == stream_id
                await client.cancel(stream_id)
            assert (await client.session(session_id))[field] == value
            await house.kill()
    async with house.up() as client:
        if phase in ("recovering", "passivated"):
            await apply(house, phase, session_id, path, body, None)
        assert (await client.session(session_id))[field] == value
        if phase in ("streaming", "cancelling", "recovering"):
            assert ("user", "second") in contents(await house.rows(session_id))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", STOPPING)
async def test_it_cuts_in_every_phase(house, name, phase):
    path, body, _ = STOPPING[name]
    async with house.up() as client:
        session_id = await first_exchange(house)
        if phase == "recovering":
            await house.talk(session_id, "second")
        stream_id = await in_phase(house, phase, session_id)
        if phase in ("recovering", "passivated"):
            await house.kill()
        else:
            await apply(house, phase, session_id, path, body, stream_id)
            await house.kill()
    async with house.up() as client:
        if phase in ("recovering", "passivated"):
            await apply(house, phase, session_id, path, body, None)
        response = await client.http.get(f"/api/session?session_id={session_id}")
        if name == "delete":
            assert response.status_code == 404
            return
        said = contents(response.json()["session"]["messages"])
        whole = phase in ("idle", "passivated")
        if name == "clear":
            assert said == []
        elif name == "truncate":
            expected = [("user", "first"), ("assistant", "one")]
            assert said == expected if whole else said == [*expected, ("user", "second")]
        else:
            assert said == ([] if whole else [("user", "first"), ("assistant", "one")])


async def test_while_a_turn_runs_a_compression_and_a_question_by_the_way_are_refused(house):
    async with house.up():
        session_id = await first_exchange(house)
        await house.talk(session_id, "second")
        compressed = await house.post("/api/session/compress", session_id=session_id)
        assert compressed.status_code == 409
        assert "still streaming" in compressed.json()["error"]
        asked = await house.post("/api/btw", session_id=session_id, question="why?")
        assert asked.status_code == 409


async def test_a_branch_a_copy_and_an_export_of_a_running_session_hold_what_is_settled(house):
    async with house.up() as client:
        session_id = await first_exchange(house)
        stream_id, turn = await house.talk(session_id, "second")
        branch = (await house.post("/api/session/branch", session_id=session_id)).json()
        copy = (await house.post("/api/session/duplicate", session_id=session_id)).json()
        for new in (branch["session_id"], copy["session"]["session_id"]):
            session = await client.session(new)
            assert contents(session["messages"]) == [("user", "first"), ("assistant", "one")]
            assert session["active_stream_id"] is None
            assert session["pending_user_message"] is None
        await turn.answer("two")
        assert (await client.events(stream_id))[-1].name == "stream_end"
        assert contents(await house.rows(session_id))[-1] == ("assistant", "two")


@pytest.mark.parametrize("phase", PHASES)
async def test_what_only_reads_or_begins_something_new_works_in_every_phase(house, phase):
    first = [("user", "first"), ("assistant", "one")]
    async with house.up():
        session_id = await first_exchange(house)
        project = (await house.post("/api/projects/create", name="Work")).json()["project"]
        if phase == "recovering":
            await house.talk(session_id, "second")
        stream_id = await in_phase(house, phase, session_id)
        if phase in ("recovering", "passivated"):
            await house.kill()
        else:
            await read_and_begin(house, phase, session_id, project["project_id"], stream_id, first)
    if phase in ("recovering", "passivated"):
        async with house.up():
            await read_and_begin(house, phase, session_id, project["project_id"], None, first)


async def read_and_begin(house, phase, session_id, project_id, stream_id, first):
    client = house.client
    move = {"project_id": project_id}
    moved = await apply(house, phase, session_id, "/api/session/move", move, stream_id)
    assert moved["session"]["project_id"] == project_id
    branch = await house.post("/api/session/branch", session_id=session_id, keep_count=2)
    assert contents(await house.rows(branch.json()["session_id"])) == first
    copy = await house.post("/api/session/duplicate", session_id=session_id)
    assert contents(copy.json()["session"]["messages"])[:2] == first
    for form in ("json", "html"):
        export = await client.http.get(
            "/api/session/export", params={"session_id": session_id, "format": form}
        )
        assert (export.status_code, "first" in export.text) == (200, True)
    found = await client.get("/api/sessions/search", q="first")
    assert session_id in {row["session_id"] for row in found["sessions"]}
    assert (await client.get("/api/session/draft", session_id=session_id))["ok"] is True
    assert (await client.get("/api/session/status", session_id=session_id))["title"]
    task = await house.post("/api/background", session_id=session_id, prompt="look it up")
    assert (await house.upstream.next_turn()).prompts[-1] == "look it up"
    assert await client.cancel(task.json()["stream_id"]) is True
    assert (await client.session(session_id))["project_id"] == project_id
