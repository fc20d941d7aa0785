"""Whose end matters to whom: parents, children and watchers."""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import trio

from .envelope import Message, OwnEnvelope
from .errors import AddressTaken, ChildFailed, in_words
from .ref import Ref

if TYPE_CHECKING:  # a cell has ties, and ties lead to cells
    from .cell import Cell

__all__ = ["Ended", "Ties"]


@dataclass(frozen=True, slots=True)
class Ended(Message[None]):
    """Told to who watches: the actor at `ref` has ended, or was not awake to begin with.

    `error` is why it was given up: its last crash, what its `on_start` raised, or `ActorStopped`
    after a `kill`. It is None after an orderly end (stopped, or put away because it was idle).
    """

    ref: Ref
    error: Exception | None = None


class Ties:
    """Of one cell; made when first needed, for most need none. What an incarnation has begun here,
    its children and what it watches, ends with it.
    """

    __slots__ = ("_cell", "children", "parent", "running", "watchers", "watching")

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell
        self.parent: Cell | None = None
        self.children: dict[Cell, None] = {}
        self.watchers: dict[tuple[Cell, Ref], None] = {}
        self.watching: dict[Ref, Cell] = {}
        self.running = trio.Event()  # its start is over, well or not

    def watch(self, ref: Ref, target: "Cell | None") -> None:
        if target is None:
            self._cell.mailbox.put_own(OwnEnvelope(Ended(ref)))
        elif ref not in self.watching:
            self.watching[ref] = target
            target.ties.watchers[self._cell, ref] = None

    def unwatch(self, ref: Ref) -> None:
        target = self.watching.pop(ref, None)
        if target is not None:
            del target.ties.watchers[self._cell, ref]
        self._cell.mailbox.forget_own(lambda told: isinstance(told, Ended) and told.ref == ref)

    def adopt(self, child: "Cell") -> None:
        """From now on the child ends with this incarnation. Raises `AddressTaken`."""
        parent: Cell | None = self._cell
        while parent is not None:
            if parent is child:
                raise AddressTaken(f"{child.address} would be its own descendant")
            parent = parent.ties.parent
        if child.ties.parent not in (None, self._cell):
            raise AddressTaken(f"{child.address} is a child of {child.ties.parent}")
        child.ties.parent = self._cell
        self.children[child] = None

    def ended(self, error: Exception | None) -> None:
        """The cell has left its address: tell everybody. Nothing here yields or raises."""
        self.running.set()
        for watcher, ref in self.watchers:
            watcher.ties.watching.pop(ref)
            watcher.mailbox.put_own(OwnEnvelope(Ended(ref, error)))
        parent, told = self.parent, {watcher for watcher, _ in self.watchers}
        if parent is not None:
            del parent.ties.children[self._cell]
            if error is not None and parent not in told:
                failure = ChildFailed(f"{self._cell.address}: {in_words(error)}")
                failure.__cause__ = error
                parent.fail(failure)

    def release(self) -> list["Cell"]:
        """The incarnation ends: it watches nobody any more. Gives its children, who are to end."""
        for ref, target in self.watching.items():
            del target.ties.watchers[self._cell, ref]
        self.watching.clear()
        children, self.children = list(self.children), {}
        for child in children:
            child.ties.parent = None
        return children


async def end_all(children: list["Cell"]) -> None:
    """All at once, each after the message it handles; who takes longer than its kind may is cut
    off.
    """
    for child in children:
        child.stop()
    patience = max((child.kind.stop_seconds for child in children), default=0.0)
    with trio.move_on_after(patience) if patience != inf else trio.CancelScope():
        for child in children:
            await child.wait_ended()
    for child in children:
        child.kill()
        await child.wait_ended()
