"""What was shown and said of each prompt, and what a record says of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from actors.session.agent import ReasoningDelta, TextDelta, ToolStarted
from actors.session.entries import TERMINAL, Entry, StreamEnded, TurnCancelled, TurnFailed
from actors.session.record import Record, Row

from .checker import Violation
from .model import Seen, Turn

__all__ = ["Talk", "check_approved", "check_asked", "check_usage", "end_of", "seen_of", "turns_of"]


@dataclass
class Talk:
    """One prompt: what its agent said, and what its readers were shown."""

    number: int
    turn_id: str
    said: str = ""
    asked: Sequence[Row] | None = None  # what its agent was to answer
    shown: list[Entry] = field(default_factory=list)
    runs: bool = False  # its agent was called
    ended: bool = False
    most: int | None = None  # entries that there may be: it was stopped, and that was answered
    content: str | None = None  # of the answer in the transcript

    @property
    def text(self) -> str:
        return "".join(e.event.text for e in self.shown if isinstance(e.event, TextDelta))

    def show(self, entry: Entry) -> None:
        """A reader got this. Each number says the same to all of them, before a crash and after."""
        if entry.seq <= len(self.shown):
            before = self.shown[entry.seq - 1].event
            if before != entry.event:
                raise Violation(f"{self.turn_id}: {entry} had been {before}")
            return
        if entry.seq != len(self.shown) + 1:
            raise Violation(f"{self.turn_id}: {entry} after {len(self.shown)} entries")
        if self.ended:
            raise Violation(f"{self.turn_id}: {entry} after the end")
        if self.most is not None and entry.seq > self.most:
            raise Violation(f"{self.turn_id}: {entry} after the cancel was answered")
        self.shown.append(entry)
        self.ended = isinstance(entry.event, TERMINAL)

    def keep(self, rows: Sequence[Row]) -> None:
        """The transcript has this of it."""
        self._keep_words(_said_in(rows))
        thoughts, calls = _work_in(rows)
        shown = [entry.event for entry in self.shown]
        thought = "".join(event.text for event in shown if isinstance(event, ReasoningDelta))
        called = [event.call_id for event in shown if isinstance(event, ToolStarted)]
        if not thoughts.startswith(thought) or calls[: len(called)] != called:
            raise Violation(f"{self.turn_id}: {rows} are kept, {thought!r} and {called} were shown")
        if sum(bool(row.get("_error")) for row in rows) > 1:
            raise Violation(f"{self.turn_id} says twice how it ended: {rows}")
        if any(row["role"] == "assistant" and _is_empty(row) for row in rows):
            raise Violation(f"{self.turn_id} has an empty row: {rows}")

    def _keep_words(self, content: str) -> None:
        if self.content not in (None, content):
            raise Violation(f"{self.turn_id}: {content!r} had been {self.content!r}")
        if not content.startswith(self.text):
            raise Violation(f"{self.turn_id}: {content!r} is kept, {self.text!r} was shown")
        if not self.said.startswith(content):
            raise Violation(f"{self.turn_id}: {content!r} is kept, {self.said!r} was said")
        self.content = content


def end_of(entry: Entry) -> str:
    """In the words of the model."""
    match entry.event:
        case StreamEnded():
            return "done"
        case TurnCancelled():
            return "cancelled"
        case TurnFailed(kind="interrupted"):
            return "interrupted"
    return "failed"


def turns_of(record: Record) -> list[tuple[str | None, str, Sequence[Row]]]:
    """Of each turn in the transcript: its id, its prompt, and the rows that answer it."""
    starts = [i for i, row in enumerate(record.messages) if row["role"] == "user"]
    return [
        (
            str(record.messages[start].get("_active_turn_token", ":")).split(":")[0] or None,
            record.messages[start]["content"],
            record.messages[start + 1 : end],
        )
        for start, end in pairwise([*starts, len(record.messages)])
    ]


def seen_of(record: Record) -> Seen:
    """The record as the model looks at it."""
    return Seen(
        turns=tuple(Turn(prompt, _end_of(rows)) for _, prompt, rows in turns_of(record)),
        running=record.pending_user_message,
        waiting=tuple(row["message"] for row in record.waiting),
        title=record.title,
        manual=record.manual_title,
        pinned=record.pinned,
        name=record.session_id,
    )


def _end_of(rows: Sequence[Row]) -> str:
    last = rows[-1] if rows else {}
    if not last.get("_error"):
        return "done" if rows else "cut"
    if last.get("type") == "interrupted":
        return "interrupted"
    if last.get("provider_details_label") == "Cancellation details":
        return "cancelled"
    return "failed"


def _said_in(rows: Sequence[Row]) -> str:
    """The words of an answer."""
    said = (r for r in rows if r["role"] == "assistant" and not r.get("_error"))
    return "".join(row["content"] for row in said)


def _work_in(rows: Sequence[Row]) -> tuple[str, list[str]]:
    """What was thought, and which tools were called."""
    calls = [call["id"] for row in rows for call in row.get("tool_calls", ())]
    calls += [card["tid"] for row in rows for card in row.get("_partial_tool_calls", ())]
    return "".join(row.get("reasoning", "") for row in rows), calls


def _is_empty(row: Row) -> bool:
    return not any(
        row.get(key) for key in ("content", "reasoning", "tool_calls", "_partial_tool_calls")
    )


def check_asked(asked: Sequence[Row], prompts: Sequence[str]) -> None:
    """The model saw each prompt up to its own once; the older ones it may have seen as a summary.

    What stands before a turn is what stood there when it began.
    """
    seen = [row["content"] for row in asked if row["role"] == "user"]
    summary = any(row["role"] == "system" for row in asked)
    if seen != (prompts[-len(seen) :] if summary else prompts):
        raise Violation(f"the model saw {seen}, in the transcript is {prompts}")


def check_usage(record: Record, most: tuple[int, int]) -> None:
    """The latest turn's figures stand for the session: no more than any one turn has used."""
    used = record.input_tokens, record.output_tokens
    if not record.usage_estimated and (used[0] > most[0] or used[1] > most[1]):
        raise Violation(f"{record.session_id} has used {used}, no turn more than {most}")


def check_approved(
    record: Record,
    rows: Sequence[Row],
    ran: Collection[tuple[str, str]],
    turn_id: str | None,
    answers: Mapping[str, str],
) -> None:
    """What was answered stands, nothing waits for a turn that is over, and what the `rows` of a
    turn call not run did not run.
    """
    for row in record.approvals:
        choice = row.get("choice")
        if choice is None and row["turn_id"] != record.active_stream_id:
            raise Violation(f"{row} waits, and its turn is over")
        if answers.get(row["id"], choice) != choice:
            raise Violation(f"{row} was answered {answers[row['id']]}")
        if choice in ("deny", "expired") and (row["turn_id"], row["call_id"]) in ran:
            raise Violation(f"{row} ran")
    granted = {row["tool"] for row in record.grants}
    for row in record.approvals:
        if row.get("choice") == "session" and row["tool"] not in granted:
            raise Violation(f"{row['tool']} was allowed for the session: {granted}")
    for row in rows:
        for card in row.get("_partial_tool_calls", ()):
            if card.get("not_run") and (turn_id, card["tid"]) in ran:
                raise Violation(f"{card} of {turn_id} ran")
