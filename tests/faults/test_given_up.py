"""Whoever asks gives up, at every step that anything takes meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from actors.index.messages import ListRows
from actors.projects.messages import (
    CreateProject,
    DeleteProject,
    ListProjects,
    MoveSession,
    RenameProject,
)
from actors.session import messages as ask_for
from actors.session.agent import TextDelta
from actors.session.messages import Once, StartTurn
from tests.faults.patience import (
    NEVER,
    asleep,
    busy,
    given_up,
    idle,
    prepared,
    settled,
    tasks,
    wind_up,
)
from tests.faults.room import SETTLED, Room, answer_of, in_order, look, open_room
from tests.faults.scenario import CREATE, PROJECT, begins, compress, earlier_life, ends


@pytest.fixture(scope="module")
def image():
    return trio.run(prepared, clock=MockClock(autojump_threshold=0))


# -- what is asked ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    state: Callable[[Room], Awaitable[object]]
    ask: Callable[[Room], Awaitable[object]]
    once: Callable[[Room], Awaitable[object]] | None = None  # the same, under a key


def case(state, command, label="talk"):
    """`command` may be what makes it of the room."""

    def made(room):
        return command(room) if callable(command) else command

    async def ask(room):
        return await room.ask(label, made(room))

    async def once(room):
        return await room.ask(label, Once("key", "print", made(room)))

    return Case(state, ask, once)


def elsewhere(state, kind, command):
    async def ask(room):
        return await getattr(room.greenroom, kind).ask(command)

    return Case(state, ask)


async def retitle(room):
    await room.greenroom.retitle("talk")


def on_turn(command, prompt):
    return lambda room: command(room.turns[prompt])


# Those that change a session, and are asked under a key.
CHANGES = {
    "start": case(idle, StartTurn("now")),
    "start, asleep": case(asleep, StartTurn("now")),
    "regenerate": case(idle, lambda room: ask_for.Regenerate(room.revision)),
    "undo": case(idle, ask_for.RemoveLastTurn()),
    "truncate": case(idle, ask_for.Truncate(2)),
    "clear": case(idle, ask_for.Clear()),
    "rename": case(idle, ask_for.Rename("Renamed")),
    "pin": case(idle, ask_for.Pin(True)),
    "archive": case(idle, ask_for.Archive(True)),
    "update": case(idle, ask_for.UpdateSession({"model": "other"})),
    "draft": case(idle, ask_for.SaveDraft({"text": "half a th"})),
    "background": case(idle, ask_for.StartSideTurn("aside", keep=True)),
    "create": case(idle, ask_for.CreateSession(CREATE, keep=True), "old"),
    "delete": case(idle, ask_for.DeleteSession()),
    "delete, asleep": case(asleep, ask_for.DeleteSession()),
    "queue": case(busy, StartTurn("now", if_busy="queue")),
    "interrupt": case(busy, StartTurn("now", if_busy="interrupt")),
    "rollback": case(busy, StartTurn("now", if_busy="rollback")),
    "start and steer": case(busy, StartTurn("now", if_busy="steer")),
    "steer": case(busy, ask_for.Steer("now")),
    "edit": case(busy, on_turn(lambda turn_id: ask_for.EditWaiting(turn_id, "next!"), "next")),
    "take back": case(busy, on_turn(ask_for.RemoveWaiting, "next")),
    "busy, undo": case(busy, ask_for.RemoveLastTurn()),
    "busy, truncate": case(busy, ask_for.Truncate(2)),
    "busy, clear": case(busy, ask_for.Clear()),
    "busy, rename": case(busy, ask_for.Rename("Renamed")),
    "busy, background": case(busy, ask_for.StartSideTurn("aside", keep=True)),
    "busy, delete": case(busy, ask_for.DeleteSession()),
}
# Those that read, or that change something else.
OTHERS = {
    "read, asleep": case(asleep, ask_for.GetSession()),
    "ask by the way": case(idle, ask_for.StartSideTurn("aside")),
    "fetch": case(idle, ask_for.FetchBackground()),
    "delete the empty": case(idle, ask_for.DeleteIfEmpty(untitled=False), "gone"),
    "cancel": case(busy, on_turn(ask_for.CancelTurn, "half now")),
    "cancel what waits": case(busy, on_turn(ask_for.CancelTurn, "next")),
    "cancel in the background": case(busy, on_turn(ask_for.CancelTurn, "behind")),
    "busy, fetch": case(busy, ask_for.FetchBackground()),
    "compress": Case(idle, compress),
    "title": Case(idle, retitle),
    "list": elsewhere(asleep, "index", ListRows()),
    "list projects": elsewhere(asleep, "projects", ListProjects()),
    "move": elsewhere(idle, "projects", MoveSession("talk", None)),
    "create project": elsewhere(asleep, "projects", CreateProject("Another")),
    "rename project": elsewhere(idle, "projects", RenameProject(PROJECT, "Renamed")),
    "delete project": elsewhere(idle, "projects", DeleteProject(PROJECT)),
}


# -- what becomes of it -------------------------------------------------------------------------


async def run(image, case, steps, *asks):
    """Ask, and give up after so many steps; then ask the others. Gives whether it was given up,
    what there is after each, and how many tasks are left when all is over.
    """
    views = []
    with in_order():
        async with open_room(image.kill(), held=True) as room:
            await case.state(room)
            await trio.sleep(1)
            gave_up = await given_up(steps, partial(asks[0], room))
            views.append(await settled(room))
            for ask in asks[1:]:
                await ask(room)
                views.append(await settled(room))
            return gave_up, views, await wind_up(room)


async def nothing(room): ...


@pytest.mark.parametrize("name", OTHERS)
async def test_what_was_given_up_was_done_or_was_not(image, autojump_clock, name):
    case = OTHERS[name]
    _, [before], _ = await run(image, case, NEVER, nothing)
    _, [after], left = await run(image, case, NEVER, case.ask)
    for steps in count():
        gave_up, [view], tasks_left = await run(image, case, steps, case.ask)
        assert view == before or (view == after and steps), steps
        assert tasks_left == left, steps
        if not gave_up:
            assert view == after
            break
    assert steps > 2


@pytest.mark.parametrize("name", CHANGES)
async def test_what_was_given_up_and_is_asked_again_is_done_once(image, autojump_clock, name):
    case = CHANGES[name]
    _, [before], _ = await run(image, case, NEVER, nothing)
    _, [after], left = await run(image, case, NEVER, case.once)
    for steps in count():
        gave_up, [view, again], tasks_left = await run(image, case, steps, case.once, case.once)
        assert view == before or (view == after and steps), steps
        assert again == after, steps
        assert tasks_left == left, steps
        if not gave_up:
            break
    assert steps > 2


async def read_on(reader, entries):
    while batch := await reader.next():
        entries += batch


@pytest.mark.parametrize("ended", [False, True])
async def test_a_reader_that_gave_up_reads_on_where_it_was(image, autojump_clock, ended):
    for steps in count():
        with in_order():
            async with open_room(image.kill(), held=True) as room:
                await begins("talk", "half now").act(room)
                if ended:
                    await ends("half now").act(room)
                    await trio.sleep(SETTLED)
                reader = room.greenroom.feeds.read(room.turns["half now"])
                entries = []
                room.agent.release("half now")
                gave_up = await given_up(steps, partial(read_on, reader, entries))
                await read_on(reader, entries)
                assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
                text = [e.event.text for e in entries if isinstance(e.event, TextDelta)]
                assert "".join(text) == answer_of("half now")
                await settled(room)
        if not gave_up:
            break
    assert steps > 2


async def test_an_opening_that_was_given_up_leaves_what_it_found(autojump_clock):
    seed = await earlier_life()

    async def life(disk, views):
        async with open_room(disk) as room:
            await trio.sleep(SETTLED)
            views.append(await look(room))

    before, whole = tasks(), []
    await life(seed.kill(), whole)
    for steps in count():
        disk, views = seed.kill(), []
        with in_order():
            gave_up = await given_up(steps, partial(life, disk, views))
            assert tasks() == before
            await life(disk, views)
        assert views[-1].like(whole[0], {"later"}), steps
        if not gave_up:
            break
    assert steps > 100


async def test_a_settling_that_was_given_up_can_be_asked_again(image, autojump_clock):
    for steps in count():
        with in_order():
            async with open_room(image.kill(), held=True) as room:
                await busy(room)
                gave_up = await given_up(steps, room.greenroom.settle)
                await room.greenroom.settle()
                view = await settled(room)
                assert room.agent.working == set()
                ((said, waiting, tasks_behind, *_), _) = view.sessions.values()
                assert (said[-1], waiting, tasks_behind[-1]) == ("half now", ("next",), "behind")
                assert view.answers["half now"] == "first half of half now"
        if not gave_up:
            break
    assert steps > 2
