"""What all sessions of one data directory share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.stores import RecordStore

from .admission import Admission
from .agent import Agent
from .feeds import Feeds
from .notices import Notices
from .reports import TurnReport

__all__ = ["Shared"]


@dataclass
class Shared:
    """`clock` and `new_id` are arguments, so that a whole schedule can be replayed. `side_agent`
    answers the sessions' own questions, for titles and summaries; without it titles are made from
    the first words, and nothing is summarised. `on_turn_ended` must not raise.
    """

    store: RecordStore
    feeds: Feeds
    agent: Agent
    clock: Callable[[], float]  # epoch seconds
    new_id: Callable[[], str]  # 32 hex digits
    side_agent: Agent | None = None
    model_titles: bool = True  # False: never ask a model for one
    default_model: str | None = None
    context_tokens: int | None = None  # what the model can see at once, if that is known
    checkpoint_seconds: float = 15.0
    approval_seconds: float = 600.0  # then a tool call that nobody has allowed is denied
    accepting: bool = True  # False: no new turns, we are about to end
    on_turn_ended: Callable[[TurnReport], None] = lambda report: None
    turns_started: int = 0
    notices: Notices = field(default_factory=Notices)
    admission: Admission = field(default_factory=Admission)
