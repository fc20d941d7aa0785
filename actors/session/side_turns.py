"""Turns beside the conversation: a question by the way, and tasks in the background."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import trio

from .agent import AgentTurn
from .answer import Answer
from .endings import cancelled, interrupted, silent_failure, storage_failure
from .entries import FeedEvent, StreamEnded, TurnCancelled, TurnDone, TurnFailed
from .events import Changed, SideTurnStarted
from .kept import Kept
from .ledger import Ledger
from .messages import CancelTurn, SideTurnEnded, StartSideTurn, TurnAccepted, TurnUnwritable
from .record import Row
from .refusals import BlankMessage, SessionBusy, StorageFailed, TurnRunning
from .shared import Shared
from .turn import RunningTurn, failure_of
from .turns import STOP_SECONDS, agent_turn, open_feed

__all__ = ["SideTurns"]

MOST = 8
MOST_RESULTS = 50
NO_ANSWER = "(no answer produced)"
FAILED = "(background task failed)"


class SideTurns:
    """Those of one session. A kept one has a row in the record's `background`: `task_id`,
    `stream_id`, `prompt`, `status` (running, done, failed, cancelled), `started_at`, and when it
    has ended `completed_at` and `answer`.
    """

    def __init__(
        self,
        ledger: Ledger,
        shared: Shared,
        commit_or_keep: Callable[[Changed], Awaitable[StorageFailed | None]],
        kept: Kept,
    ) -> None:
        self._ledger = ledger
        self._commit_or_keep = commit_or_keep
        self._shared = shared
        self._kept = kept
        self._turns: dict[str, RunningTurn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def find(self, turn_id: str) -> RunningTurn | None:
        return self._turns.get(turn_id)

    @property
    def _rows(self) -> tuple[Row, ...]:
        return () if self._ledger.record is None else self._ledger.record.background

    # -- from the question to the answer ----------------------------------------------------

    async def start(self, command: StartSideTurn) -> TurnAccepted:
        """Raises `TurnRunning`, `SessionBusy` or `StorageFailed`."""
        record = self._ledger.present
        if not command.prompt.strip():
            raise BlankMessage
        if self._ledger.running and not command.keep:
            raise TurnRunning(record.active_stream_id or "")
        if len(self._turns) >= MOST:
            raise SessionBusy(f"{MOST} questions are being answered beside the conversation")
        self._shared.admission.check(record.owner, self._shared.feeds)
        turn_id = self._shared.new_id()
        feed = await open_feed(self._shared, self._ledger, turn_id)
        try:
            await self._note(turn_id, command)
        except (StorageFailed, SessionBusy):
            await self._shared.feeds.drop(feed)
            raise
        asked = agent_turn(self._shared, record, turn_id, command.prompt)
        turn = RunningTurn(turn_id, feed, self._shared.clock(), asked.messages, asked.model)
        self._shared.turns_started += 1
        self._turns[turn_id] = turn
        self._ledger.context.start_soon(self._work, turn, asked)
        return TurnAccepted(turn_id, record)

    async def _note(self, turn_id: str, command: StartSideTurn) -> None:
        """Write down that it was accepted, if that is to outlive the process."""
        if not command.keep:
            if self._ledger.once is not None:
                await self._ledger.commit(SideTurnStarted(turn_id))
            return
        if len(self._rows) >= MOST_RESULTS:
            raise SessionBusy("Fetch the results that are there first")
        row: Row = {"task_id": turn_id[:8], "stream_id": turn_id, "prompt": command.prompt}
        row |= {"status": "running", "started_at": self._shared.clock()}
        await self._ledger.commit(SideTurnStarted(turn_id, row))

    async def _work(self, turn: RunningTurn, asked: AgentTurn) -> None:
        session = self._ledger.context.ref
        asked = replace(asked, keep=self._kept.get)
        by_itself, failure = await turn.work(self._shared, asked, session, _as_it_is)
        if by_itself:
            await session.send(SideTurnEnded(turn.turn_id, failure))

    async def ended(self, ended: SideTurnEnded) -> None:
        turn = self._turns.get(ended.turn_id)
        if turn is None:
            return
        if ended.failure is not None:
            await self._finish(turn, "failed", failure_of(ended.failure))
        elif turn.answer.silent:
            await self._finish(turn, "failed", silent_failure())
        else:
            done = TurnDone(msgspec.structs.asdict(turn.usage), turn.answer.text)
            await self._finish(turn, "done", done, StreamEnded(turn.feed.session_id))

    async def cancel(self, command: CancelTurn) -> bool:
        turn = self._turns.get(command.turn_id)
        if turn is not None:
            await self._stop(turn, shutdown=command.shutdown)
        return turn is not None

    async def stop_all(self) -> None:
        for turn in list(self._turns.values()):
            await self._stop(turn, shutdown=False)

    async def _stop(self, turn: RunningTurn, *, shutdown: bool) -> None:
        await turn.stop(STOP_SECONDS)
        last: TurnCancelled | TurnFailed = interrupted() if shutdown else cancelled()
        await self._finish(turn, "failed" if shutdown else "cancelled", last)

    async def unwritable(self, unwritable: TurnUnwritable) -> None:
        turn = self._turns.get(unwritable.turn_id)
        if turn is not None:
            await turn.stop(0)
            await self._finish(turn, "failed", storage_failure(unwritable.error))

    async def _finish(self, turn: RunningTurn, status: str, *last: FeedEvent) -> None:
        if self._turns.pop(turn.turn_id, None) is not None:
            self._shared.admission.allowance.spend(turn.feed.owner, turn.usage)
        error = await self._save_result(turn.turn_id, status, turn.answer)
        if error is not None:
            last = (storage_failure(error),)
        await self._shared.feeds.end(turn.feed, *last)
        if turn.started_at:
            self._shared.on_turn_ended(turn.report(*last))

    async def _save_result(self, turn_id: str, status: str, answer: Answer) -> StorageFailed | None:
        rows = self._rows
        if not any(row.get("stream_id") == turn_id for row in rows):
            return None
        result: dict[str, Any] = {"status": status, "completed_at": self._shared.clock()}
        result["answer"] = answer.text or (NO_ANSWER if status == "done" else FAILED)
        ended = tuple(row | result if row.get("stream_id") == turn_id else row for row in rows)
        return await self._commit_or_keep(Changed({"background": ended}, None))

    # -- afterwards -------------------------------------------------------------------------

    async def fetch(self) -> Sequence[Row]:
        """The results that are there; then they are not."""
        rows = self._ledger.present.background
        finished = [row for row in rows if row.get("status") != "running"]
        if finished:
            running = tuple(row for row in rows if row.get("status") == "running")
            await self._ledger.commit(Changed({"background": running}, None))
        return finished

    async def recover(self, session_id: str) -> None:
        """Tasks that a crash cut off have failed, with what they had said."""
        for row in self._rows:
            turn_id = str(row.get("stream_id"))
            if row.get("status") == "running" and turn_id not in self._turns:
                feed, shown = await self._shared.feeds.resume(turn_id, session_id)
                turn = RunningTurn(turn_id, feed, 0.0)  # no one of this process
                for entry in shown:
                    turn.answer.add(entry.event)
                await self._finish(turn, "failed", interrupted())


async def _as_it_is(_: bool) -> None:
    await trio.lowlevel.checkpoint()
