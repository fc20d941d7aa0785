"""A record as the API tells of it: its turns again as their feeds had them, and its items. Pure."""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from actors.session.agent import ReasoningDelta, TextDelta, ToolCompleted, ToolStarted, Warned
from actors.session.endings import ending_of
from actors.session.entries import FeedEvent, TurnBegan, TurnDone
from actors.session.record import Record, Row
from actors.session.transcript import is_of_turn, text_of

from .events import ResponseEvents
from .items import Item, Placed, items_of_row, user_item

__all__ = ["Told", "end_of", "items_of", "retold", "told_of", "turn_items"]


class Told(NamedTuple):
    """What the record says of one turn. `first` and `prompt` are rows, that which came with the
    prompt first and the prompt itself; None while the turn runs.
    """

    note: Mapping[str, Any]
    at: float
    first: int | None = None
    prompt: int | None = None


def told_of(record: Record, turn_id: str) -> Told | None:
    """None if there is no such turn, or it was not begun by way of this API."""
    if record.active_stream_id == turn_id:
        note, at = record.pending_note, record.pending_started_at or 0.0
        return Told(note, at) if note else None
    for n in range(len(record.messages) - 1, -1, -1):
        row = record.messages[n]
        if is_of_turn(row, turn_id):
            note = row.get("_note") or {}
            first = n
            while first and record.messages[first - 1].get("_brought_by") == turn_id:
                first -= 1
            return Told(note, row.get("timestamp", 0.0), first, n) if note else None
    return None


def end_of(record: Record, told: Told) -> int | None:
    """Behind the last row of the turn; None while it runs."""
    return None if told.prompt is None else _end_of(record.messages, told.prompt)


def retold(record: Record, turn_id: str) -> Iterator[FeedEvent]:
    """The feed of a turn that has ended, as far as its rows tell: each text in one piece."""
    told = told_of(record, turn_id)
    assert told is not None
    assert told.prompt is not None
    end = _end_of(record.messages, told.prompt)
    rows = record.messages[told.prompt + 1 : end]
    yield TurnBegan(record.session_id)
    results, failed = _results(rows), _failed(record, told.prompt, end)
    last: Row = {}
    for row in rows:
        if row.get("role") == "assistant" and not row.get("_error"):
            yield from _said(row, results, failed)
            last = row
    if "_cutBy" in last:
        yield Warned(str(last["_cutBy"]), "")
    for event in ending_of(record, turn_id, record.session_id, ()):
        if isinstance(event, TurnDone):
            used = last.get("_turnUsage") or {}
            event = TurnDone(used)
        yield event


def _said(row: Row, results: Mapping[str, str], failed: Container[str]) -> Iterator[FeedEvent]:
    if row.get("reasoning"):
        yield ReasoningDelta(str(row["reasoning"]))
    if text := text_of(row.get("content")):
        yield TextDelta(text)
    for call in row.get("tool_calls") or ():
        call_id, function = str(call.get("id")), call.get("function") or {}
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
        yield ToolStarted(call_id, str(function.get("name")), arguments)
        yield ToolCompleted(call_id, results.get(call_id, ""), call_id in failed)
    for card in row.get("_partial_tool_calls") or ():
        yield ToolStarted(str(card.get("tid")), str(card.get("name")), card.get("args") or {})
        if card.get("done") is not False:
            result = str(card.get("snippet", ""))
            yield ToolCompleted(str(card.get("tid")), result, bool(card.get("is_error")))


def _end_of(rows: Sequence[Row], prompt: int) -> int:
    """Behind the last row of the turn."""
    for n in range(prompt + 1, len(rows)):
        row = rows[n]
        if row.get("role") not in ("assistant", "tool") or "_brought_by" in row or "id" in row:
            return n
    return len(rows)


def _results(rows: Sequence[Row]) -> dict[str, str]:
    return {
        str(row.get("tool_call_id")): text_of(row.get("content"))
        for row in rows
        if row.get("role") == "tool"
    }


def _failed(record: Record, prompt: int, end: int) -> frozenset[str]:
    """Calls of that turn: other turns may have the same ids."""
    return frozenset(
        str(card.get("tid"))
        for card in record.tool_calls
        if card.get("is_error") and prompt < card.get("assistant_msg_idx", -1) < end
    )


# -- items ----------------------------------------------------------------------------------------


def items_of(record: Record) -> list[Placed]:
    """All that was said, the oldest first."""
    rows, placed = record.messages, list[Placed]()
    results = _results(rows)
    n = 0
    while n < len(rows):
        turn_id = _turn_of(rows[n])
        if turn_id is None:
            name = str(rows[n].get("id") or f"row{n}")
            placed += (Placed(item, n) for item in items_of_row(rows[n], name, results))
            n += 1
        else:
            end = _end_of(rows, n)
            placed.append(Placed(_prompt_item(rows[n], turn_id), n))
            placed += _output(record, turn_id, n, end)
            n = end
    return placed


def _output(record: Record, turn_id: str, prompt: int, end: int) -> Iterator[Placed]:
    events = ResponseEvents({"id": f"resp_{turn_id}"})
    results, failed = _results(record.messages[prompt:end]), _failed(record, prompt, end)
    for n in range(prompt + 1, end):
        row = record.messages[n]
        if row.get("role") != "assistant" or row.get("_error"):
            continue
        before = len(events.response["output"])
        for event in _said(row, results, failed):
            for _ in events.take(event):
                pass
        for item in events.response["output"][before:]:
            yield Placed({**item, "status": _status(item, row)}, n)


def _status(item: Item, row: Row) -> str:
    if item["status"] == "failed":
        return "failed"
    return "incomplete" if row.get("_partial") or row.get("_cutBy") else "completed"


def turn_items(record: Record, turn_id: str) -> list[Item]:
    """The input of one turn: what came with its prompt, and the prompt."""
    told = told_of(record, turn_id)
    if told is None:
        return []
    if told.prompt is None or told.first is None:
        brought = [
            (n, row) for n, row in enumerate(record.messages) if row.get("_brought_by") == turn_id
        ]
        text = record.pending_user_message or ""
        prompt = user_item(f"msg_{turn_id}", text)
    else:
        brought = [(n, record.messages[n]) for n in range(told.first, told.prompt)]
        prompt = _prompt_item(record.messages[told.prompt], turn_id)
    results = _results([row for _, row in brought])
    items = [
        item
        for n, row in brought
        for item in items_of_row(row, str(row.get("id") or f"row{n}"), results)
    ]
    return [*items, prompt]


def _prompt_item(row: Row, turn_id: str) -> Item:
    return user_item(f"msg_{turn_id}", text_of(row.get("content")))


def _turn_of(row: Row) -> str | None:
    token = row.get("_active_turn_token")
    return token.split(":", 1)[0] if isinstance(token, str) and row.get("role") == "user" else None
