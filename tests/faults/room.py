"""A greenroom on a disk in memory: what its agent says is known, and so is all there is to see."""

import logging
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import trio
from trio._core import _run

from actors.greenroom import Greenroom, open_greenroom
from actors.index.messages import ListRows
from actors.projects.messages import ListProjects
from actors.session.agent import TextDelta, ToolCompleted, ToolStarted
from actors.session.entries import TERMINAL, TurnFailed
from actors.session.messages import GetSession
from actors.session.refusals import SessionNotFound

DATA_DIR = Path("/data")
SESSIONS = DATA_DIR / "sessions"
LABELS = ("cut", "lone", "old", "talk", "gone")  # the sessions that are looked at
SETTLED = 100.0  # seconds: what was begun has ended, and nobody was put away
PUT_AWAY = 700.0  # nobody is in memory, and the journal gave its space back
_lives = count()


class Told(Exception):
    """A reader, or who asked how it stands, was told that the disk was to blame."""


@contextmanager
def in_order(seed=0):
    """Trio's order of runnable tasks, made a choice of ours: the same seed gives the same run.

    Private names of Trio: this fails loudly when they are gone.
    """
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    _run._r.seed(seed)
    try:
        yield
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before


@contextmanager
def nothing_breaks():
    """A refusal is an answer, a crash is a bug. What is only worth a warning is not said."""
    crashes = []

    class Crashes(logging.Handler):
        def emit(self, record):
            crashes.append(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")

    handler, logger = Crashes(logging.ERROR), logging.getLogger("actors")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
    assert crashes == []


# -- who answers --------------------------------------------------------------------------------


def answer_of(prompt):
    return f"first half of {prompt}, second half of {prompt}"


class Teller:
    """Says to each prompt what `answer_of` says, once the test lets it: before the first half, or
    in the middle if the prompt begins with "half". With "tools" in it, a tool is used in between.
    """

    steerable = True

    def __init__(self, held):
        self.asked = []  # prompts
        self.working = set()  # the turns' ids
        self._held = held
        self._gates = {}

    def release(self, prompt):
        self._gate(prompt).set()

    def release_all(self):
        self._held = False
        for gate in self._gates.values():
            gate.set()

    def _gate(self, prompt):
        return self._gates.setdefault(prompt, trio.Event())

    async def __call__(self, turn, emit):
        if turn.purpose != "answer":
            await emit(TextDelta(f"Some {turn.purpose} of it"))
            return
        prompt = turn.messages[-1]["content"]
        self.asked.append(prompt)
        self.working.add(turn.turn_id)
        try:
            await self._answer(prompt, emit)
        finally:
            self.working.remove(turn.turn_id)

    async def _answer(self, prompt, emit):
        first, comma, second = answer_of(prompt).partition(",")
        half = prompt.startswith("half")
        if self._held and not half:
            await self._gate(prompt).wait()
        await emit(TextDelta(first))
        if self._held and half:
            await self._gate(prompt).wait()
        if "tools" in prompt:
            await emit(ToolStarted("call", "look"))
            await emit(ToolCompleted("call", "seen"))
            await trio.sleep(20)  # a checkpoint comes
        await emit(TextDelta(comma + second))


# -- where it happens ---------------------------------------------------------------------------


@dataclass
class Room:
    greenroom: Greenroom
    agent: Teller
    turns: dict[str, str] = field(default_factory=dict)  # prompt -> turn id
    shown: dict[str, str] = field(default_factory=dict)  # prompt -> what its reader has

    async def ask(self, label, command):
        return await self.greenroom.session(label).ask(command)

    async def read(self, prompt):
        """Follow its stream to the end. Raises `Told`."""
        reader = self.greenroom.feeds.read(self.turns[prompt])
        entries = []
        self.shown[prompt] = ""
        while batch := await reader.next():
            entries += batch
            self.shown[prompt] += "".join(
                entry.event.text for entry in batch if isinstance(entry.event, TextDelta)
            )
        assert sum(isinstance(entry.event, TERMINAL) for entry in entries) == 1, prompt
        last = entries[-1].event
        if isinstance(last, TurnFailed):
            raise Told(last.message)


@asynccontextmanager
async def open_room(disk, *, held=False):
    agent, life = Teller(held), next(_lives)
    ids = (f"{life:04x}{n:08x}{n:020x}" for n in count(1))
    async with open_greenroom(
        DATA_DIR,
        agent,
        side_agent=agent,
        disk=disk,
        clock=lambda: 1_000_000.0 + trio.current_time(),
        new_id=lambda: next(ids),
    ) as greenroom:
        yield Room(greenroom, agent)


# -- what there is to see -----------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """`sessions`, `listed` and `projects` are all or nothing. `answers` are what was said to each
    prompt so far.
    """

    sessions: dict[str, tuple]
    listed: dict[str, tuple]
    projects: tuple
    answers: dict[str, str]

    def facts(self):
        return self.sessions, self.listed, self.projects

    def like(self, other, but_for=frozenset()):
        """The same, whatever was said to those prompts."""
        return self.facts() == other.facts() and all(
            self.answers[prompt] == other.answers[prompt]
            for prompt in self.answers.keys() - but_for
        )


async def look(room):
    """All of it. Raises what whoever asks for it is told."""
    projects = {
        p["project_id"]: p["name"] for p in await room.greenroom.projects.ask(ListProjects())
    }
    sessions, answers, names = {}, {}, {}
    for label in LABELS:
        with suppress(SessionNotFound):
            record = (await room.ask(label, GetSession())).record
            names[record.session_id] = label
            said = said_in(record)
            assert not said.keys() & answers.keys(), said
            answers |= said
            sessions[label] = (
                tuple(said),
                tuple(row["message"] for row in record.waiting),
                tuple(row["prompt"] for row in record.background),
                record.title if record.manual_title else None,
                record.pinned,
                record.archived,
                record.model,
                record.composer_draft.get("text"),
                projects.get(record.project_id),
                bool(record.compressions),
            )
            answers |= {row["prompt"]: row.get("answer", "") for row in record.background}
    listed = {}
    for row in await room.greenroom.index.ask(ListRows()):
        label = names.get(row["session_id"], row["session_id"])
        assert label not in listed, label
        title = row["title"] if row["manual_title"] else None
        listed[label] = (title, row["pinned"], projects.get(row["project_id"]))
    return View(sessions, listed, tuple(projects.values()), answers)


async def check_streams(room):
    """Whatever is open belongs to a turn that runs or waits."""
    waiting = set()
    for label in LABELS:
        with suppress(SessionNotFound):
            rows = (await room.ask(label, GetSession())).record.waiting
            waiting |= {row["id"] for row in rows if not row.get("steer")}
    feeds = {feed.turn_id for feed in room.greenroom.feeds if not feed.closed}
    assert feeds == room.agent.working | waiting


async def files_of(room):
    """The names of the files that the sessions have, those under which they were known included."""
    found = set()
    for label in LABELS:
        with suppress(SessionNotFound):
            record = (await room.ask(label, GetSession())).record
            found |= {record.session_id, label}
    return {f"{name}.json" for name in found}


def said_in(record):
    """Each prompt, and what was said to it: a beginning of the answer."""
    said = {}
    for row in record.messages:
        if row["role"] == "user":
            assert row["content"] not in said, f"{row['content']} is there twice"
            said[row["content"]] = ""
        elif row["role"] == "assistant" and not row.get("_error"):
            said[list(said)[-1]] += row["content"]
    if record.pending_user_message is not None:
        assert record.pending_user_message not in said
        said[record.pending_user_message] = ""
    for prompt, text in said.items():
        assert answer_of(prompt).startswith(text), (prompt, text)
    return said


# -- what is on the disk ------------------------------------------------------------------------


def contents(disk):
    """All files, and what is in them."""
    return {
        directory / info.name: disk.read(directory / info.name)
        for directory in (SESSIONS, DATA_DIR, DATA_DIR / "journal")
        for info in disk.scan(directory)
    }


def records(disk):
    """The same of sessions and projects."""
    return {
        path: content
        for path, content in contents(disk).items()
        if path.suffix == ".json" and path.name != "_index.json"
    }
