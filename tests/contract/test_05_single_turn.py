"""Single turn: of K simultaneous starts on one session exactly one succeeds, K-1 get 409 carrying
the winner's stream id; no prompt of the losers is written, then or after a restart.
"""

from contextlib import suppress
from functools import partial

import pytest
import trio

from tests.contract.house import contents

STARTS = 20
RACES = 5


async def start_at_once(house, session_id, prompts, beside=None):
    """Gives their answers."""
    answers = {}

    async def start(place):
        prompt = prompts[place]
        answers[place] = await house.start(session_id, prompt, attachments=[f"{prompt}.txt"])

    async with trio.open_nursery() as nursery:
        if beside is not None:
            nursery.start_soon(beside)
        for place in range(len(prompts)):
            nursery.start_soon(start, place)
    return [answers[place] for place in range(len(prompts))]


def numbered(what):
    return [f"{what} number {n:02}" for n in range(STARTS)]


def winners_of(answers):
    """Their places."""
    return [place for place, answer in enumerate(answers) if answer.status_code == 200]


def check_refused(answers, *stream_ids):
    """That all but the winners were told of one that had the session."""
    error = "session already has an active stream"
    for answer in answers:
        if answer.status_code != 200:
            told = answer.json()
            assert (answer.status_code, told["error"]) == (409, error)
            assert told["active_stream_id"] in stream_ids
            assert told.keys() == {"error", "active_stream_id"}


def winner_of(answers):
    """That there is one, and that all others were told of it. Gives its place, and its stream."""
    [place] = winners_of(answers)
    stream_id = answers[place].json()["stream_id"]
    check_refused(answers, stream_id)
    return place, stream_id


def written(house, prompts):
    """Those of the prompts that are in any file."""
    found = set()
    for path in house.data_dir.rglob("*"):
        with suppress(FileNotFoundError):  # replaced meanwhile
            data = path.read_bytes() if path.is_file() else b""
            found |= {prompt for prompt in prompts if prompt.encode() in data}
    return sorted(found)


@pytest.mark.parametrize("kind", ["new", "on disk, and not loaded"])
async def test_one_start_wins_and_nothing_is_left_of_the_others(house, kind):
    prompts, before = numbered("prompt"), []
    async with house.up() as client:
        session_id = await client.new()
        if kind != "new":
            await house.answer_from("one", session_id, "first")
            before = [("user", "first"), ("assistant", "one")]
            await house.kill()
    async with house.up() as client:
        if kind == "new":
            session_id = await client.new()
        answers = await start_at_once(house, session_id, prompts)
        place, stream_id = winner_of(answers)
        assert written(house, prompts) == [prompts[place]]
        turn = await house.upstream.next_turn()
        assert turn.prompts == [*(text for _, text in before), prompts[place]]
        session = await client.session(session_id)
        assert session["active_stream_id"] == stream_id
        assert session["pending_user_message"] == prompts[place]
        assert session["pending_attachments"] == [f"{prompts[place]}.txt"]
        assert session["queue"] == []
        await turn.answer("two")
        assert (await client.events(stream_id))[-1].name == "stream_end"
        everything = [*before, ("user", prompts[place]), ("assistant", "two")]
        assert contents(await house.rows(session_id)) == everything
        # Nobody else has asked the model, or this would not be what it is asked next.
        _, after = await house.talk(session_id, "after")
        assert after.prompts[-3:] == [prompts[place], "two", "after"]
        await house.kill()
    assert written(house, prompts) == [prompts[place]]
    async with house.up():
        rows = contents(await house.rows(session_id))
        assert rows == [*everything, ("user", "after"), ("marker", "interrupted")]
        assert written(house, prompts) == [prompts[place]]


async def test_while_a_turn_runs_all_are_refused(house):
    prompts = numbered("too late")
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "first")
        before = house.record(session_id)
        answers = await start_at_once(house, session_id, prompts)
        assert winners_of(answers) == []
        check_refused(answers, stream_id)
        assert house.record(session_id) == before
        assert written(house, prompts) == []
        await turn.answer("one")
        assert (await client.events(stream_id))[-1].name == "stream_end"
        assert contents(await house.rows(session_id)) == [("user", "first"), ("assistant", "one")]
        await house.kill()
    async with house.up():
        assert contents(await house.rows(session_id)) == [("user", "first"), ("assistant", "one")]
        assert written(house, prompts) == []


async def test_of_identical_prompts_one_is_written_once(house):
    async with house.up() as client:
        session_id = await client.new()
        _, stream_id = winner_of(await start_at_once(house, session_id, ["same"] * STARTS))
        await (await house.upstream.next_turn()).answer("one")
        await client.events(stream_id)
        assert contents(await house.rows(session_id)) == [("user", "same"), ("assistant", "one")]
        await house.kill()
    async with house.up():
        assert contents(await house.rows(session_id)) == [("user", "same"), ("assistant", "one")]


async def test_of_those_that_cross_the_end_of_a_turn_at_most_one_follows_it(house):
    async with house.up() as client:
        for race in range(RACES):
            prompts, said = numbered(f"race {race}"), [("user", "first"), ("assistant", "one")]
            session_id = await client.new()
            first, turn = await house.talk(session_id, "first")
            answers = await start_at_once(house, session_id, prompts, partial(turn.answer, "one"))
            assert (await client.events(first))[-1].name == "stream_end"
            winners, streams = winners_of(answers), [first]
            assert len(winners) <= 1
            for place in winners:
                streams.append(answers[place].json()["stream_id"])
                await (await house.upstream.next_turn()).answer("two")
                await client.events(streams[-1])
                said += [("user", prompts[place]), ("assistant", "two")]
            check_refused(answers, *streams)
            assert contents(await house.rows(session_id)) == said
            assert written(house, prompts) == [prompts[place] for place in winners]
