"""The session's owner: nobody else changes the record."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from actors import Actor, Message, Moved
from actors.index.messages import TEMPORARY, ReleasePin, ReservePin
from actors.stores import StoreError
from actors.viewer import Viewer

from . import endings
from .agent import ToolCompleted
from .approving import Approving
from .compressing import Compressing
from .entries import TERMINAL, TurnCompressed
from .events import Cut
from .kept import Kept
from .ledger import Ledger, storage_failed
from .messages import (
    AnswerApproval,
    AskApproval,
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
    OnBehalf,
    Once,
    Pin,
    Regenerate,
    Removed,
    RemoveLastTurn,
    RemoveWaiting,
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
    TurnAccepted,
    TurnOutput,
    TurnReturned,
    TurnUnwritable,
)
from .operations import answer_again
from .record import Record, Row
from .refusals import SessionExists, SessionNotFound, StorageFailed
from .shared import Shared
from .side_turns import SideTurns
from .state import STOPS_TURN
from .titling import Titling
from .turns import Turns, model_sees

__all__ = ["Session"]

SHELL_SECONDS = 1800.0  # how long a session that nothing was ever said in stays in memory

# Not in the session's story: what only reads, and output, of which its feed tells.
UNTOLD = (GetSession, CompressionStatus, TurnOutput)


class Session(Actor):
    """One message at a time: an operation, or what the session's own tasks have to say. The record
    is in its ledger; what runs is in `Turns`, `SideTurns`, `Titling` and `Compressing`.
    """

    def __init__(self, key: str, shared: Shared) -> None:
        self._shared = shared
        self._stories = shared.feeds.stories
        self._created_at = 0.0
        self._ledger = Ledger(key, shared)
        self._titling = Titling(self._ledger, shared)
        self._compressing = Compressing(self._ledger, shared)
        shorten = partial(partial, self._compressing.shorten)
        kept = Kept(self._ledger)
        self._turns = Turns(self._ledger, shared, self._titling, shorten, kept)
        self._approving = Approving(self._ledger, self._turns)
        self._side = SideTurns(self._ledger, shared, self._turns.commit_or_keep, kept)

    async def on_start(self) -> None:
        self._ledger.context = self.context
        try:
            await self._wake()
        except StoreError as error:
            raise storage_failed(error) from error

    async def _wake(self) -> None:
        record = await self._ledger.load()
        if record is None:
            return
        if record.continuation_session_id is not None:
            if await self._ledger.leads_nowhere(record.continuation_session_id):
                return
            raise Moved(record.continuation_session_id)
        self._ledger.record, self._ledger.on_disk = record, True
        with suppress(StoreError):  # it is still known then, and tried again
            await self._ledger.stay()
        await self._turns.recover(record)
        await self._side.recover(record.session_id)
        await self._turns.start_waiting()

    async def on_stop(self) -> None:
        if self._ledger.unsaved:
            with suppress(StorageFailed):  # the last chance
                await self._ledger.save_again()

    async def receive(self, message: Message[Any]) -> object:
        ledger = self._ledger
        if isinstance(message, OnBehalf):
            if ledger.record is not None and not message.viewer.may_see(ledger.record.owner):
                return _as_if_absent(message.command)
            message = _begun_by(message.viewer, message.command)
        ledger.message, ledger.once = message, None
        if isinstance(message, Once):
            ledger.message, ledger.once = message.command, message
            if ledger.record is not None:
                again = answer_again(ledger.record, message, ledger.running)
                if again is not None:
                    return again
        if self._stories.watched and not isinstance(ledger.message, UNTOLD):
            self._stories.command(ledger.key, type(ledger.message).__name__)
        answer = await self._handle(ledger.message)
        ledger.once = None
        await self._turns.start_waiting()
        if self._is_spent():
            with suppress(StorageFailed):  # it is tried again
                await self._delete(DeleteSession())
        return answer

    def _is_spent(self) -> bool:
        """It was to last for its turn, and a crash or the disk came before it could go."""
        record = self._ledger.record
        if record is None or record.session_source != TEMPORARY or not self._ledger.on_disk:
            return False
        return not record.busy and self._turns.idle

    async def _handle(self, message: Message[Any]) -> object:
        if type(message) in STOPS_TURN:
            await self._turns.stop()
        handler: Handler = _HANDLERS.get(type(message), Session._change)
        try:
            return await handler(self, message)
        except StoreError as error:
            raise storage_failed(error) from error

    def may_passivate(self) -> bool:
        ledger = self._ledger
        if ledger.unsaved or self._compressing.running or len(self._titling) or len(self._side):
            return False
        if not self._turns.idle:
            return False
        if ledger.record is None or ledger.on_disk:
            return True
        return self._shared.clock() - self._created_at > SHELL_SECONDS

    # -- reading and changing ---------------------------------------------------------------

    async def _get(self, _: GetSession) -> Snapshot:
        return self._ledger.snapshot()

    async def _change(self, command: Message[Any]) -> Snapshot:
        """Any command that is nothing more than a change of the record."""
        await self._ledger.commit(self._ledger.decide(command))
        return self._ledger.snapshot()

    async def _create(self, command: CreateSession) -> Snapshot:
        event = self._ledger.decide(command)
        if command.keep:
            await self._ledger.commit(event)
        else:
            self._ledger.record = self._ledger.evolved(event)
            self._created_at = self._shared.clock()
        return self._ledger.snapshot()

    async def _pin(self, command: Pin) -> Snapshot:
        event, key = self._ledger.decide(command), self._ledger.key
        index = self.context.refer("index", "main")
        if command.pinned:
            await index.ask(ReservePin(key, self._ledger.present.owner))
        try:
            await self._ledger.commit(event)
        except StorageFailed:
            await index.send(ReleasePin(key))
            raise
        return self._ledger.snapshot()

    async def _set_title(self, command: SetTitle) -> TitleOutcome:
        return await self._titling.set(command)

    async def _remove_last_turn(self, command: RemoveLastTurn) -> Removed:
        event = self._ledger.decide(command)
        assert isinstance(event, Cut)
        before = len(self._ledger.present.messages)
        await self._ledger.commit(event)
        return Removed(before - event.keep, event.text, self._ledger.present)

    async def _clear(self, command: Clear) -> Snapshot:
        waited = self._ledger.present.waiting
        snapshot = await self._change(command)
        await self._turns.end_waiting(waited)
        return snapshot

    async def _delete(self, command: DeleteSession) -> None:
        event, before = self._ledger.decide(command), self._ledger.record
        await self._side.stop_all()
        await self._ledger.delete(event)
        self._titling.stop()
        if before is not None:
            await self._turns.end_waiting(before.waiting)

    async def _delete_if_empty(self, command: DeleteIfEmpty) -> bool:
        record = self._ledger.record
        if record is None or not _is_empty(record, command.untitled):
            return False
        await self._delete(DeleteSession())
        return True

    # -- turns ------------------------------------------------------------------------------

    async def _steer(self, command: Steer) -> TurnAccepted | None:
        self._ledger.snapshot()
        if self._turns.running is None or not self._turns.steerable:
            return None
        return await self._turns.hand_over(StartTurn(command.text))

    async def _remove_waiting(self, command: RemoveWaiting) -> Snapshot:
        await self._turns.remove_waiting(command)
        return self._ledger.snapshot()

    async def _start_side_turn(self, command: StartSideTurn) -> TurnAccepted:
        self._turns.check_accepting()
        return await self._side.start(command)

    async def _fetch_background(self, _: FetchBackground) -> Sequence[Row]:
        return await self._side.fetch()

    async def _cancel_turn(self, command: CancelTurn) -> bool:
        return await self._side.cancel(command) or await self._turns.cancel(command)

    async def _turn_output(self, output: TurnOutput) -> None:
        turn = self._turns.current(output.turn_id) or self._side.find(output.turn_id)
        if turn is not None:
            turn.feed.put(turn.answer.add(output.event))
            if isinstance(output.event, ToolCompleted):
                self._turns.save_later(turn)
            await turn.feed.wait_room()

    async def _turn_unwritable(self, unwritable: TurnUnwritable) -> None:
        await self._side.unwritable(unwritable)
        await self._turns.unwritable(unwritable)

    async def _look_again(self, _: LookAgain) -> None:
        await self._turns.look_again()

    async def _settle_stream(self, command: SettleStream) -> None:
        """Its turn is over, and a crash came before its stream was."""
        feeds = self._shared.feeds
        if not feeds.is_unsettled(command.turn_id):
            return
        feed, shown = await feeds.resume(command.turn_id, self._ledger.key)
        events = [entry.event for entry in shown]
        if not isinstance(events[-1], TERMINAL):  # else only the mark is missing
            record = self._ledger.record
            await feeds.end(
                feed, *endings.ending_of(record, command.turn_id, feed.session_id, events)
            )

    # -- compression ------------------------------------------------------------------------

    async def _compress(self, command: Compress) -> CompressionState:
        return self._compressing.begin(command)

    async def _compression_status(self, _: CompressionStatus) -> CompressionState:
        self._ledger.snapshot()
        return self._compressing.state

    async def _context_summarised(self, done: ContextSummarised) -> Sequence[Row] | None:
        turn, old = self._turns.current(done.turn_id), self._ledger.key
        if turn is None or not await self._compressing.apply_to_turn(done):
            return None
        turn.feed.put(TurnCompressed(old, self._ledger.key))
        return model_sees(self._ledger.present, done.turn_id)

    async def _sweep(self, _: Sweep) -> None:
        """It is awake: whatever there was to mend is mended."""


Handler = Callable[[Session, Any], Awaitable[object]]

_HANDLERS: Mapping[type, Handler] = {
    GetSession: Session._get,
    CreateSession: Session._create,
    StartTurn: lambda session, message: session._turns.start(message),
    Regenerate: lambda session, message: session._turns.regenerate(message),
    Steer: Session._steer,
    RemoveWaiting: Session._remove_waiting,
    StartSideTurn: Session._start_side_turn,
    FetchBackground: Session._fetch_background,
    AskApproval: lambda session, message: session._approving.ask(message),
    AnswerApproval: lambda session, message: session._approving.answer(message),
    CancelTurn: Session._cancel_turn,
    RemoveLastTurn: Session._remove_last_turn,
    Clear: Session._clear,
    DeleteSession: Session._delete,
    DeleteIfEmpty: Session._delete_if_empty,
    Pin: Session._pin,
    SetTitle: Session._set_title,
    Compress: Session._compress,
    CompressionStatus: Session._compression_status,
    TurnOutput: Session._turn_output,
    TurnReturned: lambda session, message: session._turns.returned(message),
    TurnUnwritable: Session._turn_unwritable,
    SideTurnEnded: lambda session, message: session._side.ended(message),
    ContextSummarised: Session._context_summarised,
    SummaryMade: lambda session, message: session._compressing.apply(message),
    Checkpoint: lambda session, message: session._turns.checkpoint(message),
    SettleStream: Session._settle_stream,
    LookAgain: Session._look_again,
    Sweep: Session._sweep,
}
"""Of the class: an actor that knew its own methods would wait for the garbage collector."""


def _as_if_absent(command: Message[Any]) -> object:
    """What a session answers that is not there."""
    match command:
        case Once():
            return _as_if_absent(command.command)
        case DeleteSession():
            return None
        case DeleteIfEmpty() | CancelTurn():
            return False
        case CreateSession():
            raise SessionExists
    raise SessionNotFound


def _begun_by(viewer: Viewer, command: Message[Any]) -> Message[Any]:
    """What begins here is the viewer's own, whoever's it is a copy of."""
    match command:
        case Once():
            return replace(command, command=_begun_by(viewer, command.command))
        case CreateSession(record):
            owned = msgspec.structs.replace(record, owner=viewer.owner)
            return replace(command, record=owned)
    return command


def _is_empty(record: Record, untitled: bool) -> bool:
    """Nothing was ever said in it, and nothing is about to be."""
    if record.busy or record.messages or record.waiting or record.composer_draft.get("text"):
        return False
    return record.title == "Untitled" or not untitled
