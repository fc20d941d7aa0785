"""Each byte of what is on disk is cut off, or is another one."""

from contextlib import asynccontextmanager, suppress
from random import Random

import msgspec
import pytest
import trio

from actors import Kind, open_system
from actors.index.actor import Index
from actors.index.messages import ListRows
from actors.projects.messages import CreateProject, ListProjects, ProjectsDamaged
from actors.session import messages as ask_for
from actors.session.dumping import dump
from actors.session.messages import GetSession, StartTurn
from actors.session.record import Compression, Record, RecordDamaged, alias_of, load, summary
from actors.stores import MemoryDisk, open_journal, open_record_store
from actors.stores.frames import read_frames
from app import views
from app.http_errors import json_response
from app.idempotency import Answers
from tests.faults.room import (
    DATA_DIR,
    SESSIONS,
    SETTLED,
    answer_of,
    in_order,
    look,
    nothing_breaks,
    open_room,
)
from tests.faults.scenario import CREATE, begins
from tests.projects.conftest import KEPT, ODD, disk_with, open_projects

SEED = 20_260_907


def damaged(whole):
    """Cut before each byte, and each byte another: any, zero, and with one bit changed. Gives where
    it was, too.
    """
    print(f"seed {SEED}")
    chance = Random(SEED)
    for at in range(len(whole)):
        yield at, whole[:at]
        for other in (chance.randrange(256), 0, whole[at] ^ 1):
            if other != whole[at]:
                yield at, whole[:at] + bytes([other]) + whole[at + 1 :]


@pytest.fixture(autouse=True)
def unbroken():
    with nothing_breaks():
        yield


def disk_of(files):
    disk = MemoryDisk()
    for path, content in files.items():
        disk.create(path, content)
    return disk.kill()


# -- the journal --------------------------------------------------------------------------------

JOURNAL = DATA_DIR / "journal"


def numbered(first, last, mark):
    return [(n, f"{mark}{n}".encode()) for n in range(first, last + 1)]


async def test_of_a_damaged_journal_a_beginning_of_each_stream_is_left():
    disk = MemoryDisk()
    async with open_journal(JOURNAL, disk=disk, segment_bytes=60) as journal:
        for n in (1, 2, 3):
            for stream in "ab":
                await journal.write(stream, numbered(n, n, stream))
    files = {JOURNAL / info.name: disk.read(JOURNAL / info.name) for info in disk.scan(JOURNAL)}
    assert len(files) == 2
    frames = [
        (path, content[start:end], frame.stream)
        for path, content in files.items()
        for start, end, frame in read_frames(content)
    ]
    for path, whole in files.items():
        for at, content in damaged(whole):
            broken, left = disk_of({**files, path: content}), {}
            async with open_journal(JOURNAL, disk=broken) as journal:
                for stream in "ab":
                    own = [
                        frame in (content if file == path else files[file])
                        for file, frame, owner in frames
                        if owner == stream
                    ]
                    left[stream] = n = [*own, False].index(False)
                    assert await journal.read(stream) == numbered(1, n, stream), at
                    await journal.write(stream, numbered(n + 1, 4, f"new {stream}"))
            async with open_journal(JOURNAL, disk=broken) as journal:
                for stream, n in left.items():
                    again = numbered(1, n, stream) + numbered(n + 1, 4, f"new {stream}")
                    assert await journal.read(stream) == again, at


async def test_whatever_becomes_of_the_journal_a_turn_keeps_a_beginning_of_what_it_showed(
    autojump_clock,
):
    disk = MemoryDisk()
    async with open_room(disk, held=True) as room:
        for label in ("talk", "old"):
            await room.ask(label, ask_for.CreateSession(CREATE, keep=True))
        await begins("talk", "half tools").act(room)
        left = disk.crash()
    (segment,) = left.scan(JOURNAL)
    whole = left.read(JOURNAL / segment.name)
    for at, content in damaged(whole):
        broken = left.kill()
        broken.remove(JOURNAL / segment.name)
        broken.create(JOURNAL / segment.name, content)
        with in_order():
            async with open_room(broken) as room:
                await room.ask("talk", StartTurn("more"))
                await trio.sleep(SETTLED)
                view = await look(room)
        said, *_ = view.sessions["talk"]
        assert said == ("half tools", "more"), at
        assert view.answers["more"] == answer_of("more")
        assert view.listed.keys() == view.sessions.keys() == {"talk", "old"}


# -- records ------------------------------------------------------------------------------------


def terse(record):
    """As a program of somebody's might write it: nothing that says nothing."""
    return msgspec.json.encode({k: v for k, v in msgspec.json.decode(dump(record)).items() if v})


def talk(turn_id):
    """One that has been through much: it was compressed, and runs and waits and was asked once."""
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said = (
        {"role": "user", "content": "one", "timestamp": 1.5},
        {"role": "assistant", "content": "", "timestamp": 2.5, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "name": "look", "content": "seen"},
        {"role": "assistant", "content": "fine", "timestamp": 2.5},
        {"role": "user", "content": "two", "timestamp": 2.5},
    )
    summed_up = {"role": "system", "content": "One", "_compression_summary": True}
    running = {"task_id": "t", "stream_id": f"{turn_id}b", "prompt": "aside", "status": "running"}
    return Record(
        session_id="",
        title="Mine",
        manual_title=True,
        workspace="/",
        updated_at=3.5,
        active_stream_id=f"{turn_id}a",
        pending_user_message="three",
        pending_started_at=4.5,
        waiting=({"id": f"{turn_id}w", "message": "four", "queued_at": 5.0},),
        background=(running,),
        applied={"key": {"fingerprint": "print", "at": 1_000_000.0, "turn_id": f"{turn_id}w"}},
        messages=said,
        tool_calls=({"name": "look", "tid": "c", "assistant_msg_idx": 1},),
        context_messages=(summed_up, said[4]),
        compressions=(Compression(at_row=5, kept_from=4, summary="One", at=3.0),),
    )


def test_a_record_is_read_or_is_damaged():
    whole = dump(talk("turn"))
    for at, content in damaged(whole):
        with suppress(RecordDamaged):
            record = load("talk", content)
            snapshot = ask_for.Snapshot(record, False)
            assert msgspec.json.encode(views.full_session(snapshot)), at
            assert msgspec.json.encode(views.list_row(summary(record), False)), at


def in_hundreds(contents):
    """Directories with a hundred of these records each, and one that is whole."""
    contents = list(enumerate(contents))
    for first in range(0, len(contents), 100):
        files = {
            SESSIONS / f"d{n:05}.json": content for n, content in contents[first : first + 100]
        }
        yield {SESSIONS / "old.json": dump(CREATE), **files}


async def test_a_damaged_record_is_left_as_it_is_and_all_others_work(autojump_clock):
    contents = [content for _, content in damaged(terse(talk("ZZZZZ")))]
    own = (content.replace(b"ZZZZZ", b"%05d" % n) for n, content in enumerate(contents))
    for files in in_hundreds(own):
        disk, broken = disk_of(files), set()
        async with open_room(disk) as room:
            for path in files:
                session = room.greenroom.session(path.stem)
                try:
                    await session.ask(GetSession())
                except RecordDamaged as error:
                    broken.add(path)
                    assert path.stem in str(error)
                    with pytest.raises(RecordDamaged):
                        await session.ask(StartTurn("more"))
            await trio.sleep(SETTLED)
            rows = {row["session_id"] for row in await room.greenroom.index.ask(ListRows())}
            for path in files:
                if path in broken:
                    assert disk.read(path) == files[path]
                    continue
                assert path.stem in rows
                snapshot = await room.ask(path.stem, ask_for.Rename("Renamed"))
                assert not snapshot.running
                assert not snapshot.record.waiting
                assert msgspec.json.encode(views.full_session(snapshot))
            # As soon as somebody has mended it, it works.
            path = min(broken)
            disk.remove(path)
            disk.create(path, files[SESSIONS / "old.json"])
            assert (await room.ask(path.stem, GetSession())).record.title == "Mine"


async def test_a_damaged_pointer_costs_no_conversation(autojump_clock):
    """The pointer is what is left under an id that a session had before."""
    row, left = {"role": "user", "content": "one"}, "dZZZZZ"
    new = Record(session_id="", messages=(row,), continues_session_id=left, parent_session_id=left)
    pointer = terse(alias_of(Record(session_id=left, workspace="/"), "nZZZZZ"))
    contents = [content for _, content in damaged(pointer)]
    own = (content.replace(b"ZZZZZ", b"%05d" % n) for n, content in enumerate(contents))
    for files in in_hundreds(own):
        for path in list(files)[1:]:
            number = path.stem[1:].encode()
            files[SESSIONS / f"n{path.stem[1:]}.json"] = dump(new).replace(b"ZZZZZ", number)
        disk = disk_of(files)
        async with open_room(disk) as room:
            await room.greenroom.index.ask(ListRows())
            await trio.sleep(SETTLED)
            rows = [row["session_id"] for row in await room.greenroom.index.ask(ListRows())]
            for path in files:
                if path.stem.startswith("n"):
                    assert disk.read(path) == files[path]
                    assert path.stem in rows
                    assert (await room.ask(path.stem, GetSession())).record.messages == (row,)
                    await room.ask(path.stem, ask_for.DeleteSession())


# -- the list -----------------------------------------------------------------------------------


@asynccontextmanager
async def open_list(disk):
    def row_of(name, data):
        return {"session_id": name, **msgspec.json.decode(data)}

    def make(key):
        return Index(store, row_of, None, lambda: None)

    async with (
        open_record_store(SESSIONS, disk=disk) as store,
        open_system(Kind("index", make)) as s,
    ):
        yield s.ref("index", "main")


async def test_the_list_is_whole_whatever_became_of_its_file():
    record = {"title": "Mine", "message_count": 2, "updated_at": 5.5, "archived": False}
    disk = disk_of({SESSIONS / f"{name}.json": msgspec.json.encode(record) for name in ("a", "b")})
    async with open_list(disk) as index:
        rows = await index.ask(ListRows())
    file = SESSIONS / "_index.json"
    whole = disk.read(file)
    for at, content in damaged(whole):
        broken = disk.kill()
        broken.remove(file)
        broken.create(file, content)
        async with open_list(broken) as index:
            assert await index.ask(ListRows()) == rows, at
        assert broken.read(file) == whole, at


# -- projects -----------------------------------------------------------------------------------


async def test_damaged_projects_are_left_as_they_are():
    whole = disk_with(KEPT, ODD).read(DATA_DIR / "projects.json")
    for at, content in damaged(whole):
        disk = disk_with(content=content)
        async with open_projects(disk) as room:
            try:
                assert len(await room.ask(ListProjects())) == 2, at
            except ProjectsDamaged as error:
                assert "was left as it is" in str(error)
                with pytest.raises(ProjectsDamaged):
                    await room.ask(CreateProject("New"))
                assert disk.read(DATA_DIR / "projects.json") == content
                disk.remove(DATA_DIR / "projects.json")
                disk.create(DATA_DIR / "projects.json", whole)
                assert len(await room.ask(ListProjects())) == 2
            else:
                await room.ask(CreateProject("New"))


# -- answers ------------------------------------------------------------------------------------


async def test_a_damaged_answer_is_given_as_it_was_or_made_anew():
    disk, place, asked = MemoryDisk(), DATA_DIR / "answers", []

    async def is_replayed(answers, key):
        async def work():
            asked.append(key)
            return json_response({"answer": key})

        response = await answers.give(key, f"print of {key}", work)
        assert await response.get_data() == msgspec.json.encode({"answer": key})
        return response.headers.get("Idempotency-Replayed") == "true"

    async with open_journal(place, disk=disk) as journal:
        for key in "ab":
            assert not await is_replayed(Answers(journal), key)
    (segment,) = disk.scan(place)
    whole = disk.read(place / segment.name)
    first, _, second, _ = [whole[start:end] for start, end, _ in read_frames(whole)]
    for at, content in damaged(whole):
        async with open_journal(place, disk=disk_of({place / segment.name: content})) as journal:
            answers, intact = Answers(journal), {"a": first in content, "b": second in content}
            asked.clear()
            assert {key: await is_replayed(answers, key) for key in "ab"} == intact, at
            assert asked == [key for key in "ab" if not intact[key]]
            for key in "ab":
                assert await is_replayed(answers, key), at
