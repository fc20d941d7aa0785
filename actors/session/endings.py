"""How a turn ends that did not end well, in the transcript and for its readers. Pure."""

from collections.abc import Iterable, Sequence

from .agent import Usage
from .answer import Answer
from .entries import FeedEvent, StreamEnded, TurnBegan, TurnCancelled, TurnDone, TurnFailed
from .events import TurnEnded
from .record import Record, Row
from .transcript import is_of_turn

__all__ = [
    "cancelled",
    "cut_short",
    "ending_of",
    "interrupted",
    "silent_failure",
    "storage_failure",
]


def cancelled() -> TurnCancelled:
    return TurnCancelled("Cancelled by user")


def storage_failure(error: BaseException) -> TurnFailed:
    hint = "What is shown is in memory, and is saved as soon as the disk takes it."
    return TurnFailed("storage", "The answer was cut short", str(error), hint)


def silent_failure() -> TurnFailed:
    return TurnFailed(
        "no_response",
        "No response from provider",
        "The model returned an empty answer.",
        "Try again, or choose another model.",
    )


def interrupted() -> TurnFailed:
    message = "The server stopped before the answer was complete."
    hint = "What was shown is kept. Send the message again to go on."
    return TurnFailed("interrupted", "Response interrupted", message, hint)


def cut_short(
    answer: Answer,
    marker: Row,
    at: float | None,
    usage: Usage | None,
    *,
    asked: Sequence[Row] = (),
    recovered: bool = False,
    unanswered: str = "interrupted",
) -> TurnEnded:
    """A turn that did not end well keeps what was shown of it, and says what happened. `asked` are
    its approvals.
    """
    rows = (*answer.partial_rows(marker["timestamp"], asked), marker)
    return TurnEnded(rows, (), usage, at, recovered, answer.steered, unanswered)


def ending_of(
    record: Record | None, turn_id: str, session_id: str, shown: Iterable[FeedEvent]
) -> tuple[FeedEvent, ...]:
    """What readers are still to be told of a turn that is over, when only its record is left to
    say how it ended.
    """
    end, shown = StreamEnded(session_id), list(shown)
    if any(isinstance(event, TurnDone) for event in shown):
        return (end,)
    rows = () if record is None else record.messages
    mine = next((i for i, row in enumerate(rows) if is_of_turn(row, turn_id)), None)
    if mine is None:
        waited = all(isinstance(event, TurnBegan) for event in shown)
        return (cancelled() if waited else interrupted(),)  # taken back, or beside the conversation
    following = (i for i in range(mine + 1, len(rows)) if rows[i].get("role") == "user")
    last = rows[next(following, len(rows)) - 1]
    if not last.get("_error"):
        return TurnDone({}), end
    if last.get("type") == "interrupted":
        return (interrupted(),)
    if last.get("provider_details_label") == "Cancellation details":
        return (cancelled(),)
    kind = str(last.get("_failure", "error"))
    return (TurnFailed(kind, "The agent failed", str(last.get("content", ""))),)
