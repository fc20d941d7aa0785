"""What a session can be asked, what it answers, and how it says no."""

from dataclasses import dataclass, field
from typing import Any

from actors import Message, Rejected

from .agent import AgentEvent
from .record import Record, Row

__all__ = [
    "Archive",
    "BlankMessage",
    "CancelTurn",
    "Checkpoint",
    "CreateSession",
    "DeleteSession",
    "GetSession",
    "NothingToRemove",
    "Pin",
    "ReadOnly",
    "RemoveLastTurn",
    "Removed",
    "Rename",
    "SaveAgain",
    "SaveDraft",
    "SessionBusy",
    "SessionExists",
    "SessionNotFound",
    "ShuttingDown",
    "Snapshot",
    "StartTurn",
    "StorageFailed",
    "TurnAccepted",
    "TurnOutput",
    "TurnReturned",
    "TurnRunning",
    "TurnUnwritable",
    "UpdateSession",
]


# -- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session as it stands: never changed afterwards, not even by the session."""

    record: Record
    running: bool  # a turn is alive in this process; the record's word alone proves nothing


@dataclass(frozen=True, slots=True)
class TurnAccepted:
    """The prompt is on disk."""

    turn_id: str
    record: Record


@dataclass(frozen=True, slots=True)
class Removed:
    """What undo or retry took away."""

    count: int
    text: str  # what the user had said
    record: Record


# -- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GetSession(Message[Snapshot]):
    """Read it."""


@dataclass(frozen=True, slots=True)
class CreateSession(Message[Snapshot]):
    """Begin a session under the key that was asked. With `keep` it is on disk at once; without,
    it is in memory until the first change, and is gone if the process ends before that.
    """

    keep: bool = False
    title: str | None = None
    workspace: str | None = None
    model: str | None = None
    model_provider: str | None = None
    profile: str | None = None
    project_id: str | None = None
    messages: tuple[Row, ...] = ()
    tool_calls: tuple[Row, ...] = ()
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class StartTurn(Message[TurnAccepted]):
    """Accept a prompt, and have it answered. Answered when the prompt is on disk."""

    prompt: str
    attachments: tuple[Any, ...] = ()
    model: str | None = None
    model_provider: str | None = None
    workspace: str | None = None
    source: str = "webui"


@dataclass(frozen=True, slots=True)
class CancelTurn(Message[bool]):
    """Stop that turn and keep what was shown. False if it is not the one that runs.

    `shutdown` says that it was not the user who wanted it.
    """

    control = True
    turn_id: str
    shutdown: bool = False


@dataclass(frozen=True, slots=True)
class RemoveLastTurn(Message[Removed]):
    """Undo and retry: take away the last prompt and all that came after it. Stops a turn."""


@dataclass(frozen=True, slots=True)
class Rename(Message[Snapshot]):
    """Cut to 80 characters; blank means no title. A title given here is never overwritten."""

    title: str


@dataclass(frozen=True, slots=True)
class Pin(Message[Snapshot]):
    pinned: bool


@dataclass(frozen=True, slots=True)
class Archive(Message[Snapshot]):
    archived: bool


@dataclass(frozen=True, slots=True)
class UpdateSession(Message[Snapshot]):
    """Change what the next turn uses. None leaves a value as it is."""

    workspace: str | None = None
    model: str | None = None
    model_provider: str | None = None


@dataclass(frozen=True, slots=True)
class SaveDraft(Message[Snapshot]):
    """Keep what was typed and not sent."""

    draft: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeleteSession(Message[None]):
    """Stops a turn, then the session is gone for good. Deleting what is not there is fine."""


# -- from the session's own tasks ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnOutput(Message[None]):
    turn_id: str
    event: AgentEvent


@dataclass(frozen=True, slots=True)
class TurnReturned(Message[None]):
    """The agent is done, well or not."""

    turn_id: str
    failure: Exception | None


@dataclass(frozen=True, slots=True)
class TurnUnwritable(Message[None]):
    """The turn's output cannot be made durable, so it cannot be shown."""

    control = True
    turn_id: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Checkpoint(Message[None]):
    turn_id: str


@dataclass(frozen=True, slots=True)
class SaveAgain(Message[None]):
    """The last save failed; there may be room by now."""


# -- refusals -----------------------------------------------------------------------------------


class SessionNotFound(Rejected):
    """There is none under this key."""


class SessionExists(Rejected):
    """The key is taken; take another."""


class BlankMessage(Rejected):
    """A prompt must say something."""


class TurnRunning(Rejected):
    """One turn at a time. `turn_id` is the one that runs."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(turn_id)
        self.turn_id = turn_id


class SessionBusy(Rejected):
    """A stopped turn has not ended yet. Ask again in a moment."""


class NothingToRemove(Rejected):
    """No prompt in the transcript."""


class ReadOnly(Rejected):
    """An imported transcript that is only to be read."""


class StorageFailed(Rejected):
    """The change could not be written and was not made. `full`: for want of room."""

    def __init__(self, reason: str, full: bool = False) -> None:
        super().__init__(reason, full)
        self.full = full


class ShuttingDown(Rejected):
    """No new turns: the process is about to end."""
