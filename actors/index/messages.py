"""What the list of sessions is told, and what it can be asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors import Message, Rejected
from actors.viewer import EVERYBODY, Viewer

__all__ = [
    "STAMP",
    "TEMPORARY",
    "CountRows",
    "IndexUnavailable",
    "IndexWritten",
    "ListPage",
    "ListRows",
    "Page",
    "PinLimit",
    "ReleasePin",
    "ReservePin",
    "Row",
    "RowChanged",
    "RowRemoved",
    "RowsFound",
    "RowsNamed",
    "RowsOf",
]

Row = Mapping[str, Any]
STAMP = "_stamp"
"""In a row: of which version of the record it is."""
TEMPORARY = "temporary"
"""The `session_source` of a session that is in no list, and gone when its turn has ended."""


@dataclass(frozen=True, slots=True)
class RowChanged(Message[None]):
    """The session's own word on itself. It beats anything read from a file."""

    row: Row


@dataclass(frozen=True, slots=True)
class RowRemoved(Message[None]):
    session_id: str


@dataclass(frozen=True, slots=True)
class RowsFound(Message[None]):
    """Read from files in the background. `complete`: there are no more, but for those that were
    `missed`, because the disk did not give them; these are tried again.
    """

    rows: Sequence[Row]
    complete: bool
    missed: bool = False


@dataclass(frozen=True, slots=True)
class IndexWritten(Message[None]):
    error: Exception | None


@dataclass(frozen=True, slots=True)
class ListRows(Message[Sequence[Row]]):
    """All rows but the hidden: pinned first, then by last activity, newest first. With `hidden`
    those of empty sessions too.
    """

    hidden: bool = False
    viewer: Viewer = EVERYBODY


class Page(NamedTuple):
    """`present` and `archived` are how many there are of each in all."""

    rows: Sequence[Row]
    present: int
    archived: int


@dataclass(frozen=True, slots=True)
class ListPage(Message[Page]):
    """Of those that `ListRows` gives, a part of the present and a part of the archived ones: each
    from one place up to another. Costs what is given, not what there is.
    """

    part: tuple[int, int]
    archived: tuple[int, int] = (0, 0)
    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class RowsOf(Message[Sequence[str]]):
    """The ids of all sessions in a project, shown or not."""

    project_id: str


@dataclass(frozen=True, slots=True)
class RowsNamed(Message[Sequence[Row]]):
    """The rows of these sessions, as far as there are any: all, or only those that a list shows."""

    session_ids: Sequence[str]
    shown: bool = False
    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class CountRows(Message[int]):
    """How many sessions are the viewer's own, shown or not; and of `besides`, how many are in no
    row.
    """

    besides: Sequence[str] = ()
    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class ReservePin(Message[None]):
    """May this session of `owner` be pinned? Each owner has so many places. Counted here in one
    step, so that two tabs cannot both take the last one. The place is taken until the session says
    what it has become, or releases it. Raises `PinLimit`.
    """

    session_id: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class ReleasePin(Message[None]):
    """It was not pinned after all."""

    session_id: str


class IndexUnavailable(Rejected):
    """The disk could not be read. Ask again when it can: the list is made from the records."""


class PinLimit(Rejected):
    """So many sessions are pinned already."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit
