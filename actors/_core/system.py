"""The block in which actors live."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass

import trio

from .actor import Kind
from .cell import Cell
from .dead_letters import DeadLetter, DeadLetters, log_dead_letter
from .errors import ActorStopped, NotOnTrio
from .passivation import Passivation
from .ref import Ref
from .registry import Registry

__all__ = ["CellStatistics", "Statistics", "System", "open_system"]


@dataclass(frozen=True, slots=True)
class CellStatistics:
    """One live actor as it stands. Seconds are by Trio's clock."""

    address: str
    lifecycle: str
    depth: int
    high_water: int
    capacity: int
    handled: int
    restarts: int
    current: str | None  # the type of the message that is being handled
    current_seconds: float  # how long it has been; 0 when idle
    waiting_on: tuple[str, ...]  # addresses it asked and has no answer from
    tasks: tuple[str, ...]  # what it has begun with `start_soon` and has not ended, by name
    parent: str | None = None  # address of the actor that it ends with


@dataclass(frozen=True, slots=True)
class Statistics:
    """All live actors, and what has happened since the system was opened."""

    cells: tuple[CellStatistics, ...]
    handled: int  # messages, by those too that have ended
    activations: int
    restarts: int
    dead_letters: int


class System:
    """Made by `open_system`."""

    def __init__(
        self, kinds: dict[str, Kind], nursery: trio.Nursery, dead_letters: DeadLetters
    ) -> None:
        self._kinds = kinds
        self._nursery = nursery
        self._dead_letters = dead_letters
        self._registry = Registry(self._kinds, self._activate)
        self._passivation = Passivation()
        self._activations = 0
        self._ended: set[str] = set()  # kinds
        # An actor is not to see, nor to keep alive, the context variables of who wrote first.
        self._context = copy_context()
        nursery.start_soon(self._passivation.run)

    def __repr__(self) -> str:
        return f"<System {len(self._registry)} actors>"

    def ref(self, kind: str, key: str) -> Ref:
        """The actor of this kind and key, awake or not. Raises `UnknownKind`."""
        return self._registry.ref(kind, key)

    def resolve(self, kind: str, key: str) -> str:
        """The key that `key` leads to after rotations; itself if it was never left."""
        return self._registry.resolve(kind, key)[1]

    def statistics(self) -> Statistics:
        """Costs nothing until it is called."""
        now = trio.current_time()
        return Statistics(
            cells=tuple(_cell_statistics(cell, now) for cell in self._registry),
            handled=self._registry.handled + sum(cell.handled for cell in self._registry),
            activations=self._activations,
            restarts=self._registry.restarts + sum(cell.restarts for cell in self._registry),
            dead_letters=self._dead_letters.count,
        )

    def cell_statistics(self, kind: str, key: str) -> CellStatistics | None:
        """The same of one actor; None if it is not awake, and this does not wake it."""
        cell = self._registry.awake(kind, key)
        return None if cell is None else _cell_statistics(cell, trio.current_time())

    def _activate(self, kind: str, key: str) -> Cell:
        if kind in self._ended or self._nursery.cancel_scope.cancel_called:
            raise ActorStopped("the system is closing")
        cell = Cell(self._kinds[kind], key, self._registry, self._dead_letters)
        self._context.run(self._nursery.start_soon, cell.run)
        self._activations += 1
        self._passivation.watch(cell)
        return cell

    async def drain(self) -> None:
        """End all actors after the mail that waits for them, those of the kinds named first last:
        others may need them, and may wake them until then. The end of the block does it too.
        """
        for kind in reversed(self._kinds.values()):
            self._ended.add(kind.name)
            cells = [cell for cell in self._registry if cell.kind is kind]
            for cell in cells:
                cell.retire()
            await self._registry.wait_left(cells)


def _cell_statistics(cell: Cell, now: float) -> CellStatistics:
    current = cell.current
    return CellStatistics(
        address=cell.address,
        lifecycle=cell.lifecycle.value,
        depth=len(cell.mailbox),
        high_water=cell.mailbox.high_water,
        capacity=cell.mailbox.capacity,
        handled=cell.handled,
        restarts=cell.restarts,
        current=None if current is None else type(current).__name__,
        current_seconds=0.0 if current is None else now - cell.current_since,
        waiting_on=tuple(other.address for other in cell.waiting_on),
        tasks=() if cell.nursery is None else tuple(t.name for t in cell.nursery.child_tasks),
        parent=cell.parent_address,
    )


@asynccontextmanager
async def open_system(
    *kinds: Kind,
    drain_seconds: float = 5.0,
    on_dead_letter: Callable[[DeadLetter], None] = log_dead_letter,
) -> AsyncIterator[System]:
    """Run actors of these kinds inside the block; none outlives it.

    At the end of the block, also when it ends by an exception or is cancelled, all actors handle
    the mail that is waiting and run `on_stop`, those of the kinds named last first. What has not
    ended after `drain_seconds` is cancelled. An exception of the block leaves it as it is, not
    wrapped in a group. Raises `NotOnTrio` under asyncio.
    """
    if not trio.lowlevel.in_trio_run():
        raise NotOnTrio
    by_name = {kind.name: kind for kind in kinds}
    if len(by_name) < len(kinds):
        raise ValueError(f"two kinds of one name: {', '.join(kind.name for kind in kinds)}")
    failure: BaseException | None = None
    async with trio.open_nursery() as outside:
        nursery = await outside.start(_shielded_nursery)
        try:
            system = System(by_name, nursery, DeadLetters(on_dead_letter))
            try:
                yield system
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again below
                failure = error
            finally:
                with trio.move_on_after(drain_seconds, shield=True):
                    await system.drain()
        finally:
            # Whatever happened above: nobody else can end them.
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _shielded_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Where the actors live. Cancelling the block reaches its body, not them: they are to end in
    order, and by the deadline.
    """
    # From here to `started` nothing yields: cancelled before it, nobody would ever end this task.
    await trio.lowlevel.checkpoint_if_cancelled()
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()
