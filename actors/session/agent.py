"""The agent port: what a session tells an agent, and what the agent may tell back.

An agent is a callable. It gets an `AgentTurn` and an `emit`, and returns when the answer is
complete. Everything it emits is durable before anybody sees it. It is cancelled with its turn:
it must let `trio.Cancelled` through, and close what it opened on the way out.

    async def parrot(turn: AgentTurn, emit: Emit) -> None:
        await emit(TextDelta(turn.messages[-1]["content"]))

An agent that cannot answer raises `AgentError`; any other exception is reported as a failure of
type "error" with the exception's text. One that can be spoken to while it works has an attribute
`steerable = True`, and takes up what is said by `await turn.remarks()`.

Before it does something that is not its own to decide it asks `await turn.approve(...)`, and what
it needs from turn to turn it has from `await turn.keep(...)`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

__all__ = [
    "Agent",
    "AgentError",
    "AgentEvent",
    "AgentTurn",
    "Emit",
    "Purpose",
    "ReasoningDelta",
    "TextDelta",
    "ToolCompleted",
    "ToolStarted",
    "Usage",
    "Verdict",
    "Warned",
]


Purpose = Literal["answer", "title", "summary"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of asking for approval. `choice` is once, session, deny or expired; or unasked,
    where nobody can be asked: beside the conversation, and in a session that lasts for one turn.
    """

    choice: str

    @property
    def allowed(self) -> bool:
        """May the call be made?"""
        return self.choice in ("once", "session")


async def _no_remarks() -> Sequence[str]:
    return ()


class Approve(Protocol):
    """See `AgentTurn`."""

    async def __call__(
        self, call_id: str, tool: str, arguments: dict[str, Any], server: str = ""
    ) -> Verdict: ...


async def _nobody_to_ask(
    call_id: str, tool: str, arguments: dict[str, Any], server: str = ""
) -> Verdict:
    return Verdict("unasked")


async def _keeps_nothing(name: str, open: Callable[[], Any]) -> Any:
    raise RuntimeError("only a session keeps something open")


@dataclass(frozen=True, slots=True)
class AgentTurn:
    """One prompt to answer.

    `messages` is what the model should see, the prompt last: JSON objects with no other keys than
    role, content, tool_calls, tool_call_id, name and refusal. `purpose` is "answer" for whatever
    a user reads as an answer; the text for a "title" or a "summary" is read by the session alone.
    `remarks` takes what the user has said since the turn began: each remark once, durably.
    `options` are what this turn wants of the model (temperature, max_tokens, ...): an agent honours
    those that it knows.

    `approve(call_id, tool, arguments)` waits until somebody allows the call, or does not; it is
    allowed at once if the tool is allowed for the session. Name the `server` too if it is not your
    own: what is allowed of one is not allowed of another. Then tell `ToolStarted`: what the record
    says was not begun was not run. `keep(name, open)` gives what `open()`, an asynchronous context
    manager, gave the first turn that asked; it is closed when the session is put away.
    """

    session_id: str
    turn_id: str
    messages: Sequence[Mapping[str, Any]]
    model: str | None = None
    purpose: Purpose = "answer"
    options: Mapping[str, Any] = field(default_factory=dict)
    remarks: Callable[[], Awaitable[Sequence[str]]] = _no_remarks
    approve: Approve = _nobody_to_ask
    keep: Callable[[str, Callable[[], AbstractAsyncContextManager[Any]]], Awaitable[Any]] = (
        _keeps_nothing
    )


class _Event(msgspec.Struct, frozen=True, array_like=True):
    """Encodes as an array with its tag first: one token costs a few bytes in the journal."""


class TextDelta(_Event, frozen=True, tag="text"):
    """Visible text, to be appended to what came before."""

    text: str


class ReasoningDelta(_Event, frozen=True, tag="reasoning"):
    """Thinking that is shown apart from the answer and never sent back to the model."""

    text: str


class ToolStarted(_Event, frozen=True, tag="tool"):
    """A tool call begins. `call_id` is unique within the turn. On disk when it has been emitted.

    Calls of one `round` were asked for together, by one answer of the model.
    """

    call_id: str
    name: str
    arguments: dict[str, Any] = {}
    round: int = 0


class ToolCompleted(_Event, frozen=True, tag="tool_end"):
    """The call `call_id` ended. Counts as progress: the next checkpoint saves the record.

    `name` may be left out: the session knows it from the call's beginning.
    """

    call_id: str
    result: str
    is_error: bool = False
    name: str = ""


class Usage(_Event, frozen=True, tag="usage"):
    """Tokens of this turn so far; each one replaces the one before. `cost` is in US dollars.
    `estimated` marks figures that no provider has counted. `last_prompt_tokens` is what the model
    was shown last, where a turn asked it more than once.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float | None = None
    model: str | None = None
    estimated: bool = False
    last_prompt_tokens: int | None = None


class Warned(_Event, frozen=True, tag="warned"):
    """Something the reader should know that does not end the turn. Of kind length or
    content_filter it says that the model was cut short there.
    """

    kind: str
    message: str


AgentEvent = TextDelta | ReasoningDelta | ToolStarted | ToolCompleted | Usage | Warned
Emit = Callable[[AgentEvent], Awaitable[None]]


class AgentError(Exception):
    """The agent cannot answer; `type` says who must act.

    Types: auth_mismatch, rate_limit, quota_exhausted, model_not_found, context_length, connection,
    timeout, error. `hint` says in one sentence what the reader can do. `details` is what the
    provider said, already free of secrets.
    """

    def __init__(
        self, type: str, message: str, *, hint: str | None = None, details: str | None = None
    ) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.hint = hint
        self.details = details


class Agent(Protocol):
    """Anything that can answer a turn."""

    async def __call__(self, turn: AgentTurn, emit: Emit) -> None: ...
