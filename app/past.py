"""The turns of a record, as far as it tells of them: when, how long, how they ended. Pure."""

from collections.abc import Mapping
from typing import Any

from actors.session.record import Record

__all__ = ["past_turns"]

ENDS = {"Task cancelled": "stopped", "Response interrupted": "interrupted"}


def past_turns(record: Record) -> list[dict[str, Any]]:
    """The oldest first. Nothing of what was said."""
    turns: list[dict[str, Any]] = []
    for row in record.messages:
        if row.get("role") == "user":
            turns.append(_begun(row))
        elif turns:
            _add(turns[-1], row)
    if record.busy and record.active_stream_id is not None:
        turns.append(_turn(record.active_stream_id, record.pending_started_at, "running"))
    return turns


def _turn(stream_id: str | None, at: Any, ended: str) -> dict[str, Any]:
    return {
        "stream_id": stream_id,
        "at": at,
        "seconds": None,
        "ended": ended,
        "answers": 0,
        "tools": 0,
        "input_tokens": 0,
        "output_tokens": 0,
    }


def _begun(row: Mapping[str, Any]) -> dict[str, Any]:
    token = row.get("_active_turn_token")
    stream_id = token.split(":", 1)[0] if isinstance(token, str) else None
    return _turn(stream_id, row.get("timestamp"), "without an answer")


def _add(turn: dict[str, Any], row: Mapping[str, Any]) -> None:
    if row.get("role") == "tool":
        turn["tools"] += 1
        return
    if row.get("_error"):
        turn["ended"] = _ending(row)
    else:
        turn["answers"] += 1
        turn["ended"] = "answered"
    usage = row.get("_turnUsage")
    if isinstance(usage, dict):
        for name in ("input_tokens", "output_tokens"):
            if isinstance(usage.get(name), int):
                turn[name] += usage[name]
    if isinstance(row.get("_turnDuration"), int | float):
        turn["seconds"] = row["_turnDuration"]


def _ending(row: Mapping[str, Any]) -> str:
    said = str(row.get("content", ""))
    return next((end for label, end in ENDS.items() if label in said[: len(label) + 2]), "failed")
