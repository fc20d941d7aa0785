"""A question of the session's own to a model: for a title, or for a summary."""

from collections.abc import Sequence
from contextlib import suppress

import trio

from .agent import Agent, AgentEvent, AgentTurn, Purpose, TextDelta
from .record import Row

__all__ = ["consult"]

MOST_CHARACTERS = 20_000


class _Enough(Exception):
    """A model that does not stop."""


async def consult(
    agent: Agent,
    purpose: Purpose,
    messages: Sequence[Row],
    *,
    session_id: str,
    model: str | None,
    seconds: float,
) -> str:
    """What the agent says, all of it. Raises what the agent raises, and `TimeoutError` if it takes
    longer than `seconds`.
    """
    said: list[str] = []

    async def emit(event: AgentEvent) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(event, TextDelta):
            said.append(event.text)
            if sum(map(len, said)) > MOST_CHARACTERS:
                raise _Enough

    turn = AgentTurn(session_id, "", messages, model, purpose)
    with trio.move_on_after(seconds) as scope:
        with suppress(_Enough):
            await agent(turn, emit)
    if scope.cancelled_caught:
        raise TimeoutError(f"no {purpose} within {seconds:g} s")
    return "".join(said)
