"""What a turn's feed holds: the agent's events, and how the turn began and ended."""

from typing import Any

import msgspec

from .agent import AgentEvent, ReasoningDelta, TextDelta

__all__ = [
    "TERMINAL",
    "ApprovalAsked",
    "ApprovalEnded",
    "Entry",
    "FeedEvent",
    "Steered",
    "StreamEnded",
    "TitleChanged",
    "TitleSettled",
    "TurnBegan",
    "TurnCancelled",
    "TurnCompressed",
    "TurnCompressing",
    "TurnDone",
    "TurnFailed",
    "decode",
    "encode",
    "merged",
]


class _Event(msgspec.Struct, frozen=True, array_like=True):
    pass


class TurnBegan(_Event, frozen=True, tag="began"):
    """The first entry of every feed: of which session, and whose that is."""

    session_id: str
    owner: str | None = None


class Steered(_Event, frozen=True, tag="steered"):
    """The agent took up what the user said meanwhile."""

    remark_id: str
    text: str
    at: float


class ApprovalAsked(_Event, frozen=True, tag="approval"):
    """The agent waits until somebody allows the call, or does not."""

    approval_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    expires_at: float


class ApprovalEnded(_Event, frozen=True, tag="approval_end"):
    """It was answered (once, session, deny), or nobody did in time (expired)."""

    approval_id: str
    choice: str


class TurnCompressing(_Event, frozen=True, tag="compressing"):
    """The conversation is too long for the model; a summary of it is being made."""

    session_id: str


class TurnCompressed(_Event, frozen=True, tag="compressed"):
    """The session goes on under another id. The old one leads there."""

    old_session_id: str
    new_session_id: str


class TurnDone(_Event, frozen=True, tag="done"):
    """The answer is complete and in the transcript. But one to an ephemeral question is in
    `answer`, and nowhere else.
    """

    usage: dict[str, Any]
    answer: str | None = None


class TitleSettled(_Event, frozen=True, tag="title_status"):
    """What came of looking for a title: after `TurnDone`, if at all."""

    session_id: str
    status: str
    reason: str
    title: str
    raw: str


class TitleChanged(_Event, frozen=True, tag="title"):
    """The session has another title."""

    session_id: str
    title: str


class TurnCancelled(_Event, frozen=True, tag="cancelled"):
    """Stopped by the user; what was shown is in the transcript. The last entry."""

    message: str


class TurnFailed(_Event, frozen=True, tag="failed"):
    """No answer, or half of one; the transcript says the same. The last entry.

    `kind` is an `AgentError`'s type, or no_response, storage or interrupted.
    """

    kind: str
    label: str
    message: str
    hint: str | None = None
    details: str | None = None


class StreamEnded(_Event, frozen=True, tag="end"):
    """The last entry after `TurnDone`. Names the session as it was called at the beginning."""

    session_id: str


FeedEvent = (
    AgentEvent
    | TurnBegan
    | Steered
    | ApprovalAsked
    | ApprovalEnded
    | TurnCompressing
    | TurnCompressed
    | TurnDone
    | TurnCancelled
    | TurnFailed
    | TitleSettled
    | TitleChanged
    | StreamEnded
)

TERMINAL = (StreamEnded, TurnCancelled, TurnFailed)

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(FeedEvent).decode


class Entry:
    """One number of a feed. `frame` is for the door that shows it: encoded once, shared by all."""

    __slots__ = ("event", "frame", "seq")

    def __init__(self, seq: int, event: FeedEvent) -> None:
        self.seq = seq
        self.event = event
        self.frame: bytes | None = None

    def __repr__(self) -> str:
        return f"<Entry {self.seq} {self.event!r}>"


def merged(before: FeedEvent, event: FeedEvent) -> FeedEvent | None:
    """One event that says the same as these two; None if there is none."""
    if isinstance(before, TextDelta) and isinstance(event, TextDelta):
        return TextDelta(before.text + event.text)
    if isinstance(before, ReasoningDelta) and isinstance(event, ReasoningDelta):
        return ReasoningDelta(before.text + event.text)
    return None
