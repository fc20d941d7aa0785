"""The session's owner: nobody else changes the record."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from actors import Actor, MailboxFull, Message
from actors.index.messages import ReservePin, RowChanged, RowRemoved
from actors.stores import RecordNotFound, RecordStore, StoreError, StoreFull

from .agent import Agent, AgentTurn, Usage
from .answer import Answer
from .entries import FeedEvent, StreamEnded, TurnCancelled, TurnDone, TurnFailed
from .feeds import Feeds
from .messages import (
    CancelTurn,
    Checkpoint,
    CreateSession,
    DeleteSession,
    GetSession,
    Pin,
    Removed,
    RemoveLastTurn,
    SaveAgain,
    SessionBusy,
    SessionNotFound,
    ShuttingDown,
    Snapshot,
    StartTurn,
    StorageFailed,
    TurnAccepted,
    TurnOutput,
    TurnReturned,
    TurnUnwritable,
)
from .record import Record, Row, dump, load, summary
from .state import (
    STOPS_TURN,
    Checkpointed,
    Created,
    Deleted,
    Event,
    LastTurnRemoved,
    TurnEnded,
    TurnStarted,
    decide,
    evolve,
)
from .transcript import cancelled_marker, error_row, interrupted_marker, model_input, user_row
from .turn import RunningTurn, failure_of

__all__ = ["Session", "Shared"]

log = logging.getLogger("actors.session")

STOP_SECONDS = 5.0  # how long a cancelled agent is waited for
SHELL_SECONDS = 1800.0  # how long a session that nothing was ever said in stays in memory
SAVE_AGAIN_SECONDS = 2.0


Handler = Callable[[Any], Awaitable[object]]


@dataclass
class Shared:
    """What all sessions of one data directory share. `clock` and `new_id` are arguments, so that
    a whole schedule can be replayed.
    """

    store: RecordStore
    feeds: Feeds
    agent: Agent
    clock: Callable[[], float]  # epoch seconds
    new_id: Callable[[], str]  # 32 hex digits
    default_model: str | None = None
    checkpoint_seconds: float = 15.0
    accepting: bool = True  # False: no new turns, we are about to end


class Session(Actor):
    """Decide, make durable, fold, publish, reply: in this order. Nobody hears of what is not on
    disk.
    """

    def __init__(self, key: str, shared: Shared) -> None:
        self._key = key
        self._shared = shared
        self._record: Record | None = None
        self._on_disk = False
        self._unsaved = False  # memory is ahead of the disk: a turn ended and found no room
        self._created_at = 0.0
        self._turn: RunningTurn | None = None
        self._leaving: RunningTurn | None = None  # was stopped, and has not left by its deadline
        self._handlers: dict[type, Handler] = {
            GetSession: self._get,
            CreateSession: self._create,
            StartTurn: self._start_turn,
            CancelTurn: self._cancel_turn,
            RemoveLastTurn: self._remove_last_turn,
            DeleteSession: self._delete,
            Pin: self._pin,
            TurnOutput: self._turn_output,
            TurnReturned: self._turn_returned,
            TurnUnwritable: self._turn_unwritable,
            Checkpoint: self._checkpoint,
            SaveAgain: self._save_again,
        }

    async def on_start(self) -> None:
        self._index = self.context.refer("index", "main")
        try:
            self._record = load(self._key, await self._shared.store.load(self._key))
            self._on_disk = True
            if self._record.busy:
                await self._recover(self._record)
        except RecordNotFound:
            return
        except StoreError as error:
            raise _storage_failed(error) from error

    async def receive(self, message: Message[Any]) -> object:
        if type(message) in STOPS_TURN:
            await self._stop_turn(shutdown=False)
        handler: Handler = self._handlers.get(type(message), self._change)
        return await handler(message)

    def may_passivate(self) -> bool:
        if self._turn is not None or self._unsaved:
            return False
        if self._leaving is not None and not self._leaving.has_left:
            return False  # its nursery would wait for it, and whoever writes with it
        if self._record is None or self._on_disk:
            return True
        return self._shared.clock() - self._created_at > SHELL_SECONDS

    # -- reading and changing ---------------------------------------------------------------

    def _snapshot(self) -> Snapshot:
        if self._record is None:
            raise SessionNotFound
        return Snapshot(self._record, self._turn is not None)

    async def _get(self, _: GetSession) -> Snapshot:
        return self._snapshot()

    async def _change(self, command: Message[Any]) -> Snapshot:
        """Any command that is nothing more than a change of the record."""
        await self._commit(self._decide(command))
        return self._snapshot()

    async def _create(self, command: CreateSession) -> Snapshot:
        event = self._decide(command)
        if command.keep:
            await self._commit(event)
        else:
            self._record = evolve(None, event)
            self._created_at = self._shared.clock()
        return self._snapshot()

    async def _pin(self, command: Pin) -> Snapshot:
        event = self._decide(command)
        if command.pinned:
            await self._index.ask(ReservePin(self._key))
        await self._commit(event)
        return self._snapshot()

    async def _remove_last_turn(self, command: RemoveLastTurn) -> Removed:
        event = self._decide(command)
        assert isinstance(event, LastTurnRemoved)
        before = len(self._snapshot().record.messages)
        await self._commit(event)
        return Removed(before - event.keep, event.text, self._snapshot().record)

    async def _delete(self, command: DeleteSession) -> None:
        event = self._decide(command)
        assert isinstance(event, Deleted)
        try:
            await self._shared.store.delete(self._key)
        except StoreError as error:
            raise _storage_failed(error) from error
        self._record, self._on_disk, self._unsaved = None, False, False
        await self._index.send(RowRemoved(self._key))

    # -- a turn, from its acceptance to its end ---------------------------------------------

    async def _start_turn(self, command: StartTurn) -> TurnAccepted:
        event = self._decide(command)
        assert isinstance(event, TurnStarted)
        if not self._shared.accepting:
            raise ShuttingDown("The server is shutting down; try again in a moment")
        if self._leaving is not None and not await self._leaving.stop(0):
            raise SessionBusy("The stopped answer is still ending; try again in a moment")
        self._leaving = None
        history = self._snapshot().record
        feed = self._shared.feeds.open(event.turn_id, self._key, self._unwritable(event.turn_id))
        try:
            await self._commit(event)
            await feed.wait_shown()
        except StorageFailed:
            await self._shared.feeds.drop(feed)
            raise
        self._turn = RunningTurn(event.turn_id, feed, event.at)
        self._run_agent(self._turn, history, event)
        return TurnAccepted(event.turn_id, self._snapshot().record)

    def _unwritable(self, turn_id: str) -> Callable[[BaseException], None]:
        ref = self.context.ref

        def tell(error: BaseException) -> None:
            with suppress(MailboxFull):  # of things to stop: one of them will do
                ref.tell(TurnUnwritable(turn_id, error))

        return tell

    def _run_agent(self, turn: RunningTurn, history: Record, event: TurnStarted) -> None:
        prompt = user_row(event.prompt, event.attachments, event.at, event.turn_id)
        rows = [*(history.context_messages or history.messages), prompt]
        asked = AgentTurn(
            session_id=self._key,
            turn_id=event.turn_id,
            messages=model_input(rows),
            model=event.model or self._shared.default_model,
        )
        every = self._shared.checkpoint_seconds
        self.context.start_soon(turn.work, self._shared.agent, asked, self.context.ref, every)

    def _current(self, turn_id: str) -> RunningTurn | None:
        """The running turn if it is this one. Everything else is too late to matter."""
        turn = self._turn
        return turn if turn is not None and turn.turn_id == turn_id else None

    async def _turn_output(self, output: TurnOutput) -> None:
        turn = self._current(output.turn_id)
        if turn is not None:
            turn.feed.put(turn.answer.add(output.event))
            await turn.feed.wait_room()

    async def _checkpoint(self, command: Checkpoint) -> None:
        """Save only what moved: the counter is of tool calls, for `messages` does not grow."""
        turn = self._current(command.turn_id)
        if turn is not None and turn.answer.tools_completed > turn.checkpointed:
            completed = turn.answer.tools_completed
            try:
                await self._commit(self._decide(command))
            except StorageFailed as error:
                log.warning("%s: checkpoint not written: %s", self._key, error)
            else:
                turn.checkpointed = completed

    async def _turn_returned(self, returned: TurnReturned) -> None:
        turn = self._current(returned.turn_id)
        if turn is None:
            return
        if returned.failure is not None:
            await self._fail_turn(turn, failure_of(returned.failure))
        elif turn.answer.silent:
            await self._fail_turn(turn, _silent_failure())
        else:
            await self._complete_turn(turn)

    async def _complete_turn(self, turn: RunningTurn) -> None:
        at, answer = self._shared.clock(), turn.answer
        rows = answer.rows(at)
        rows[-1]["_turnDuration"] = round(at - turn.started_at, 3)
        cards = answer.tool_summaries(len(self._snapshot().record.messages) + 1)
        ended = TurnEnded(rows, cards, answer.usage, at)
        usage = msgspec.structs.asdict(answer.usage or Usage())
        usage["duration_seconds"] = rows[-1]["_turnDuration"]
        await self._end_turn(turn, ended, TurnDone(usage), StreamEnded(self._key))

    async def _fail_turn(self, turn: RunningTurn, failed: TurnFailed) -> None:
        at = self._shared.clock()
        row = error_row(failed.label, failed.message, at, hint=failed.hint, details=failed.details)
        await self._end_turn(turn, _cut_short(turn.answer, row, at), failed)

    async def _turn_unwritable(self, unwritable: TurnUnwritable) -> None:
        turn = self._current(unwritable.turn_id)
        if turn is not None:
            await self._stop_agent(turn)
            await self._fail_turn(turn, _storage_failure(unwritable.error))

    async def _cancel_turn(self, command: CancelTurn) -> bool:
        if self._current(command.turn_id) is None:
            return False
        await self._stop_turn(command.shutdown)
        return True

    async def _stop_turn(self, shutdown: bool) -> None:
        """End the running turn, if there is one, and keep what was shown of it."""
        turn = self._turn
        if turn is None:
            return
        await self._stop_agent(turn)
        at = self._shared.clock()
        if shutdown:
            marker = interrupted_marker("process_restart", at)
            last: FeedEvent = _interrupted()
        else:
            marker = cancelled_marker(at)
            last = TurnCancelled("Cancelled by user")
        await self._end_turn(turn, _cut_short(turn.answer, marker, at), last)

    async def _stop_agent(self, turn: RunningTurn) -> None:
        if not await turn.stop(STOP_SECONDS):
            log.warning("%s: the agent did not stop in %g s", self._key, STOP_SECONDS)
            self._leaving = turn

    async def _end_turn(self, turn: RunningTurn, ended: TurnEnded, *last: FeedEvent) -> None:
        """The only way out of a turn: the transcript first, then readers hear of it."""
        error = await self._commit_or_keep(ended)
        self._turn = None
        if error is not None:
            last = (_storage_failure(error),)
        await self._shared.feeds.end(turn.feed, *last)

    async def _commit_or_keep(self, event: TurnEnded) -> StorageFailed | None:
        """Commit what has happened in any case. If the disk refuses, memory goes ahead of it,
        and this actor stays until the disk has caught up.
        """
        try:
            await self._commit(event)
        except StorageFailed as error:
            log.warning("%s: not saved yet: %s", self._key, error)
            self._record = evolve(self._record, event)
            self._unsaved = True
            self.context.start_soon(self._remind_to_save)
            return error
        return None

    # -- what a crash left behind -----------------------------------------------------------

    async def _recover(self, record: Record) -> None:
        """No turn can be alive: this process alone owns the directory, and this actor the
        session. What was shown is in the journal. Leaves `updated_at` alone: nobody did anything.
        """
        feed, answer = None, Answer()
        if record.active_stream_id is not None:
            feed, shown = await self._shared.feeds.resume(record.active_stream_id, self._key)
            for entry in shown:
                answer.add(entry.event)
        if record.pending_user_message is None and answer.empty:
            ended = TurnEnded((), (), None, None)  # it had been settled but for the mark
        else:
            marker = interrupted_marker("process_restart", self._shared.clock())
            ended = _cut_short(answer, marker, at=None, recovered=True)
        await self._commit_or_keep(ended)
        if feed is not None and not self._unsaved:
            await self._shared.feeds.end(feed, _interrupted())

    # -- durability -------------------------------------------------------------------------

    def _decide(self, command: Message[Any]) -> Event:
        if isinstance(command, CreateSession):
            return decide(self._record, command, self._shared.clock(), lambda: self._key)
        return decide(self._record, command, self._shared.clock(), self._shared.new_id)

    async def _commit(self, event: Event) -> None:
        """Make it durable, then true, then known to the list. Raises `StorageFailed`, and then
        nothing has changed.
        """
        record = evolve(self._record, event)
        assert record is not None
        try:
            await self._shared.store.save(self._key, dump(record))
        except StoreError as error:
            raise _storage_failed(error) from error
        self._record, self._on_disk, self._unsaved = record, True, False
        if not isinstance(event, Checkpointed):
            await self._index.send(RowChanged(summary(record)))

    async def _remind_to_save(self) -> None:
        await trio.sleep(SAVE_AGAIN_SECONDS)
        await self.context.ref.send(SaveAgain())

    async def _save_again(self, _: SaveAgain) -> None:
        if not self._unsaved or self._record is None:
            return
        try:
            await self._commit(Created(self._record))
        except StorageFailed:
            self.context.start_soon(self._remind_to_save)


def _storage_failed(error: StoreError) -> StorageFailed:
    return StorageFailed(str(error), isinstance(error, StoreFull))


def _storage_failure(error: BaseException) -> TurnFailed:
    hint = "It is kept in memory and saved as soon as that is possible."
    return TurnFailed("storage", "The answer could not be saved", str(error), hint)


def _silent_failure() -> TurnFailed:
    return TurnFailed(
        "no_response",
        "No response from provider",
        "The model returned an empty answer.",
        "Try again, or choose another model.",
    )


def _interrupted() -> TurnFailed:
    message = "The server stopped before the answer was complete."
    hint = "What was shown is kept. Send the message again to go on."
    return TurnFailed("interrupted", "Response interrupted", message, hint)


def _cut_short(
    answer: Answer, marker: Row, at: float | None, *, recovered: bool = False
) -> TurnEnded:
    """A turn that did not end well keeps what was shown of it, and says what happened."""
    partial = answer.partial_row(marker["timestamp"])
    rows = (marker,) if partial is None else (partial, marker)
    return TurnEnded(rows, (), answer.usage, at, recovered)
