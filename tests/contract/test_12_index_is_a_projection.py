"""Index = projection: after any operations and crashes the list says what the session files say. No
ghosts, no missing rows, no doubles. An index file that is lost or damaged is made anew, and nobody
waits for that. Pinned first, then the latest; what is empty hides; three pins, no more.
"""

import json
from contextlib import suppress
from random import Random

import httpx
import pytest
import trio

from actors.session.amendments import amended
from tests.app.client import open_client
from tests.app.process import COMMAND, running_server

SHOWN = ("session_id", "title", "message_count", "pinned", "archived", "project_id", "updated_at")
COMPACT = {
    "workspace": "/",
    "model": None,
    "message_count": 1,
    "created_at": 1.0,
    "updated_at": 1.0,
}
FLAGS = {"pinned": False, "archived": False, "project_id": None, "profile": None}
A1, B1, GHOST = (
    {"session_id": name, "title": f"t {name}", **COMPACT, **FLAGS} for name in ("a1", "b1", "c1")
)
DAMAGED = {
    "missing": None,
    "empty": b"[]",
    "no list": b'{"a1": {}}',
    "garbage": b"\xff\xfe[]",
    "truncated": json.dumps([A1, B1]).encode()[:-9],
    "too deep": b'[{"session_id": "a1", "x": ' + b"[" * 100_000,
    "of mere ids": b'[{"session_id": "a1"}, {"session_id": "b1"}]',
    "of wrong types": json.dumps([A1 | {"pinned": "no", "updated_at": "now", "project_id": {}}]),
    "with ghosts and doubles": json.dumps([A1, GHOST, A1, B1, A1 | {"session_id": "../x"}]),
    "with older rows": json.dumps([A1 | {"title": "old", "message_count": 7}, B1]),
}


def put(house, name, **fields):
    """A session file, as another process left it."""
    house.sessions.mkdir(parents=True, exist_ok=True)
    said = {"role": "user", "content": f"said in {name}", "timestamp": 1}
    record = {"session_id": name, "title": f"t {name}", "messages": [said], "updated_at": 1.0}
    (house.sessions / f"{name}.json").write_text(json.dumps(record | fields))


def projection(house) -> list[dict]:
    """The list, made from the files by the letter of the contract."""
    projects_file, rows = house.data_dir / "projects.json", []
    projects = json.loads(projects_file.read_text()) if projects_file.exists() else []
    for path in house.sessions.glob("[!_]*.json"):
        row = FLAGS | amended(path.read_bytes())
        pending = row.get("pending_user_message") is not None
        row["message_count"] = max(len(row["messages"]), pending)
        if row["title"] == "Untitled" and not row["message_count"]:
            continue
        if row["project_id"] not in [project["project_id"] for project in projects]:
            row["project_id"] = None
        said = [m.get("timestamp") for m in row["messages"] if m["role"] != "tool"]
        at = row["pending_started_at"] if pending else (said or [None])[-1] or row["updated_at"]
        rows.append((row["pinned"], at, row["session_id"], {name: row[name] for name in SHOWN}))
    return [row for *_, row in sorted(rows, key=lambda each: each[:3], reverse=True)]


async def listing(house) -> list[dict]:
    response = await house.client.http.get("/api/sessions?include_archived=1")
    assert response.status_code == 200, response.text
    return [{name: row[name] for name in SHOWN} for row in response.json()["sessions"]]


async def imported(house, **fields) -> str:
    rows = [{"role": "user", "content": "hi", "timestamp": 1}]
    made = await house.post("/api/session/import", **{"messages": rows, **fields})
    return made.json()["session"]["session_id"]


async def at_once(*calls):
    """The answers of calls that cross each other, in the order of the calls."""
    answers = [None] * len(calls)

    async def keep(n, call):
        answers[n] = await call

    async with trio.open_nursery() as nursery:
        for n, call in enumerate(calls):
            nursery.start_soon(keep, n, call)
    return answers


CHANGES = {
    "rename": lambda random: {"title": random.choice(["a", "b", " "])},
    "pin": lambda random: {"pinned": random.random() < 0.7},
    "archive": lambda random: {"archived": random.random() < 0.7},
    "branch": lambda random: {"keep_count": random.randrange(3)},
    "duplicate": lambda _: {},
    "undo": lambda _: {},
    "delete": lambda _: {},
}


class Walk:
    """Operations in an order that a seed gives, on sessions that may be gone already."""

    def __init__(self, house, seed):
        self.house, self.random = house, Random(seed)
        self.sessions, self.projects = [], []

    async def change(self):
        if not self.sessions or self.random.random() < 0.2:
            self.sessions.append(await imported(self.house, title=self.random.choice("xyz")))
            return
        name = self.random.choice(list(CHANGES))
        body = CHANGES[name](self.random) | {"session_id": self.random.choice(self.sessions[-9:])}
        made = (await self.house.post(f"/api/session/{name}", **body)).json()
        if name in ("branch", "duplicate") and "error" not in made:
            self.sessions.append(made.get("session", made)["session_id"])

    async def step(self):
        match self.random.randrange(10):
            case 0 | 1:
                self.sessions.append(await self.house.client.new())
                await self.house.answer_from("an answer", self.sessions[-1], "Say something now")
            case 2:
                new = await self.house.client.new()  # on disk after this, and still empty
                await self.house.post("/api/session/draft", session_id=new, text="unsent")
            case 3 if len(self.projects) < 3:
                made = await self.house.post("/api/projects/create", name="p")
                self.projects.append(made.json()["project"]["project_id"])
                for member in self.sessions[-2:]:
                    body = {"session_id": member, "project_id": self.random.choice(self.projects)}
                    await self.house.post("/api/session/move", **body)
            case 3:
                gone = self.projects.pop(self.random.randrange(3))
                await self.house.post("/api/projects/delete", project_id=gone)
            case _:
                await self.change()

    async def end(self):
        """The server's: in peace, by a kill, or by a kill amid requests; perhaps the index's."""
        how = self.random.choice(["stop", "kill", "cut"])
        if how == "cut":
            answered = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(self._unheard, answered)
                await answered.wait()
                await self.house.kill()
        else:
            await (self.house.kill() if how == "kill" else self.house.server.stop())
        index = self.house.sessions / "_index.json"
        if self.random.random() < 0.3 and index.exists():
            index.write_bytes(index.read_bytes()[: self.random.randrange(200)])

    async def _unheard(self, answered):
        with suppress(httpx.TransportError):
            await self.change()
        answered.set()


@pytest.mark.parametrize("seed", [f"seed {n}" for n in range(2)])
async def test_after_any_operations_and_crashes_the_list_says_what_the_files_say(house, seed):
    walk = Walk(house, seed)
    for _ in range(2):
        async with house.up():
            assert await listing(house) == projection(house)
            for _ in range(20):
                await walk.step()
                assert await listing(house) == projection(house)
            await walk.end()
    async with house.up():
        assert await listing(house) == projection(house) != []


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
async def test_an_index_that_is_lost_or_damaged_is_made_anew(house, content):
    put(house, "a1")
    put(house, "b1")
    if content is not None:
        content = content if isinstance(content, bytes) else content.encode()
        (house.sessions / "_index.json").write_bytes(content)
    async with house.up():
        assert await listing(house) == projection(house)
        assert await house.server.stop() == 0
    rows = json.loads((house.sessions / "_index.json").read_bytes())
    assert sorted(row["session_id"] for row in rows) == ["a1", "b1"]


async def test_a_list_that_was_written_while_a_session_was_saved_is_not_believed(house):
    """The write began before the save, and ended after it: then the power went."""
    index = house.sessions / "_index.json"
    async with house.up():
        session_id = await imported(house, title="before")
        assert await house.server.stop() == 0
    under_way = index.read_bytes()
    async with house.up():
        await house.post("/api/session/rename", session_id=session_id, title="after")
        await house.kill()
    index.write_bytes(under_way)
    async with house.up():
        assert [row["title"] for row in await listing(house)] == ["after"]


async def test_the_list_of_many_sessions_heals_while_they_are_used(house):
    for n in range(450):
        put(house, f"s{n}")
    async with house.up(), house.listening("/api/sessions/events") as events:
        await house.post("/api/session/rename", session_id="s449", title="mine")
        with trio.fail_after(30):  # whole at once, or whoever listens is told to look again
            while len(rows := await listing(house)) < 450:
                await events.receive()
        assert rows == projection(house)


async def test_a_file_that_cannot_be_read_is_skipped_and_hides_no_other(house):
    put(house, "a1")
    for name, content in {
        "e1": "",
        "h1": '{"messages": [',
        "l1": "[]",
        "d1": "[" * 100_000,
    }.items():
        (house.sessions / f"{name}.json").write_text(content)
    (house.sessions / "deep1.json").write_text('{"messages": [], "x": ' + "[" * 100_000)
    async with house.up():
        assert [row["session_id"] for row in await listing(house)] == ["a1"]


ROWS = {  # in the order of the list
    "pin1": {"pinned": True, "updated_at": 2.0, "messages": []},
    "pin2": {"pinned": True, "messages": []},
    "new1": {"messages": [{"role": "assistant", "content": "", "timestamp": 90}]},
    "tool": {"messages": [{"role": "user", "timestamp": 80}, {"role": "tool", "timestamp": 99}]},
    "pending": {"title": "Untitled", "messages": [], "pending_user_message": "x"}
    | {"pending_started_at": 70.0, "updated_at": 99.0},
    "old1": {"archived": True, "messages": [], "updated_at": 60.0},
    "old2": {"archived": True, "messages": [], "updated_at": 50.0},
    "bare": {"messages": [{"role": "user"}], "updated_at": 40.0},
    "busy": {"title": "Untitled", "messages": [], "active_stream_id": "x", "updated_at": 30.0},
    "tree": {"title": "Untitled", "messages": [], "worktree_path": "/x", "updated_at": 20.0},
    "old3": {"archived": True, "messages": [], "updated_at": 10.0},
}
PRESENT = [name for name in ROWS if "old" not in name]


async def test_pinned_rows_come_first_empty_ones_hide_and_pages_fit_together(house):
    for name, fields in reversed(ROWS.items()):
        put(house, name, **fields)
    put(house, "empty", title="Untitled", messages=[], updated_at=99.0)
    put(house, "_odd", updated_at=99.0)
    async with house.up() as client:

        async def names(**params):
            answer = await client.get("/api/sessions", **params)
            assert (answer["archived_count"], answer["webui_session_count"]) == (3, len(PRESENT))
            for row in answer["sessions"]:
                assert (row["is_streaming"], row["active_stream_id"]) == (False, None)
                assert row["profile"] == "default"
            return [row["session_id"] for row in answer["sessions"]]

        assert await names() == PRESENT
        assert await names(include_archived=1) == list(ROWS)
        paged = [await names(limit=3, offset=n) for n in (0, 3, 6, 9)]
        assert paged == [PRESENT[0:3], PRESENT[3:6], PRESENT[6:], []]
        assert await names(limit=0) == []
        seen = await names(include_archived=1, limit=0, archived_limit=2)
        seen += await names(include_archived=1, limit=0, archived_limit=2, archived_offset=2)
        assert seen == ["old1", "old2", "old3"]
        for bad in ("-1", "x", "1.5"):
            assert (await client.http.get(f"/api/sessions?limit={bad}")).status_code == 400


@pytest.mark.parametrize("of", ["sessions on disk", "sessions in which nothing was said"])
async def test_of_pins_that_come_at_once_three_are_granted(house, of):
    async with house.up() as client:
        new = client.new if of != "sessions on disk" else lambda: imported(house)
        ids = [await new() for _ in range(8)]
        path = "/api/session/pin"
        answers = await at_once(*[house.post(path, session_id=each) for each in ids])
        granted = [each for each, got in zip(ids, answers, strict=True) if got.status_code == 200]
        refused = [each for each in ids if each not in granted]
        assert len(granted) == 3
        assert {got.json().get("error") for got in answers if got.status_code == 400} == {
            "Up to 3 sessions can be pinned. Unpin one first."
        }
        assert [each for each in ids if (await client.session(each))["pinned"]] == granted
        await house.post(path, session_id=granted[0], pinned=False)
        answers = await at_once(*[house.post(path, session_id=each) for each in refused])
        assert [got.status_code for got in answers].count(200) == 1


async def test_a_pin_that_could_not_be_saved_is_not_listed(house):
    put(house, "a1", messages=[{"role": "user", "content": "x" * 100_000}], pinned=False)
    small_disk = ("bash", "-c", 'ulimit -f 64; exec "$@"', "-", *COMMAND)  # KiB, of each file
    async with (
        running_server(house.data_dir, command=small_disk) as server,
        open_client(server.url) as house.client,
    ):
        assert (await house.post("/api/session/pin", session_id="a1")).status_code == 507
        assert await listing(house) == projection(house)


async def test_saves_of_different_sessions_at_the_same_time_lose_no_row(house):
    async with house.up():
        ids = await at_once(*[imported(house) for _ in range(30)])
        rename = "/api/session/rename"
        await at_once(*[house.post(rename, session_id=each, title=f"t {each}") for each in ids])
        assert {row["title"] for row in await listing(house)} == {f"t {each}" for each in ids}
        assert await listing(house) == projection(house)
        await house.kill()
    async with house.up():
        assert await listing(house) == projection(house)
        assert await house.server.stop() == 0
    written = json.loads((house.sessions / "_index.json").read_bytes())
    assert sorted(row["session_id"] for row in written) == sorted(ids)


async def test_sessions_of_a_deleted_project_are_in_none(house):
    async with house.up() as client:
        session_id = await imported(house)
        project = (await house.post("/api/projects/create", name="p")).json()["project"]
        move = {"session_id": session_id, "project_id": project["project_id"]}
        moved = (await house.post("/api/session/move", **move)).json()["session"]
        assert moved["project_id"] == project["project_id"]
        assert (await listing(house))[0]["project_id"] == project["project_id"]
        await house.post("/api/projects/delete", project_id=project["project_id"])
        for _ in range(2):
            assert (await listing(house))[0]["project_id"] is None
            assert (await client.session(session_id))["project_id"] is None
            lost = await house.post("/api/session/move", **move)
            assert (lost.status_code, lost.json()) == (404, {"error": "Project not found"})
        assert house.record(session_id)["project_id"] is None


async def test_a_project_that_a_crash_left_in_a_session_shows_nowhere(house):
    put(house, "a1", project_id="aaaaaaaaaaaa")
    async with house.up() as client:
        assert (await listing(house))[0]["project_id"] is None
        assert (await client.session("a1"))["project_id"] is None
        renamed = await house.post("/api/session/rename", session_id="a1", title="x")
        assert renamed.json()["session"]["project_id"] is None
        done = (await client.events(await house.answer_from("y", "a1", "x")))[-2]
        assert (done.name, done.data["session"]["project_id"]) == ("done", None)
