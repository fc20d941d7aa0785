"""Which rows show, and in which order."""

from collections.abc import Iterable

from .messages import Row

__all__ = ["is_hidden", "ordered"]


def is_hidden(row: Row) -> bool:
    """An untitled session in which nothing was said is nobody's loss, unless something is about
    to be said in it; a snapshot from before a compression shows as its continuation.
    """
    if row.get("pre_compression_snapshot"):
        return True
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
