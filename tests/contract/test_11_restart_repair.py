"""Restart repair is idempotent and truthful: an interrupted turn becomes one user row with its
original time and one marker; repairing twice is repairing once; a completed turn never gets a
marker. Nobody's `updated_at` and nobody's place in the list changes. A prompt that was sent twice
is there twice. What ran beside a conversation leaves no ghost, and says that it failed.
"""

import shutil

import pytest

from actors.session.amendments import amended
from tests.contract.house import contents

INTERRUPTED = ("marker", "interrupted")
HALF = [("user", "first"), ("assistant", "half"), INTERRUPTED]
WHOLE = [("user", "first"), ("assistant", "whole")]
TURN_FIELDS = ("active_stream_id", "pending_user_message", "pending_started_at")


async def half_said(house, session_id, prompt="first", **body):
    stream_id, turn = await house.talk(session_id, prompt, **body)
    await turn.say("half")
    await house.shown(stream_id, "half")
    return stream_id, turn


def disk(house):
    """All records, by their names; without the list, which is written whenever there is time."""
    records = house.sessions.glob("[!_]*.json")
    return {path.name: amended(path.read_bytes()) for path in records}


def keep_journal(house, name):
    """Put a copy of the journal aside, as a crash at this moment would leave it."""
    shutil.copytree(house.data_dir / "journal", house.data_dir / name)


def put_back_journal(house, name):
    shutil.rmtree(house.data_dir / "journal")
    (house.data_dir / name).rename(house.data_dir / "journal")


def check_interrupted(session, before, said):
    """It was cut off, and mended: `before` is what was on disk then."""
    rows = session["messages"][len(before["messages"]) :]
    assert session["messages"][: len(before["messages"])] == before["messages"]
    assert contents(rows) == [
        ("user", before["pending_user_message"]),
        *([("assistant", said)] if said else []),
        INTERRUPTED,
    ]
    assert rows[0]["timestamp"] == before["pending_started_at"]
    assert rows[0]["_recovered"] is True
    assert rows[0].get("attachments", []) == before["pending_attachments"]
    assert rows[-1]["interruption_cause"] == "process_restart"
    assert [session[name] for name in TURN_FIELDS] == [None] * 3
    assert session["pending_attachments"] == []
    assert session["updated_at"] == before["updated_at"]


async def test_what_was_interrupted_is_mended_once_and_nothing_else_is_touched(house):
    async with house.up() as client:
        ids = [await client.new() for _ in range(6)]
        cut, mute, asked, done, stopped, idle = ids
        for session_id in (cut, asked, done):
            await house.answer_from("whole", session_id, "first")
        await half_said(house, cut, "second", attachments=[{"name": "notes.txt"}])
        await house.talk(mute, "first")
        await half_said(house, asked, "first")
        await client.cancel((await half_said(house, stopped))[0])
        await house.post("/api/session/rename", session_id=idle, title="Nothing said")
        await house.kill()
    before, mended = disk(house), []
    for _ in range(2):
        async with house.up() as client:
            for session_id, said in ((cut, "half"), (mute, ""), (asked, "half")):
                session = await client.session(session_id)
                check_interrupted(session, before[f"{session_id}.json"], said)
            for session_id in (done, stopped, idle):
                assert house.record(session_id) == before[f"{session_id}.json"]
            for session_id in ids:
                status = await client.get("/api/session/status", session_id=session_id)
                assert status["agent_running"] is False
            await house.kill()
        mended.append(disk(house))
    assert mended[0] == mended[1]


async def test_a_repair_moves_no_session_in_the_list(house):
    async with house.up() as client:
        cut, mute, done = [await client.new() for _ in range(3)]
        await half_said(house, cut)
        await house.talk(mute, "first")
        await house.answer_from("whole", done, "first")
        order = [row["session_id"] for row in await house.listed()]
        assert order == [done, mute, cut]
        await house.kill()
    for _ in range(2):
        async with house.up() as client:
            assert [row["session_id"] for row in await house.listed()] == order
            await client.session(cut)
            assert [row["session_id"] for row in await house.listed()] == order
            await house.kill()


async def test_the_same_prompt_interrupted_again_and_again_is_there_as_often(house):
    async with house.up() as client:
        session_id = await client.new()
        await half_said(house, session_id)
        await house.kill()
    for times in (1, 2):
        async with house.up():
            assert contents(await house.rows(session_id)) == HALF * times
            _, turn = await half_said(house, session_id)
            assert turn.prompts == ["first", "half"] * times + ["first"]
            await house.kill()


async def test_a_crash_after_the_repair_and_before_its_stream_has_ended_repairs_nothing_again(
    house,
):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, _ = await half_said(house, session_id)
        await house.kill()
    keep_journal(house, "before repair")
    async with house.up() as client:
        told = [(e.id, e.name) for e in await client.events(stream_id)]
        await house.kill()
    mended = disk(house)
    put_back_journal(house, "before repair")
    async with house.up() as client:
        assert contents(await house.rows(session_id)) == HALF
        events = await client.events(stream_id)
        assert [(event.id, event.name) for event in events] == told
        assert events[-1].data["type"] == "interrupted"
    assert disk(house) == mended


@pytest.mark.parametrize("how", ["completed", "stopped", "failed"])
async def test_a_crash_after_a_turn_had_ended_and_before_its_stream_had_adds_no_marker(house, how):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await half_said(house, session_id)
        keep_journal(house, "before the end")
        if how == "completed":
            await turn.finish()
        elif how == "stopped":
            await client.cancel(stream_id)
        else:
            await turn.hang_up()
        told = [event.name for event in await client.events(stream_id)]
        await house.kill()
    before = disk(house)
    put_back_journal(house, "before the end")
    async with house.up() as client:
        assert (await client.session(session_id))["messages"] == before[f"{session_id}.json"][
            "messages"
        ]
        events = [event.name for event in await client.events(stream_id)]
        assert (events[-1], "done" in events) == (told[-1], "done" in told)
    assert disk(house) == before


async def test_without_a_journal_the_prompt_is_mended_all_the_same(house):
    async with house.up() as client:
        session_id = await client.new()
        await half_said(house, session_id)
        await house.kill()
    before = house.record(session_id)
    shutil.rmtree(house.data_dir / "journal")
    for _ in range(2):
        async with house.up() as client:
            (row,) = await house.listed()
            assert (row["active_stream_id"], row["is_streaming"]) == (None, False)
            check_interrupted(await client.session(session_id), before, "")
            await house.kill()


async def test_a_task_in_the_background_that_was_cut_off_says_so_once(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("whole", session_id, "first")
        tasks = {}
        for said in ("half", ""):
            task = await client.post("/api/background", session_id=session_id, prompt=f"do {said}")
            turn = await house.upstream.next_turn()
            if said:
                await turn.say(said)
                await house.shown(task["stream_id"], said)
            tasks[task["task_id"]] = (said or "(background task failed)", task["stream_id"])
        files, before = disk(house).keys(), house.record(session_id)
        await house.kill()
    async with house.up() as client:
        assert disk(house).keys() == files
        assert house.record(session_id)["updated_at"] == before["updated_at"]
        (row,) = await house.listed()
        assert row["session_id"] == session_id
        for _, stream_id in tasks.values():
            last = (await client.events(stream_id))[-1]
            assert (last.name, last.data["type"]) == ("apperror", "interrupted")
        assert contents(await house.rows(session_id)) == WHOLE
        results = await client.get("/api/background/status", session_id=session_id)
        assert {row["task_id"]: (row["status"], row["answer"]) for row in results["results"]} == {
            task_id: ("failed", answer) for task_id, (answer, _) in tasks.items()
        }
        status = await client.get("/api/background/status", session_id=session_id)
        assert status["results"] == []
        await house.kill()
    async with house.up() as client:
        status = await client.get("/api/background/status", session_id=session_id)
        assert status["results"] == []


async def test_a_question_by_the_way_that_was_cut_off_leaves_no_ghost(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("whole", session_id, "first")
        asked = await client.post("/api/btw", session_id=session_id, question="why?")
        turn = await house.upstream.next_turn()
        await turn.say("because")
        await house.shown(asked["stream_id"], "because")
        before = disk(house)
        await house.kill()
    async with house.up() as client:
        assert [row["session_id"] for row in await house.listed()] == [session_id]
        session = await client.session(session_id)
        assert contents(session["messages"]) == WHOLE
        last = (await client.events(asked["stream_id"]))[-1]
        assert (last.name, last.data["type"]) == ("apperror", "interrupted")
        assert disk(house) == before
        _, turn = await house.talk(session_id, "and now")
        assert turn.prompts == ["first", "whole", "and now"]
