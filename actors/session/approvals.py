"""Tool calls that somebody must allow first: asked for, answered once, closed. Pure.

Each is a row of the record's `approvals`: `id`, `turn_id`, `call_id`, `tool`, `server`, whose tool
it is, `arguments` while its turn runs, `asked_at`, `expires_at`, and when it is closed `choice` and
`closed_at`. The choice is an answer (once, session, deny) or what came in its place (expired,
cancelled, interrupted).

A tool that is allowed for the whole session is a row of `grants`: `tool`, `server` and `at`. A row
without `server` was written when tools went by their names alone: it allows nothing any more.
"""

from typing import Any

from .record import Record, Row
from .refusals import ApprovalClosed, ApprovalNotFound

__all__ = [
    "answered",
    "asked",
    "find",
    "grants",
    "is_granted",
    "of_turn",
    "open_approvals",
    "revoked",
    "with_turn_closed",
]

MOST_CLOSED = 100  # that are remembered, so that a late answer is told what was answered

Fields = dict[str, Any]


def open_approvals(record: Record) -> tuple[Row, ...]:
    return tuple(row for row in record.approvals if "choice" not in row)


def of_turn(record: Record, turn_id: str | None) -> tuple[Row, ...]:
    return tuple(row for row in record.approvals if row.get("turn_id") == turn_id)


def is_granted(record: Record, server: str, tool: str) -> bool:
    return any(row["server"] == server and row["tool"] == tool for row in grants(record))


def grants(record: Record) -> list[Row]:
    """Those that hold."""
    return [row for row in record.grants if "server" in row and "tool" in row]


def find(record: Record, approval_id: str) -> Row:
    """Raises `ApprovalNotFound`."""
    for row in record.approvals:
        if row.get("id") == approval_id:
            return row
    raise ApprovalNotFound


def asked(record: Record, row: Row) -> Fields:
    closed = [row for row in record.approvals if "choice" in row]
    forgotten = [row["id"] for row in closed[: max(0, len(closed) - MOST_CLOSED)]]
    kept = (row for row in record.approvals if row.get("id") not in forgotten)
    return {"approvals": (*kept, row)}


def answered(record: Record, approval_id: str, choice: str, now: float) -> Fields:
    """The answer, and what it allows from now on, in one step: a tool that is allowed for the
    session is so for all its calls that wait. Raises `ApprovalNotFound`, or
    `ApprovalClosed` with what was answered first.
    """
    row = find(record, approval_id)
    if "choice" in row:
        raise ApprovalClosed(row["choice"])
    closed, server = {"choice": choice, "closed_at": now}, row.get("server", "")

    def is_answered(other: Row) -> bool:
        alike = (other.get("server"), other["tool"]) == (server, row["tool"])
        return other is row or (choice == "session" and "choice" not in other and alike)

    rows = tuple(one | closed if is_answered(one) else one for one in record.approvals)
    fields: Fields = {"approvals": rows}
    if choice == "session" and not is_granted(record, server, row["tool"]):
        grant = {"server": server, "tool": row["tool"], "at": now}
        fields["grants"] = (*record.grants, grant)
    return fields


def revoked(record: Record, tool: str) -> Fields:
    return {"grants": tuple(row for row in record.grants if row.get("tool") != tool)}


def with_turn_closed(record: Record, choice: str, at: float | None) -> tuple[Row, ...]:
    """None is open without a turn that waits for it. The arguments are in the transcript now."""
    at = record.updated_at if at is None else at
    return tuple(
        {"choice": choice, "closed_at": at}
        | {name: value for name, value in row.items() if name != "arguments"}
        for row in record.approvals
    )
