"""Which cell lives at which address."""

from collections.abc import Callable, Collection, Iterator, Sequence

import trio

from .cell import Cell
from .errors import AddressTaken, UnknownKind
from .ref import Ref

__all__ = ["Registry"]

Address = tuple[str, str]


class Registry:
    """Every lookup and change is one synchronous step, so two first messages make one activation
    and a rotation is seen whole or not at all.
    """

    def __init__(self, kinds: Collection[str], activate: Callable[[str, str], Cell]) -> None:
        self._kinds = kinds
        self._activate = activate
        self._cells: dict[Address, Cell] = {}
        self._aliases: dict[Address, Address] = {}  # an address that was left -> where it leads
        self._tasks: dict[trio.lowlevel.Task, Cell] = {}
        self.handled = 0  # messages, by those that have left
        self.restarts = 0  # of those
        self._leaving = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def ref(self, kind: str, key: str) -> Ref:
        if kind not in self._kinds:
            known = ", ".join(self._kinds) or "none"
            raise UnknownKind(f"{kind!r} was not given to open_system; known are: {known}")
        return Ref(self, kind, key)

    def find(self, kind: str, key: str) -> Cell:
        address = self.resolve(kind, key)
        cell = self._cells.get(address)
        if cell is None:
            cell = self._cells[address] = self._activate(*address)
        return cell

    def awake(self, kind: str, key: str) -> Cell | None:
        """The live cell at an address, if there is one."""
        return self._cells.get(self.resolve(kind, key))

    def resolve(self, kind: str, key: str) -> Address:
        """Where this address leads. Chains collapse as they are walked."""
        address = (kind, key)
        if address not in self._aliases:
            return address
        walked = []
        while address in self._aliases:
            walked.append(address)
            address = self._aliases[address]
        for passed in walked:
            self._aliases[passed] = address
        return address

    def rotate(self, cell: Cell, key: str) -> None:
        """From now on the cell lives at `key`, and its old address leads there."""
        old, new = (cell.kind.name, cell.key), (cell.kind.name, key)
        if self.resolve(*new) == old:
            self._aliases.pop(new, None)  # back to a name it had before: no circle
        elif new in self._cells or new in self._aliases:
            raise AddressTaken(f"{new[0]}/{new[1]} belongs to another actor")
        if old == new:
            return
        del self._cells[old]
        self._cells[new] = cell
        self._aliases[old] = new
        cell.key = key

    def forward(self, cell: Cell, key: str) -> None:
        """From now on the cell's address leads to `key`, whether anybody lives there or not."""
        old, new = (cell.kind.name, cell.key), (cell.kind.name, key)
        if self.resolve(*new) == old:
            raise AddressTaken(f"{old[0]}/{old[1]} would lead to itself")
        self._aliases[old] = new

    def caller(self, task: trio.lowlevel.Task) -> Cell | None:
        """Whose handler runs in this task or, through nurseries, in one of its parents.

        A task in an actor's own nursery is nobody's handler: the actor does not wait for it.
        """
        tasks = self._tasks
        nursery: trio.Nursery | None = None
        while (cell := tasks.get(task)) is None:
            nursery = task.parent_nursery
            if nursery is None:
                return None
            task = nursery.parent_task
        return None if nursery is not None and nursery is cell.nursery else cell

    def entered(self, cell: Cell, task: trio.lowlevel.Task) -> None:
        self._tasks[task] = cell

    def left(self, cell: Cell, task: trio.lowlevel.Task) -> None:
        """The cell ended. In the same step in which it found its mailbox empty."""
        del self._tasks[task]
        del self._cells[(cell.kind.name, cell.key)]
        self.handled += cell.handled
        self.restarts += cell.restarts
        self._leaving.unpark_all()

    async def wait_left(self, cells: Sequence[Cell]) -> None:
        """Until all of these have ended."""
        while not all(cell.closed for cell in cells):
            await self._leaving.park()
