"""Puts idle actors away."""

import heapq
from itertools import count
from math import inf

import trio

from .cell import Cell

__all__ = ["Passivation"]

LOOK_AGAIN = 0.05  # seconds, at the earliest, after an actor that was busy or refused


class Passivation:
    """One task for all cells, asleep until the earliest of them may have become idle.

    Each cell has one deadline here, set when it is made and looked at when it comes: a cell that
    was busy meanwhile gets a new one then. So a message costs nothing.
    """

    def __init__(self) -> None:
        self._deadlines: list[tuple[float, int, Cell]] = []
        self._order = count()
        self._scope: trio.CancelScope | None = None

    def watch(self, cell: Cell) -> None:
        if cell.kind.idle_after != inf:
            self._push(trio.current_time() + cell.kind.idle_after, cell)

    def _push(self, at: float, cell: Cell) -> None:
        heapq.heappush(self._deadlines, (at, next(self._order), cell))
        if self._scope is not None:
            self._scope.deadline = self._deadlines[0][0]

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        while True:
            with trio.CancelScope() as self._scope:
                if self._deadlines:
                    self._scope.deadline = self._deadlines[0][0]
                await trio.sleep_forever()
            self._scope = None
            self._look(trio.current_time())

    def _look(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, cell = heapq.heappop(self._deadlines)
            if cell.closed:
                continue
            due = cell.idle_since + cell.kind.idle_after
            if due <= now:
                cell.passivate()
                due = now + max(cell.kind.idle_after, LOOK_AGAIN)  # it may have refused
            self._push(due, cell)
