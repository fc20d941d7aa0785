"""Prompts that wait for their turn, in the order in which they were accepted. Pure.

Each is a row of the record's `waiting`: `id`, which is its turn's id from the beginning,
`message`, `attachments`, `model`, `model_provider`, `workspace`, `source`, `queued_at`, and `steer`
for a remark that the running agent may take up before; and `before`, `options` and `note` if it has
them.
"""

from collections.abc import Iterable

from .messages import StartTurn
from .record import Record, Row
from .refusals import BlankMessage, MessageNotWaiting, TooManyWaiting

__all__ = ["MOST", "command_of", "find", "with_text", "with_waiting", "without"]

MOST = 50

Rows = tuple[Row, ...]


def with_waiting(
    record: Record, command: StartTurn, turn_id: str, now: float, *, steer: bool = False
) -> Rows:
    """Raises `TooManyWaiting`."""
    if len(record.waiting) >= MOST:
        raise TooManyWaiting(MOST)
    row: Row = {
        "id": turn_id,
        "message": command.prompt,
        "attachments": list(command.attachments),
        "model": command.model,
        "model_provider": command.model_provider,
        "workspace": command.workspace,
        "source": command.source,
        "queued_at": now,
    }
    for name in ("before", "options", "note"):
        if value := getattr(command, name):
            row[name] = value
    return (*record.waiting, row | {"steer": True} if steer else row)


def find(record: Record, turn_id: str) -> Row:
    """Raises `MessageNotWaiting`."""
    for row in record.waiting:
        if row.get("id") == turn_id:
            return row
    raise MessageNotWaiting


def with_text(record: Record, turn_id: str, text: str) -> Rows:
    """Raises `MessageNotWaiting` or `BlankMessage`."""
    meant = find(record, turn_id)
    if not text.strip():
        raise BlankMessage
    return tuple(row | {"message": text} if row is meant else row for row in record.waiting)


def without(record: Record, turn_ids: Iterable[str]) -> Rows:
    gone = frozenset(turn_ids)
    return tuple(row for row in record.waiting if row.get("id") not in gone)


def command_of(row: Row) -> StartTurn:
    return StartTurn(
        prompt=str(row.get("message", "")),
        attachments=tuple(row.get("attachments") or ()),
        model=row.get("model"),
        model_provider=row.get("model_provider"),
        workspace=row.get("workspace"),
        source=row.get("source") or "webui",
        before=tuple(row.get("before") or ()),
        options=row.get("options") or {},
        note=row.get("note") or {},
    )
