"""Checkpoint law: a running turn is saved only after its activity counter has moved, once for each
increment that is seen; the save advances `updated_at`, leaves the index alone and keeps the pending
prompt; none comes after the turn's terminal commit.

The counter is of completed tool calls, and the demo agent makes one in each answer. Its own pace
is the clock: if it is slow, more than one period goes by between any two of its events.
"""

import json
from contextlib import aclosing

import trio

DEMO = {"AGENT": "demo", "CHECKPOINT_SECONDS": "0.2"}
SLOW = "be slow"
PAUSE = 0.3  # seconds between two events then; the tool call is completed after two of them
FILES = ["plan.txt"]
PERIODS = 6  # and more


async def follow(house, stream_id, tokens):
    """Its events, until so many tokens were among them."""
    with trio.fail_after(30):
        async with aclosing(house.client.follow(stream_id)) as events:
            async for event in events:
                yield event
                tokens -= event.name == "token"
                if tokens == 0:
                    return


async def started(house, session_id, prompt):
    response = await house.start(session_id, prompt, attachments=FILES)
    assert response.status_code == 200
    return response.json()["stream_id"]


async def session_with_something_said(house):
    """The agent has no answer to this, and calls no tool."""
    session_id = await house.client.new()
    stream_id = await started(house, session_id, "nothing")
    assert (await house.client.events(stream_id))[-1].name == "apperror"
    return session_id


def index_of(house):
    path = house.sessions / "_index.json"
    return json.loads(path.read_bytes()) if path.exists() else []


async def test_one_increment_is_saved_once_and_the_index_left_alone(house):
    records, rows = [], []
    async with house.up(**DEMO):
        session_id = await session_with_something_said(house)
        start = (await house.start(session_id, SLOW, attachments=FILES)).json()
        async with aclosing(follow(house, start["stream_id"], tokens=PERIODS)) as events:
            async for _ in events:
                records.append(house.record(session_id))
                rows += index_of(house)
    checkpoint = records[-1]
    assert checkpoint["active_stream_id"] == start["stream_id"]
    assert checkpoint["updated_at"] > start["pending_started_at"] + 1.9 * PAUSE
    begun = checkpoint | {"updated_at": start["pending_started_at"]}
    before = records.index(checkpoint)
    assert records == [begun] * before + [checkpoint] * (len(records) - before)
    # The index may take its time to learn of the start. It never learns of more.
    learnt = [row for row in rows if row["active_stream_id"] == start["stream_id"]]
    assert {row["updated_at"] for row in learnt} <= {start["pending_started_at"]}
    assert all(row == learnt[0] for row in learnt)


async def test_after_a_checkpoint_a_crash_loses_neither_the_prompt_nor_what_was_said_before(house):
    async with house.up(**DEMO):
        session_id = await session_with_something_said(house)
        before = await house.rows(session_id)
        stream_id = await started(house, session_id, SLOW)
        async with aclosing(follow(house, stream_id, tokens=3)) as events:
            seen = [event.name async for event in events]
        await house.kill()
    assert "tool_complete" in seen
    record = house.record(session_id)
    assert record["updated_at"] > record["pending_started_at"]
    assert record["active_stream_id"] == stream_id
    assert record["pending_user_message"] == SLOW
    assert record["pending_attachments"] == FILES
    assert record["messages"] == before
    async with house.up(**DEMO):
        rows = await house.rows(session_id)
        assert rows[: len(before)] == before
        assert [row["content"] for row in rows if row["role"] == "user"] == ["nothing", SLOW]
        assert rows[len(before)]["attachments"] == FILES


async def end_of(house, prompt):
    """A session with one turn that has ended, with the name of its last event."""
    session_id = await house.client.new()
    stream_id = await started(house, session_id, prompt)
    if prompt == "cancel":
        async with aclosing(house.client.follow(stream_id)) as events:
            async for event in events:
                if event.name == "tool_complete":  # it is not saved yet, or has just been
                    await house.client.cancel(stream_id)
    return session_id, (await house.client.events(stream_id))[-1].name


async def test_nothing_is_saved_after_the_end_however_the_turn_ended(house):
    ended = {}

    async def run(prompt):
        session_id, ended[prompt] = await end_of(house, prompt)
        path = house.sessions / f"{session_id}.json"
        images[path] = (path.stat().st_mtime_ns, path.read_bytes())

    images = {}
    async with house.up(**DEMO):
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for prompt in ("cancel", "error", "done", "nothing"):
                    nursery.start_soon(run, prompt)
        clock = await started(house, await house.client.new(), SLOW)
        async with aclosing(follow(house, clock, tokens=PERIODS)) as events:
            assert len([event async for event in events]) > PERIODS
        for path, image in images.items():
            assert (path.stat().st_mtime_ns, path.read_bytes()) == image
    assert ended == {
        "cancel": "cancel",
        "error": "apperror",
        "done": "stream_end",
        "nothing": "apperror",
    }
