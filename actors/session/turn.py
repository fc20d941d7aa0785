"""A running turn: the task in which the agent works, and what the session keeps of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import trio

from actors import Ref

from .admission import Place
from .agent import (
    Agent,
    AgentError,
    AgentEvent,
    AgentTurn,
    Emit,
    ToolCompleted,
    ToolStarted,
    Usage,
    Verdict,
    Warned,
)
from .agent_door import Emitted, answer_of
from .answer import Answer
from .entries import FeedEvent, Steered, TurnFailed
from .feeds import TurnFeed
from .messages import AnswerApproval, AskApproval, TurnOutput
from .record import Row
from .refusals import ApprovalClosed, StorageFailed
from .reports import TurnReport, outcome_of
from .shared import Shared

__all__ = ["RunningTurn", "failure_of"]

LABELS = {
    "auth_mismatch": "The provider refused the key",
    "rate_limit": "Too many requests",
    "quota_exhausted": "Quota used up",
    "model_not_found": "Model not found",
    "context_length": "The conversation is too long",
    "connection": "No connection to the provider",
    "timeout": "The provider did not answer in time",
    "tool_limit_reached": "Too many tool calls",
    "no_response": "No response from provider",
    "storage": "The answer was cut short",
    "interrupted": "Response interrupted",
}

OTHERS = "Others are being answered; this one waits for its place"
LARGE = 64 * 1024  # bytes of an event
WORDS = 2000  # characters of what an agent says of its failure

Shorten = Callable[[bool], Awaitable[Sequence[Row] | None]]
"""Make the context shorter if it is too long, or in any case (True): what the model sees then, or
None if it stays as it is."""


class RunningTurn:
    """A generation: whatever carries another turn's id is dropped by the session.

    A turn beside the conversation is one too, with no place in it.
    """

    def __init__(
        self,
        turn_id: str,
        feed: TurnFeed,
        started_at: float,
        sees: Sequence[Mapping[str, Any]] = (),
        model: str | None = None,
    ) -> None:
        self.turn_id = turn_id
        self.feed = feed
        self.started_at = started_at
        self.answer = Answer()
        self.saves_later = False  # the session has reminded itself to
        self._model = model
        self._began = trio.current_time()
        self._sees = sees  # what the model is shown
        self._remarks: list[tuple[str, str]] = []
        self._choices: dict[str, str] = {}  # answers to approvals that the agent waits for
        self._decided = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._left = trio.Event()

    @property
    def usage(self) -> Usage:
        """Of the turn so far: as the provider has said, else estimated."""
        return self.answer.usage_of(self._sees)

    def report(self, *last: FeedEvent) -> TurnReport:
        """How it went, now that these are the last entries of its feed."""
        outcome, error = outcome_of(last)
        answered_at, answer = self.feed.answered_at, self.answer
        return TurnReport(
            session_id=self.feed.session_id,
            turn_id=self.turn_id,
            model=self._model,
            outcome=outcome,
            error=error,
            usage=answer.usage or Usage() if answer.empty else self.usage,
            started_at=self.started_at,
            seconds=trio.current_time() - self._began,
            first_seconds=None if answered_at is None else answered_at - self._began,
        )

    def remark(self, remark_id: str, text: str) -> None:
        """For the agent to take up. It is on disk."""
        self._remarks.append((remark_id, text))

    def decided(self, approval_id: str, choice: str) -> None:
        """Let the agent go on. It is on disk."""
        self._choices[approval_id] = choice
        self._decided.unpark_all()

    async def work(
        self, shared: Shared, turn: AgentTurn, session: Ref, shorten: Shorten
    ) -> tuple[bool, Exception | None]:
        """Run the agent, and tell the session what it emits. Returns whether it was left to end by
        itself, and how it failed.
        """
        failure: Exception | None = None
        try:
            with self._scope:
                failure = await self._answer(shared, turn, session, shorten)
        except* Exception as errors:  # noqa: BLE001 - an agent that failed while it was cancelled
            failure = errors
        finally:
            self._left.set()
        return not self._scope.cancel_called, failure

    async def _answer(
        self, shared: Shared, turn: AgentTurn, session: Ref, shorten: Shorten
    ) -> Exception | None:
        agent = shared.agent

        async def tell(event: FeedEvent) -> None:
            await session.send(TurnOutput(self.turn_id, event))

        emitted = Emitted()

        async def emit(event: AgentEvent) -> None:
            checked, size = emitted.checked(event)
            if self._scope.cancel_called:  # who is stopped waits for nobody, and nobody for it
                await tell(checked)
            elif isinstance(checked, ToolStarted):
                place.begins(checked.call_id)
                await take_place()
                await self._tell_durably(session, checked)
            elif size > LARGE:  # a mailbox counts messages: of these one at a time
                await session.ask(TurnOutput(self.turn_id, checked))
            else:
                await tell(checked)
            if isinstance(checked, ToolCompleted):
                place.ended(checked.call_id)

        async def take_place() -> None:
            if not place.at_hand:
                await tell(Warned("waiting", OTHERS))
            await place.take()

        async def approve(
            call_id: str, tool: str, arguments: dict[str, Any], server: str = ""
        ) -> Verdict:
            checked, _ = emitted.checked(ToolStarted(call_id, tool, arguments))
            whose, _ = emitted.checked(ToolStarted(call_id, server))
            assert isinstance(checked, ToolStarted)
            assert isinstance(whose, ToolStarted)
            asked = AskApproval(
                self.turn_id,
                checked.call_id,
                checked.name,
                checked.arguments,
                shared.approval_seconds,
                whose.name,
            )
            choice = await self._approved(session, asked, place)
            await take_place()
            return Verdict(choice)

        async def remarks() -> Sequence[str]:
            taken = []
            while self._remarks:
                remark_id, text = self._remarks[0]
                await tell(Steered(remark_id, text, shared.clock()))
                self._remarks.pop(0)
                taken.append(text)
            return taken

        turn = replace(turn, remarks=remarks, approve=approve)
        with shared.admission.place(self.feed.owner) as place:
            await take_place()
            return await self._ask(agent, turn, emit, shorten)

    async def _ask(
        self, agent: Agent, turn: AgentTurn, emit: Emit, shorten: Shorten
    ) -> Exception | None:
        try:
            shorter = await shorten(False)
            if shorter is not None:
                turn = self._seeing(turn, shorter)
            try:
                await answer_of(agent, turn, emit)
            except AgentError as error:
                # Nobody knew how much fits until the provider said so.
                if error.type != "context_length" or not self.answer.empty or shorter is not None:
                    raise
                shorter = await shorten(True)
                if shorter is None:
                    raise
                await answer_of(agent, self._seeing(turn, shorter), emit)
        except Exception as error:  # noqa: BLE001 - the door: providers raise anything
            return error
        return None

    async def _tell_durably(self, session: Ref, event: FeedEvent) -> None:
        """What is done next must not be done without a trace."""
        await session.ask(TurnOutput(self.turn_id, event))
        await self.feed.wait_shown()
        if self.feed.failure is not None:
            raise self.feed.failure

    async def _approved(self, session: Ref, asked: AskApproval, place: Place) -> str:
        try:
            row = await session.ask(asked)
            if "choice" in row:
                return str(row["choice"])
            with place.asking(), trio.move_on_after(asked.seconds):
                while row["id"] not in self._choices:
                    await self._decided.park()
                return self._choices[row["id"]]
            await session.ask(AnswerApproval(row["id"], "expired"))
        except ApprovalClosed as closed:
            return closed.choice
        except StorageFailed as error:
            what = "What the tool call needs could not be saved."
            raise AgentError("storage", what, details=str(error)) from error
        return "expired"

    def _seeing(self, turn: AgentTurn, messages: Sequence[Row]) -> AgentTurn:
        self._sees = messages
        return replace(turn, messages=messages)

    async def stop(self, deadline: float) -> bool:
        """Cancel the agent and wait until it has left; False if it has not after `deadline`
        seconds. It may go on unwinding then: nothing it says has any effect.
        """
        self._scope.cancel()
        with trio.move_on_after(deadline):
            await self._left.wait()
        return self.has_left

    async def wait_left(self) -> None:
        """Until the agent does nothing any more."""
        await self._left.wait()

    @property
    def has_left(self) -> bool:
        return self._left.is_set()


def failure_of(error: Exception) -> TurnFailed:
    """How a failed agent is reported: by what it said itself, else by its exception's text."""
    said = _said(error)
    if said is None:
        return TurnFailed("error", "The agent failed", _words(error) or type(error).__name__)
    kind = _words(said.type)
    hint, details = (None if it is None else _words(it) for it in (said.hint, said.details))
    label = LABELS.get(kind, "The agent failed")
    return TurnFailed(kind, label, _words(said.message), hint, details)


def _words(said: object) -> str:
    """Text that can be kept, whatever it is: an agent's exception is the agent's."""
    try:
        text = str(said)
    except Exception:  # noqa: BLE001 - it is not even that
        text = type(said).__name__
    return text[:WORDS].encode(errors="replace").decode()


def _said(error: BaseException) -> AgentError | None:
    if isinstance(error, AgentError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_said, error.exceptions)), None)
    return None
