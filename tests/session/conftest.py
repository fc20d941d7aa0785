"""A whole greenroom on a disk in memory."""

from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from actors.session.messages import CreateSession, GetSession, StartTurn
from actors.session.record import Record
from actors.stores import MemoryDisk
from actors.testing import Puppet, open_checked_greenroom

DATA_DIR = Path("/data")
SESSIONS = DATA_DIR / "sessions"


class Room:
    """What a test needs in one place."""

    def __init__(self, greenroom, disk, agent):
        self.greenroom = greenroom
        self.disk = disk
        self.agent = agent
        self.index = greenroom.index

    def session(self, key="s1"):
        return self.greenroom.session(key)

    async def new(self, key="s1", keep=False, **fields):
        session = self.session(key)
        await session.ask(CreateSession(Record(session_id="", workspace="/", **fields), keep))
        return session

    async def start(self, prompt="hello", key="s1"):
        """A session in which a turn runs, the turn's id, and the strings of the agent."""
        session = self.session(key)
        accepted = await session.ask(StartTurn(prompt))
        return accepted.turn_id, await self.agent.next_turn()

    async def record(self, key="s1"):
        return (await self.session(key).ask(GetSession())).record

    def files(self):
        """The names of the session directory's files."""
        return {info.name for info in self.disk.scan(SESSIONS)}

    async def events(self, turn_id, after=0):
        """All entries of a turn's feed, to its end."""
        reader = self.greenroom.feeds.read(turn_id, after)
        assert reader is not None
        entries = []
        while batch := await reader.next():
            entries.extend(batch)
        return entries


@pytest.fixture
def open_room():
    """Open a room: on a new disk, or on what a crash left of another's.

    A test in which time must pass asks for `autojump_clock` itself.
    """
    lives = count()

    @asynccontextmanager
    async def opened(disk=None, agent=None, **options):
        disk, agent = disk or MemoryDisk(), agent or Puppet()
        async with open_checked_greenroom(
            disk, agent, life=next(lives), turns_may_run=True, **options
        ) as greenroom:
            yield Room(greenroom, disk, agent)

    return opened


@pytest.fixture
async def room(open_room):
    async with open_room() as opened:
        yield opened
