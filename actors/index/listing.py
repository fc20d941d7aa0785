"""The rows of the list, in its order. Pure."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge

from .messages import TEMPORARY, Row
from .rows import Place, is_left, is_unborn, is_worth_showing, place

__all__ = ["Listing"]


class Listing:
    """What changes costs the same however many rows there are, and so does a page."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: dict[str, Row] = {}
        self._heirs: dict[str, set[str]] = defaultdict(set)  # of an id, those with it as a parent
        self._successors: dict[str, set[str]] = defaultdict(set)  # those that say they continue it
        self.pinned: set[str] = set()  # ids, shown or not
        self._places: dict[str, Place] = {}  # of the rows that show
        self._present: list[Place] = []  # the first of the list last
        self._archived: list[Place] = []
        for row in rows:
            self._rows[row["session_id"]] = row
        for row in self._rows.values():
            self._relate(row)
        for name, row in self._rows.items():
            if self._shows(row):
                self._places[name] = where = place(row)
                self._order(where).append(where)
        self._present.sort()
        self._archived.sort()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        """All rows, in no order."""
        return iter(self._rows.values())

    def get(self, session_id: str) -> Row | None:
        return self._rows.get(session_id)

    def put(self, row: Row) -> None:
        name = row["session_id"]
        touched = {name, *self._unrelate(self._rows.get(name))}
        self._rows[name] = row
        self._again(touched.union(self._relate(row), self._successors.get(name, ())))

    def remove(self, session_id: str) -> None:
        touched = {session_id, *self._unrelate(self._rows.pop(session_id, None))}
        self._again(touched.union(self._successors.get(session_id, ())))

    def page(self, start: int, stop: int, *, archived: bool = False) -> Sequence[Row]:
        """A part of the rows that show: pinned first, then by what happened last."""
        places = self._archived if archived else self._present
        end = len(places)
        part = places[max(end - stop, 0) : max(end - start, 0)]
        return tuple(self._rows[where.session_id] for where in reversed(part))

    def count(self, *, archived: bool = False) -> int:
        return len(self._archived if archived else self._present)

    def shown(self) -> Sequence[Row]:
        """All rows that show, the archived ones in their places among the others."""
        places = merge(reversed(self._present), reversed(self._archived), reverse=True)
        return tuple(self._rows[where.session_id] for where in places)

    def all(self) -> Sequence[Row]:
        """All rows, those that show first."""
        hidden = (row for name, row in self._rows.items() if name not in self._places)
        return (*self.shown(), *hidden)

    def shows(self, session_id: str) -> bool:
        return session_id in self._places

    def left_over(self) -> Sequence[str]:
        """The sessions of which a crash in the middle of a rotation or a deletion left something:
        an id that leads nowhere, a record that nobody was told of, or one that should be gone.
        """
        found = []
        for name, row in self._rows.items():
            continuation = row.get("continuation_session_id")
            lost = continuation and continuation not in self._rows
            if lost or row.get("session_source") == TEMPORARY:
                found.append(name)
            elif self._is_unborn(row):
                found.append(str(row["continues_session_id"]))
        return found

    # -- one row's place depends on others ----------------------------------------------------

    def _relate(self, row: Row) -> set[str]:
        """Gives the rows whose places may change."""
        return self._related(row, set.add)

    def _unrelate(self, row: Row | None) -> set[str]:
        return set() if row is None else self._related(row, set.discard)

    def _related(self, row: Row, change: Callable[[set[str], str], None]) -> set[str]:
        touched = set()
        if row.get("pinned"):
            change(self.pinned, row["session_id"])
        parent, left = row.get("parent_session_id"), row.get("continues_session_id")
        if parent and row.get("session_source") != "fork":
            change(self._heirs[str(parent)], row["session_id"])
            touched.add(str(parent))
        if left:
            change(self._successors[str(left)], row["session_id"])
        return touched

    def _again(self, names: Iterable[str]) -> None:
        for name in names:
            before, row = self._places.pop(name, None), self._rows.get(name)
            if before is not None:
                order = self._order(before)
                del order[bisect_left(order, before)]
            if row is not None and self._shows(row):
                self._places[name] = where = place(row)
                insort(self._order(where), where)

    def _order(self, where: Place) -> list[Place]:
        return self._archived if where.archived else self._present

    def _shows(self, row: Row) -> bool:
        return is_worth_showing(row) and not self._is_left(row) and not self._is_unborn(row)

    def _is_left(self, row: Row) -> bool:
        heirs = (self._rows.get(name) for name in self._heirs.get(row["session_id"], ()))
        return is_left(row, [heir for heir in heirs if heir is not None])

    def _is_unborn(self, row: Row) -> bool:
        return is_unborn(row, self._rows.get(str(row.get("continues_session_id"))))
