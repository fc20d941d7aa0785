"""What can happen to a session. An event holds all that `evolve` needs to know."""

from dataclasses import dataclass, field
from typing import Any

from .agent import Usage
from .record import Compression, Record, Row

__all__ = [
    "Changed",
    "Checkpointed",
    "Cleared",
    "Compressed",
    "Created",
    "Cut",
    "Deleted",
    "Event",
    "SideTurnStarted",
    "TurnEnded",
    "TurnStarted",
]


@dataclass(frozen=True, slots=True)
class Created:
    record: Record


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A prompt got its turn. If it has waited, it does not any more. `keep` cuts the transcript to
    so many rows first: the prompt takes the place of what was there. `before` comes ahead of it.
    """

    turn_id: str
    prompt: str
    attachments: tuple[Any, ...]
    at: float
    title: str
    model: str | None
    model_provider: str | None
    workspace: str
    source: str
    keep: int | None = None
    before: tuple[Row, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """`rows` come after the prompt. They reach the model, but for those marked `_error`.
    `steered` are the waiting remarks that are among them. `usage` is None if the model has done
    nothing. `unanswered` is what becomes of an approval that nobody has given.
    """

    rows: tuple[Row, ...]
    tool_calls: tuple[Row, ...]
    usage: Usage | None
    at: float | None  # None leaves `updated_at` alone
    recovered: bool = False
    steered: frozenset[str] = frozenset()
    unanswered: str = "interrupted"


@dataclass(frozen=True, slots=True)
class Checkpointed:
    at: float


@dataclass(frozen=True, slots=True)
class SideTurnStarted:
    """A question beside the conversation was accepted; one with a `row` is a kept task."""

    turn_id: str
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The transcript was cut to `keep` rows. `text` is the prompt that went, if one was meant."""

    keep: int
    generation: str
    at: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Cleared:
    generation: str
    at: float


@dataclass(frozen=True, slots=True)
class Compressed:
    """The session goes on as `session_id`, and its model sees a summary of what is old."""

    session_id: str
    compression: Compression


@dataclass(frozen=True, slots=True)
class Changed:
    """Fields set to these values. `at` None leaves `updated_at` alone."""

    fields: dict[str, Any]
    at: float | None


@dataclass(frozen=True, slots=True)
class Deleted:
    pass


Event = (
    Created
    | TurnStarted
    | TurnEnded
    | Checkpointed
    | SideTurnStarted
    | Cut
    | Cleared
    | Compressed
    | Changed
    | Deleted
)
