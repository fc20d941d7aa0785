"""What a session can be asked, and what it answers. How it says no is in `refusals`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from actors import Message
from actors.viewer import Viewer

from .context import CompressionPlan
from .entries import FeedEvent
from .record import Record, Row

__all__ = [
    "AddRows",
    "Annotate",
    "AnswerApproval",
    "Archive",
    "AskApproval",
    "Assign",
    "CancelTurn",
    "Checkpoint",
    "Clear",
    "Compress",
    "CompressionState",
    "CompressionStatus",
    "ContextSummarised",
    "CreateSession",
    "DeleteIfEmpty",
    "DeleteSession",
    "EditWaiting",
    "FetchBackground",
    "GetSession",
    "IfBusy",
    "LookAgain",
    "OnBehalf",
    "Once",
    "Pin",
    "Regenerate",
    "RemoveLastTurn",
    "RemoveWaiting",
    "Removed",
    "Rename",
    "RevokeGrant",
    "SaveDraft",
    "SetTitle",
    "SettleStream",
    "SideTurnEnded",
    "Snapshot",
    "StartSideTurn",
    "StartTurn",
    "Steer",
    "SummaryMade",
    "Sweep",
    "TitleOutcome",
    "Truncate",
    "TurnAccepted",
    "TurnOutput",
    "TurnReturned",
    "TurnUnwritable",
    "UpdateSession",
]

_NOTHING = Record(session_id="")

IfBusy = Literal["reject", "queue", "interrupt", "rollback", "steer"]


# -- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session as it stands: never changed afterwards, not even by the session."""

    record: Record
    running: bool  # a turn is alive in this process; the record's word alone proves nothing


@dataclass(frozen=True, slots=True)
class TurnAccepted:
    """The prompt is on disk. `waiting`: its turn comes when the running one, and those that were
    accepted before it, have ended. `fallback` says why it was not done as it was asked.
    """

    turn_id: str
    record: Record
    waiting: bool = False
    steered: bool = False
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What undo or retry took away."""

    count: int
    text: str  # what the user had said
    record: Record


@dataclass(frozen=True, slots=True)
class CompressionState:
    """`status` is idle, running, done or error; `text` says what went wrong."""

    status: str
    started_at: float | None = None
    text: str = ""
    saved_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TitleOutcome:
    """`status` is llm, fallback or skipped. `raw` is what the model had said."""

    status: str
    reason: str
    record: Record
    raw: str = ""


# -- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GetSession(Message[Snapshot]):
    """Read it."""


@dataclass(frozen=True, slots=True)
class OnBehalf(Message[Any]):
    """Do this for that viewer, who is answered as if there were no session where it is somebody
    else's. What it begins is the viewer's own.
    """

    viewer: Viewer
    command: Message[Any]

    @property
    def control(self) -> bool:  # type: ignore[override]
        return self.command.control


@dataclass(frozen=True, slots=True)
class Once(Message[Any]):
    """Do this, unless it was done under this key before; then answer as it was answered then.

    The key is saved with the change itself, so it holds across a crash at any instant.
    Raises `KeyReused` if the key stands for something else, as its `fingerprint` tells.
    """

    key: str
    fingerprint: str
    command: Message[Any]


@dataclass(frozen=True, slots=True)
class CreateSession(Message[Snapshot]):
    """Begin a session under the key that was asked. With `keep` it is on disk at once; without,
    it is in memory until the first change, and is gone if the process ends before that.

    `record` gives it a content to begin with; its id and times are the new session's own.
    """

    record: Record = _NOTHING
    keep: bool = False


@dataclass(frozen=True, slots=True)
class StartTurn(Message[TurnAccepted]):
    """Accept a prompt, and have it answered. Answered when the prompt is on disk.

    While a turn runs, `if_busy` says what becomes of it: `reject` raises `TurnRunning`; `queue`
    lets it wait for its turn; `interrupt` stops the running turn, keeping what was shown, and
    `rollback` without keeping it; `steer` hands it to the running agent, or queues it if that
    agent cannot be steered.

    `before` are rows that come with the prompt, ahead of it. `options` are the agent's for this
    turn (`AgentTurn.options`), `instructions` among them what it sees as a system message that no
    later turn gets. `note` is kept with the prompt, for whoever sent it. With a `revision` it is
    accepted only for the transcript that this names. `turn_id`: a name of your own for the turn.
    """

    prompt: str
    attachments: tuple[Any, ...] = ()
    model: str | None = None
    model_provider: str | None = None
    workspace: str | None = None
    source: str = "webui"
    if_busy: IfBusy = "reject"
    before: tuple[Row, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    note: dict[str, Any] = field(default_factory=dict)
    revision: str | None = None
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class Regenerate(Message[TurnAccepted]):
    """Answer the last prompt again. Raises `StaleRevision` unless the transcript is still the one
    that this names; see `transcript.revision`.
    """

    revision: str


@dataclass(frozen=True, slots=True)
class Steer(Message[TurnAccepted | None]):
    """Hand a remark to the agent while it works; None if no agent takes it. It is on disk first.
    What the agent has not taken up when it ends becomes a message that waits.
    """

    text: str


@dataclass(frozen=True, slots=True)
class EditWaiting(Message[Snapshot]):
    """Change what a waiting message says. Raises `MessageNotWaiting`."""

    turn_id: str
    text: str


@dataclass(frozen=True, slots=True)
class RemoveWaiting(Message[Snapshot]):
    """Take back a waiting message. Raises `MessageNotWaiting`."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class StartSideTurn(Message[TurnAccepted]):
    """Ask something beside the conversation: the agent sees it, the transcript does not get it.

    With `keep` the answer waits in the record until somebody fetches it (`FetchBackground`);
    without, it is shown to whoever reads the stream, and is gone. Runs beside a turn if `keep`.
    """

    prompt: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class FetchBackground(Message[Sequence[Row]]):
    """The results that are there. Each is given once."""


@dataclass(frozen=True, slots=True)
class AnswerApproval(Message[Snapshot]):
    """Allow a tool call once, or its tool for the whole session, or deny it. Only the first answer
    counts: raises `ApprovalClosed` with what that was, or `ApprovalNotFound`. `expired` is for the
    session itself.
    """

    approval_id: str
    choice: Literal["once", "session", "deny", "expired"]


@dataclass(frozen=True, slots=True)
class RevokeGrant(Message[Snapshot]):
    """Ask again before a tool of this name is called, whosever it is."""

    tool: str


@dataclass(frozen=True, slots=True)
class CancelTurn(Message[bool]):
    """Stop that turn and keep what was shown; a waiting one is taken back. False if there is
    nothing to stop.

    `shutdown` says that it was not the user who wanted it.
    """

    control = True
    turn_id: str
    shutdown: bool = False


@dataclass(frozen=True, slots=True)
class RemoveLastTurn(Message[Removed]):
    """Undo and retry: take away the last prompt and all that came after it. Stops a turn."""


@dataclass(frozen=True, slots=True)
class Truncate(Message[Snapshot]):
    """Keep the first `keep` rows of the transcript. Stops a turn."""

    keep: int


@dataclass(frozen=True, slots=True)
class Clear(Message[Snapshot]):
    """Forget all that was said, or waits to be said. Stops a turn."""


@dataclass(frozen=True, slots=True)
class Compress(Message[CompressionState]):
    """Have the model summarise what is old, for itself. Answered when it has begun, or, if it
    runs already, with how that stands. The session's id changes when it is done.
    """

    focus: str = ""


@dataclass(frozen=True, slots=True)
class CompressionStatus(Message[CompressionState]):
    """How the last compression stands."""


@dataclass(frozen=True, slots=True)
class Rename(Message[Snapshot]):
    """Cut to 80 characters; blank means no title. A title given here is never overwritten."""

    title: str


@dataclass(frozen=True, slots=True)
class SetTitle(Message[TitleOutcome]):
    """Set a title that was made for `seen`, if its title and what was said still stand, and if it
    is automatic; with `force` also if it is not. Leaves `updated_at` alone. `title` None means that
    the model had none to offer.
    """

    seen: Record
    title: str | None
    raw: str = ""
    force: bool = False
    latest: bool = False


@dataclass(frozen=True, slots=True)
class Pin(Message[Snapshot]):
    pinned: bool


@dataclass(frozen=True, slots=True)
class Archive(Message[Snapshot]):
    archived: bool


@dataclass(frozen=True, slots=True)
class Assign(Message[Snapshot]):
    """Put it into a project, or with None out of any. Ask `MoveSession` of the projects' owner,
    who knows whether there is such a project.
    """

    project_id: str | None


@dataclass(frozen=True, slots=True)
class UpdateSession(Message[Snapshot]):
    """Change what the next turn uses. Only what is in `fields`: workspace, model, model_provider,
    enabled_toolsets, personality.
    """

    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddRows(Message[Snapshot]):
    """Put these at the end of the transcript. Nobody answers them."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Annotate(Message[Snapshot]):
    """Set fields of the record that mean nothing to the session: see `Record.extra`."""

    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SaveDraft(Message[Snapshot]):
    """Keep what was typed and not sent."""

    draft: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeleteSession(Message[None]):
    """Stops a turn, then the session is gone for good. Deleting what is not there is fine."""


@dataclass(frozen=True, slots=True)
class DeleteIfEmpty(Message[bool]):
    """Delete it if nothing was ever said in it and nothing is about to be; `untitled`: and if it
    has no title. True if it is gone.
    """

    untitled: bool = True


# -- from the session's own tasks, and its keeper's -----------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnOutput(Message[None]):
    turn_id: str
    event: FeedEvent


@dataclass(frozen=True, slots=True)
class AskApproval(Message[Row]):
    """May the running turn make this call? Answered with the row of the record's `approvals` once
    that is on disk; or with no more than its `choice`, if nobody needs to be asked, or can be.
    """

    turn_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    seconds: float  # then it expires
    server: str = ""  # whose tool it is: no other's is allowed with it


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
class SideTurnEnded(Message[None]):
    turn_id: str
    failure: Exception | None


@dataclass(frozen=True, slots=True)
class ContextSummarised(Message[Sequence[Row] | None]):
    """A running turn's context was summarised; answered with what the model sees now, or None if
    it is not the running turn's any more.
    """

    turn_id: str
    plan: CompressionPlan
    summary: str


@dataclass(frozen=True, slots=True)
class SummaryMade(Message[None]):
    """What became of the compression that was asked for."""

    plan: CompressionPlan
    summary: str | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint(Message[None]):
    turn_id: str


@dataclass(frozen=True, slots=True)
class SettleStream(Message[None]):
    """The journal holds a stream without an end. End it, unless it is alive."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class Sweep(Message[None]):
    """A crash may have left something of this session under another id. Waking it mends that."""


@dataclass(frozen=True, slots=True)
class LookAgain(Message[None]):
    """Something stood in the way: of a save, or of a waiting message. It may be gone by now."""
