"""The list is a projection of the records, whatever happened to its file."""

import errno
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors import Kind, Rejected, open_system
from actors.index.actor import LEAST_REST_SECONDS, Index
from actors.index.listing import Listing
from actors.index.messages import ListRows, PinLimit, ReservePin, RowChanged, RowRemoved
from actors.stores import MemoryDisk, open_record_store
from actors.testing.faulty_disk import FaultyDisk
from actors.viewer import EVERYBODY, Viewer

HERE = Path("/sessions")


def shown(rows):
    return list(Listing(rows.values()).shown())


def left_over(rows):
    return Listing(rows.values()).left_over()


def row(name, at=1.0, **fields):
    return {"session_id": name, "title": f"t {name}", "message_count": 1, "updated_at": at} | fields


def row_of(name, data):
    try:
        return row(name) | json.loads(data)
    except ValueError as error:
        raise Rejected(str(error)) from error


class Listed:
    def __init__(self, index, store):
        self.index = index
        self.store = store

    async def names(self):
        return [row["session_id"] for row in await self.index.ask(ListRows())]


async def nothing_to_sweep(session_id):
    raise AssertionError(f"{session_id} was to be swept")


@asynccontextmanager
async def open_index(disk):
    async with (
        open_record_store(HERE, disk=disk) as store,
        open_system(
            Kind("index", lambda key: Index(store, row_of, nothing_to_sweep, lambda: None))
        ) as system,
    ):
        yield Listed(system.ref("index", "main"), store)


def written(disk):
    return {row["session_id"] for row in json.loads(disk.read(HERE / "_index.json"))}


async def test_what_sessions_tell_is_listed_and_written():
    disk = MemoryDisk()
    async with open_index(disk) as listed:
        for name in "ab":
            await listed.store.save(name, b"{}")
            await listed.index.send(RowChanged(row(name)))
        await listed.index.send(RowRemoved("a"))
        assert await listed.names() == ["b"]
        await listed.store.delete("a")
    assert written(disk) == {"b"}


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'[{"x": 1}]', b"\xff"])
async def test_a_missing_or_damaged_index_is_made_anew_from_the_records(content):
    disk = MemoryDisk()
    async with open_index(disk) as listed:
        for name in "abc":
            await listed.store.save(name, b'{"updated_at": 5}')
        await listed.store.save("broken", b"not json")
    disk.remove(HERE / "_index.json")
    if content is not None:
        disk.create(HERE / "_index.json", content)
    async with open_index(disk) as listed:
        assert sorted(await listed.names()) == ["a", "b", "c"]
    assert written(disk) == {"a", "b", "c"}


@pytest.mark.parametrize(("before", "after"), [(b"t a", b"t b"), (b'"title"', b'"titlf"')])
async def test_an_index_that_is_not_as_it_was_written_is_made_anew(before, after):
    disk, file = MemoryDisk(), HERE / "_index.json"
    async with open_index(disk) as listed:
        for name in "ab":
            await listed.store.save(name, b"{}")
        rows = await listed.index.ask(ListRows())
    content = disk.read(file)
    disk.remove(file)
    disk.create(file, content.replace(before, after, 1))
    async with open_index(disk) as listed:
        assert await listed.index.ask(ListRows()) == rows
    assert disk.read(file) == content


async def test_what_changed_while_nobody_told_is_found():
    disk = MemoryDisk()
    async with open_index(disk) as listed:
        for name in "ab":
            await listed.store.save(name, b"{}")
            await listed.index.send(RowChanged(row(name)))
    async with open_record_store(HERE, disk=disk) as store:
        await store.save("new", b"{}")
        await store.save("a", b'{"title": "changed elsewhere"}')
        await store.delete("b")
    async with open_index(disk) as listed:
        rows = await listed.index.ask(ListRows())
        assert {row["session_id"]: row["title"] for row in rows} == {
            "new": "t new",
            "a": "changed elsewhere",
        }


async def test_many_records_are_read_in_the_background_and_those_who_speak_win():
    disk = MemoryDisk()
    async with open_record_store(HERE, disk=disk) as store:
        for n in range(450):
            await store.save(f"s{n}", b"{}")
    async with open_index(disk) as listed:
        await listed.index.send(RowChanged(row("s449", title="said so itself")))
        await listed.index.send(RowRemoved("s448"))
        await wait_all_tasks_blocked()
        rows = {row["session_id"]: row for row in await listed.index.ask(ListRows())}
        assert len(rows) == 449
        assert rows["s449"]["title"] == "said so itself"


async def test_changes_that_wait_together_are_written_together(autojump_clock):
    disk = FaultyDisk(MemoryDisk())
    async with open_index(disk) as listed:
        await listed.names()
        before = disk.trace.count("replace")
        for n in range(500):
            await listed.index.send(RowChanged(row(f"s{n}")))
        await trio.sleep(10)
        assert disk.trace.count("replace") - before < 100
        assert len(written(disk.disk)) == 500


async def test_the_index_rests_between_its_writes(autojump_clock):
    disk = FaultyDisk(MemoryDisk())
    async with open_index(disk) as listed:
        before = disk.trace.count("replace")
        for n in range(50):
            await listed.index.send(RowChanged(row(f"s{n}")))
            await trio.sleep(LEAST_REST_SECONDS / 10)
        assert 1 < disk.trace.count("replace") - before <= 6


async def test_an_index_that_cannot_be_written_is_written_later(autojump_clock):
    full = [True]
    disk = FaultyDisk(MemoryDisk(), lambda number, name: full[0] and name == "create")
    async with open_index(disk) as listed:
        await listed.index.send(RowChanged(row("a")))
        assert await listed.names() == ["a"]
        await trio.sleep(20)
        full[0] = False
        await trio.sleep(20)
        assert written(disk.disk) == {"a"}


async def test_an_index_that_cannot_be_written_at_the_end_is_no_crash(caplog):
    broken = [False]
    disk = FaultyDisk(MemoryDisk(), lambda number, name: broken[0] and name == "create")
    async with open_index(disk) as listed:
        assert await listed.names() == []
        await wait_all_tasks_blocked()
        await listed.store.save("a", b"{}")
        broken[0] = True
        await listed.index.send(RowChanged(row("a")))
    assert "no room left" in caplog.text
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    async with open_index(disk.disk) as listed:
        assert await listed.names() == ["a"]


async def test_a_record_that_the_disk_did_not_give_is_listed_later(autojump_clock):
    memory, refused = MemoryDisk(), [2, 3, 4]  # the index is read first
    async with open_record_store(HERE, disk=memory) as store:
        for name in "ab":
            await store.save(name, b"{}")
    reads = []

    def fail(number, name):
        if name == "read":
            reads.append(number)
        return name == "read" and len(reads) in refused

    async with open_index(FaultyDisk(memory, fail, errno.EIO)) as listed:
        assert await listed.names() == []
        await trio.sleep(4)
        assert len(reads) == 5  # both again at once, and one of them in vain
        assert await listed.names() == ["b"]
        await trio.sleep(10)
        assert len(reads) == 6
        assert await listed.names() == ["b", "a"]
    assert written(memory) == {"a", "b"}


async def test_the_last_pin_is_given_once():
    async with open_index(MemoryDisk()) as listed:
        for name in "abcd":
            await listed.index.send(RowChanged(row(name)))
        for name in "abca":
            await listed.index.ask(ReservePin(name))
        with pytest.raises(PinLimit) as refusal:
            await listed.index.ask(ReservePin("d"))
        assert refusal.value.limit == 3


@pytest.mark.parametrize(
    ("fields", "hidden"),
    [
        ({}, False),
        ({"title": "Untitled", "message_count": 0}, True),
        ({"title": "Mine", "message_count": 0}, False),
        ({"title": "Untitled", "message_count": 0, "has_pending_user_message": True}, False),
        ({"title": "Untitled", "message_count": 0, "active_stream_id": "x"}, False),
        ({"title": "Untitled", "message_count": 0, "worktree_path": "/x"}, False),
        ({"continuation_session_id": "b"}, True),
        ({"pre_compression_snapshot": True}, False),
    ],
)
def test_which_rows_are_hidden(fields, hidden):
    assert shown({"a": row("a") | fields}) == ([] if hidden else [row("a") | fields])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_snapshot_of_the_reference_system_shows_only_if_it_alone_has_it_all(count):
    old = row("a", pre_compression_snapshot=True, message_count=2)
    new = row("b", parent_session_id="a", message_count=count)
    names = [found["session_id"] for found in shown({"a": old, "b": new})]
    assert ("a" in names) is (count < 2)
    assert "b" in names


def test_of_a_session_that_is_being_rotated_one_row_shows():
    old, new = row("a"), row("b", parent_session_id="a", continues_session_id="a")
    left = old | {"continuation_session_id": "b"}
    assert shown({"a": old}) == [old]
    assert shown({"a": old, "b": new}) == [old]
    assert shown({"a": left, "b": new}) == [new]
    assert left_over({"a": old, "b": new}) == ["a"]
    assert left_over({"a": left, "b": new}) == []
    assert left_over({"a": left}) == ["a"]


@pytest.mark.parametrize("leads_to", [{}, {"continuation_session_id": "c"}])
def test_a_pointer_that_is_damaged_hides_no_session(leads_to):
    pointer = row("a", pre_compression_snapshot=True, message_count=0) | leads_to
    new = row("b", parent_session_id="a", continues_session_id="a")
    assert shown({"a": pointer, "b": new}) == [new]
    assert left_over({"a": pointer, "b": new}) == (["a"] if leads_to else [])


IDS = st.sampled_from("abcdef")
ROWS = st.fixed_dictionaries(
    {"session_id": IDS, "title": st.sampled_from(["Untitled", "Mine"])},
    optional={
        "pinned": st.booleans() | st.none(),
        "archived": st.booleans(),
        "updated_at": st.floats(0, 9) | st.none(),
        "last_message_at": st.floats(0, 9) | st.none(),
        "message_count": st.integers(0, 3),
        "parent_session_id": IDS,
        "session_source": st.sampled_from(["fork", "cron"]),
        "continues_session_id": IDS,
        "continuation_session_id": IDS,
        "pre_compression_snapshot": st.booleans(),
        "owner": st.sampled_from(["ann", "bob"]) | st.none(),
    },
)
VIEWERS = [
    EVERYBODY,
    Viewer("ann", frozenset({"ann"})),
    Viewer("bob", frozenset({"bob", None})),
    Viewer("cid", frozenset({"cid"})),
]


@given(st.lists(ROWS | IDS, max_size=20))
def test_a_list_that_was_changed_is_the_list_that_would_be_made(changes):
    changed, rows = Listing(), {}
    for change in changes:
        if isinstance(change, str):
            changed.remove(change)
            rows.pop(change, None)
        else:
            changed.put(change)
            rows[change["session_id"]] = change
        made = Listing(rows.values())
        assert changed.shown() == made.shown()
        assert sorted(changed.left_over()) == sorted(made.left_over())
        for owner in (None, "ann", "bob"):
            own = {name for name, row in rows.items() if row.get("owner") == owner}
            pinned = {name for name in own if rows[name].get("pinned")}
            assert changed.pinned_of(owner) == made.pinned_of(owner) == pinned
            sessions = [name for name in own if not rows[name].get("continuation_session_id")]
            assert changed.count_of(owner) == made.count_of(owner) == len(sessions)
        for viewer in VIEWERS:
            check_what_is_seen(changed, made, rows.values(), viewer)


def check_what_is_seen(changed, made, rows, viewer):
    """It is what everybody's list has of it, page by page too."""
    seen = [row for row in rows if viewer.may_see(row.get("owner"))]
    shown = tuple(row for row in made.shown() if row in seen)
    assert changed.shown(viewer) == shown
    assert sorted(map(str, changed.all(viewer))) == sorted(map(str, seen))
    for archived in (False, True):
        every = tuple(row for row in shown if bool(row.get("archived")) is archived)
        assert changed.count(viewer, archived=archived) == len(every)
        for start in range(3):
            for stop in range(start, 5):
                page = changed.page(start, stop, viewer, archived=archived)
                assert page == every[start:stop], (start, stop)


@given(st.lists(ROWS))
def test_pinned_rows_come_first_and_the_newest_before_the_older(rows):
    keys = [
        (bool(row.get("pinned")), row.get("last_message_at") or row.get("updated_at") or 0)
        for row in Listing(rows).shown()
    ]
    assert keys == sorted(keys, reverse=True)
