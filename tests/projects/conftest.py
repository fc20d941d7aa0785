"""Projects on a disk in memory, and sessions that say what the test wants."""

import json
from contextlib import asynccontextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path

import pytest
import trio

from actors import Kind, open_system
from actors.projects.actor import Projects
from actors.projects.messages import ListProjects
from actors.stores import MemoryDisk, open_record_store

HERE = Path("/data")
FILE = HERE / "projects.json"

# As the reference system writes them, and with a key that nobody knows.
KEPT = {"project_id": "aaaaaaaaaaaa", "name": "Kept", "color": "#7cb9ff", "created_at": 1.25}
ODD = {"project_id": "bbbbbbbbbbbb", "name": "Ödd", "profile": "p", "x": {"y": [1, None, 0.5]}}


class Sessions:
    """Which session is in which project, and what some of them say when they are moved."""

    def __init__(self, **where):
        self.where = where
        self.failures = {}
        self.asked = []  # session ids, in the order in which they were told
        self.gate = trio.Event()
        self.gate.set()

    async def members(self, project_id):
        await trio.lowlevel.checkpoint()
        if "members" in self.failures:
            raise self.failures["members"]
        return [name for name, where in self.where.items() if where == project_id]

    async def move(self, session_id, project_id, viewer):
        self.asked.append(session_id)
        await self.gate.wait()
        if session_id in self.failures:
            raise self.failures[session_id]
        self.where[session_id] = project_id
        return f"{session_id} has moved"


class Room:
    """The projects, and what a test says about them."""

    def __init__(self, ref):
        self.ask = ref.ask

    async def all(self):
        """As they are now: a copy, lest a change in place be seen in both."""
        return deepcopy(list(await self.ask(ListProjects())))

    async def refuses(self, refusal, *commands):
        """Each is refused like this, and changes nothing."""
        before = await self.all()
        for command in commands:
            with pytest.raises(refusal) as caught:
                await self.ask(command)
            assert await self.all() == before
        return caught.value


@asynccontextmanager
async def open_projects(disk, sessions=None):
    sessions = sessions or Sessions()
    ids = (f"{n:012x}" + "f" * 20 for n in count(1))

    def create(key):
        members, move = sessions.members, sessions.move
        return Projects(store, "projects", members, move, lambda: 99.5, lambda: next(ids))

    async with (
        open_record_store(HERE, disk=disk) as store,
        open_system(Kind("projects", create)) as system,
    ):
        yield Room(system.ref("projects", "main"))


def disk_with(*projects, content=None):
    disk = MemoryDisk()
    disk.create(FILE, json.dumps(projects).encode() if content is None else content)
    disk.flush(FILE)
    disk.flush_directory(HERE)
    return disk


def written(disk):
    return json.loads(disk.read(FILE))


async def reopened(disk):
    async with open_projects(disk) as room:
        return await room.all()
