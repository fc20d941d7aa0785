"""One round of tool calls: allowed or not, all at once, each with an answer for the model."""

from collections.abc import Sequence
from typing import Any

import trio

from actors.session.agent import AgentTurn, Emit, ToolCompleted, ToolStarted

from ..tools.results import Outcome, shortened
from ..tools.toolbox import Toolbox
from .tool_calls import Call, tool_row

__all__ = ["run_calls"]

MOST_CALLS = 32  # at once

DENIED = {
    "deny": "The user denied this call. Do not try it again unless the user asks for it.",
    "expired": "The call was not run: nobody allowed it in time.",
    "unasked": "The call was not run: it needs approval, and nobody can be asked here.",
}


async def run_calls(
    calls: Sequence[Call], turn: AgentTurn, emit: Emit, toolbox: Toolbox, number: int
) -> list[dict[str, Any]]:
    """The rows that answer these calls, in their order. `number` is the round's."""
    rows: dict[str, dict[str, Any]] = {}

    async def answer(call: Call, problem: str | None) -> None:
        outcome = await _outcome(call, problem, turn, emit, toolbox, number)
        text = shortened(outcome.text)
        await emit(ToolCompleted(call.id, text, outcome.is_error))
        rows[call.id] = tool_row(call, text)

    async with trio.open_nursery() as nursery:
        for place, call in enumerate(calls):
            too_many = f"Not run: at most {MOST_CALLS} calls at once."
            nursery.start_soon(answer, call, too_many if place >= MOST_CALLS else call.problem)
    return [rows[call.id] for call in calls]


async def _outcome(
    call: Call, problem: str | None, turn: AgentTurn, emit: Emit, toolbox: Toolbox, number: int
) -> Outcome:
    tool = toolbox.find(call.name)
    if problem is None and tool is None:
        names = ", ".join(toolbox.names) or "none"
        problem = f"There is no tool {call.name!r}. There are: {names}."
    if problem is None and tool is not None and tool.asks:
        verdict = await turn.approve(call.id, call.name, call.arguments, tool.server)
        problem = None if verdict.allowed else DENIED.get(verdict.choice, DENIED["expired"])
    # On disk when this returns: what runs is never told as not run.
    await emit(ToolStarted(call.id, call.name, call.arguments, number))
    if problem is not None or tool is None:
        return Outcome(problem or "", is_error=True)
    return await tool.call(call.arguments)
