"""A running turn: the task in which the agent works, and what the session keeps of it."""

import trio

from actors import Ref

from .agent import Agent, AgentError, AgentEvent, AgentTurn
from .answer import Answer
from .entries import TurnFailed, encode
from .feeds import TurnFeed
from .messages import Checkpoint, TurnOutput, TurnReturned

__all__ = ["RunningTurn", "failure_of"]

LABELS = {
    "auth_mismatch": "The provider refused the key",
    "rate_limit": "Too many requests",
    "quota_exhausted": "Quota used up",
    "model_not_found": "Model not found",
    "context_length": "The conversation is too long",
    "connection": "No connection to the provider",
    "timeout": "The provider did not answer in time",
    "no_response": "No response from provider",
    "storage": "The answer could not be saved",
    "interrupted": "Response interrupted",
}


class RunningTurn:
    """A generation: whatever carries another turn's id is dropped by the session."""

    def __init__(self, turn_id: str, feed: TurnFeed, started_at: float) -> None:
        self.turn_id = turn_id
        self.feed = feed
        self.started_at = started_at
        self.answer = Answer()
        self.checkpointed = 0  # tool calls completed at the last checkpoint
        self._scope = trio.CancelScope()
        self._left = trio.Event()

    async def work(self, agent: Agent, turn: AgentTurn, session: Ref, every: float) -> None:
        """Run the agent. Tells the session what it emits, reminds it every `every` seconds to
        save itself, and says when the agent is done.
        """
        failure: Exception | None = None
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tick, session, every)
                    failure = await self._answer(agent, turn, session)
                    nursery.cancel_scope.cancel()
        except* Exception as errors:  # noqa: BLE001 - an agent that failed while it was cancelled
            failure = errors
        finally:
            self._left.set()
        if not self._scope.cancel_called:
            await session.send(TurnReturned(self.turn_id, failure))

    async def _answer(self, agent: Agent, turn: AgentTurn, session: Ref) -> Exception | None:
        async def emit(event: AgentEvent) -> None:
            if not isinstance(event, AgentEvent):
                raise TypeError(f"an agent emits events, not {type(event).__name__}")
            encode(event)  # what cannot be kept is the agent's fault, and raised in the agent
            await session.send(TurnOutput(self.turn_id, event))

        try:
            await agent(turn, emit)
        except Exception as error:  # noqa: BLE001 - the door: providers raise anything
            return error
        return None

    async def _tick(self, session: Ref, every: float) -> None:
        while True:
            await trio.sleep(every)
            await session.send(Checkpoint(self.turn_id))

    async def stop(self, deadline: float) -> bool:
        """Cancel the agent and wait until it has left; False if it has not after `deadline`
        seconds. It may go on unwinding then: nothing it says has any effect.
        """
        self._scope.cancel()
        with trio.move_on_after(deadline):
            await self._left.wait()
        return self.has_left

    @property
    def has_left(self) -> bool:
        """The agent does nothing any more."""
        return self._left.is_set()


def failure_of(error: Exception) -> TurnFailed:
    """How a failed agent is reported: by what it said itself, else by its exception's text."""
    said = _said(error)
    if said is None:
        return TurnFailed("error", "The agent failed", str(error) or type(error).__name__)
    label = LABELS.get(said.type, "The agent failed")
    return TurnFailed(said.type, label, said.message, said.hint, said.details)


def _said(error: BaseException) -> AgentError | None:
    if isinstance(error, AgentError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_said, error.exceptions)), None)
    return None
