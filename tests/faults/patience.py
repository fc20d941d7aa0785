"""Somebody who asks and gives up, and what becomes of it."""

from contextlib import suppress

import trio

from actors.projects.messages import CreateProject, MoveSession
from actors.session import messages as ask_for
from actors.session.messages import StartTurn
from actors.session.refusals import SessionNotFound
from actors.session.transcript import revision
from actors.stores import MemoryDisk
from tests.faults.room import PUT_AWAY, SETTLED, check_streams, look, open_room
from tests.faults.scenario import CREATE, PROJECT, begins, ends

NEVER = 1_000_000


class Countdown(trio.abc.Instrument):
    """Calls `act` after the `steps`th step that any task takes from now on."""

    def __init__(self, steps, act):
        self._left = steps
        self._act = act

    def after_task_step(self, task):
        self._left -= 1
        if self._left == 0:
            self._act()


async def given_up(steps, ask):
    """Ask, and give up after so many steps, 0 is before the first. Gives False if it was done."""
    with trio.CancelScope() as scope:
        countdown = Countdown(steps, scope.cancel)
        if not steps:
            scope.cancel()
        trio.lowlevel.add_instrument(countdown)
        try:
            await ask()
        finally:
            trio.lowlevel.remove_instrument(countdown)
    return scope.cancelled_caught


def tasks():
    """How many there are."""
    found, nurseries = 0, list(trio.lowlevel.current_root_task().child_nurseries)
    while nurseries:
        for task in nurseries.pop().child_tasks:
            found += 1
            nurseries += task.child_nurseries
    return found


# -- where it begins ----------------------------------------------------------------------------


async def prepared():
    """A disk with one session in which something was said, one without, and a project."""
    disk = MemoryDisk()
    async with open_room(disk, held=True) as room:
        for label in ("talk", "gone"):
            await room.ask(label, ask_for.CreateSession(CREATE, keep=True))
        background = ask_for.StartSideTurn("before", keep=True)
        for step in (
            begins("talk", "one"),
            ends("one"),
            begins("talk", "two"),
            ends("two"),
            begins("talk", "before", background),
            ends("before"),
        ):
            await step.act(room)
        await room.greenroom.projects.ask(CreateProject("Project", project_id=PROJECT))
        await room.greenroom.projects.ask(MoveSession("talk", PROJECT))
    return disk


async def asleep(room):
    """Nobody was asked yet."""


async def idle(room):
    await look(room)
    room.revision = revision((await room.ask("talk", ask_for.GetSession())).record)


async def busy(room):
    """A turn shows something, a message waits, a task runs in the background."""
    await look(room)
    await begins("talk", "half now").act(room)
    accepted = await room.ask("talk", StartTurn("next", if_busy="queue"))
    room.turns["next"] = accepted.turn_id
    await begins("talk", "behind", ask_for.StartSideTurn("behind", keep=True)).act(room)


# -- and afterwards -----------------------------------------------------------------------------


async def settled(room):
    await trio.sleep(1)
    await check_at_rest(room)
    return await look(room)


async def check_at_rest(room):
    """No mail lies anywhere, nobody is asked, and no stream is open for nothing."""
    await check_streams(room)
    statistics = room.greenroom.statistics()
    assert statistics.dead_letters == 0
    for cell in statistics.cells:
        assert (cell.depth, cell.current, cell.waiting_on, cell.restarts) == (0, None, (), 0), cell


async def wind_up(room):
    """The next request works; when all that runs has ended, nothing is left in memory. Gives the
    number of tasks.
    """
    with suppress(SessionNotFound):
        accepted = await room.ask("talk", StartTurn("and then", if_busy="queue"))
        room.turns["and then"] = accepted.turn_id
        room.agent.release_all()
        await room.read("and then")
    room.agent.release_all()
    await trio.sleep(SETTLED)
    assert all(feed.closed for feed in room.greenroom.feeds)
    view = await look(room)
    await trio.sleep(PUT_AWAY)
    assert [cell.address for cell in room.greenroom.statistics().cells] == ["index/main"]
    assert await look(room) == view
    await trio.sleep(PUT_AWAY)
    return tasks()
