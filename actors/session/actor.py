"""The session's owner: nobody else changes the record."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import trio

from actors import Actor, MailboxFull, Message, Moved
from actors.index.messages import STAMP, ReservePin, RowChanged, RowRemoved
from actors.stores import RecordNotFound, StoreError, StoreFull

from . import endings, waiting
from .agent import AgentTurn, Usage, Warned
from .answer import Answer
from .consult import consult
from .context import (
    NEAR,
    CompressionPlan,
    context_rows,
    estimated_tokens,
    plan_compression,
    summary_request,
    tokens_in_use,
)
from .entries import (
    TERMINAL,
    FeedEvent,
    StreamEnded,
    TitleChanged,
    TitleSettled,
    TurnCompressed,
    TurnCompressing,
    TurnDone,
    TurnFailed,
)
from .events import (
    Changed,
    Checkpointed,
    Compressed,
    Created,
    Cut,
    Event,
    TurnEnded,
    TurnStarted,
)
from .feeds import TurnFeed
from .messages import (
    Archive,
    Assign,
    CancelTurn,
    Checkpoint,
    Clear,
    Compress,
    CompressionState,
    CompressionStatus,
    ContextSummarised,
    CreateSession,
    DeleteIfEmpty,
    DeleteSession,
    FetchBackground,
    GetSession,
    LookAgain,
    Once,
    Pin,
    Regenerate,
    Removed,
    RemoveLastTurn,
    RemoveWaiting,
    Rename,
    SetTitle,
    SettleStream,
    SideTurnEnded,
    Snapshot,
    StartSideTurn,
    StartTurn,
    Steer,
    SummaryMade,
    Sweep,
    TitleOutcome,
    Truncate,
    TurnAccepted,
    TurnOutput,
    TurnReturned,
    TurnUnwritable,
)
from .notices import Notice
from .operations import answer_again, with_operation
from .record import Compression, Record, Row, alias_of, dump, load, summary
from .refusals import (
    BlankMessage,
    NotCompressible,
    SessionBusy,
    SessionNotFound,
    ShuttingDown,
    StorageFailed,
    TurnRunning,
)
from .shared import Shared
from .side_turns import SideTurns
from .state import STOPS_TURN, decide, evolve, start
from .titles import fallback_title, is_automatic, may_title, tidied_title, title_request
from .transcript import (
    cancelled_marker,
    error_row,
    interrupted_marker,
    is_of_turn,
    model_input,
    user_row,
)
from .turn import RunningTurn, failure_of

__all__ = ["Session"]

log = logging.getLogger("actors.session")

STOP_SECONDS = 5.0  # how long a cancelled agent is waited for
SHELL_SECONDS = 1800.0  # how long a session that nothing was ever said in stays in memory
LOOK_AGAIN_SECONDS = 2.0
TITLE_SECONDS = 15.0
SUMMARY_SECONDS = 300.0

# What others are told of a change, where its name alone does not say it.
REASONS: dict[type, str] = {
    CreateSession: "session_new",
    Rename: "session_rename",
    SetTitle: "session_rename",
    Pin: "session_pin",
    Archive: "session_archive",
    Assign: "session_move",
    RemoveLastTurn: "session_undo",
    Truncate: "session_truncate",
    Clear: "session_clear",
    DeleteSession: "session_delete",
    DeleteIfEmpty: "session_delete",
}

Handler = Callable[[Any], Awaitable[object]]


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
        self._titling: dict[str, trio.CancelScope] = {}  # turns that are done but for a title
        self._compression = CompressionState("idle")
        self._compressing: tuple[Row, ...] | None = None  # the transcript that is being summarised
        self._once: Once | None = None
        self._message: Message[Any] | None = None
        self._side = SideTurns(shared.feeds, self._background, self._save_background, shared.clock)
        self._handlers: dict[type, Handler] = {
            GetSession: self._get,
            CreateSession: self._create,
            StartTurn: self._start_turn,
            Regenerate: self._regenerate,
            Steer: self._steer,
            RemoveWaiting: self._remove_waiting,
            StartSideTurn: self._start_side_turn,
            SideTurnEnded: self._side_turn_ended,
            FetchBackground: self._fetch_background,
            CancelTurn: self._cancel_turn,
            RemoveLastTurn: self._remove_last_turn,
            Clear: self._clear,
            DeleteSession: self._delete,
            DeleteIfEmpty: self._delete_if_empty,
            Pin: self._pin,
            SetTitle: self._set_title,
            Compress: self._compress,
            CompressionStatus: self._compression_status,
            ContextSummarised: self._context_summarised,
            SummaryMade: self._summary_made,
            TurnOutput: self._turn_output,
            TurnReturned: self._turn_returned,
            TurnUnwritable: self._turn_unwritable,
            Checkpoint: self._checkpoint,
            SettleStream: self._settle_stream,
            LookAgain: self._look_again,
            Sweep: self._sweep,
        }

    async def on_start(self) -> None:
        self._index = self.context.refer("index", "main")
        try:
            record = load(self._key, await self._shared.store.load(self._key))
            if record.continuation_session_id is not None:
                await self._move_on(record.continuation_session_id)
                return
            self._record, self._on_disk = record, True
            await self._recover(record)
        except RecordNotFound:
            return
        except StoreError as error:
            raise _storage_failed(error) from error

    async def _move_on(self, continuation: str) -> None:
        """This id was left. What it leads to may have been deleted, and then so is this."""
        try:
            await self._shared.store.load(continuation)
        except RecordNotFound:
            await self._shared.store.delete(self._key)
            await self._index.send(RowRemoved(self._key))
            return
        raise Moved(continuation)

    async def receive(self, message: Message[Any]) -> object:
        self._once, self._message = None, message
        if isinstance(message, Once):
            self._once, self._message = message, message.command
            if self._record is not None:
                again = answer_again(self._record, message, self._turn is not None)
                if again is not None:
                    return again
        answer = await self._handle(self._message)
        self._once = None
        await self._start_waiting()
        return answer

    async def _handle(self, message: Message[Any]) -> object:
        if type(message) in STOPS_TURN:
            await self._stop_turn(shutdown=False)
        handler: Handler = self._handlers.get(type(message), self._change)
        return await handler(message)

    def may_passivate(self) -> bool:
        if self._turn is not None or self._unsaved or self._titling or len(self._side):
            return False
        if self._compressing is not None or (self._record is not None and self._record.waiting):
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
            self._record = self._evolved(event)
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
        assert isinstance(event, Cut)
        before = len(self._snapshot().record.messages)
        await self._commit(event)
        return Removed(before - event.keep, event.text, self._snapshot().record)

    async def _clear(self, command: Clear) -> Snapshot:
        waited = self._snapshot().record.waiting
        await self._commit(self._decide(command))
        await self._end_waiting(waited)
        return self._snapshot()

    async def _delete(self, command: DeleteSession) -> None:
        event = self._decide(command)
        before = self._record
        for side in self._side_turns():
            await self._side.stop(side, STOP_SECONDS, shutdown=False)
        try:
            await self._shared.store.delete(self._key)
        except StoreError as error:
            raise _storage_failed(error) from error
        self._record, self._on_disk, self._unsaved = self._evolved(event), False, False
        for scope in self._titling.values():
            scope.cancel()
        await self._index.send(RowRemoved(self._key))
        self._tell("session_delete")
        if before is not None:
            await self._end_waiting(before.waiting)
            await self._delete_aliases(before.continues_session_id)

    async def _delete_aliases(self, left: str | None) -> None:
        """The ids that led here. They lead nowhere already: a file that stays is swept later."""
        with suppress(StoreError, RecordNotFound):
            while left is not None:
                alias = load(left, await self._shared.store.load(left))
                if alias.continuation_session_id is None:
                    return
                await self._shared.store.delete(left)
                await self._index.send(RowRemoved(left))
                left = alias.continues_session_id

    async def _delete_if_empty(self, command: DeleteIfEmpty) -> bool:
        record = self._record
        if record is None or record.busy or record.messages or record.waiting:
            return False
        if record.composer_draft.get("text") or (command.untitled and record.title != "Untitled"):
            return False
        await self._delete(DeleteSession())
        return True

    # -- a turn, from its acceptance to its end ---------------------------------------------

    async def _start_turn(self, command: StartTurn) -> TurnAccepted:
        if self._turn is None or command.if_busy == "reject":
            event = self._decide(command)
            assert isinstance(event, TurnStarted)
            return await self._begin(event)
        record = self._snapshot().record
        if not command.prompt.strip():
            raise BlankMessage
        if command.if_busy in ("interrupt", "rollback"):
            return await self._supersede(command, self._turn.turn_id)
        if command.if_busy == "steer":
            if getattr(self._shared.agent, "steerable", False):
                return await self._hand_over(command)
            waits = await self._enqueue(record, command)
            return replace(waits, fallback="agent_lacks_steer")
        return await self._enqueue(record, command)

    async def _supersede(self, command: StartTurn, turn_id: str) -> TurnAccepted:
        """Stop what runs, and take its place: behind what was shown of it, or instead of it."""
        self._check_accepting()
        await self._stop_turn(shutdown=False)
        record = self._snapshot().record
        keep = None
        if command.if_busy == "rollback":
            keep = next((i for i, r in enumerate(record.messages) if is_of_turn(r, turn_id)), None)
        event = start(record, command, self._shared.new_id(), self._shared.clock(), keep=keep)
        return await self._begin(event)

    async def _regenerate(self, command: Regenerate) -> TurnAccepted:
        event = self._decide(command)
        assert isinstance(event, TurnStarted)
        return await self._begin(event)

    def _check_accepting(self) -> None:
        if not self._shared.accepting:
            raise ShuttingDown("The server is shutting down; try again in a moment")

    async def _begin(self, event: TurnStarted) -> TurnAccepted:
        self._check_accepting()
        if self._leaving is not None and not await self._leaving.stop(0):
            raise SessionBusy("The stopped answer is still ending; try again in a moment")
        self._leaving = None
        feed = await self._feed_of(event.turn_id)
        try:
            await self._commit(event)
        except StorageFailed:
            if not any(row.get("id") == event.turn_id for row in self._snapshot().record.waiting):
                await self._shared.feeds.drop(feed)
            raise
        await feed.wait_shown()
        self._turn = RunningTurn(event.turn_id, feed, event.at)
        feed.running = True
        self._tell("turn_started", turn_id=event.turn_id, at=event.at, source=event.source)
        self.context.start_soon(self._work, self._turn, self._asked(event.turn_id))
        return TurnAccepted(event.turn_id, self._snapshot().record)

    async def _feed_of(self, turn_id: str) -> TurnFeed:
        """The feed of a turn that is accepted: open already, if it has waited."""
        feed = self._shared.feeds.find(turn_id)
        if feed is not None and feed.failure is not None:
            await self._shared.feeds.drop(feed)
            feed = None
        if feed is None:
            feed = self._shared.feeds.open(turn_id, self._key, self._unwritable(turn_id))
        return feed

    def _unwritable(self, turn_id: str) -> Callable[[BaseException], None]:
        ref = self.context.ref

        def tell(error: BaseException) -> None:
            with suppress(MailboxFull):  # of things to stop: one of them will do
                ref.tell(TurnUnwritable(turn_id, error))

        return tell

    def _asked(self, turn_id: str, prompt: str | None = None) -> AgentTurn:
        """What the agent is given: the pending prompt's turn, or one beside the conversation."""
        record = self._snapshot().record
        return AgentTurn(
            session_id=self._key,
            turn_id=turn_id,
            messages=_model_sees(record, turn_id, prompt),
            model=record.model or self._shared.default_model,
        )

    async def _work(self, turn: RunningTurn, asked: AgentTurn) -> None:
        session = self.context.ref
        by_itself, failure = await turn.work(
            self._shared.agent,
            asked,
            session,
            every=self._shared.checkpoint_seconds,
            shorten=partial(self._shorten, turn.turn_id),
            clock=self._shared.clock,
        )
        if by_itself:
            await session.send(TurnReturned(turn.turn_id, failure))

    def _current(self, turn_id: str) -> RunningTurn | None:
        """The running turn if it is this one. Everything else is too late to matter."""
        turn = self._turn
        return turn if turn is not None and turn.turn_id == turn_id else None

    async def _turn_output(self, output: TurnOutput) -> None:
        turn = self._current(output.turn_id) or self._side.find(output.turn_id)
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
            await self._fail_turn(turn, endings.silent_failure())
        else:
            await self._complete_turn(turn)

    async def _complete_turn(self, turn: RunningTurn) -> None:
        at, answer = self._shared.clock(), turn.answer
        rows = answer.rows(at)
        rows[-1]["_turnDuration"] = round(at - turn.started_at, 3)
        record = self._snapshot().record
        cards = answer.tool_summaries(len(record.messages) + 1)
        ended = TurnEnded(rows, cards, answer.usage, at, steered=answer.steered)
        usage = msgspec.structs.asdict(answer.usage or Usage())
        usage["duration_seconds"] = rows[-1]["_turnDuration"]
        if self._shared.context_tokens is not None:
            usage["context_length"] = self._shared.context_tokens
            usage["threshold_tokens"] = int(self._shared.context_tokens * NEAR)
        end = StreamEnded(turn.feed.session_id)
        if may_title(evolve(record, ended) or record):
            await self._end_turn(turn, ended, TurnDone(usage))
        else:
            await self._end_turn(turn, ended, TurnDone(usage), end)

    async def _fail_turn(self, turn: RunningTurn, failed: TurnFailed) -> None:
        at = self._shared.clock()
        row = error_row(failed.label, failed.message, at, hint=failed.hint, details=failed.details)
        await self._end_turn(turn, endings.cut_short(turn.answer, row, at), failed)

    async def _turn_unwritable(self, unwritable: TurnUnwritable) -> None:
        side = self._side.find(unwritable.turn_id)
        if side is not None:
            await self._side.unwritable(side, unwritable.error)
        turn = self._current(unwritable.turn_id)
        if turn is not None:
            await self._stop_agent(turn)
            await self._fail_turn(turn, endings.storage_failure(unwritable.error))

    async def _cancel_turn(self, command: CancelTurn) -> bool:
        turn_id = command.turn_id
        side = self._side.find(turn_id)
        if self._current(turn_id) is not None:
            await self._stop_turn(command.shutdown)
        elif side is not None:
            await self._side.stop(side, STOP_SECONDS, shutdown=command.shutdown)
        elif command.shutdown:
            if turn_id in self._titling:
                self._titling[turn_id].cancel()
            return False
        elif self._record is not None and any(w["id"] == turn_id for w in self._record.waiting):
            await self._remove_waiting(RemoveWaiting(turn_id))
        else:
            return False
        return True

    async def _stop_turn(self, shutdown: bool) -> None:
        """End the running turn, if there is one, and keep what was shown of it."""
        turn = self._turn
        if turn is None:
            return
        await self._stop_agent(turn)
        at = self._shared.clock()
        marker = interrupted_marker("process_restart", at) if shutdown else cancelled_marker(at)
        last: FeedEvent = endings.interrupted() if shutdown else endings.cancelled()
        await self._end_turn(turn, endings.cut_short(turn.answer, marker, at), last)

    async def _stop_agent(self, turn: RunningTurn) -> None:
        if not await turn.stop(STOP_SECONDS):
            log.warning("%s: the agent did not stop in %g s", self._key, STOP_SECONDS)
            self._leaving = turn
            self.context.start_soon(self._remind_when_left, turn)

    async def _end_turn(self, turn: RunningTurn, ended: TurnEnded, *last: FeedEvent) -> None:
        """The only way out of a turn: the transcript first, then readers hear of it. The stream
        of one that is done may go on with a title.
        """
        error = await self._commit_or_keep(ended)
        self._turn = None
        turn.feed.running = False
        if error is not None:
            last = (endings.storage_failure(error),)
        if isinstance(last[-1], TurnDone):
            turn.feed.put(last[-1])
            scope = self._titling[turn.turn_id] = trio.CancelScope()
            self.context.start_soon(self._find_title, turn.feed, scope)
        else:
            await self._shared.feeds.end(turn.feed, *last)
        self._tell("turn_ended", turn_id=turn.turn_id)

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
            self.context.start_soon(self._remind)
            return error
        return None

    # -- prompts that wait, and remarks -----------------------------------------------------

    async def _enqueue(self, record: Record, command: StartTurn) -> TurnAccepted:
        """It is on disk, and its stream is open, from now on; its turn comes."""
        self._check_accepting()
        turn_id, now = self._shared.new_id(), self._shared.clock()
        rows = waiting.with_waiting(record, command, turn_id, now)
        feed = await self._feed_of(turn_id)
        try:
            await self._commit(Changed({"waiting": rows}, None))
        except StorageFailed:
            await self._shared.feeds.drop(feed)
            raise
        await feed.wait_shown()
        return TurnAccepted(turn_id, self._snapshot().record, waiting=True)

    async def _start_waiting(self) -> None:
        """A session is never idle while a prompt waits: looked at after each message."""
        record = self._record
        if record is None or not record.waiting or self._turn is not None or self._unsaved:
            return
        if not self._shared.accepting or (self._leaving and not self._leaving.has_left):
            return
        row = record.waiting[0]
        now = self._shared.clock()
        try:
            await self._begin(start(record, waiting.command_of(row), str(row["id"]), now))
        except StorageFailed as error:
            log.warning("%s: a waiting message must wait on: %s", self._key, error)
            self.context.start_soon(self._remind)

    async def _remove_waiting(self, command: RemoveWaiting) -> Snapshot:
        waited = self._snapshot().record.waiting
        await self._commit(self._decide(command))
        await self._end_waiting([row for row in waited if row.get("id") == command.turn_id])
        return self._snapshot()

    async def _end_waiting(self, rows: Sequence[Row]) -> None:
        """The streams of prompts that will not have their turn."""
        for row in rows:
            feed = self._shared.feeds.find(str(row.get("id")))
            if feed is not None:
                await self._shared.feeds.end(feed, endings.cancelled())

    async def _steer(self, command: Steer) -> TurnAccepted | None:
        self._snapshot()
        if self._turn is None or not getattr(self._shared.agent, "steerable", False):
            return None
        return await self._hand_over(StartTurn(command.text))

    async def _hand_over(self, command: StartTurn) -> TurnAccepted:
        """To the running agent, once it is on disk."""
        turn, record = self._turn, self._snapshot().record
        assert turn is not None
        remark_id, now = self._shared.new_id(), self._shared.clock()
        rows = waiting.with_waiting(record, command, remark_id, now, steer=True)
        await self._commit(Changed({"waiting": rows}, None))
        turn.remark(remark_id, command.prompt)
        return TurnAccepted(turn.turn_id, self._snapshot().record, steered=True)

    # -- beside the conversation ------------------------------------------------------------

    def _background(self) -> tuple[Row, ...]:
        return () if self._record is None else self._record.background

    async def _save_background(self, rows: tuple[Row, ...]) -> None:
        await self._commit(Changed({"background": rows}, None))

    def _side_turns(self) -> list[RunningTurn]:
        rows = (self._side.find(feed.turn_id) for feed in self._shared.feeds)
        return [turn for turn in rows if turn is not None]

    async def _start_side_turn(self, command: StartSideTurn) -> TurnAccepted:
        record = self._snapshot().record
        if not command.prompt.strip():
            raise BlankMessage
        if self._turn is not None and not command.keep:
            raise TurnRunning(self._turn.turn_id)
        self._check_accepting()
        self._side.check_room()
        turn_id = self._shared.new_id()
        feed = await self._feed_of(turn_id)
        try:
            if command.keep:
                await self._side.note(turn_id, command.prompt)
        except (StorageFailed, SessionBusy):
            await self._shared.feeds.drop(feed)
            raise
        await feed.wait_shown()
        turn = RunningTurn(turn_id, feed, self._shared.clock(), command.prompt)
        self._side.add(turn)
        self.context.start_soon(self._work_aside, turn, self._asked(turn_id, command.prompt))
        return TurnAccepted(turn_id, record)

    async def _work_aside(self, turn: RunningTurn, asked: AgentTurn) -> None:
        async def as_it_is(_: bool) -> None:
            await trio.lowlevel.checkpoint()

        by_itself, failure = await turn.work(
            self._shared.agent,
            asked,
            self.context.ref,
            every=self._shared.checkpoint_seconds,
            shorten=as_it_is,
            clock=self._shared.clock,
        )
        if by_itself:
            await self.context.ref.send(SideTurnEnded(turn.turn_id, failure))

    async def _side_turn_ended(self, ended: SideTurnEnded) -> None:
        await self._side.end(ended.turn_id, ended.failure)

    async def _fetch_background(self, _: FetchBackground) -> Sequence[Row]:
        rows = self._snapshot().record.background
        finished = [row for row in rows if row.get("status") != "running"]
        if finished:
            await self._save_background(tuple(r for r in rows if r.get("status") == "running"))
        return finished

    # -- titles -----------------------------------------------------------------------------

    async def _find_title(self, feed: TurnFeed, scope: trio.CancelScope) -> None:
        """After a turn that is done, before its stream ends. Whatever happens, the stream ends."""
        try:
            with scope:
                found = await self._ask_for_title()
                name, title = feed.session_id, found.record.title
                feed.put(TitleSettled(name, found.status, found.reason, title, found.raw[:240]))
                if found.status != "skipped":
                    feed.put(TitleChanged(name, title))
        except Exception as error:  # noqa: BLE001 - a title is never worth a turn
            log.warning("%s: no title: %r", self._key, error)
        finally:
            await self._shared.feeds.end(feed, StreamEnded(feed.session_id))
            self._titling.pop(feed.turn_id, None)

    async def _ask_for_title(self) -> TitleOutcome:
        record, said, agent = self._snapshot().record, "", self._shared.side_agent
        if agent is not None and self._shared.model_titles:
            try:
                said = await consult(
                    agent,
                    "title",
                    model_input(title_request(record)),
                    session_id=self._key,
                    model=record.model or self._shared.default_model,
                    seconds=TITLE_SECONDS,
                )
            except Exception as error:  # noqa: BLE001 - the door: providers raise anything
                log.info("%s: the model made no title: %r", self._key, error)
        return await self.context.ref.ask(SetTitle(tidied_title(said), said))

    async def _set_title(self, command: SetTitle) -> TitleOutcome:
        record = self._snapshot().record
        if not command.force and not is_automatic(record):
            reason = "manual_title" if record.manual_title else "already_generated"
            return TitleOutcome("skipped", reason, record, command.raw)
        title = command.title or fallback_title(record, latest=command.latest)
        if title is None or title == record.title:
            return TitleOutcome("skipped", "unchanged", record, command.raw)
        by_model = command.title is not None
        fields = {"title": title, "llm_title_generated": by_model, "manual_title": False}
        await self._commit(Changed(fields, None))
        status = "llm" if by_model else "fallback"
        return TitleOutcome(status, "", self._snapshot().record, command.raw)

    # -- compression and rotation -----------------------------------------------------------

    async def _shorten(self, turn_id: str, force: bool) -> Sequence[Row] | None:
        """In the turn's task, before the agent works: a summary, if the context is too long."""
        record, agent = self._record, self._shared.side_agent
        room = self._shared.context_tokens
        if record is None or agent is None:
            return None
        if not force:
            if room is None:
                return None
            if tokens_in_use(record, record.pending_user_message or "") < room * NEAR:
                return None
        plan = plan_compression(record, room=room)
        if plan is None:
            return None
        session = self.context.ref
        await session.send(TurnOutput(turn_id, TurnCompressing(record.session_id)))
        try:
            summary_text = await self._summarise(plan)
            return await session.ask(ContextSummarised(turn_id, plan, summary_text))
        except Exception as error:  # noqa: BLE001 - the door: providers raise anything
            text = f"The conversation could not be summarised: {error}"
            await session.send(TurnOutput(turn_id, Warned("compression", text)))
            return None

    async def _summarise(self, plan: CompressionPlan) -> str:
        record, agent = self._snapshot().record, self._shared.side_agent
        assert agent is not None
        said = await consult(
            agent,
            "summary",
            model_input(summary_request(plan)),
            session_id=self._key,
            model=record.model or self._shared.default_model,
            seconds=SUMMARY_SECONDS,
        )
        if not said.strip():
            raise NotCompressible("the model answered nothing")
        return said.strip()

    async def _context_summarised(self, done: ContextSummarised) -> Sequence[Row] | None:
        turn, record = self._current(done.turn_id), self._record
        if turn is None or record is None or len(record.messages) != done.plan.at_row:
            return None
        old = self._key
        await self._rotate(self._compression_of(done.plan, done.summary, done.turn_id))
        turn.feed.put(TurnCompressed(old, self._key))
        return _model_sees(self._snapshot().record, done.turn_id)

    def _compression_of(
        self, plan: CompressionPlan, summary_text: str, turn_id: str | None
    ) -> Compression:
        return Compression(
            at_row=plan.at_row,
            kept_from=plan.kept_from,
            summary=summary_text,
            at=self._shared.clock(),
            of_turn=turn_id,
        )

    async def _rotate(self, compression: Compression) -> None:
        """Go on under a new id. The new record is durable before the old one becomes a pointer to
        it; until then the old one counts, and the list does not show the new one.
        """
        record = self._snapshot().record
        event = Compressed(await self._free_id(), compression)
        changed = self._evolved(event)
        assert changed is not None
        alias = alias_of(record, changed.session_id)
        store = self._shared.store
        try:
            stamp = await store.save(changed.session_id, dump(changed))
            left = await store.save(self._key, dump(alias))
        except StoreError as error:
            with suppress(StoreError):
                await store.delete(changed.session_id)
            raise _storage_failed(error) from error
        self.context.rotate(changed.session_id)
        self._record, self._key = changed, changed.session_id
        await self._index.send(RowChanged({**summary(changed), STAMP: stamp}))
        await self._index.send(RowChanged({**summary(alias), STAMP: left}))
        self._tell("session_compressed", of=alias.session_id, successor=self._key)

    async def _free_id(self) -> str:
        """One that no record has."""
        while True:
            name = self._shared.new_id()[-12:]
            try:
                await self._shared.store.load(name)
            except RecordNotFound:
                return name
            except StoreError as error:
                raise _storage_failed(error) from error

    async def _compress(self, command: Compress) -> CompressionState:
        if self._compressing is not None:
            return self._compression
        record = self._snapshot().record
        if self._turn is not None:
            raise TurnRunning(self._turn.turn_id)
        if self._shared.side_agent is None:
            raise NotCompressible("No provider configured -- cannot compress.")
        plan = plan_compression(record, focus=command.focus, room=self._shared.context_tokens)
        if plan is None:
            raise NotCompressible("Not enough conversation to compress (need at least 4 messages).")
        self._compressing = record.messages
        self._compression = CompressionState("running", self._shared.clock())
        self.context.start_soon(self._make_summary, plan)
        return self._compression

    async def _make_summary(self, plan: CompressionPlan) -> None:
        try:
            made = SummaryMade(plan, await self._summarise(plan))
        except Exception as error:  # noqa: BLE001 - the door: providers raise anything
            made = SummaryMade(plan, None, str(error) or type(error).__name__)
        await self.context.ref.send(made)

    async def _compression_status(self, _: CompressionStatus) -> CompressionState:
        self._snapshot()
        return self._compression

    async def _summary_made(self, made: SummaryMade) -> None:
        began, self._compressing = self._compressing, None
        started_at, record = self._compression.started_at, self._record
        failure, before = "", 0
        if made.summary is None:
            failure = f"Compression failed: {made.failure}"
        elif self._turn is not None:
            failure = "Session stream state changed during compression; please retry."
        elif record is None or record.messages is not began:
            failure = "Session was modified during compression; please retry."
        else:
            before = estimated_tokens(context_rows(record))
            try:
                await self._rotate(self._compression_of(made.plan, made.summary, None))
            except StorageFailed as error:
                failure = f"Compression failed: {error}"
        if failure:
            self._compression = CompressionState("error", started_at, failure)
        else:
            saved = before - estimated_tokens(context_rows(self._snapshot().record))
            self._compression = CompressionState("done", started_at, saved_tokens=max(0, saved))
        self._tell("compression_ended")

    # -- what a crash left behind -----------------------------------------------------------

    async def _recover(self, record: Record) -> None:
        """No turn can be alive: this process alone owns the directory, and this actor the
        session. What was shown is in the journal. Leaves `updated_at` alone: nobody did anything.
        """
        if record.busy:
            await self._recover_turn(record)
        if any(row.get("status") == "running" for row in record.background):
            await self._side.recover(self._key)
        for row in record.waiting:
            if not row.get("steer"):
                await self._feed_again(str(row.get("id")))
        await self._start_waiting()

    async def _feed_again(self, turn_id: str) -> None:
        """A waiting prompt's stream is open, also after a restart."""
        if self._shared.feeds.find(turn_id) is None:
            await self._shared.feeds.reopen(turn_id, self._key, self._unwritable(turn_id))

    async def _recover_turn(self, record: Record) -> None:
        feed, answer = None, Answer()
        if record.active_stream_id is not None:
            feed, shown = await self._shared.feeds.resume(record.active_stream_id, self._key)
            for entry in shown:
                answer.add(entry.event)
        if record.pending_user_message is None and answer.empty:
            ended = TurnEnded((), (), None, None)  # it had been settled but for the mark
        else:
            marker = interrupted_marker("process_restart", self._shared.clock())
            ended = endings.cut_short(answer, marker, at=None, recovered=True)
        await self._commit_or_keep(ended)
        if feed is not None and not self._unsaved:
            feed.running = False
            await self._shared.feeds.end(feed, endings.interrupted())

    async def _settle_stream(self, command: SettleStream) -> None:
        if not self._shared.feeds.is_unsettled(command.turn_id):
            return
        feed, shown = await self._shared.feeds.resume(command.turn_id, self._key)
        events = [entry.event for entry in shown]
        if isinstance(events[-1], TERMINAL):
            return  # but for the mark that says so
        last = endings.ending_of(self._record, command.turn_id, feed.session_id, events)
        await self._shared.feeds.end(feed, *last)

    async def _sweep(self, command: Sweep) -> None:
        """It was durable before this session pointed at it, and now it never will."""
        with suppress(RecordNotFound):
            found = load(command.name, await self._shared.store.load(command.name))
            if self._record is not None and found.continues_session_id == self._key:
                await self._shared.store.delete(command.name)
                await self._index.send(RowRemoved(command.name))

    # -- durability -------------------------------------------------------------------------

    def _decide(self, command: Message[Any]) -> Event:
        if isinstance(command, CreateSession):
            return decide(self._record, command, self._shared.clock(), lambda: self._key)
        return decide(self._record, command, self._shared.clock(), self._shared.new_id)

    def _evolved(self, event: Event) -> Record | None:
        """The record after the event, with the caller's key in it if this is what it stands for."""
        record = evolve(self._record, event)
        if self._once is None or record is None or isinstance(event, TurnEnded | Checkpointed):
            return record
        once, self._once = self._once, None
        return with_operation(record, once, self._record, event, self._shared.clock())

    async def _commit(self, event: Event) -> None:
        """Make it durable, then true, then known to the list and to whoever listens. Raises
        `StorageFailed`, and then nothing has changed.
        """
        record = self._evolved(event)
        assert record is not None
        try:
            stamp = await self._shared.store.save(self._key, dump(record))
        except StoreError as error:
            raise _storage_failed(error) from error
        self._record, self._on_disk, self._unsaved = record, True, False
        if not isinstance(event, Checkpointed):
            await self._index.send(RowChanged({**summary(record), STAMP: stamp}))
            if not isinstance(event, TurnStarted | TurnEnded) and not _is_private(event):
                self._tell(REASONS.get(type(self._message), "session_updated"))

    def _tell(
        self,
        reason: str,
        *,
        of: str | None = None,
        turn_id: str | None = None,
        at: float = 0.0,
        source: str = "",
        successor: str | None = None,
    ) -> None:
        count = 0 if self._record is None else len(self._record.messages)
        self._shared.notices.publish(
            Notice(of or self._key, reason, count, turn_id, at, source, successor)
        )

    async def _remind(self) -> None:
        await trio.sleep(LOOK_AGAIN_SECONDS)
        await self.context.ref.send(LookAgain())

    async def _remind_when_left(self, turn: RunningTurn) -> None:
        await turn.wait_left()
        await self.context.ref.send(LookAgain())

    async def _look_again(self, _: LookAgain) -> None:
        if not self._unsaved or self._record is None:
            return
        try:
            await self._commit(Created(self._record))
        except StorageFailed:
            self.context.start_soon(self._remind)


def _model_sees(record: Record, turn_id: str, prompt: str | None = None) -> list[Row]:
    text = record.pending_user_message or "" if prompt is None else prompt
    attachments = record.pending_attachments if prompt is None else ()
    return model_input([*context_rows(record), user_row(text, attachments, 0.0, turn_id)])


def _is_private(event: Event) -> bool:
    """Nothing that another tab shows: a draft, or the results of tasks."""
    return isinstance(event, Changed) and event.fields.keys() <= {"composer_draft", "background"}


def _storage_failed(error: StoreError) -> StorageFailed:
    return StorageFailed(str(error), isinstance(error, StoreFull))
