"""`greenroom doctor`: each kind of damage is found, explained and mended, and costs what it hit."""

import json
import os
import shutil
import signal
import stat
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.schema import PARTS, read_schema
from actors.stores.frames import read_frames
from app.authority.users import read_users
from app.cli import main
from app.commands.directory import open_server
from tests.app.process import running_server

FORMATS = Path(__file__).with_name("formats")
SESSIONS = 3


@pytest.fixture(autouse=True)
def _umask():
    """The commands change it for the process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A directory with some of everything; and what is in it."""
    directory = tmp_path_factory.mktemp("kept") / "data"
    directory.mkdir(mode=0o700)
    trio.run(fill, directory)
    return directory


async def fill(directory):
    async with open_server(directory) as client:
        made = await client.post("/api/projects/create", json={"name": "Plans"})
        project_id = made.json()["project"]["project_id"]
        for n in range(SESSIONS):
            new = await client.post("/api/session/new", json={"project_id": project_id})
            session_id = new.json()["session"]["session_id"]
            body = {"session_id": session_id, "message": f"question {n}"}
            keyed = {"Idempotency-Key": f"k{n}"}
            started = await client.post("/api/chat/start", json=body, headers=keyed)
            turn = {"stream_id": started.json()["stream_id"]}
            await client.get("/api/chat/stream", params=turn)  # to its end
        await client.get("/api/sessions/search", params={"q": "question"})


@pytest.fixture
def data(kept, tmp_path):
    return Path(shutil.copytree(kept, tmp_path / "data"))


def doctor(directory, capsys, *options):
    code = main(["doctor", str(directory), "--json", *options])
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is (code == 0)
    return said


def found_in(said):
    return {finding["kind"]: finding for finding in said["findings"]}


def contents(directory):
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


async def everything(directory):
    """The transcripts by title, and the projects, as a server that starts here tells them."""
    async with open_server(directory) as client:
        rows = (await client.get("/api/sessions")).json()["sessions"]
        told = {}
        for row in rows:
            query = {"session_id": row["session_id"]}
            session = (await client.get("/api/session", params=query)).json()["session"]
            told[row["title"]] = [(m["role"], m["content"]) for m in session["messages"]]
        projects = (await client.get("/api/projects")).json()["projects"]
        grouped = {row["project_id"] for row in rows}
        assert grouped - {None} <= {project["project_id"] for project in projects}
        search = {"q": "question"}
        hits = (await client.get("/api/sessions/search", params=search)).json()
        return told, hits["count"]


def record(data):
    return min(p for p in (data / "sessions").glob("*.json") if p.name != "_index.json")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path, at=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0xFF
    path.write_bytes(data)


def index(data):
    return data / "sessions" / "_index.json"


def projects(data):
    return data / "projects.json"


def search(data):
    return data / "search.sqlite"


def journal(data, directory="journal"):
    return min((data / directory).glob("*.journal"))


def flip_frame(path):
    whole = path.read_bytes()
    start, end, _ = list(read_frames(whole))[1]
    path.write_bytes(whole[: end - 1] + bytes([whole[end - 1] ^ 1]) + whole[end:])
    assert start < end


def no_list(path):
    path.write_bytes(b'{"messages": "none"}')


# What is done to the directory: the kind of what is found, and how many sessions are left.
DAMAGE = {
    "a record is cut": (lambda d: cut(record(d)), "damaged record", SESSIONS - 1),
    "a record is empty": (lambda d: record(d).write_bytes(b""), "damaged record", SESSIONS - 1),
    "a byte of a record is another": (lambda d: flip(record(d)), "damaged record", SESSIONS - 1),
    "a record is something else": (lambda d: no_list(record(d)), "damaged record", SESSIONS - 1),
    "the index is cut": (lambda d: cut(index(d)), "damaged index", SESSIONS),
    "a byte of the index": (lambda d: flip(index(d)), "damaged index", SESSIONS),
    "the projects are cut": (lambda d: cut(projects(d)), "damaged projects", SESSIONS),
    "a byte of the projects": (
        lambda d: flip(d / "projects.json", 0),
        "damaged projects",
        SESSIONS,
    ),
    "a byte of the journal": (lambda d: flip_frame(journal(d)), "damaged journal", SESSIONS),
    "a byte of an answer": (
        lambda d: flip_frame(journal(d, "answers")),
        "damaged journal",
        SESSIONS,
    ),
    "the search is no database": (
        lambda d: flip(search(d), 0),
        "damaged search",
        SESSIONS,
    ),
    "others may read": (lambda d: record(d).chmod(0o644), "loose modes", SESSIONS),
}
# The same of what is worth knowing, and no damage.
NOTES = {
    "a record is missing": (lambda d: record(d).unlink(), "old index", SESSIONS - 1),
    "the index is missing": (lambda d: index(d).unlink(), "no index", SESSIONS),
    "a file of somebody else's": (
        lambda d: private(d / "sessions" / "notes.txt"),
        "foreign file",
        SESSIONS,
    ),
    "a half written file": (
        lambda d: private(d / "sessions" / "abc.json.tmp.1.1"),
        "leftover",
        SESSIONS,
    ),
    "the journal has a torn end": (
        lambda d: journal(d).write_bytes(journal(d).read_bytes() + b"\xa7Gr\x02torn"),
        "torn end",
        SESSIONS,
    ),
    "there is no version": (lambda d: (d / "schema.json").unlink(), "no version", SESSIONS),
}


def private(path):
    path.touch(0o600)
    path.write_bytes(b"what is this")


def test_what_is_whole_is_called_so(data, capsys):
    said = doctor(data, capsys)
    assert [f for f in said["findings"] if f["damage"]] == []
    assert said["checked"]["records"] == SESSIONS
    assert said["checked"]["projects"] == 1
    assert said["checked"]["kept answers"] == SESSIONS
    assert said["checked"]["journal entries"] > SESSIONS


@pytest.mark.parametrize("damage", [*DAMAGE, *NOTES])
def test_it_is_found_explained_and_mended_and_the_rest_is_there(data, damage, capsys):
    harm, kind, left = (DAMAGE | NOTES)[damage]
    before = trio.run(everything, data)[0]
    assert len(before) == SESSIONS
    harm(data)
    files = contents(data)
    said = doctor(data, capsys)
    finding = found_in(said)[kind]
    assert finding["damage"] is (damage in DAMAGE)
    assert said["ok"] is (damage in NOTES)
    assert finding["what"]
    assert finding["means"].endswith(".")
    assert finding["do"]
    unchanged = contents(data)
    for made in ("search.sqlite-shm", "search.sqlite-wal"):  # by looking into the database
        unchanged.pop(data / made, None)
    assert unchanged == files

    repaired = doctor(data, capsys, "--repair")
    assert repaired["ok"]
    assert doctor(data, capsys)["ok"]
    assert all(f["mended"] for f in repaired["findings"] if f["damage"])
    if damage in DAMAGE and "search" not in kind and "modes" not in kind:
        if "index" not in kind:
            del files[index(data)]  # it is old, and made anew
        assert set(files.values()) <= set(contents(data).values()), "something was lost"
    told, hits = trio.run(everything, data)
    assert len(told) == hits == left
    assert told.items() <= before.items()
    assert stat.S_IMODE(record(data).stat().st_mode) == 0o600


def test_what_it_says_can_be_read_by_people(data, capsys):
    cut(record(data))
    assert main(["doctor", str(data)]) == 1
    text = capsys.readouterr().out
    assert f"DAMAGE: sessions/{record(data).name}" in text
    assert "all others work" in text
    assert main(["doctor", str(data), "--repair"]) == 0
    assert "set aside as" in capsys.readouterr().out


@pytest.mark.parametrize("named", [{"records": 99}, {"journal": 2, "thoughts": 1}])
def test_what_a_newer_program_wrote_is_left_in_place(data, named, capsys):
    (data / "schema.json").write_text(json.dumps(named))
    files = contents(data)
    said = doctor(data, capsys, "--repair")
    assert not said["ok"]
    assert "use that one" in found_in(said)["newer version"]["what"]
    assert main(["--data-dir", str(data), "--port", "0", "--agent", "demo"]) == 2
    assert "it was written by a newer Greenroom" in capsys.readouterr().err
    changed = {p.name for p, was in files.items() if p.read_bytes() != was}
    assert changed <= {"greenroom.lock"}


def test_a_record_of_a_newer_program_is_left_in_place(data, capsys):
    path = record(data)
    raw = json.loads(path.read_bytes()) | {"greenroom_schema": 3}
    path.write_text(json.dumps(raw))
    files = contents(data)
    said = doctor(data, capsys, "--repair")
    assert found_in(said)["newer version"]["mended"] is None
    assert not said["ok"]
    assert path.read_bytes() == files[path]
    assert len(trio.run(everything, data)[0]) == SESSIONS - 1
    assert path.read_bytes() == files[path]


@pytest.mark.parametrize("form", sorted(path.name for path in FORMATS.iterdir()))
def test_what_was_ever_written_can_be_read(tmp_path, form, capsys):
    """Each was left by a server that was killed in mid-answer."""
    data = Path(shutil.copytree(FORMATS / form, tmp_path / "data"))
    said = doctor(data, capsys)
    assert {f["kind"] for f in said["findings"] if f["damage"]} <= {"loose modes"}
    assert doctor(data, capsys, "--repair")["ok"]
    told, hits = trio.run(partial(everything, data))
    assert hits == 0  # none of them has that word
    whole, cut_off = told[f"whole of {form}"], told["cut off"]
    assert [role for role, _ in whole[:1] + whole[-1:]] == ["user", "assistant"]
    assert "demo agent" in whole[-1][1]
    assert cut_off[0] == ("user", "cut off")
    assert any(role == "assistant" and "You said 2 words" in text for role, text in cut_off)
    assert json.loads((data / "schema.json").read_text())["journal"] == 2
    after = doctor(data, capsys)
    assert after["ok"], after["findings"]
    assert "no version" not in found_in(after)


def test_an_example_of_todays_format_is_kept():
    """If not, a version was raised: see tests/app/keep_format.py."""
    assert any(read_schema(form) == PARTS for form in FORMATS.iterdir())
    assert any(read_users(form).users for form in FORMATS.iterdir())


@pytest.mark.process
async def test_a_running_server_can_be_looked_at_and_not_repaired(data, capsys):
    async with running_server(data) as server:
        run = partial(trio.to_thread.run_sync, main)
        assert await run(["doctor", str(data)]) == 0
        assert "A server is running on it" in capsys.readouterr().out
        assert await run(["doctor", str(data), "--repair"]) == 2
        assert "stop it" in capsys.readouterr().err
        assert await server.stop(signal.SIGTERM) == 0
