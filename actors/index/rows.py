"""Which rows show, and in which order. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from .messages import TEMPORARY, Row

__all__ = ["Place", "is_left", "is_unborn", "is_worth_showing", "place"]


AUTOMATIC = frozenset({"cron", "webhook", "kanban"})


class Place(NamedTuple):
    """The greater, the further up."""

    pinned: bool
    at: float  # epoch seconds of what happened last
    session_id: str
    archived: bool = False
    owner: str | None = None


def place(row: Row) -> Place:
    at = row.get("last_message_at") or row.get("updated_at") or 0.0
    return Place(
        bool(row.get("pinned")),
        float(at),
        str(row["session_id"]),
        bool(row.get("archived")),
        row.get("owner"),
    )


def is_worth_showing(row: Row) -> bool:
    return not (_is_empty(row) or _is_automatic(row))


def is_left(row: Row, heirs: Iterable[Row]) -> bool:
    """It goes on elsewhere. What the reference system kept of it shows if it alone has it all;
    `heirs` have it as their parent, and are no forks.
    """
    if row.get("continuation_session_id"):
        return True
    more = max((heir.get("message_count") or 0 for heir in heirs), default=-1)
    return bool(row.get("pre_compression_snapshot")) and more >= (row.get("message_count") or 0)


def is_unborn(row: Row, left: Row | None) -> bool:
    """`left`, the one that it says it continues, is not a pointer to it yet, so that one still
    counts. A pointer that leads nowhere is a damaged one, and tells nothing about those that it
    might have led to.
    """
    if left is None or left.get("pre_compression_snapshot"):
        return False
    return bool(left.get("continuation_session_id") != row["session_id"])


def _is_automatic(row: Row) -> bool:
    """Nobody talks in it: a timer, a hook or a board of the reference system does; or it will not
    stay.
    """
    return row.get("session_source") == TEMPORARY or any(
        row.get(key) in AUTOMATIC for key in ("source_tag", "raw_source", "session_source")
    )


def _is_empty(row: Row) -> bool:
    """Nothing was said in it, and nothing is about to be: nobody's loss."""
    empty = row.get("title") in ("Untitled", "", None) and not row.get("message_count")
    busy = (
        row.get("active_stream_id")
        or row.get("has_pending_user_message")
        or row.get("worktree_path")
    )
    return empty and not busy
