"""What travels: request bodies as they come in, sessions and events as they go out. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from actors.session.agent import (
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
    Warned,
)
from actors.session.entries import (
    FeedEvent,
    StreamEnded,
    TurnBegan,
    TurnCancelled,
    TurnDone,
    TurnFailed,
)
from actors.session.messages import CreateSession, Snapshot
from actors.session.record import Record, dump, summary

__all__ = [
    "BadRequest",
    "decode_body",
    "event_of",
    "export_of",
    "full_session",
    "list_row",
    "require",
    "status_of",
    "usage_of",
]

MESSAGE_LIMIT = 500
PREVIEW = 40
TITLE_LENGTH = 80


class BadRequest(Exception):
    """The request makes no sense, and its text says why. Nothing has happened."""


# -- in -----------------------------------------------------------------------------------------

B = TypeVar("B", bound=msgspec.Struct)


class SessionBody(msgspec.Struct):
    session_id: str | None = None


class NewBody(msgspec.Struct):
    workspace: str | None = None
    model: str | None = None
    model_provider: str | None = None
    profile: str | None = None
    project_id: str | None = None


class StartBody(msgspec.Struct):
    session_id: str | None = None
    message: str | None = None
    attachments: list[dict[str, Any] | str] | None = None
    model: str | None = None
    model_provider: str | None = None
    workspace: str | None = None


class StreamBody(msgspec.Struct):
    stream_id: str | None = None


class RenameBody(msgspec.Struct):
    session_id: str | None = None
    title: str | None = None


class PinBody(msgspec.Struct):
    session_id: str | None = None
    pinned: bool = True


class ArchiveBody(msgspec.Struct):
    session_id: str | None = None
    archived: bool = True


class UpdateBody(msgspec.Struct):
    session_id: str | None = None
    workspace: str | None = None
    model: str | None = None
    model_provider: str | None = None


class DraftBody(msgspec.Struct):
    session_id: str | None = None
    text: str = ""
    files: list[Any] = []


def decode_body(body: bytes, shape: type[B]) -> B:
    """The JSON object in a body; an empty body is an empty object. Raises `BadRequest`."""
    if not body.strip():
        return shape()
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Request body does not fit: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"Request body is not valid JSON: {error}") from error


class ImportBody(msgspec.Struct):
    """What is not named here is ignored, the id above all: an import is always a new session."""

    messages: list[dict[str, Any]]
    title: str = "Imported session"
    model: str | None = None
    workspace: str | None = None
    tool_calls: list[dict[str, Any]] = []
    pinned: bool = False


def import_of(body: bytes) -> CreateSession:
    """The session in an exported file. Raises `BadRequest`."""
    try:
        raw = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"Request body is not valid JSON: {error}") from error
    if not isinstance(raw, dict) or not raw:
        raise BadRequest("Request body must be a JSON object")
    if not isinstance(raw.get("messages"), list):
        raise BadRequest('JSON must contain a "messages" array')
    if not isinstance(raw.get("tool_calls") or [], list):
        raise BadRequest('JSON "tool_calls" must be an array')
    try:
        given = msgspec.convert({k: v for k, v in raw.items() if v is not None}, ImportBody)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Request body does not fit: {error}") from error
    return CreateSession(
        keep=True,
        title=given.title.strip()[:TITLE_LENGTH] or "Imported session",
        model=given.model,
        workspace=given.workspace,
        messages=tuple(given.messages),
        tool_calls=tuple(given.tool_calls),
        pinned=given.pinned,
    )


def require(body: msgspec.Struct, *names: str) -> None:
    """Each of these must be given and not be empty. Raises `BadRequest`, naming all that miss."""
    missing = [name for name in names if not getattr(body, name)]
    if missing:
        raise BadRequest(f"Missing required field(s): {', '.join(missing)}")


# -- sessions, out ------------------------------------------------------------------------------

_ROW_DEFAULTS: dict[str, Any] = {
    "cache_hit_percent": None,
    "compression_anchor_details": None,
    "compression_anchor_engine": None,
    "compression_anchor_message_key": None,
    "compression_anchor_mode": None,
    "compression_anchor_summary": None,
    "compression_anchor_visible_idx": None,
    "gateway_routing": None,
    "is_cli_session": False,
    "pre_compression_snapshot": False,
    "raw_source": None,
    "session_source": None,
    "source_label": None,
    "source_tag": None,
    "enabled_toolsets": None,
}


def list_row(row: Mapping[str, Any], running: bool) -> dict[str, Any]:
    """A row of the list. Whether a turn runs is what this process knows, not what a file says."""
    shown = {**_ROW_DEFAULTS, **row, "is_streaming": running}
    shown["profile"] = row.get("profile") or "default"
    if not running:
        shown["active_stream_id"] = None
    return shown


def list_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The list's envelope. What this server does not have, it says honestly: none."""
    return {
        "sessions": rows,
        "sidebar_reference_sessions": [],
        "webui_session_count": len(rows),
        "cli_session_count": 0,
        "cli_count": 0,
        "archived_cli_count": 0,
        "all_profiles": False,
        "active_profile": "default",
        "other_profile_count": 0,
    }


def compact(snapshot: Snapshot) -> dict[str, Any]:
    """The session without its content."""
    record = snapshot.record
    return list_row(summary(record), snapshot.running) | {
        "pending_user_message": record.pending_user_message,
        "composer_draft": record.composer_draft,
    }


def full_session(
    snapshot: Snapshot,
    *,
    messages: bool = True,
    limit: int | None = None,
    before: int | None = None,
) -> dict[str, Any]:
    """The session with its transcript, or with the last `limit` visible rows before `before`."""
    record = snapshot.record
    session = compact(snapshot)
    end = len(record.messages) if before is None else max(0, min(before, len(record.messages)))
    start = 0 if limit is None else _window(record, end, limit)
    session |= {
        "messages": record.messages[start:end] if messages else [],
        "tool_calls": record.tool_calls if messages else [],
        "pending_attachments": record.pending_attachments,
        "pending_started_at": record.pending_started_at,
        "pending_user_source": record.pending_user_source,
        "message_count": len(record.messages),
        "_messages_truncated": messages and start > 0,
        "_messages_offset": start if messages else 0,
        "_msg_limit_max": MESSAGE_LIMIT,
    }
    return session


def _window(record: Record, end: int, limit: int) -> int:
    """Where to begin so that `limit` rows that are seen (tool rows are not) are shown."""
    left = max(1, min(limit, MESSAGE_LIMIT))
    for index in range(end - 1, -1, -1):
        if record.messages[index].get("role") != "tool":
            left -= 1
            if left == 0:
                return index
    return 0


def status_of(snapshot: Snapshot) -> dict[str, Any]:
    record = snapshot.record
    return usage_of(snapshot) | {
        "session_id": record.session_id,
        "title": record.title,
        "profile": record.profile or "default",
        "workspace": record.workspace,
        "personality": record.personality,
        "message_count": len(record.messages),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "agent_running": snapshot.running,
        "active_stream_id": record.active_stream_id if snapshot.running else None,
    }


def usage_of(snapshot: Snapshot) -> dict[str, Any]:
    record = snapshot.record
    return {
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "total_tokens": record.input_tokens + record.output_tokens,
        "estimated_cost": record.estimated_cost,
        "model": record.model,
    }


def export_of(snapshot: Snapshot) -> bytes:
    """The whole record, as it is on disk."""
    return dump(snapshot.record)


def preview(text: str) -> str:
    return text[:PREVIEW] + ("..." if len(text) > PREVIEW else "")


# -- events, out --------------------------------------------------------------------------------


def event_of(event: FeedEvent) -> tuple[str, dict[str, Any]]:
    """An event's name and data on the wire. Each entry is one event, so ids have no gaps.

    What ends a turn is completed by whoever sends it with the session as it stands then.
    """
    match event:
        case TextDelta(text):
            return "token", {"text": text}
        case ReasoningDelta(text):
            return "reasoning", {"text": text}
        case ToolStarted():
            return "tool", _tool("tool.started", event.call_id, event.name) | {
                "args": _short_arguments(event.arguments)
            }
        case ToolCompleted():
            return "tool_complete", _tool("tool.completed", event.call_id, event.name) | {
                "preview": event.result[:200],
                "is_error": event.is_error,
            }
        case Warned(kind, message):
            return "warning", {"type": kind, "message": message}
        case TurnBegan(session_id):
            prefill = {"status": "none", "source": None, "label": None, "message_count": 0}
            return "context_status", {"session_id": session_id, "prefill": prefill}
        case TurnDone(usage):
            return "done", {"usage": usage}
        case StreamEnded(session_id):
            return "stream_end", {"session_id": session_id}
        case TurnCancelled(message):
            return "cancel", {"message": message, "type": "cancelled", "status": "cancelled"}
        case TurnFailed():
            return "apperror", _failure(event)
        case Usage():
            return "metering", {"tps_available": False, "usage": msgspec.structs.asdict(event)}


def _tool(event_type: str, call_id: str, name: str) -> dict[str, Any]:
    return {"event_type": event_type, "name": name, "preview": "", "args": {}, "tid": call_id}


def _short_arguments(arguments: Mapping[str, Any]) -> dict[str, str]:
    pairs: Sequence[tuple[str, Any]] = list(arguments.items())[:4]
    return {
        name: (value if isinstance(value, str) else msgspec.json.encode(value).decode())[:120]
        for name, value in pairs
    }


def _failure(event: TurnFailed) -> dict[str, Any]:
    said = {"message": event.message, "type": event.kind, "label": event.label}
    return said | {
        key: value
        for key, value in (("hint", event.hint), ("details", event.details))
        if value is not None
    }
