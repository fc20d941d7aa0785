"""Actors on Trio: one task, one mailbox, one owner. This is the public face; see README.md."""

from ._core.actor import Actor, Context, Kind
from ._core.dead_letters import DeadLetter
from ._core.envelope import Message
from ._core.errors import (
    ActorCrashed,
    ActorError,
    ActorStopped,
    AddressTaken,
    AskCycle,
    ChildFailed,
    MailboxFull,
    Moved,
    NotOnTrio,
    Rejected,
    UnknownKind,
)
from ._core.feed import Feed, Gap
from ._core.lifecycle import Lifecycle
from ._core.ref import Ref
from ._core.restart import RestartPolicy
from ._core.system import CellStatistics, Statistics, System, open_system
from ._core.ties import Ended
from ._core.timer import Timer

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorError",
    "ActorStopped",
    "AddressTaken",
    "AskCycle",
    "CellStatistics",
    "ChildFailed",
    "Context",
    "DeadLetter",
    "Ended",
    "Feed",
    "Gap",
    "Kind",
    "Lifecycle",
    "MailboxFull",
    "Message",
    "Moved",
    "NotOnTrio",
    "Ref",
    "Rejected",
    "RestartPolicy",
    "Statistics",
    "System",
    "Timer",
    "UnknownKind",
    "open_system",
]
