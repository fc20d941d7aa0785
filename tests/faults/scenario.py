"""One life of a data directory, which touches all that is on disk."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from actors.projects.messages import CreateProject, DeleteProject, MoveSession, RenameProject
from actors.session import messages as ask_for
from actors.session.agent import TextDelta
from actors.session.entries import TERMINAL, TurnBegan
from actors.session.messages import StartTurn
from actors.session.record import Record
from actors.stores import MemoryDisk
from actors.testing.faulty_disk import FaultyDisk
from tests.faults.room import PUT_AWAY, SESSIONS, Room, Told, open_room, records

PROJECT = "a" * 12
CREATE = Record(session_id="", workspace="/", title="Mine", manual_title=True)
UNDO = ask_for.RemoveLastTurn()


@dataclass(frozen=True)
class Step:
    """`prompts` are those whose answers it may cut short. `mend` takes back what was accepted and
    could not go on; a step that has `prompts` and no `mend` is over in any case.
    """

    name: str
    act: Callable[[Room], Awaitable[object]]
    prompts: frozenset[str] = frozenset()
    mend: Callable[[Room], Awaitable[object]] | None = None

    @property
    def final(self):
        return bool(self.prompts) and self.mend is None


def asks(label, command):
    async def act(room):
        return await room.ask(label, command)

    return Step(f"{type(command).__name__} {label}", act)


def begins(label, prompt, command=None, mend=UNDO):
    """A turn, held by its agent until it `ends`."""

    async def act(room):
        accepted = await room.ask(label, command or StartTurn(prompt))
        room.turns[prompt] = accepted.turn_id
        reader, wanted = room.greenroom.feeds.read(accepted.turn_id), TurnBegan
        if prompt.startswith("half"):
            wanted = TextDelta
        while not isinstance(last := (await reader.next())[-1].event, wanted):
            if isinstance(last, TERMINAL):
                await room.read(prompt)

    async def take_back(room):
        await room.ask(label, mend)

    return Step(f"begin {prompt}", act, frozenset({prompt}), take_back)


def ends(*prompts):
    async def act(room):
        for prompt in prompts:
            room.agent.release(prompt)
        for prompt in prompts:
            await room.read(prompt)

    return Step(f"end {', '.join(prompts)}", act, frozenset(prompts))


async def undo_once(room):
    removed = await room.ask("talk", ask_for.Once("key", "print", UNDO))
    assert removed.text == "four!"


async def queue(room):
    accepted = await room.ask("talk", StartTurn("four", if_busy="queue"))
    assert accepted.waiting
    room.turns["four"] = room.turns["four!"] = accepted.turn_id


async def edit(room):
    await room.ask("talk", ask_for.EditWaiting(room.turns["four"], "four!"))


async def compress(room, label="talk"):
    seen = room.greenroom.notices.last
    await room.ask(label, ask_for.Compress())
    while (state := await room.ask(label, ask_for.CompressionStatus())).status == "running":
        await room.greenroom.notices.after(seen)
        seen = room.greenroom.notices.last
    if state.status == "error":
        raise Told(state.text)


def projects(command):
    async def act(room):
        await room.greenroom.projects.ask(command)

    return Step(type(command).__name__, act)


async def put_away(room):
    """Nobody asks for long enough that all leave memory, and the journal gives space back."""
    await trio.sleep(PUT_AWAY)
    cells = [cell.address for cell in room.greenroom.statistics().cells]
    assert cells == ["index/main"], cells


# Each begins with a disk on which all is at rest, but for the first.
CHAPTERS = {
    "startup": (
        asks("old", ask_for.Rename("Renamed")),
        begins("lone", "again"),
        ends("again"),
    ),
    "talking": (
        asks("talk", ask_for.CreateSession(CREATE, keep=True)),
        begins("talk", "tools"),
        ends("tools"),
        begins("talk", "half three"),
        Step("queue", queue),
        Step("edit", edit),
        begins(
            "talk", "behind", ask_for.StartSideTurn("behind", keep=True), ask_for.FetchBackground()
        ),
        ends("half three", "four!", "behind"),
        Step("undo", undo_once),
        Step("undo, the same once again", undo_once),
        Step("put away", put_away),
    ),
    "changing": (
        asks("talk", ask_for.Rename("Renamed")),
        asks("talk", ask_for.Pin(True)),
        Step("compress", compress),
        begins("talk", "five"),
        ends("five"),
    ),
    "tidying": (
        projects(CreateProject("Project", project_id=PROJECT)),
        projects(RenameProject(PROJECT, "Renamed")),
        projects(MoveSession("talk", PROJECT)),
        projects(DeleteProject(PROJECT)),
        asks("gone", ask_for.CreateSession(CREATE, keep=True)),
        asks("gone", ask_for.DeleteSession()),
        asks("talk", ask_for.FetchBackground()),
        Step("put away", put_away),
        asks("talk", ask_for.DeleteSession()),
    ),
}


async def earlier_life():
    """The disk after a power cut: two sessions were in mid-turn, one with a message that waits, and
    another, which is not as the list has it, was about to go on under a new id.
    """
    memory, cuts, armed = MemoryDisk(), [], []

    def watch(number, name):
        if armed and name == "create":
            cuts.append(memory.crash())
        return False

    async with open_room(FaultyDisk(memory, watch), held=True) as room:
        for label in ("cut", "lone", "old"):
            await room.ask(label, ask_for.CreateSession(CREATE, keep=True))
        for prompt in ("one", "two"):
            for step in (begins("old", prompt), ends(prompt)):
                await step.act(room)
        for label in ("cut", "lone"):
            await begins(label, f"half {label}").act(room)
        await room.ask("cut", StartTurn("later", if_busy="queue"))
        armed.append(True)
        await compress(room, "old")
    disk = next(cut for cut in cuts if len(records(cut)) == 4)
    # Somebody edited this one: the list has to read it again.
    old = SESSIONS / "old.json"
    content = disk.read(old).replace(b'"Mine"', b'"Edited"')
    disk.remove(old)
    disk.create(old, content)
    return disk.kill()
