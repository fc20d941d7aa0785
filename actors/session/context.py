"""What the model sees of a long conversation, and how it is made shorter. Pure.

`messages` is what was said, and only grows or is cut by the user. `context_messages` is what the
model gets in its place, if that differs: a summary, and the rows since. It is made from `messages`
and the list of compressions, so that cutting back across a compression brings back what the
model saw before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .record import Compression, Record, Row
from .transcript import content_seen, text_of

__all__ = [
    "CompressionPlan",
    "context_after_cut",
    "context_rows",
    "estimated_tokens",
    "plan_compression",
    "summary_request",
    "summary_row",
    "tokens_in_use",
]

NEAR = 0.8  # of the model's context: from here on a turn begins with a compression
LEAST_ROWS = 4
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_ROW = 4
ROW_CHARACTERS = 4000  # of one row, in what is to be summarised
REQUEST_CHARACTERS = 24_000

INSTRUCTIONS = (
    "Summarise the conversation below for somebody who must carry it on without having seen it. "
    "Keep facts, names, numbers, decisions, open questions and what the user asked for. "
    "Answer with the summary alone."
)


@dataclass(frozen=True, slots=True)
class CompressionPlan:
    """`old` is to become a summary; the rows from `kept_from` on stay as they are. It fits a
    record whose transcript has `at_row` rows, and no other.
    """

    at_row: int
    kept_from: int
    old: tuple[Row, ...]
    focus: str = ""


def context_rows(record: Record) -> tuple[Row, ...]:
    return record.context_messages or record.messages


def summary_row(compression: Compression) -> Row:
    return {
        "role": "system",
        "content": f"Summary of the conversation so far:\n\n{compression.summary}",
        "timestamp": compression.at,
        "_compression_summary": True,
    }


def estimated_tokens(rows: Sequence[Mapping[str, Any]]) -> int:
    """A guess on the safe side for European languages; providers count exactly, and too late."""
    characters = sum(_size(row) for row in rows)
    return characters // CHARACTERS_PER_TOKEN + TOKENS_PER_ROW * len(rows)


def _size(row: Mapping[str, Any]) -> int:
    calls = row.get("tool_calls")
    size = len(text_of(content_seen(row)))
    return size + (len(msgspec.json.encode(calls)) if calls else 0)


def tokens_in_use(record: Record, prompt: str) -> int:
    """How large the next request will be: as the provider counted the last one, or estimated."""
    guess = estimated_tokens(context_rows(record))
    counted = (record.last_prompt_tokens or 0) + record.output_tokens
    return max(guess, counted if record.last_prompt_tokens else 0) + len(prompt) // 3


def plan_compression(
    record: Record, *, focus: str = "", room: int | None = None
) -> CompressionPlan | None:
    """What to summarise; None if too little was said. The last turns stay whole, as many as leave
    half of `room` tokens free, two at most.
    """
    if len(record.messages) < LEAST_ROWS:
        return None
    first = record.compressions[-1].kept_from if record.compressions else 0
    starts = [
        index
        for index, row in enumerate(record.messages)
        if index > first and row.get("role") == "user"
    ]
    kept_from = len(record.messages)
    for start in reversed(starts[-2:]):
        if room is not None and estimated_tokens(record.messages[start:]) * 2 > room:
            break
        kept_from = start
    old = _cut_tail(context_rows(record), record.messages, kept_from)
    if not any(text_of(row.get("content")).strip() for row in old):
        return None
    return CompressionPlan(len(record.messages), kept_from, old, focus)


def summary_request(plan: CompressionPlan) -> list[Row]:
    """What the model is asked. Bounded, whatever was said: long rows lose their middle."""
    lines = [
        f"{row.get('role')}: {_shortened(text_of(content_seen(row)), ROW_CHARACTERS)}"
        for row in plan.old
        if not row.get("_error")
    ]
    focus = f" Pay most attention to: {plan.focus}" if plan.focus else ""
    transcript = _shortened("\n\n".join(lines), REQUEST_CHARACTERS)
    return [
        {"role": "system", "content": INSTRUCTIONS + focus},
        {"role": "user", "content": transcript},
    ]


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[...]\n{text[-half:]}"


def context_after_cut(record: Record, keep: int) -> dict[str, Any]:
    """The fields that say what the model sees when only `keep` rows are left."""
    left = tuple(made for made in record.compressions if _still_holds(made, record, keep))
    if len(left) == len(record.compressions):
        context = _cut_tail(record.context_messages, record.messages, keep)
    elif left:
        context = (summary_row(left[-1]), *record.messages[left[-1].kept_from : keep])
    else:
        undone = record.compressions[0]
        context = _cut_tail(undone.before, record.messages[: undone.at_row], keep)
    last = left[-1] if left else None
    return {
        "context_messages": context,
        "compressions": left,
        "compression_anchor_visible_idx": None if last is None else last.at_row,
        "compression_anchor_summary": None if last is None else last.summary,
        "last_prompt_tokens": None,
    }


def _still_holds(made: Compression, record: Record, keep: int) -> bool:
    """A compression that a turn needed goes with that turn; one that was asked for stays until
    something is cut that it has seen.
    """
    if made.at_row < keep:
        return True
    return made.at_row == keep and made.of_turn is None


def _cut_tail(context: Sequence[Row], messages: Sequence[Row], keep: int) -> tuple[Row, ...]:
    """The context without the rows that `messages` loses: both end with the same ones."""
    left = list(context)
    for row in reversed(messages[keep:]):
        if left and _same(left[-1], row):
            left.pop()
    return tuple(left)


def _same(one: Row, other: Row) -> bool:
    keys = ("role", "content", "tool_calls", "tool_call_id")
    return all(one.get(key) == other.get(key) for key in keys)
