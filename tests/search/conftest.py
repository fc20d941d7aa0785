"""A search over records on a disk in memory."""

import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors import Kind, Rejected, open_system
from actors.search.actor import Searcher
from actors.search.messages import Search
from actors.search.text import Document
from actors.stores import MemoryDisk, open_record_store
from actors.testing.faulty_disk import FaultyDisk

HERE = Path("/sessions")


def document_of(name, data):
    """A record of these tests. One that says "bug" finds one in whoever reads it."""
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise Rejected(f"{name} is damaged") from error
    assert fields["title"] != "bug"
    return Document(fields["title"], fields["rows"], fields["hidden"])


class Place:
    """A disk, and what was written on it."""

    def __init__(self):
        self.disk = FaultyDisk(MemoryDisk())

    def write(self, name, title="Untitled", *rows, hidden=False):
        data = json.dumps({"title": title, "rows": rows, "hidden": hidden}).encode()
        self.write_bytes(name, data)

    def write_bytes(self, name, data):
        self.remove(name)
        self.disk.disk.create(HERE / f"{name}.json", data)

    def remove(self, name):
        self.disk.disk.remove(HERE / f"{name}.json")

    @property
    def reads(self):
        return self.disk.trace.count("read")


class Slow:
    """Each read takes a second of the mock clock; after `held` of them it waits at the gate."""

    def __init__(self, clock, held):
        self.gate = trio.Event()
        self._clock = clock
        self._held = held

    def __call__(self, store):
        self._store = store
        self.scan = store.scan
        return self

    async def load(self, name):
        if self._held == 0:
            await self.gate.wait()
        else:
            self._held -= 1
        self._clock.jump(1)
        return await self._store.load(name)


class Watched(Searcher):
    """Says when it was put away."""

    stopped: trio.Event

    async def on_stop(self):
        await super().on_stop()
        self.stopped.set()


class Desk:
    """Where one asks."""

    def __init__(self, ref, stopped):
        self.ref = ref
        self.stopped = stopped

    async def found(self, query, **how):
        """What is found when there is no more to be read."""
        while not (found := await self.ref.ask(Search(query, **how))).complete:
            pass
        return list(found.results)

    async def names(self, query, **how):
        return [hit.session_id for hit in await self.found(query, **how)]


@pytest.fixture
def place():
    return Place()


@pytest.fixture
def slow():
    """Make reading slow: by which clock, and how many reads until it stands still."""
    return Slow


@pytest.fixture
def open_desk(place):
    """Open the search, on a new database or on what is left of one."""

    @asynccontextmanager
    async def opened(database=None, *, through=lambda store: store, **how):
        stopped = trio.Event()
        async with open_record_store(HERE, disk=place.disk) as store:
            read = through(store)

            def create(key):
                searcher = Watched(read, database, document_of)
                searcher.stopped = stopped
                return searcher

            async with open_system(Kind("search", create, **how)) as system:
                yield Desk(system.ref("search", "main"), stopped)

    return opened


@pytest.fixture
async def desk(open_desk):
    async with open_desk() as opened:
        yield opened


@pytest.fixture
def database(tmp_path):
    """Where a search database may be made."""
    return tmp_path / "derived" / "search.db"
