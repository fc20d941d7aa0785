"""Rows of a transcript: how they are made, what the model sees of them, where a turn begins."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from .record import Record, Row

__all__ = [
    "brought_by",
    "cancelled_marker",
    "cards_before",
    "content_seen",
    "error_row",
    "interrupted_marker",
    "last_user_row",
    "model_input",
    "revision",
    "text_of",
    "title_from",
    "user_row",
]

MODEL_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name", "refusal")
TITLE_LENGTH = 64
AUTOMATIC_TITLES = frozenset({"", "Untitled", "New Chat"})
_NONE: Mapping[str, Any] = {}


def user_row(
    text: str,
    attachments: Sequence[Any],
    at: float,
    turn_id: str | None,
    *,
    recovered: bool = False,
    options: Mapping[str, Any] = _NONE,
    note: Mapping[str, Any] = _NONE,
) -> Row:
    """A prompt. The token in it says of which turn it is, so that it is never added twice."""
    row: Row = {"role": "user", "content": text, "timestamp": at}
    if turn_id is not None:
        row["_active_turn_token"] = f"{turn_id}:{at}"
    if attachments:
        row["attachments"] = list(attachments)
    if recovered:
        row["_recovered"] = True
    if options:
        row["_options"] = options
    if note:
        row["_note"] = note
    return row


def brought_by(row: Row, turn_id: str) -> Row:
    """A row that came with the prompt of this turn, ahead of it."""
    return row | {"_brought_by": turn_id}


def is_of_turn(row: Mapping[str, Any], turn_id: str) -> bool:
    token = row.get("_active_turn_token")
    return isinstance(token, str) and token.split(":", 1)[0] == turn_id


def error_row(
    label: str, message: str, at: float, *, hint: str | None = None, details: str | None = None
) -> Row:
    """Says in the transcript why there is no answer. Never sent to the model."""
    content = f"**{label}:** {message}" + (f"\n\n*{hint}*" if hint else "")
    row: Row = {"role": "assistant", "content": content, "timestamp": at, "_error": True}
    if details:
        row |= {"provider_details": details, "provider_details_label": "Provider details"}
    return row


def cancelled_marker(at: float) -> Row:
    row = error_row("Task cancelled", "Stopped by you. What was written so far is kept.", at)
    return row | {"provider_details_label": "Cancellation details"}


def interrupted_marker(cause: str, at: float) -> Row:
    message = "The server stopped before the answer was complete. What was shown is kept."
    row = error_row("Response interrupted", message, at)
    return row | {"type": "interrupted", "interruption_cause": cause}


def last_user_row(rows: Sequence[Row]) -> int | None:
    """Where the last turn begins."""
    for index in range(len(rows) - 1, -1, -1):
        if rows[index].get("role") == "user":
            return index
    return None


def revision(record: Record) -> str:
    """Names this transcript, at the cost of its last row: rows never change, they are added, or
    cut with a generation of its own.
    """
    named = (
        record.session_id,
        len(record.messages),
        record.intentional_shrink_generation,
        record.messages[-1:],
    )
    return hashlib.sha256(msgspec.json.encode(named, order="deterministic")).hexdigest()


def cards_before(cards: Iterable[Row], keep: int) -> tuple[Row, ...]:
    """The tool cards of the first `keep` rows. One that points nowhere stays."""
    places = ((card, card.get("assistant_msg_idx")) for card in cards)
    return tuple(card for card, at in places if not isinstance(at, int) or at < keep)


def text_of(content: object) -> str:
    """The text of a message's content, which may be a string or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return " ".join(part for part in parts if isinstance(part, str))


def content_seen(row: Mapping[str, Any]) -> Any:
    """What the model reads of a message: what was said, and the text of the files that came along.
    An attachment without `text` is but a name to people.
    """
    content, attached = row.get("content"), row.get("attachments")
    files = [
        f"Attached file {file.get('name') or 'without a name'}:\n\n{file['text']}"
        for file in (attached if isinstance(attached, list | tuple) else ())
        if isinstance(file, dict) and isinstance(file.get("text"), str)
    ]
    if not files:
        return content
    if isinstance(content, list):
        return [*content, *({"type": "text", "text": text} for text in files)]
    return "\n\n".join([text_of(content), *files])


def title_from(rows: Iterable[Row], prompt: str = "") -> str | None:
    """A title for the time being: the beginning of the first thing the user said."""
    said = [text_of(row.get("content")) for row in rows if row.get("role") == "user"]
    for text in (*said, prompt):
        folded = " ".join(text.split())
        if folded:
            return folded[:TITLE_LENGTH]
    return None


def model_input(rows: Iterable[Row]) -> list[Row]:
    """What a provider may see: whitelisted keys, no error rows, no empty replies, no tool row
    without the call that it answers, and no call without its answer: a cut may have parted them.
    """
    seen: list[Row] = []
    open_calls: set[str] = set()
    for row in rows:
        if row.get("_error"):
            continue
        clean = {key: row[key] for key in MODEL_KEYS if row.get(key) is not None}
        if (content := content_seen(row)) is not None:
            clean["content"] = content
        role = clean.get("role")
        if role == "tool":
            call_id = clean.get("tool_call_id")
            if not isinstance(call_id, str) or call_id not in open_calls:
                continue
        elif role == "assistant":
            calls = clean.get("tool_calls")
            if not calls and not text_of(clean.get("content")).strip():
                continue
            open_calls |= _call_ids(calls)
        seen.append(clean)
    answered = {row.get("tool_call_id") for row in seen if row.get("role") == "tool"}
    return [row for row in (_with_calls(row, answered) for row in seen) if row]


def _with_calls(row: Row, answered: Collection[Any]) -> Row:
    """The row with the calls that were answered alone; nothing if nothing is left of it."""
    calls = row.get("tool_calls")
    if not calls or _call_ids(calls) <= set(answered):
        return row
    left = {key: value for key, value in row.items() if key != "tool_calls"}
    kept = [call for call in calls if isinstance(call, dict) and str(call.get("id")) in answered]
    if kept:
        return left | {"tool_calls": kept}
    return left if text_of(left.get("content")).strip() else {}


def _call_ids(calls: object) -> set[str]:
    if not isinstance(calls, list):
        return set()
    return {str(call.get("id")) for call in calls if isinstance(call, dict)}
