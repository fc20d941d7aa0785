"""Whole snapshots: under any interleaving of checkpoint, undo, retry, cancel and append, every file
image ever visible on disk parses and equals one committed state; `active_stream_id` null implies
that the other turn fields are null or empty. The transcript never shrinks without an undo.

A thread reads the session's file again and again while three tabs do what their seed says.
"""

from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from queue import SimpleQueue
from random import Random

import pytest
import trio

from actors.session.amendments import amended

TABS = 3
STEPS = 12
OPERATIONS = ("start", "start", "start", "cancel", "undo", "retry", "rename", "draft")
POLICIES = ("reject", "queue", "interrupt", "rollback")
TURN_FIELDS = {
    "active_stream_id": None,
    "pending_user_message": None,
    "pending_attachments": [],
    "pending_started_at": None,
    "pending_user_source": None,
}


class Reader:
    """All images of a file that its thread has seen, each once, in order."""

    def __init__(self, path):
        self.images = [path.read_bytes()]
        self._path = path
        self._asked = SimpleQueue()

    async def look(self):
        """Wait for a read that begins from now on."""
        looked = trio.Event()
        self._asked.put(looked.set)
        await looked.wait()

    async def run(self):
        await trio.to_thread.run_sync(self._read_on)

    def stop(self):
        self._asked.put(None)

    def _read_on(self):
        while True:
            asked = [self._asked.get() for _ in range(self._asked.qsize())]
            image = self._path.read_bytes()
            if image != self.images[-1]:
                self.images.append(image)
            for tell in asked:
                if tell is None:
                    return
                trio.from_thread.run_sync(tell)


@asynccontextmanager
async def reading(path):
    reader = Reader(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        try:
            yield reader
        finally:
            reader.stop()


class Tab:
    """One of those who use the session at the same time."""

    def __init__(self, house, session_id, random, name):
        self._house, self._session_id = house, session_id
        self._random, self._name = random, name
        self.cuts = 0

    async def run(self, reader):
        for step in range(STEPS):
            operation = self._random.choice(OPERATIONS)
            await getattr(self, operation)(f"{self._name}{step}")
            await reader.look()

    async def start(self, name):
        prompt = self._random.choice(("{}", "{}", "nothing in {}")).format(f"<{name}>")
        policy, seen = self._random.choice(POLICIES), self._random.randrange(12)
        files = [f"{name}.txt"]
        response = await self._house.start(
            self._session_id, prompt, attachments=files, if_busy=policy
        )
        assert response.status_code in (200, 202, 409), response.text
        if response.status_code == 200:
            self.cuts += policy == "rollback"
            await follow(self._house, response.json()["stream_id"], seen)

    async def cancel(self, _):
        session = await self._house.client.session(self._session_id)
        if session["active_stream_id"]:
            await self._house.client.cancel(session["active_stream_id"])

    async def undo(self, _, path="/api/session/undo"):
        response = await self._house.post(path, session_id=self._session_id)
        assert response.status_code == 200, response.text
        self.cuts += "error" not in response.json()

    async def retry(self, name):
        await self.undo(name, "/api/session/retry")

    async def rename(self, name):
        path = "/api/session/rename"
        response = await self._house.post(path, session_id=self._session_id, title=name)
        assert response.status_code == 200, response.text

    async def draft(self, name):
        path = "/api/session/draft"
        response = await self._house.post(path, session_id=self._session_id, text=name)
        assert response.status_code == 200, response.text


async def follow(house, stream_id, count):
    """So many events of it, or all if there are fewer."""
    with trio.fail_after(30):
        async with aclosing(house.client.follow(stream_id)) as events:
            async for event in events:
                if event.seq >= count:
                    return


async def come_to_rest(house, session_id):
    while True:
        session = await house.client.session(session_id)
        if not session["queue"] and session["active_stream_id"] is None:
            return
        for stream_id in (*(row["id"] for row in session["queue"]), session["active_stream_id"]):
            await house.client.cancel(stream_id)


def check_whole(record):
    """That a turn is in it entirely or not at all, and at one place."""
    rows = record["messages"]
    assert record["message_count"] == len(rows)
    prompts = [row["content"] for row in rows if row["role"] == "user"]
    if record["active_stream_id"] is None:
        assert {name: record[name] for name in TURN_FIELDS} == TURN_FIELDS
    else:
        assert record["pending_started_at"] is not None
        assert record["pending_attachments"] == [f"{name_in(record['pending_user_message'])}.txt"]
        assert record["updated_at"] >= record["pending_started_at"]
        prompts.append(record["pending_user_message"])
    prompts += [row["message"] for row in record.get("waiting", ())]
    assert len(prompts) == len(set(prompts))
    for row, following in pairwise([*rows, {"role": "user"}]):
        assert (row["role"], following["role"]) != ("user", "user"), "a prompt without an end"
    for card in record["tool_calls"]:
        calls = rows[card["assistant_msg_idx"]]["tool_calls"]
        assert card["tid"] in [call["id"] for call in calls]


def name_in(prompt):
    return prompt[prompt.index("<") + 1 : prompt.index(">")]


def shrinks(images):
    """How often something that was in the transcript was not there in the next image."""
    count = 0
    for before, after in pairwise(images):
        rows = before["messages"]
        if after["messages"][: len(rows)] != rows:
            name = "intentional_shrink_generation"
            assert after[name] != before[name], "it shrank without an undo"
            count += 1
    return count


def long_transcript():
    """So that a file takes its time."""
    rows = []
    for n in range(40):
        rows.append({"role": "user", "content": f"old {n}"})
        rows.append({"role": "assistant", "content": f"{n} " * 600})
    return rows


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_image_on_disk_is_one_committed_state(house, seed):
    random = Random(seed)
    async with house.up(AGENT="demo", CHECKPOINT_SECONDS="0.1") as client:
        imported = await client.post("/api/session/import", messages=long_transcript(), title="T")
        session_id = imported["session"]["session_id"]
        tabs = [Tab(house, session_id, Random(random.random()), name) for name in "abc"[:TABS]]
        async with reading(house.sessions / f"{session_id}.json") as reader:
            first = await house.start(session_id, "<first>", attachments=["first.txt"])
            await follow(house, first.json()["stream_id"], 12)  # beyond a checkpoint
            await reader.look()
            checkpointed = amended(reader.images[-1])
            async with trio.open_nursery() as nursery:
                for tab in tabs:
                    nursery.start_soon(tab.run, reader)
            await come_to_rest(house, session_id)
            last = await house.start(session_id, "<last>", attachments=["last.txt"])
            assert (await client.events(last.json()["stream_id"]))[-1].name == "stream_end"
            await reader.look()
        exported = await client.http.get(f"/api/session/export?session_id={session_id}")
    assert checkpointed["updated_at"] > checkpointed["pending_started_at"]
    assert amended(reader.images[-1]) == exported.json()
    images = [amended(image) for image in reader.images]
    for image in images:
        check_whole(image)
    assert shrinks(images) <= sum(tab.cuts for tab in tabs)
    assert {image["active_stream_id"] is None for image in images} == {True, False}
