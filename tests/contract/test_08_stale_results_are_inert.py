"""Stale results are inert: what comes of turn N when turn N+1 was admitted or has completed (its
words, its end, its failure, a cancel, a title) changes neither the transcript nor the disk, nor the
prompt of N+1 that waits for its answer.
"""

from contextlib import aclosing, suppress

import pytest
import trio

from tests.app.client import text_of
from tests.contract.house import contents

# The server leaves a provider that it does not need any more, at a moment that nobody chooses.
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
STOPPED = ("marker", "Cancellation details")


async def babble(turn):
    """A provider that does not stop until it is left."""
    with suppress(*GONE):
        while True:
            await turn.say("old ")


async def last_words(turn, how):
    with suppress(*GONE):
        await (turn.finish() if how == "finish" else turn.hang_up())


def check_pending(house, session_id, stream_id, prompt):
    record = house.record(session_id)
    assert record["active_stream_id"] == stream_id
    assert record["pending_user_message"] == prompt


async def one_exchange(house):
    session_id = await house.client.new()
    await house.answer_from("zero", session_id, "nought")
    return session_id, [("user", "nought"), ("assistant", "zero")]


@pytest.mark.parametrize("how", ["cancel and start", "interrupt", "rollback"])
async def test_words_of_a_stopped_turn_reach_nobody(house, how):
    async with house.up() as client:
        session_id, rows = await one_exchange(house)
        old_stream, old = await house.talk(session_id, "first")
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(babble, old)
                await house.shown(old_stream, "old ")
                policy = "reject" if how == "cancel and start" else how
                if policy == "reject":
                    assert await client.cancel(old_stream)
                stream_id, turn = await house.talk(session_id, "second", if_busy=policy)
                before = house.record(session_id)
        check_pending(house, session_id, stream_id, "second")
        assert house.record(session_id) == before
        await turn.answer("new")
        assert text_of(await client.events(stream_id)) == "new"
        told = text_of(await client.events(old_stream))
        if how != "rollback":
            rows += [("user", "first"), ("assistant", told), STOPPED]
        rows += [("user", "second"), ("assistant", "new")]
        assert contents(await house.rows(session_id)) == rows
        await house.kill()
    async with house.up():
        assert contents(await house.rows(session_id)) == rows


@pytest.mark.parametrize("how", ["finish", "failure"])
async def test_an_end_that_crosses_its_successor_is_the_turns_own_or_nobodys(house, how):
    ends = {"finish": [], "failure": [("marker", "error")]}
    async with house.up() as client:
        for _ in range(10):
            session_id, rows = await one_exchange(house)
            old_stream, old = await house.talk(session_id, "first")
            await old.say("half")
            await house.shown(old_stream, "half")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(last_words, old, how)
                stream_id, turn = await house.talk(session_id, "second", if_busy="interrupt")
            check_pending(house, session_id, stream_id, "second")
            last = (await client.events(old_stream))[-1].name
            await turn.answer("new")
            assert text_of(await client.events(stream_id)) == "new"
            rows += [("user", "first"), ("assistant", "half")]
            rows += [STOPPED] if last == "cancel" else ends[how]
            rows += [("user", "second"), ("assistant", "new")]
            assert contents(await house.rows(session_id)) == rows


async def test_a_cancel_of_a_turn_before_does_not_touch_the_one_that_runs(house, subtests):
    async with house.up() as client:
        for end in ("completed", "failed", "cancelled", "interrupt", "rollback"):
            with subtests.test(end):
                session_id, _ = await one_exchange(house)
                old_stream, old = await house.talk(session_id, "first")
                if end == "cancelled":
                    await client.cancel(old_stream)
                elif end in ("completed", "failed"):
                    await (old.answer("one") if end == "completed" else old.hang_up())
                    await client.events(old_stream)
                policy = end if end in ("interrupt", "rollback") else "reject"
                stream_id, turn = await house.talk(session_id, "second", if_busy=policy)
                before = house.record(session_id)
                assert await client.cancel(old_stream) is False
                assert house.record(session_id) == before
                check_pending(house, session_id, stream_id, "second")
                await turn.answer("new")
                assert (await client.events(stream_id))[-1].name == "stream_end"
                before = house.record(session_id)
                said = contents(before["messages"])
                assert said[-2:] == [("user", "second"), ("assistant", "new")]
                assert await client.cancel(old_stream) is False
                assert house.record(session_id) == before


async def another_turn(house, session_id):
    """Begun and done, whether or not a title is to come of it."""
    stream_id, turn = await house.talk(session_id, "Bake a cake")
    await turn.answer("With plums.")
    with trio.fail_after(30):
        async with aclosing(house.client.follow(stream_id)) as events:
            while (await anext(events)).name != "done":
                pass
    assert contents(await house.rows(session_id))[-1] == ("assistant", "With plums.")


# What happens to a session, step by step, while a model is being asked for its title.
MEANWHILE = {
    "it was renamed": [("rename", {"title": "Mend the roof"})],  # as it was called anyway
    "it was cleared": [("clear", {})],
    "its only turn was undone": [("undo", {})],
    "it was cleared and another turn is done": [("clear", {}), another_turn],
    "its turn was undone and another is done": [("undo", {}), another_turn],
    "it was deleted": [("delete", {})],
}


async def while_titled(house, session_id, name):
    """Gives what is on disk then; None if nothing is."""
    for step in MEANWHILE[name]:
        if callable(step):
            await step(house, session_id)
        else:
            path, body = step
            response = await house.post(f"/api/session/{path}", session_id=session_id, **body)
            assert response.status_code == 200
    return None if name == "it was deleted" else house.record(session_id)


async def first_turn(house):
    """Done, and the model is asked for a title of it."""
    session_id = await house.client.new()
    stream_id, turn = await house.talk(session_id, "Mend the roof")
    await turn.answer("With slates.")
    title = await house.upstream.next_turn()
    assert title.purpose == "title"
    return session_id, stream_id, title


async def check_unchanged(house, before, session_id):
    if before is not None:
        assert house.record(session_id) == before
        return
    assert f"{session_id}.json" not in house.files()
    response = await house.client.http.get("/api/session", params={"session_id": session_id})
    assert response.status_code == 404
    assert session_id not in {row["session_id"] for row in await house.listed()}


@pytest.mark.parametrize("name", MEANWHILE)
async def test_a_title_of_what_is_no_longer_there_is_not_written(house, name):
    async with house.up(TITLES="model") as client:
        session_id, stream_id, title = await first_turn(house)
        before = await while_titled(house, session_id, name)
        with suppress(*GONE):
            await title.answer("Roof repairs")
        names = [event.name for event in await client.events(stream_id)]
        assert ("title" in names, names[-1]) == (False, "stream_end")
        await check_unchanged(house, before, session_id)


async def test_a_title_and_a_cancel_of_its_turn_leave_the_one_that_runs_meanwhile_alone(house):
    async with house.up(TITLES="model") as client:
        session_id, old_stream, title = await first_turn(house)
        stream_id, turn = await house.talk(session_id, "Bake a cake")
        before = house.record(session_id)
        assert await client.cancel(old_stream) is False
        assert house.record(session_id) == before
        await title.answer("Roof repairs")
        assert (await client.events(old_stream))[-1].name == "stream_end"
        named = {"title": "Roof repairs", "llm_title_generated": True}
        assert house.record(session_id) == before | named
        check_pending(house, session_id, stream_id, "Bake a cake")
        await turn.answer("With plums.")
        names = [event.name for event in await client.events(stream_id)]
        assert names[-2:] == ["done", "stream_end"]


@pytest.mark.parametrize("name", ["it was renamed", "it was cleared", "it was deleted"])
async def test_a_title_that_was_asked_for_does_not_undo_what_came_after(house, name):
    async with house.up(TITLES="model") as client:
        session_id, stream_id, title = await first_turn(house)
        await title.answer("Roof repairs")
        await client.events(stream_id)

        async def retitle():
            await house.post("/api/session/title/regenerate", session_id=session_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(retitle)
            asked = await house.upstream.next_turn()
            before = await while_titled(house, session_id, name)
            with suppress(*GONE):
                await asked.answer("Slates and ladders")
        await check_unchanged(house, before, session_id)
