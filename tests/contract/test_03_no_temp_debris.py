"""No temp debris, no shared temp: concurrent saves (of the same or of different sessions) never
fail; after quiescence no `*.tmp*` remains; a fault before the replace leaves the previous image, a
kill -9 at any instant that or the next one, whole, and a restart sweeps what is left over.
"""

import json
import sys
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain

import httpx
import pytest
import trio

SESSIONS = 6
ROUNDS = 8
TURN = "and a turn"


def transcript(letters):
    question = {"role": "user", "content": "Say something long."}
    return [question, {"role": "assistant", "content": "long " * (letters // 5)}]


async def imported(house, title, letters):
    body = {"title": title, "messages": transcript(letters)}
    return (await house.post("/api/session/import", **body)).json()["session"]["session_id"]


def debris(house):
    return [path.name for path in house.data_dir.rglob("*.tmp*")]


def saves(n):
    """Requests that save a session once each."""
    yield "/api/session/rename", {"title": f"title {n}"}
    yield "/api/session/draft", {"text": f"draft {n}"}
    yield "/api/session/update", {"model": f"model {n}"}
    yield "/api/session/archive", {"archived": bool(n % 2)}


async def test_concurrent_saves_never_fail_and_leave_nothing_behind(house):
    statuses = []

    async def save(path, **body):
        statuses.append((await house.post(path, **body)).status_code)

    async with house.up() as client:
        ids = [await imported(house, "T", 20_000) for _ in range(SESSIONS)]
        async with trio.open_nursery() as nursery:
            for session_id in ids:
                body = {"session_id": session_id, "message": TURN}
                nursery.start_soon(partial(save, "/api/chat/start", **body))
                for path, body in chain.from_iterable(map(saves, range(ROUNDS))):
                    nursery.start_soon(partial(save, path, session_id=session_id, **body))
        async with trio.open_nursery() as nursery:
            for _ in ids:
                turn = await house.upstream.next_turn()
                nursery.start_soon(turn.answer, "one")
        for session_id in ids:
            stream_id = (await client.session(session_id))["active_stream_id"]
            if stream_id is not None:
                assert (await client.events(stream_id))[-1].name == "stream_end"
        sessions = {session_id: await client.session(session_id) for session_id in ids}
        assert await house.server.stop() == 0
    assert statuses == [200] * SESSIONS * (1 + 4 * ROUNDS)
    assert debris(house) == []
    assert house.files() == {"_index.json", *(f"{session_id}.json" for session_id in ids)}
    rows = json.loads((house.sessions / "_index.json").read_text())
    listed = {row["session_id"]: row for row in rows}
    for session_id, session in sessions.items():
        record = house.record(session_id)
        for name in ("title", "model", "archived", "composer_draft", "messages", "updated_at"):
            assert record[name] == session[name]
        assert [row["content"] for row in record["messages"]][2:] == [TURN, "one"]
        assert listed[session_id]["title"] == session["title"]


@pytest.mark.parametrize("answered", [3, 20])
async def test_a_kill_amid_saves_leaves_whole_files_and_a_restart_sweeps_the_rest(house, answered):
    sent, known = {}, {}

    async def rename(session_id):
        with suppress(httpx.TransportError):
            for n in range(1, 100):
                sent[session_id] = n
                response = await house.post(
                    "/api/session/rename", session_id=session_id, title=f"{n}"
                )
                assert response.status_code == 200
                known[session_id] = n
                if sum(known.values()) == answered:
                    await house.kill()

    async with house.up():
        ids = [await imported(house, "0", 300_000) for _ in range(SESSIONS)]
        known |= dict.fromkeys(ids, 0)
        async with trio.open_nursery() as nursery:
            for session_id in ids:
                nursery.start_soon(rename, session_id)
    for session_id in ids:
        record = house.record(session_id)
        assert record["messages"] == transcript(300_000)
        assert known[session_id] <= int(record["title"]) <= sent[session_id]
    # Whether the kill left some or not: here is what it can leave.
    half = (house.sessions / f"{ids[0]}.json").read_bytes()[:1000]
    for directory, name in (
        (house.sessions, f"{ids[0]}.json"),
        (house.sessions, "0123456789ab.json"),
        (house.sessions, "_index.json"),
        (house.data_dir, "projects.json"),
    ):
        (directory / f"{name}.tmp.4711.0").write_bytes(half)
    async with house.up() as client:
        assert debris(house) == []
        assert {row["session_id"] for row in await house.listed()} == set(ids)
        for session_id in ids:
            session = await client.session(session_id)
            assert session["title"] == house.record(session_id)["title"]


@contextmanager
def no_file_beyond(size, pid):
    """A write that would make a file larger than that ends there, with an error."""
    import resource

    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
async def test_a_save_that_fails_half_way_leaves_the_previous_image_and_fails_no_other(house):
    status = {}

    async def rename(session_id, title, n=0):
        response = await house.post("/api/session/rename", session_id=session_id, title=title)
        status[session_id, n] = response.status_code
        if response.status_code != 200:
            assert "Nothing was changed" in response.json()["error"]

    async with house.up() as client:
        large = [await imported(house, "before", 100_000) for _ in range(3)]
        small = [await imported(house, "before", 100) for _ in range(3)]
        images = {name: (house.sessions / f"{name}.json").read_bytes() for name in large}
        with no_file_beyond(50_000, house.server.pid):
            async with trio.open_nursery() as nursery:
                for session_id in (*large, *small):
                    for n in range(4):
                        nursery.start_soon(rename, session_id, f"{n}", n)
            assert {status[name, n] for name in large for n in range(4)} == {507}
            assert {status[name, n] for name in small for n in range(4)} == {200}
            for session_id in large:
                assert (house.sessions / f"{session_id}.json").read_bytes() == images[session_id]
                assert (await client.session(session_id))["title"] == "before"
            assert [name for name in debris(house) if name.startswith(tuple(large))] == []
        for session_id in large:
            await rename(session_id, "after")
            assert house.record(session_id)["title"] == "after"
        assert await house.server.stop() == 0
    assert debris(house) == []
