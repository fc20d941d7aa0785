"""The database is derived: it saves work, and can be lost, damaged and made anew."""

import gc
import logging
import sqlite3

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed
from actors.search.database import Database
from actors.search.messages import Search, SearchUnavailable


async def test_a_restart_reads_only_what_has_changed(place, database, open_desk):
    for name in "abc":
        place.write(name, "copper")
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["c", "b", "a"]
    place.write("b", "silver")
    place.remove("c")
    place.disk.trace.clear()
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["a"]
        assert await desk.names("silver") == ["b"]
    assert place.reads == 1


async def test_nobody_else_may_read_the_database_and_it_is_closed_at_the_end(
    place, database, open_desk
):
    place.write("a", "copper")
    async with open_desk(database) as desk:
        await desk.found("copper")
        assert {path.stat().st_mode & 0o777 for path in database.parent.iterdir()} == {0o600}
        assert len(list(database.parent.iterdir())) == 3
    assert list(database.parent.iterdir()) == [database]


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sessions (something)")
    connection.close()


def another_version(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def drop_texts(path):
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE texts")
    connection.close()


DAMAGE = {
    "garbage": lambda path: path.write_bytes(b"copper" * 1000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "foreign": lambda path: (path.unlink(), foreign(path)),
    "another version": another_version,
    "half lost": drop_texts,
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_database_that_cannot_be_used_is_made_anew(
    place, database, caplog, damage, open_desk
):
    for name in "abc":
        place.write(name, "Untitled", "copper")
    async with open_desk(database) as desk:
        await desk.found("copper")
    DAMAGE[damage](database)
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["c", "b", "a"]
    assert ("made anew" in caplog.text) == (damage not in ("empty", "gone"))
    place.disk.trace.clear()
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["c", "b", "a"]
    assert place.reads == 0


async def test_whichever_page_is_damaged_the_search_goes_on(place, database, caplog, open_desk):
    for n in range(12):
        place.write(f"s{n}", f"copper {n}", *(f"row {n} {m} {n * m:x}" for m in range(300)))
    async with open_desk(database) as desk:
        await desk.found("copper")
    whole = database.read_bytes()
    pages = range(0, len(whole), 4096)
    assert len(pages) > 50
    healed = 0
    for at in pages:
        database.write_bytes(whole[:at] + b"\xa5" * 4096 + whole[at + 4096 :])
        place.write("s5", "copper 5", f"changed {at}")
        async with open_desk(database) as desk:
            assert await desk.names(f"changed {at}") == ["s5"]
            await desk.found("row 7 copper")
            await desk.found("ro")
        if "made anew" in caplog.text:
            healed += 1
            async with open_desk(database) as desk:
                assert len(await desk.names("copper")) == 12
        caplog.clear()
    assert healed > 10


async def test_a_database_that_is_damaged_while_it_is_open_is_made_anew(
    place, database, caplog, open_desk
):
    place.write("a", "copper")
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["a"]
        drop_texts(database)
        assert await desk.names("copper") == ["a"]
        assert "made anew" in caplog.text


async def test_one_in_memory_is_made_anew_too(place, desk, monkeypatch):
    failures = []

    def compare(database, infos, original=Database.compare):
        if failures:
            raise failures.pop()
        return original(database, infos)

    monkeypatch.setattr(Database, "compare", compare)
    place.write("a", "copper")
    assert await desk.names("copper") == ["a"]
    failures.append(sqlite3.DatabaseError("malformed"))
    assert await desk.names("copper") == ["a"]
    assert place.reads == 2


async def test_one_that_somebody_else_has_locked_is_kept(place, database, monkeypatch, open_desk):
    monkeypatch.setattr("actors.search.database.PATIENCE_SECONDS", 0)
    place.write("a", "copper")
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["a"]
    other = sqlite3.connect(database)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    async with open_desk(database) as desk:
        with pytest.raises(SearchUnavailable):
            await desk.found("copper")
        other.close()
        assert await desk.names("copper") == ["a"]
    assert place.reads == 1


async def test_a_text_that_was_lost_is_damage_too(place, database, caplog, open_desk):
    place.write("a", "Untitled", "copper")
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["a"]
        with sqlite3.connect(database) as other:
            other.execute("UPDATE texts_content SET c1 = NULL")
        other.close()
        assert await desk.names("copper") == ["a"]
        assert "made anew" in caplog.text


async def test_when_the_background_cannot_index_the_next_search_mends_it(
    place, database, mock_clock, caplog, open_desk, slow
):
    for n in range(4):
        place.write(f"s{n}", "copper")
    store = slow(mock_clock, 2)
    async with open_desk(database, through=store) as desk:
        assert not (await desk.ref.ask(Search("copper"))).complete
        drop_texts(database)
        store.gate.set()
        await wait_all_tasks_blocked()  # the batch is taken up
        assert await desk.names("copper") == ["s3", "s2", "s1", "s0"]
    assert "could not be indexed" in caplog.text


async def test_where_no_database_can_be_made_the_search_says_so(place, database, open_desk):
    place.write("a", "copper")
    database.parent.write_text("a file where a directory should be")
    async with open_desk(database) as desk:
        for _ in range(2):
            with pytest.raises(SearchUnavailable) as refusal:
                await desk.found("copper")
            assert str(database.parent) not in str(refusal.value)
        database.parent.unlink()
        assert await desk.names("copper") == ["a"]


async def test_when_a_damaged_database_cannot_be_replaced_the_search_says_so(
    place, database, open_desk
):
    place.write("a", "copper")
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["a"]
        drop_texts(database)
        obstacle = database.with_name("search.db-journal")
        obstacle.mkdir()  # cannot be unlinked
        for _ in range(2):
            with pytest.raises(SearchUnavailable):
                await desk.found("copper")
        obstacle.rmdir()
        assert await desk.names("copper") == ["a"]


async def test_a_full_disk_is_no_reason_to_throw_the_database_away(
    place, database, monkeypatch, caplog, open_desk
):
    place.write("a", "copper")
    connections = []

    def remember(database, infos, compare=Database.compare):
        connections.append(database._connection)
        return compare(database, infos)

    monkeypatch.setattr(Database, "compare", remember)
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["a"]
        (used,) = connections[0].execute("PRAGMA page_count").fetchone()
        connections[0].execute(f"PRAGMA max_page_count = {used}")
        place.write("b", "copper", *(f"{n:x}" for n in range(5000)))
        with pytest.raises(SearchUnavailable):
            await desk.found("copper")
        connections[0].execute("PRAGMA max_page_count = 1000000")
        assert set(await desk.names("copper")) == {"a", "b"}
        assert place.reads == 3  # a was not read again
        assert caplog.records == []


async def test_a_crash_leaves_no_database_open(place, database, caplog, open_desk):
    place.write("a", "copper")
    place.write("b", "bug")
    async with open_desk(database) as desk:
        with caplog.at_level(logging.CRITICAL), pytest.raises(ActorCrashed):
            await desk.found("copper")
        place.remove("b")
        assert await desk.names("copper") == ["a"]
    while list(database.parent.iterdir()) != [database]:
        await trio.lowlevel.checkpoint()  # a thread may hold what it returned for a moment
        gc.collect()  # the exception holds on to where it was raised
