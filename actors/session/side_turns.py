"""Turns beside the conversation: a question by the way, and tasks in the background."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .agent import Usage
from .answer import Answer
from .endings import cancelled, interrupted, silent_failure, storage_failure
from .entries import FeedEvent, StreamEnded, TurnCancelled, TurnDone, TurnFailed
from .feeds import Feeds
from .record import Row
from .refusals import SessionBusy, StorageFailed
from .turn import RunningTurn, failure_of

__all__ = ["SideTurns"]

MOST = 8
MOST_RESULTS = 50
NO_ANSWER = "(no answer produced)"
FAILED = "(background task failed)"

SaveRows = Callable[[tuple[Row, ...]], Awaitable[None]]


class SideTurns:
    """Those of one session. A kept one has a row in its record: `rows` reads, `save` replaces."""

    def __init__(
        self,
        feeds: Feeds,
        rows: Callable[[], tuple[Row, ...]],
        save: SaveRows,
        clock: Callable[[], float],
    ) -> None:
        self._feeds = feeds
        self._rows = rows
        self._save = save
        self._clock = clock
        self._turns: dict[str, RunningTurn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def find(self, turn_id: str) -> RunningTurn | None:
        return self._turns.get(turn_id)

    def add(self, turn: RunningTurn) -> None:
        self._turns[turn.turn_id] = turn

    async def note(self, turn_id: str, prompt: str) -> None:
        """Write down that a task was accepted. Raises `SessionBusy` or `StorageFailed`."""
        if len(self._rows()) >= MOST_RESULTS:
            raise SessionBusy("Fetch the results that are there first")
        row = {"task_id": turn_id[:8], "stream_id": turn_id, "prompt": prompt, "status": "running"}
        await self._save((*self._rows(), row | {"started_at": self._clock()}))

    def check_room(self) -> None:
        if len(self._turns) >= MOST:
            raise SessionBusy(f"{MOST} questions are being answered beside the conversation")

    async def end(self, turn_id: str, failure: Exception | None) -> None:
        """The agent is done with it."""
        turn = self._turns.get(turn_id)
        if turn is None:
            return
        if failure is not None:
            await self._finish(turn, "failed", failure_of(failure))
        elif turn.answer.silent:
            await self._finish(turn, "failed", silent_failure())
        else:
            usage = msgspec.structs.asdict(turn.answer.usage or Usage())
            done = TurnDone(usage, turn.answer.text)
            await self._finish(turn, "done", done, StreamEnded(turn.feed.session_id))

    async def stop(self, turn: RunningTurn, deadline: float, *, shutdown: bool) -> None:
        await turn.stop(deadline)
        last: TurnCancelled | TurnFailed = interrupted() if shutdown else cancelled()
        await self._finish(turn, "failed" if shutdown else "cancelled", last)

    async def unwritable(self, turn: RunningTurn, error: BaseException) -> None:
        await turn.stop(0)
        await self._finish(turn, "failed", storage_failure(error))

    async def _finish(self, turn: RunningTurn, status: str, *last: FeedEvent) -> None:
        self._turns.pop(turn.turn_id, None)
        try:
            await self._save_result(turn.turn_id, status, turn.answer)
        except StorageFailed as error:
            last = (storage_failure(error),)
        await self._feeds.end(turn.feed, *last)

    async def _save_result(self, turn_id: str, status: str, answer: Answer) -> None:
        rows = self._rows()
        if not any(row.get("stream_id") == turn_id for row in rows):
            return
        result: dict[str, Any] = {"status": status, "completed_at": self._clock()}
        result["answer"] = answer.text or (NO_ANSWER if status == "done" else FAILED)
        await self._save(
            tuple(row | result if row.get("stream_id") == turn_id else row for row in rows)
        )

    async def recover(self, session_id: str) -> None:
        """Tasks that a crash cut off have failed, with what they had said."""
        for row in self._rows():
            turn_id = str(row.get("stream_id"))
            if row.get("status") == "running" and turn_id not in self._turns:
                feed, shown = await self._feeds.resume(turn_id, session_id)
                turn = RunningTurn(turn_id, feed, 0.0)
                for entry in shown:
                    turn.answer.add(entry.event)
                await self._finish(turn, "failed", interrupted())
