"""Titles: an automatic one is written at most once, never over a rename made at any moment before
the write, at most 80 characters; it does not move the session in the list. A generator that fails
still lets the stream end, and the first words serve instead.
"""

import pytest
import trio

from actors.session.titles import fallback_title, tidied_title
from tests.contract.house import House

PROMPT = "Fix the flaky integration tests please. Then deploy"


async def talked(house: House, prompt=PROMPT):
    """A session whose first turn is done, and whose title the model is being asked for."""
    session_id = await house.client.new()
    stream_id, turn = await house.talk(session_id, prompt)
    await turn.answer("I am on it.")
    asked = await house.upstream.next_turn()
    assert asked.purpose == "title"
    return session_id, stream_id, asked


async def names_after_done(house, stream_id):
    events = await house.client.events(stream_id)
    names = [event.name for event in events]
    return {event.name: event.data for event in events}, names[names.index("done") + 1 :]


async def test_the_model_names_the_session_after_done_and_before_the_end(house):
    async with house.up(TITLES="model") as client:
        session_id, stream_id, asked = await talked(house)
        assert PROMPT in asked.prompts[-1]
        provisional = await client.session(session_id)
        assert provisional["title"] == PROMPT[:64]
        assert provisional["active_stream_id"] is None, "the turn is over"
        await asked.answer('<think>short</think>\nTitle: "Flaky integration tests."')
        data, after = await names_after_done(house, stream_id)
        assert after == ["title_status", "title", "stream_end"]
        assert data["title_status"]["status"] == "llm"
        assert data["title"] == {"session_id": session_id, "title": "Flaky integration tests"}
        session = await client.session(session_id)
        assert session["title"] == "Flaky integration tests"
        assert session["updated_at"] == provisional["updated_at"]
        await house.kill()
    async with house.up(TITLES="model") as client:
        assert (await client.session(session_id))["title"] == "Flaky integration tests"
        stream_id, turn = await house.talk(session_id, "next")
        await turn.answer("done")
        _, after = await names_after_done(house, stream_id)
        assert after == ["stream_end"], "a session is named once"


@pytest.mark.parametrize("title", ["Mine", "Fix the flaky", PROMPT[:64]])
async def test_a_rename_at_any_moment_wins(house, title):
    """Also one that is a beginning of the first message, or all of it."""
    async with house.up(TITLES="model") as client:
        session_id, stream_id, asked = await talked(house)
        await house.post("/api/session/rename", session_id=session_id, title=title)
        await asked.answer("Something else entirely")
        data, after = await names_after_done(house, stream_id)
        assert after == ["title_status", "stream_end"]
        assert data["title_status"]["status"] == "skipped"
        assert data["title_status"]["reason"] == "manual_title"
        assert (await client.session(session_id))["title"] == title
        stream_id, turn = await house.talk(session_id, "next")
        await turn.answer("done")
        _, after = await names_after_done(house, stream_id)
        assert after == ["stream_end"]


async def test_a_rename_before_the_first_turn_ends_asks_no_model(house):
    async with house.up(TITLES="model") as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, PROMPT)
        await house.post("/api/session/rename", session_id=session_id, title="Mine")
        await turn.answer("I am on it.")
        _, after = await names_after_done(house, stream_id)
        assert after == ["stream_end"]


@pytest.mark.parametrize("said", ["", "ok", "Let me think about a title", "<think>endless"])
async def test_a_model_that_says_nothing_of_use_leaves_it_to_the_first_words(house, said):
    async with house.up(TITLES="model") as client:
        session_id, stream_id, asked = await talked(house)
        await asked.answer(said)
        data, after = await names_after_done(house, stream_id)
        assert after == ["title_status", "title", "stream_end"]
        assert data["title_status"]["status"] == "fallback"
        assert (await client.session(session_id))["title"] == "Fix flaky integration tests"


async def test_a_model_that_breaks_leaves_it_to_the_first_words(house):
    async with house.up(TITLES="model") as client:
        session_id, stream_id, asked = await talked(house)
        await asked.hang_up()
        _, after = await names_after_done(house, stream_id)
        assert after == ["title_status", "title", "stream_end"]
        assert (await client.session(session_id))["title"] == "Fix flaky integration tests"


async def test_a_title_moves_no_session_in_the_list(house):
    async with house.up(TITLES="model") as client:
        first, stream_id, asked = await talked(house)
        second = await client.new()
        _, turn = await house.talk(second, "another")
        await asked.answer("Named late")
        await names_after_done(house, stream_id)
        rows = await house.listed()
        assert [row["session_id"] for row in rows] == [second, first]
        assert rows[1]["title"] == "Named late"
        await turn.answer("x")


async def test_the_next_turn_does_not_wait_for_the_title(house):
    async with house.up(TITLES="model") as client:
        session_id, stream_id, asked = await talked(house)
        following, turn = await house.talk(session_id, "next")
        await asked.answer("Named meanwhile")
        _, after = await names_after_done(house, stream_id)
        assert after == ["title_status", "title", "stream_end"]
        session = await client.session(session_id)
        assert session["title"] == "Named meanwhile"
        assert session["active_stream_id"] == following
        assert session["pending_user_message"] == "next"
        await turn.answer("done")
        assert (await client.events(following))[-1].name == "stream_end"


async def test_deleting_a_session_that_is_being_named_leaves_nothing(house):
    async with house.up(TITLES="model"):
        session_id, stream_id, asked = await talked(house)
        await house.post("/api/session/delete", session_id=session_id)
        with trio.fail_after(30):
            await asked.closed.wait()
        events = await house.client.events(stream_id)
        assert events[-1].name == "stream_end"
        assert f"{session_id}.json" not in house.files()
        assert await house.listed() == []


async def test_killed_while_it_looks_for_a_title_the_stream_ends_after_the_restart(house):
    async with house.up(TITLES="model"):
        session_id, stream_id, _ = await talked(house)
        await house.kill()
    async with house.up(TITLES="model") as client:
        events = await client.events(stream_id)
        assert [event.name for event in events][-2:] == ["done", "stream_end"]
        session = await client.session(session_id)
        assert [row["role"] for row in session["messages"]] == ["user", "assistant"]


async def test_a_new_title_is_made_when_it_is_asked_for(house):
    async with house.up(TITLES="model") as client:
        session_id, stream_id, asked = await talked(house)
        await house.post("/api/session/rename", session_id=session_id, title="Mine")
        await asked.answer("Unused")
        await client.events(stream_id)
        answers = []

        async def regenerate():
            answers.append(await house.post("/api/session/title/regenerate", session_id=session_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(regenerate)
            await (await house.upstream.next_turn()).answer("Made anew")
        assert answers[0].json()["title"] == "Made anew"
        assert (await client.session(session_id))["title"] == "Made anew"


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Debugging flaky tests", "Debugging flaky tests"),
        ("**Title: Debugging**", "Debugging"),
        ("  «Tests»\nand more", "Tests"),
        ("x" * 300, "x" * 80),
        ("The user wants a title", None),
        ("Boiling an egg is not only a skill but also an art, and it takes patience", None),
        ("Pong.", None),
        ("", None),
    ],
)
def test_what_becomes_of_what_a_model_says(said, title):
    assert tidied_title(said) == title


def test_the_first_words_that_carry_something_are_a_title(record_of):
    assert fallback_title(record_of(PROMPT)) == "Fix flaky integration tests"
    assert fallback_title(record_of("hi")) is None
