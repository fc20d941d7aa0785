"""Which rows show, and in which order."""

from collections.abc import Iterable, Mapping

from .messages import Row

__all__ = ["left_over", "ordered", "shown"]


AUTOMATIC = frozenset({"cron", "webhook", "kanban"})


def shown(rows: Mapping[str, Row]) -> list[Row]:
    """The rows that a list shows, in its order: of a session that was compressed, one."""
    continued = _continued(rows)
    return ordered(
        row
        for row in rows.values()
        if not (_is_empty(row) or _is_automatic(row))
        and not (_is_left(row, continued) or _is_unborn(row, rows))
    )


def left_over(rows: Mapping[str, Row]) -> list[str]:
    """The sessions of which a crash in the middle of a rotation or a deletion left something: an
    id that leads nowhere, or a record that nobody was told of.
    """
    found = []
    for name, row in rows.items():
        continuation = row.get("continuation_session_id")
        if continuation and continuation not in rows:
            found.append(name)
        elif _is_unborn(row, rows):
            found.append(str(row["continues_session_id"]))
    return found


def _continued(rows: Mapping[str, Row]) -> dict[str, int]:
    """Of each id that was left, how many messages are in the session that goes on from it."""
    most: dict[str, int] = {}
    for row in rows.values():
        left = row.get("parent_session_id")
        if left and row.get("session_source") != "fork":
            most[str(left)] = max(most.get(str(left), 0), row.get("message_count") or 0)
    return most


def _is_left(row: Row, continued: Mapping[str, int]) -> bool:
    """It goes on elsewhere. What the reference system kept of it shows if it alone has it all."""
    if row.get("continuation_session_id"):
        return True
    more = continued.get(str(row["session_id"]), -1)
    return bool(row.get("pre_compression_snapshot")) and more >= (row.get("message_count") or 0)


def _is_unborn(row: Row, rows: Mapping[str, Row]) -> bool:
    """The other id is not a pointer to this one yet, so that one still counts. A pointer that
    leads nowhere is a damaged one, and tells nothing about those that it might have led to.
    """
    left = rows.get(str(row.get("continues_session_id")))
    if left is None or left.get("pre_compression_snapshot"):
        return False
    return bool(left.get("continuation_session_id") != row["session_id"])


def _is_automatic(row: Row) -> bool:
    """Nobody talks in it: a timer, a hook or a board of the reference system does."""
    return any(row.get(key) in AUTOMATIC for key in ("source_tag", "raw_source", "session_source"))


def _is_empty(row: Row) -> bool:
    """Nothing was said in it, and nothing is about to be: nobody's loss."""
    empty = row.get("title") in ("Untitled", "", None) and not row.get("message_count")
    busy = (
        row.get("active_stream_id")
        or row.get("has_pending_user_message")
        or row.get("worktree_path")
    )
    return empty and not busy


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Pinned first, then by what happened last."""
    return sorted(rows, key=_recency, reverse=True)


def _recency(row: Row) -> tuple[bool, float, str]:
    at = row.get("last_message_at") or row.get("updated_at") or 0.0
    return bool(row.get("pinned")), float(at), str(row.get("session_id"))
