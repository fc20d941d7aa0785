"""Actors that do what the message says, and that keep a diary."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from actors import Actor, Message


@dataclass(frozen=True)
class Say(Message[Any]):
    """Answered with itself."""

    word: Any = None


@dataclass(frozen=True)
class Stop(Message[Any]):
    control = True


@dataclass(frozen=True)
class Do(Message[Any]):
    """Run a function with the actor."""

    work: Any


@dataclass
class Diary:
    """What all incarnations of all actors of a test went through."""

    lines: list = field(default_factory=list)
    living: int = 0
    most_living: int = 0

    def of(self, key):
        return [line for where, line in self.lines if where == key]


class Player(Actor):
    def __init__(self, key, diary):
        self.key = key
        self.diary = diary
        self.busy = False

    def note(self, line):
        self.diary.lines.append((self.key, line))

    async def on_start(self):
        await trio.lowlevel.checkpoint()
        self.diary.living += 1
        self.diary.most_living = max(self.diary.most_living, self.diary.living)
        self.note("start")

    async def receive(self, message):
        assert not self.busy, "two handlers of one actor overlap"
        self.busy = True
        try:
            if isinstance(message, Do):
                return await message.work(self)
            self.note(message.word if isinstance(message, Say) else "control")
            return message.word if isinstance(message, Say) else None
        finally:
            self.busy = False

    async def on_stop(self):
        await trio.lowlevel.checkpoint()
        self.diary.living -= 1
        self.note("stop")


@pytest.fixture
def diary():
    return Diary()
