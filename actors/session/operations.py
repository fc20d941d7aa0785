"""What was done under a key of the caller's, kept in the record itself. Pure.

The key is saved in the same step as the change, so there is no instant at which one is on disk
without the other.
"""

from typing import Any

import msgspec

from .events import Changed, Cut, Event, SideTurnStarted, TurnStarted
from .messages import Once, Removed, Snapshot, TurnAccepted
from .record import Record
from .refusals import KeyReused

__all__ = ["answer_again", "with_operation"]

KEPT_SECONDS = 24 * 3600.0
MOST = 200


def with_operation(
    record: Record, once: Once, before: Record | None, event: Event, now: float
) -> Record:
    """The record that also says that this was done."""
    entry = {"fingerprint": once.fingerprint, "at": now, **_result(before, event)}
    kept = {
        key: value
        for key, value in record.applied.items()
        if now - value.get("at", 0.0) < KEPT_SECONDS and key != once.key
    }
    newest = dict(list(kept.items())[-(MOST - 1) :])
    return msgspec.structs.replace(record, applied={**newest, once.key: entry})


def _result(before: Record | None, event: Event) -> dict[str, Any]:
    """What an answer needs that the record will not tell for ever."""
    match event:
        case TurnStarted() | SideTurnStarted():
            return {"turn_id": event.turn_id}
        case Cut():
            rows = 0 if before is None else len(before.messages)
            return {"removed": rows - event.keep, "text": event.text}
        case Changed(fields) if before is not None:
            if len(fields.get("waiting", ())) > len(before.waiting):
                if fields["waiting"][-1].get("steer"):
                    return {"turn_id": before.active_stream_id, "steered": True}
                return {"turn_id": fields["waiting"][-1]["id"], "waiting": True}
    return {}


def answer_again(record: Record, once: Once, running: bool) -> object:
    """The answer of what was done; None if nothing was. Raises `KeyReused`."""
    entry = record.applied.get(once.key)
    if entry is None:
        return None
    if entry.get("fingerprint") != once.fingerprint:
        raise KeyReused
    if "turn_id" in entry:
        waiting, steered = bool(entry.get("waiting")), bool(entry.get("steered"))
        return TurnAccepted(entry["turn_id"], record, waiting=waiting, steered=steered)
    if "removed" in entry and entry.get("text"):
        return Removed(entry["removed"], entry["text"], record)
    return Snapshot(record, running)
