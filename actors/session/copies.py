"""Sessions that begin as another one's copy. Pure."""

from typing import Any

import msgspec

from .context import context_after_cut
from .record import Record
from .transcript import cards_before

__all__ = ["branch_of", "duplicate_of", "fresh_copy"]

TITLE_LENGTH = 80

_OF_ONE_SESSION: dict[str, Any] = {
    "pinned": False,
    "archived": False,
    "active_stream_id": None,
    "pending_user_message": None,
    "pending_attachments": (),
    "pending_started_at": None,
    "pending_user_source": None,
    "pending_options": {},
    "pending_note": {},
    "waiting": (),
    "background": (),
    "applied": {},
    "approvals": (),
    "grants": (),
    "continues_session_id": None,
    "continuation_session_id": None,
    "pre_compression_snapshot": False,
}


def fresh_copy(record: Record, session_id: str, now: float) -> Record:
    """The same content under an id of its own. What belongs to one session alone stays behind."""
    return msgspec.structs.replace(
        record,
        session_id=session_id,
        created_at=now,
        updated_at=now,
        applied={},
        rotating_to=None,
    )


def duplicate_of(record: Record) -> Record:
    title = _titled(record.title, " (copy)")
    fields = {**_OF_ONE_SESSION, "title": title, "manual_title": True, "parent_session_id": None}
    return msgspec.structs.replace(record, **fields)


def branch_of(record: Record, keep: int | None, title: str | None) -> Record:
    """What was said up to row `keep`, to go on from there another way."""
    keep = len(record.messages) if keep is None else min(keep, len(record.messages))
    fields: dict[str, Any] = {
        **_OF_ONE_SESSION,
        **context_after_cut(record, keep),
        "messages": record.messages[:keep],
        "tool_calls": cards_before(record.tool_calls, keep),
        "composer_draft": {},
        "title": (title or "").strip()[:TITLE_LENGTH] or _titled(record.title, " (fork)"),
        "manual_title": True,
        "parent_session_id": record.session_id,
        "session_source": "fork",
    }
    return msgspec.structs.replace(record, **fields)


def _titled(title: str, suffix: str) -> str:
    return title[: TITLE_LENGTH - len(suffix)] + suffix
