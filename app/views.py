"""What goes out: sessions and events, in the words of the wire. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from actors.index.messages import STAMP
from actors.session.agent import (
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
    Warned,
)
from actors.session.approvals import grants, open_approvals
from actors.session.dumping import dump
from actors.session.entries import (
    ApprovalAsked,
    ApprovalEnded,
    FeedEvent,
    Steered,
    StreamEnded,
    TitleChanged,
    TitleSettled,
    TurnBegan,
    TurnCancelled,
    TurnCompressed,
    TurnCompressing,
    TurnDone,
    TurnFailed,
)
from actors.session.messages import CompressionState, Snapshot
from actors.session.record import Record, Row, summary
from actors.session.transcript import last_user_row, revision

from .redaction import redacted

__all__ = [
    "approvals_of",
    "compact",
    "compressed",
    "event_of",
    "export_of",
    "full_session",
    "list_of",
    "list_row",
    "preview",
    "status_of",
    "usage_of",
    "waiting_of",
]

MESSAGE_LIMIT = 500
PREVIEW = 40

# -- sessions -----------------------------------------------------------------------------------

_ROW_DEFAULTS: dict[str, Any] = {
    "cache_hit_percent": None,
    "compression_anchor_details": None,
    "compression_anchor_engine": None,
    "compression_anchor_message_key": None,
    "compression_anchor_mode": None,
    "gateway_routing": None,
    "is_cli_session": False,
    "raw_source": None,
    "source_label": None,
    "source_tag": None,
}


def list_row(row: Mapping[str, Any], running: bool) -> dict[str, Any]:
    """A row of the list. Whether a turn runs is what this process knows, not what a file says."""
    shown = {**_ROW_DEFAULTS, **row, "is_streaming": running}
    shown.pop(STAMP, None)
    shown["profile"] = row.get("profile") or "default"
    if not running:
        shown["active_stream_id"] = None
    return shown


def list_of(count: int) -> dict[str, Any]:
    """The list's envelope. What this server does not have, it says honestly: none."""
    return {
        "sidebar_reference_sessions": [],
        "webui_session_count": count,
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
        "queue": waiting_of(record),
    }


def compressed(snapshot: Snapshot, state: CompressionState, asked_for: str) -> dict[str, Any]:
    """What came of a compression that is done."""
    record = snapshot.record
    return {
        "session": full_session(snapshot),
        "old_session_id": asked_for,
        "new_session_id": record.session_id,
        "summary": {
            "headline": "What is old was summarised for the model; nothing of it is lost",
            "token_line": f"About {state.saved_tokens} tokens less in each request",
            "note": None,
            "reference_message": record.compression_anchor_summary,
        },
    }


def waiting_of(record: Record) -> msgspec.Raw:
    """The messages that wait for their turn, in its order; as JSON, without secrets."""
    shown = ("id", "message", "attachments", "model", "queued_at", "steer")
    rows = [{key: row[key] for key in shown if key in row} for row in record.waiting]
    return msgspec.Raw(redacted(msgspec.json.encode(rows)))


def approvals_of(record: Record) -> list[dict[str, Any]]:
    """The tool calls that somebody is asked to allow, the oldest first."""
    waiting = open_approvals(record)
    more = {"session_id": record.session_id, "pending_count": len(waiting)}
    return [_approval(row) | more | {"stream_id": row["turn_id"]} for row in waiting]


def _approval(row: Row) -> dict[str, Any]:
    arguments = msgspec.json.format(msgspec.json.encode(row["arguments"])).decode()
    return {
        "approval_id": row["id"],
        "tool": row["tool"],
        "tid": row["call_id"],
        "args": row["arguments"],
        "command": f"{row['tool']} {arguments}",
        "description": f"The model wants to call the tool {row['tool']}.",
        "pattern_key": row["tool"],
        "pattern_keys": [row["tool"]],
        "expires_at": row["expires_at"],
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
        "approvals": approvals_of(record),
        "grants": grants(record),
        "message_count": len(record.messages),
        "_messages_truncated": messages and start > 0,
        "_messages_offset": start if messages else 0,
        "_msg_limit_max": MESSAGE_LIMIT,
    }
    if not record.busy and last_user_row(record.messages) is not None:
        session["regeneration_revision"] = revision(record)
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
        "usage_estimated": record.usage_estimated,
        "estimated_cost": record.estimated_cost,
        "model": record.model,
    }


def export_of(snapshot: Snapshot) -> bytes:
    """The whole record, as it is on disk."""
    return dump(snapshot.record)


def preview(text: str) -> str:
    return text[:PREVIEW] + ("..." if len(text) > PREVIEW else "")


# -- events -------------------------------------------------------------------------------------


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
        case ApprovalAsked(approval_id, call_id, tool, arguments, expires_at):
            row = {"id": approval_id, "call_id": call_id, "tool": tool, "arguments": arguments}
            return "approval", _approval(row | {"expires_at": expires_at}) | {"pending_count": 1}
        case ApprovalEnded(approval_id, choice):
            return "approval_resolved", {"approval_id": approval_id, "choice": choice}
        case Warned(kind, message):
            return "warning", {"type": kind, "message": message}
        case TurnBegan(session_id):
            prefill = {"status": "none", "source": None, "label": None, "message_count": 0}
            return "context_status", {"session_id": session_id, "prefill": prefill}
        case Steered():
            return "steered", {"id": event.remark_id, "text": event.text}
        case TurnCompressing(session_id):
            message = "Summarising the conversation so far"
            return "compressing", {"session_id": session_id, "message": message}
        case TurnCompressed():
            return "compressed", _compressed(event)
        case TurnDone(usage, None):
            return "done", {"usage": usage}
        case TurnDone(usage, answer):
            return "done", {"usage": usage, "ephemeral": True, "answer": answer}
        case TitleSettled():
            return "title_status", _title_status(event)
        case TitleChanged(session_id, title):
            return "title", {"session_id": session_id, "title": title}
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


def _compressed(event: TurnCompressed) -> dict[str, Any]:
    return {
        "session_id": event.old_session_id,
        "old_session_id": event.old_session_id,
        "new_session_id": event.new_session_id,
        "continuation_session_id": event.new_session_id,
        "message": "What is old was summarised for the model; nothing of it is lost",
        "usage": {},
    }


def _title_status(event: TitleSettled) -> dict[str, Any]:
    return {
        "session_id": event.session_id,
        "status": event.status,
        "reason": event.reason,
        "title": event.title,
        "raw_preview": event.raw,
    }
