"""A question of the session's own to a model: for a title, or for a summary."""

from collections.abc import Sequence
from contextlib import suppress

import trio

from .agent import AgentEvent, AgentTurn, Purpose, TextDelta
from .agent_door import Emitted, answer_of
from .answer import Answer
from .record import Record, Row
from .shared import Shared
from .transcript import model_input

__all__ = ["consult"]

MOST_CHARACTERS = 20_000


class _Enough(Exception):
    """A model that does not stop."""


async def consult(
    shared: Shared, record: Record, purpose: Purpose, request: Sequence[Row], seconds: float
) -> str:
    """What the side agent says, all of it. Raises what it raises, and `TimeoutError` if it takes
    longer than `seconds`. However it ends, what it took are the owner's tokens.
    """
    agent = shared.side_agent
    assert agent is not None
    emitted, answer = Emitted(), Answer()
    characters = 0

    async def emit(event: AgentEvent) -> None:
        nonlocal characters
        await trio.lowlevel.checkpoint()
        checked, _ = emitted.checked(event)
        answer.add(checked)
        if isinstance(checked, TextDelta):
            characters += len(checked.text)
            if characters > MOST_CHARACTERS:
                raise _Enough

    model = record.model or shared.default_model
    turn = AgentTurn(record.session_id, "", model_input(request), model, purpose)
    try:
        with trio.move_on_after(seconds) as scope, suppress(_Enough):
            await answer_of(agent, turn, emit)
    finally:
        if answer.usage is not None or not answer.empty:
            shared.admission.allowance.spend(record.owner, answer.usage_of(turn.messages))
    if scope.cancelled_caught:
        raise TimeoutError(f"no {purpose} within {seconds:g} s")
    return answer.text
