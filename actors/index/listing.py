"""The rows of the list, in its order. Pure."""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice

from actors.viewer import EVERYBODY, Viewer

from .messages import TEMPORARY, Row
from .rows import Place, is_left, is_unborn, is_worth_showing, place

__all__ = ["Listing"]

Order = list[Place]
"""The first of the list last."""


class Listing:
    """What changes costs the same however many rows there are, and so does a page: each owner has
    an order of their own.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: dict[str, Row] = {}
        self._heirs: dict[str, set[str]] = defaultdict(set)  # of an id, those with it as a parent
        self._successors: dict[str, set[str]] = defaultdict(set)  # those that say they continue it
        self._pinned: dict[str | None, set[str]] = defaultdict(set)  # ids, shown or not
        self._owned: Counter[str | None] = Counter()
        self._places: dict[str, Place] = {}  # of the rows that show
        self._present: dict[str | None, Order] = {}
        self._archived: dict[str | None, Order] = {}
        for row in rows:
            self._rows[row["session_id"]] = row
        for row in self._rows.values():
            self._relate(row)
        for name, row in self._rows.items():
            if self._shows(row):
                self._places[name] = where = place(row)
                self._order(where).append(where)
        for order in (*self._present.values(), *self._archived.values()):
            order.sort()

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

    def page(
        self, start: int, stop: int, viewer: Viewer = EVERYBODY, *, archived: bool = False
    ) -> Sequence[Row]:
        """A part of the rows that show: pinned first, then by what happened last. What several
        owners have is merged from the top.
        """
        orders = self._seen(viewer, archived)
        parts = [order[max(len(order) - stop, 0) :] for order in orders]
        if len(parts) == 1:
            end = len(orders[0])
            parts = [orders[0][max(end - stop, 0) : max(end - start, 0)]]
            stop, start = stop - start, 0
        places = islice(merge(*map(reversed, parts), reverse=True), start, stop)
        return tuple(self._rows[where.session_id] for where in places)

    def count(self, viewer: Viewer = EVERYBODY, *, archived: bool = False) -> int:
        return sum(map(len, self._seen(viewer, archived)))

    def count_of(self, owner: str | None) -> int:
        """All sessions of that owner, shown or not; ids that were left are none."""
        return self._owned[owner]

    def pinned_of(self, owner: str | None) -> set[str]:
        return self._pinned.get(owner, set())

    def shown(self, viewer: Viewer = EVERYBODY) -> Sequence[Row]:
        """All rows that show, the archived ones in their places among the others."""
        orders = self._seen(viewer, archived=False) + self._seen(viewer, archived=True)
        places = merge(*map(reversed, orders), reverse=True)
        return tuple(self._rows[where.session_id] for where in places)

    def all(self, viewer: Viewer = EVERYBODY) -> Sequence[Row]:
        """All rows, those that show first."""
        hidden = (
            row
            for name, row in self._rows.items()
            if name not in self._places and viewer.may_see(row.get("owner"))
        )
        return (*self.shown(viewer), *hidden)

    def _seen(self, viewer: Viewer, archived: bool) -> list[Order]:
        orders = self._archived if archived else self._present
        if viewer.sees is None:
            return list(orders.values())
        return [orders[owner] for owner in viewer.sees if owner in orders]

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
        self._owned[row.get("owner")] += not row.get("continuation_session_id")
        return self._related(row, set.add)

    def _unrelate(self, row: Row | None) -> set[str]:
        if row is None:
            return set()
        self._owned[row.get("owner")] -= not row.get("continuation_session_id")
        return self._related(row, set.discard)

    def _related(self, row: Row, change: Callable[[set[str], str], None]) -> set[str]:
        touched = set()
        if row.get("pinned"):
            change(self._pinned[row.get("owner")], row["session_id"])
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

    def _order(self, where: Place) -> Order:
        return (self._archived if where.archived else self._present).setdefault(where.owner, [])

    def _shows(self, row: Row) -> bool:
        return is_worth_showing(row) and not self._is_left(row) and not self._is_unborn(row)

    def _is_left(self, row: Row) -> bool:
        heirs = (self._rows.get(name) for name in self._heirs.get(row["session_id"], ()))
        return is_left(row, [heir for heir in heirs if heir is not None])

    def _is_unborn(self, row: Row) -> bool:
        return is_unborn(row, self._rows.get(str(row.get("continues_session_id"))))
