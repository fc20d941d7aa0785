"""What was shown and said of each prompt, and what a record says of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from actors.session.agent import TextDelta
from actors.session.entries import TERMINAL, Entry, StreamEnded, TurnCancelled, TurnFailed
from actors.session.record import Record, Row

from .checker import Violation
from .model import Seen, Turn

__all__ = ["Talk", "end_of", "said_in", "seen_of", "turns_of"]


@dataclass
class Talk:
    """One prompt: what its agent said, and what its readers were shown."""

    number: int
    turn_id: str
    said: str = ""
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

    def keep(self, content: str) -> None:
        """The transcript has this of it."""
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


def said_in(rows: Sequence[Row]) -> str:
    """The words of an answer."""
    said = (r for r in rows if r["role"] == "assistant" and not r.get("_error"))
    return "".join(row["content"] for row in said)
