"""Tool calls that wait until somebody allows them."""

from actors.index.messages import TEMPORARY

from . import approvals
from .entries import ApprovalAsked, ApprovalEnded
from .ledger import Ledger
from .messages import AnswerApproval, AskApproval, Snapshot
from .record import Row
from .turns import Turns

__all__ = ["Approving"]


class Approving:
    """The record says it first, then readers hear of it, then the agent goes on: whatever a crash
    cuts off between two of these is told by the record, and nothing is run by itself afterwards.
    """

    def __init__(self, ledger: Ledger, turns: Turns) -> None:
        self._ledger = ledger
        self._turns = turns

    async def ask(self, command: AskApproval) -> Row:
        if approvals.is_granted(self._ledger.present, command.server, command.tool):
            return {"choice": "session"}
        turn = self._turns.current(command.turn_id)
        if turn is None or self._ledger.present.session_source == TEMPORARY:
            return {"choice": "unasked"}  # no page shows it
        await self._ledger.commit(self._ledger.decide(command))
        row = self._ledger.present.approvals[-1]
        turn.feed.put(
            ApprovalAsked(
                row["id"], command.call_id, command.tool, command.arguments, row["expires_at"]
            )
        )
        return row

    async def answer(self, command: AnswerApproval) -> Snapshot:
        event = self._ledger.decide(command)
        waited = approvals.open_approvals(self._ledger.present)
        await self._ledger.commit(event)
        for row in (approvals.find(self._ledger.present, row["id"]) for row in waited):
            turn = self._turns.current(row["turn_id"])
            if turn is not None and "choice" in row:
                turn.feed.put(ApprovalEnded(row["id"], row["choice"]))
                turn.decided(row["id"], row["choice"])
        return self._ledger.snapshot()
