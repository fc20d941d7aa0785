"""Accepted means durable: when a start answers success, a kill -9 at any later instant and a
reload show the prompt exactly once (as pending, as a user row, or as one that waits for its turn),
with its attachments.
"""

from contextlib import aclosing, suppress

import httpx
import pytest
import trio

from tests.contract.house import contents, rows_of

PROMPT = "Draw me a house."
FILES = [{"name": "house.pdf", "path": "plans/house.pdf", "size": 12}, "notes.txt"]

INSTANTS = (
    "the start is answered",
    "the model is asked",
    "a token is shown",
    "several are shown",
    "done is shown",
    "the stream has ended",
)

WAITING = [("second", FILES), ("again", []), ("again", ["notes.txt"])]
HANDOVERS = ("all wait", "the first has begun", "the first may begin")


def said(session):
    """Every prompt in a record, or in an answer that shows one: in order, with its attachments."""
    prompts = [(row["content"], row.get("attachments", [])) for row in rows_of(session, "user")]
    if session["pending_user_message"] is not None:
        prompts.append((session["pending_user_message"], session["pending_attachments"]))
    waiting = session.get("waiting", session.get("queue", ()))
    return prompts + [(row["message"], row["attachments"]) for row in waiting]


async def kill_when(house, shown, stream_id):
    """At the very event."""
    with trio.fail_after(30):
        async with aclosing(house.client.follow(stream_id)) as events:
            async for event in events:
                if event.name == shown:
                    await house.kill()
                    return
    raise AssertionError(f"{shown} was not shown")


async def start_and_kill(house, instant, session_id):
    response = await house.start(session_id, PROMPT, attachments=FILES)
    if instant == "the start is answered":
        await house.kill()
    assert response.status_code == 200
    stream_id = response.json()["stream_id"]
    if instant == "the start is answered":
        return
    turn = await house.upstream.next_turn()
    if instant == "a token is shown":
        await turn.say("A")
        await kill_when(house, "token", stream_id)
    elif instant == "several are shown":
        for word in ("A ", "house ", "has "):
            await turn.say(word)
            await house.shown(stream_id, word)
    elif instant == "done is shown":
        await turn.answer("A house.")
        await kill_when(house, "done", stream_id)
    elif instant == "the stream has ended":
        await turn.answer("A house.")
        await house.client.events(stream_id)
    await house.kill()


@pytest.mark.parametrize("instant", INSTANTS)
async def test_a_prompt_is_there_exactly_once_also_if_it_was_said_before(house, instant):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, PROMPT, attachments=FILES[:1])
        await turn.answer("A house.")
        await client.events(stream_id)
        await start_and_kill(house, instant, session_id)
    both = [(PROMPT, FILES[:1]), (PROMPT, FILES)]
    assert said(house.record(session_id)) == both
    async with house.up() as client:
        assert said(await client.session(session_id)) == both
        await house.kill()
    assert said(house.record(session_id)) == both


@pytest.mark.parametrize("answered", [1, 9])
async def test_of_many_starts_all_that_were_answered_are_kept(house, answered):
    accepted = set()

    async def start(session_id):
        with suppress(httpx.TransportError):
            response = await house.start(session_id, f"to {session_id}", attachments=FILES)
            assert response.status_code == 200
            accepted.add(session_id)
            if len(accepted) == answered:
                await house.kill()

    # Long ones: none is saved in the time that an answer takes.
    long = [{"role": "user", "content": "old"}, {"role": "assistant", "content": "x" * 500_000}]
    async with house.up() as client:
        imported = [await client.post("/api/session/import", messages=long) for _ in range(12)]
        ids = [answer["session"]["session_id"] for answer in imported]
        async with trio.open_nursery() as nursery:
            for session_id in ids:
                nursery.start_soon(start, session_id)
    assert len(accepted) >= answered
    expected = {session_id: [("old", []), (f"to {session_id}", FILES)] for session_id in ids}
    for session_id in accepted:
        assert said(house.record(session_id)) == expected[session_id]
    async with house.up() as client:
        for session_id in ids:
            found = said(await client.session(session_id))
            whole = session_id in accepted or len(found) > 1
            assert found == expected[session_id][: 2 if whole else 1]


async def answer_all(house):
    while True:
        turn = await house.upstream.next_turn()
        # One that the killed server had asked for may come first.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await turn.answer(f"to {turn.prompts[-1]}")


@pytest.mark.parametrize("instant", HANDOVERS)
async def test_prompts_that_wait_are_kept_and_have_their_turns_in_order(house, instant):
    streams, everything = [], [("first", []), *WAITING]
    async with house.up() as client:
        session_id = await client.new()
        running, turn = await house.talk(session_id, "first")
        for prompt, files in WAITING:
            response = await house.start(session_id, prompt, attachments=files, if_busy="queue")
            assert response.status_code == 202
            streams.append(response.json()["stream_id"])
        if instant != "all wait":
            await turn.answer("to first")
        if instant == "the first may begin":
            await kill_when(house, "done", running)
        elif instant == "the first has begun":
            assert (await house.upstream.next_turn()).prompts[-1] == "second"
        await house.kill()
    assert said(house.record(session_id)) == everything
    async with house.up() as client, trio.open_nursery() as nursery:
        assert said(await client.session(session_id)) == everything
        nursery.start_soon(answer_all, house)
        ends = [(await client.events(stream_id))[-1].name for stream_id in streams]
        nursery.cancel_scope.cancel()
    whole = {
        "all wait": ["stream_end"],
        "the first has begun": ["apperror"],
        "the first may begin": ["stream_end", "apperror"],
    }[instant]
    assert ends[0] in whole
    assert ends[1:] == ["stream_end", "stream_end"]
    record = house.record(session_id)
    assert said(record) == everything
    assert record.get("waiting", []) == []
    interrupted = ("marker", "interrupted")
    assert contents(record["messages"]) == [
        ("user", "first"),
        interrupted if instant == "all wait" else ("assistant", "to first"),
        ("user", "second"),
        ("assistant", "to second") if ends[0] == "stream_end" else interrupted,
        *[("user", "again"), ("assistant", "to again")] * 2,
    ]
