"""What is told of a turn that has ended, to who counts them. Numbers, names and times. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .agent import Usage
from .entries import FeedEvent, TurnCancelled, TurnFailed

__all__ = ["TurnReport", "outcome_of"]

Outcome = Literal["done", "cancelled", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class TurnReport:
    """`error` is the type of what it failed with. `first_seconds` is how long its reader waited for
    the first of the answer; None if there was none.
    """

    session_id: str
    turn_id: str
    model: str | None  # that was asked for
    outcome: Outcome
    error: str | None
    usage: Usage
    started_at: float  # epoch seconds
    seconds: float
    first_seconds: float | None


def outcome_of(last: Sequence[FeedEvent]) -> tuple[Outcome, str | None]:
    """How a turn has ended, of whose feed these are the last entries; and the type of its error."""
    match last[0]:
        case TurnCancelled():
            return "cancelled", None
        case TurnFailed(kind="interrupted"):
            return "interrupted", None
        case TurnFailed(kind=kind):
            return "failed", kind
    return "done", None
