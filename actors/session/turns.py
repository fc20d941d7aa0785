"""A session's turns: accepted, waiting, running, ended."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec

from actors import ActorStopped, MailboxFull
from actors.index.messages import TEMPORARY

from . import approvals, endings, waiting
from .agent import AgentTurn
from .answer import Answer
from .context import NEAR, context_rows
from .entries import FeedEvent, StreamEnded, TurnDone, TurnFailed
from .events import Changed, Deleted, Event, TurnEnded, TurnStarted
from .feeds import TurnFeed
from .kept import Kept
from .ledger import Ledger, storage_failed
from .messages import (
    CancelTurn,
    Checkpoint,
    LookAgain,
    Regenerate,
    RemoveWaiting,
    StartTurn,
    TurnAccepted,
    TurnReturned,
    TurnUnwritable,
)
from .record import Record, Row
from .refusals import BlankMessage, SessionBusy, ShuttingDown, StorageFailed
from .shared import Shared
from .state import end_turn, evolve, start
from .titles import may_title
from .titling import Titling
from .transcript import (
    cancelled_marker,
    error_row,
    interrupted_marker,
    is_of_turn,
    model_input,
    user_row,
)
from .turn import RunningTurn, Shorten, failure_of

__all__ = ["Turns", "agent_turn", "model_sees", "open_feed"]

log = logging.getLogger("actors.session")

INSTRUCTIONS = "instructions"  # the one option that the session itself sees to
STOP_SECONDS = 5.0  # how long a cancelled agent is waited for


class Turns:
    """At most one runs. The others wait, in the order in which they were accepted; a session is
    never idle while one waits.
    """

    def __init__(
        self,
        ledger: Ledger,
        shared: Shared,
        titling: Titling,
        shorten: Callable[[str], Shorten],
        kept: Kept,
    ) -> None:
        self.running: RunningTurn | None = None
        self._ledger = ledger
        self._shared = shared
        self._titling = titling
        self._shorten = shorten
        self._kept = kept
        self._leaving: RunningTurn | None = None  # was stopped, and has not left by its deadline

    @property
    def idle(self) -> bool:
        """Nothing here needs the session in memory."""
        record = self._ledger.record
        waits = record is not None and bool(record.waiting)
        return self.running is None and not waits and self._has_left()

    def _has_left(self) -> bool:
        return self._leaving is None or self._leaving.has_left

    def current(self, turn_id: str) -> RunningTurn | None:
        """The running turn if it is this one. Everything else is too late to matter."""
        turn = self.running
        return turn if turn is not None and turn.turn_id == turn_id else None

    # -- accepted ---------------------------------------------------------------------------

    async def start(self, command: StartTurn) -> TurnAccepted:
        self.check_accepting()
        if self.running is None or command.if_busy == "reject":
            event = self._ledger.decide(command)
            assert isinstance(event, TurnStarted)
            self._check_room()
            return await self._begin(event)
        if not command.prompt.strip():
            raise BlankMessage
        if command.if_busy == "steer" and self.steerable:
            return await self.hand_over(command)
        if command.if_busy in ("queue", "steer"):
            self._check_room()
            waits = await self._enqueue(command)
            steer = command.if_busy == "steer"
            return replace(waits, fallback="agent_lacks_steer") if steer else waits
        return await self._supersede(command, self.running.turn_id)

    async def regenerate(self, command: Regenerate) -> TurnAccepted:
        self.check_accepting()
        event = self._ledger.decide(command)
        assert isinstance(event, TurnStarted)
        self._check_room()
        return await self._begin(event)

    async def _supersede(self, command: StartTurn, turn_id: str) -> TurnAccepted:
        """Stop what runs, and take its place: behind what was shown of it, or instead of it."""
        await self.stop()
        record, keep = self._ledger.present, None
        if command.if_busy == "rollback":
            keep = next((i for i, r in enumerate(record.messages) if is_of_turn(r, turn_id)), None)
        new_id, now = self._shared.new_id(), self._shared.clock()
        return await self._begin(start(record, command, new_id, now, keep=keep))

    def _check_room(self) -> None:
        """For one more. Raises `TooManyTurns` or `TokensSpent`."""
        self._shared.admission.check(self._ledger.present.owner, self._shared.feeds)

    def check_accepting(self) -> None:
        """Raises `ShuttingDown`."""
        if not self._shared.accepting:
            raise ShuttingDown("The server is shutting down; try again in a moment")

    async def _begin(self, event: TurnStarted) -> TurnAccepted:
        if not self._has_left():
            raise SessionBusy("The stopped answer is still ending; try again in a moment")
        self._leaving = None
        feed = await open_feed(self._shared, self._ledger, event.turn_id)
        try:
            await self._ledger.commit(event)
        except StorageFailed:
            if not any(row.get("id") == event.turn_id for row in self._ledger.present.waiting):
                await self._shared.feeds.drop(feed)
            raise
        record = self._ledger.present
        asked = agent_turn(self._shared, record, event.turn_id)
        turn = RunningTurn(event.turn_id, feed, event.at, asked.messages, asked.model)
        self._shared.turns_started += 1
        self._run(turn)
        self._ledger.tell("turn_started", turn_id=event.turn_id, at=event.at, source=event.source)
        self._ledger.context.start_soon(self._work, turn, asked)
        return TurnAccepted(event.turn_id, record)

    def _run(self, turn: RunningTurn | None) -> None:
        if self.running is not None:
            self.running.feed.running = False
        self.running = turn
        self._ledger.running = turn is not None
        if turn is not None:
            turn.feed.running = True

    async def _work(self, turn: RunningTurn, asked: AgentTurn) -> None:
        session = self._ledger.context.ref
        shorten = self._shorten(turn.turn_id)
        asked = replace(asked, keep=self._kept.get)
        by_itself, failure = await turn.work(self._shared, asked, session, shorten)
        if by_itself:
            await session.send(TurnReturned(turn.turn_id, failure))

    # -- waiting ----------------------------------------------------------------------------

    async def _enqueue(self, command: StartTurn) -> TurnAccepted:
        """It is on disk, and its stream is open, from now on; its turn comes."""
        turn_id, now = self._shared.new_id(), self._shared.clock()
        rows = waiting.with_waiting(self._ledger.present, command, turn_id, now)
        feed = await open_feed(self._shared, self._ledger, turn_id)
        try:
            await self._ledger.commit(Changed({"waiting": rows}, None))
        except StorageFailed:
            await self._shared.feeds.drop(feed)
            raise
        return TurnAccepted(turn_id, self._ledger.present, waiting=True)

    async def start_waiting(self) -> None:
        """Give the first that waits its turn, if none runs. Called after each message."""
        record = self._ledger.record
        if record is None or not record.waiting or self.running is not None:
            return
        if self._ledger.unsaved or not self._shared.accepting or not self._has_left():
            return
        row, now = record.waiting[0], self._shared.clock()
        try:
            await self._begin(start(record, waiting.command_of(row), str(row["id"]), now))
        except StorageFailed as error:
            log.warning("%s: a waiting message must wait on: %s", record.session_id, error)
            self._ledger.remind()

    async def remove_waiting(self, command: RemoveWaiting) -> None:
        waited = self._ledger.present.waiting
        await self._ledger.commit(self._ledger.decide(command))
        await self.end_waiting(row for row in waited if row.get("id") == command.turn_id)

    async def end_waiting(self, rows: Iterable[Row]) -> None:
        """The streams of prompts that will not have their turn."""
        for row in rows:
            feed = self._shared.feeds.find(str(row.get("id")))
            if feed is not None:
                await self._shared.feeds.end(feed, endings.cancelled())

    @property
    def steerable(self) -> bool:
        return bool(getattr(self._shared.agent, "steerable", False))

    async def hand_over(self, command: StartTurn) -> TurnAccepted:
        """To the running agent, once it is on disk."""
        turn = self.running
        assert turn is not None
        remark_id, now = self._shared.new_id(), self._shared.clock()
        rows = waiting.with_waiting(self._ledger.present, command, remark_id, now, steer=True)
        await self._ledger.commit(Changed({"waiting": rows}, None))
        turn.remark(remark_id, command.prompt)
        return TurnAccepted(turn.turn_id, self._ledger.present, steered=True)

    # -- running ----------------------------------------------------------------------------

    def save_later(self, turn: RunningTurn) -> None:
        """A tool was completed. Only that moves the record: `messages` does not grow."""
        if not turn.saves_later:
            turn.saves_later = True
            reminder = Checkpoint(turn.turn_id)
            self._ledger.context.tell_after(self._shared.checkpoint_seconds, reminder)

    async def checkpoint(self, command: Checkpoint) -> None:
        turn = self.current(command.turn_id)
        if turn is None:
            return
        turn.saves_later = False
        try:
            await self._ledger.commit(self._ledger.decide(command))
        except StorageFailed as error:
            log.warning("%s: checkpoint not written: %s", self._ledger.key, error)
            self.save_later(turn)

    # -- ended ------------------------------------------------------------------------------

    async def returned(self, returned: TurnReturned) -> None:
        turn = self.current(returned.turn_id)
        if turn is None:
            return
        if returned.failure is not None:
            await self._fail(turn, failure_of(returned.failure))
        elif turn.answer.silent:
            await self._fail(turn, endings.silent_failure())
        else:
            await self._complete(turn)

    async def _complete(self, turn: RunningTurn) -> None:
        at, answer, record = self._shared.clock(), turn.answer, self._ledger.present
        used = turn.usage
        rows = answer.rows(at)
        rows[-1]["_turnDuration"] = round(at - turn.started_at, 3)
        tokens = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
        rows[-1]["_turnUsage"] = tokens | ({"estimated": True} if used.estimated else {})
        if used.model is not None:
            rows[-1]["_usedModel"] = used.model
        if answer.cut_by is not None:
            rows[-1]["_cutBy"] = answer.cut_by
        cards = answer.tool_summaries(len(record.messages) + 1)
        ended = TurnEnded(rows, cards, used, at, steered=answer.steered)
        usage = msgspec.structs.asdict(used)
        usage["duration_seconds"] = rows[-1]["_turnDuration"]
        if self._shared.context_tokens is not None:
            usage["context_length"] = self._shared.context_tokens
            usage["threshold_tokens"] = int(self._shared.context_tokens * NEAR)
        last: tuple[FeedEvent, ...] = (TurnDone(usage), StreamEnded(turn.feed.session_id))
        await self._end(turn, ended, *last[: 1 if may_title(end_turn(record, ended)) else 2])

    async def _fail(self, turn: RunningTurn, failed: TurnFailed) -> None:
        at = self._shared.clock()
        row = error_row(failed.label, failed.message, at, hint=failed.hint, details=failed.details)
        row["_failure"] = failed.kind
        usage = turn.answer.usage if turn.answer.empty else turn.usage
        ended = endings.cut_short(turn.answer, row, at, usage, asked=self._asked(turn.turn_id))
        await self._end(turn, ended, failed)

    async def unwritable(self, unwritable: TurnUnwritable) -> None:
        turn = self.current(unwritable.turn_id)
        if turn is not None:
            await self._stop_agent(turn)
            await self._fail(turn, endings.storage_failure(unwritable.error))

    async def cancel(self, command: CancelTurn) -> bool:
        record, turn_id = self._ledger.record, command.turn_id
        if self.current(turn_id) is not None:
            await self.stop(shutdown=command.shutdown)
            return True
        if command.shutdown:
            self._titling.stop(turn_id)
        elif record is not None and any(row.get("id") == turn_id for row in record.waiting):
            await self.remove_waiting(RemoveWaiting(turn_id))
            return True
        return False

    async def stop(self, *, shutdown: bool = False) -> None:
        """End the running turn, if there is one, and keep what was shown of it."""
        turn = self.running
        if turn is None:
            return
        await self._stop_agent(turn)
        at = self._shared.clock()
        marker = interrupted_marker("process_restart", at) if shutdown else cancelled_marker(at)
        last: FeedEvent = endings.interrupted() if shutdown else endings.cancelled()
        ended = endings.cut_short(
            turn.answer,
            marker,
            at,
            turn.usage,
            asked=self._asked(turn.turn_id),
            unanswered="interrupted" if shutdown else "cancelled",
        )
        await self._end(turn, ended, last)

    def _asked(self, turn_id: str | None) -> Sequence[Row]:
        """The turn's approvals."""
        return approvals.of_turn(self._ledger.present, turn_id)

    async def _stop_agent(self, turn: RunningTurn) -> None:
        if not await turn.stop(STOP_SECONDS):
            log.warning("%s: the agent did not stop in %g s", self._ledger.key, STOP_SECONDS)
            self._leaving = turn
            self._ledger.context.start_soon(self._remind_when_left, turn)

    async def _end(self, turn: RunningTurn, ended: TurnEnded, *last: FeedEvent) -> None:
        """The only way out of a turn: the transcript first, then readers hear of it. The stream
        of one that is done may go on with a title.
        """
        error = None if await self._is_gone() else await self.commit_or_keep(ended)
        self._shared.admission.allowance.spend(turn.feed.owner, ended.usage)
        self._run(None)
        if error is not None:
            last = (endings.storage_failure(error),)
        if isinstance(last[-1], TurnDone):
            turn.feed.put(last[-1])
            self._titling.begin(turn.feed)
        else:
            await self._shared.feeds.end(turn.feed, *last)
        self._shared.on_turn_ended(turn.report(*last))
        self._ledger.tell("turn_ended", turn_id=turn.turn_id)

    async def _is_gone(self) -> bool:
        """A session that was to last for this turn goes before its end is told."""
        if self._ledger.present.session_source != TEMPORARY or self._ledger.present.waiting:
            return False
        with suppress(StorageFailed):  # then it goes later
            await self._ledger.delete(Deleted())
        return self._ledger.record is None

    async def commit_or_keep(self, event: Event) -> StorageFailed | None:
        """Commit what has happened in any case. If the disk refuses, memory goes ahead of it."""
        ledger = self._ledger
        try:
            await ledger.commit(event)
        except StorageFailed as error:
            log.warning("%s: not saved yet: %s", ledger.key, error)
            ledger.record = evolve(ledger.record, event)
            return error
        return None

    # -- what stood in the way --------------------------------------------------------------

    async def look_again(self) -> None:
        if self._ledger.unsaved:
            with suppress(StorageFailed):
                await self._ledger.save_again()

    async def _remind_when_left(self, turn: RunningTurn) -> None:
        await turn.wait_left()
        await self._ledger.context.ref.send(LookAgain())

    # -- what a crash left behind -----------------------------------------------------------

    async def recover(self, record: Record) -> None:
        """No turn can be alive: this process alone owns the directory, and this actor the
        session. What was shown is in the journal. Leaves `updated_at` alone: nobody did anything.
        """
        if record.busy:
            await self._recover_turn(record)
        for row in record.waiting:
            turn_id = str(row.get("id"))
            if not row.get("steer") and self._shared.feeds.find(turn_id) is None:
                tell = _unwritable(self._ledger, turn_id)
                await self._shared.feeds.reopen(turn_id, record.session_id, tell, record.owner)

    async def _recover_turn(self, record: Record) -> None:
        feed, answer = None, Answer()
        if record.active_stream_id is not None:
            feed, shown = await self._shared.feeds.resume(
                record.active_stream_id, record.session_id
            )
            for entry in shown:
                answer.add(entry.event)
        asked = self._asked(record.active_stream_id)
        if record.pending_user_message is None and answer.empty:
            ended = TurnEnded((), (), None, None)  # it had been settled but for the mark
        else:
            last_known = max(record.updated_at, record.pending_started_at or 0.0)
            marker = interrupted_marker("process_restart", last_known)
            usage = answer.usage_of(model_sees(record, record.active_stream_id or ""))
            ended = endings.cut_short(answer, marker, None, usage, asked=asked, recovered=True)
        await self.commit_or_keep(ended)
        if feed is not None and not self._ledger.unsaved:
            feed.running = False
            await self._shared.feeds.end(feed, endings.interrupted())
        self._shared.admission.allowance.spend(record.owner, ended.usage)


async def open_feed(shared: Shared, ledger: Ledger, turn_id: str) -> TurnFeed:
    """The feed of a turn that is accepted: open already, if it has waited. The journal has it
    before the record does, for that is how a restart finds the sessions that were at work. Raises
    `StorageFailed`.
    """
    feed = shared.feeds.find(turn_id)
    if feed is not None and feed.failure is not None:
        await shared.feeds.drop(feed)
        feed = None
    if feed is None:
        tell, owner = _unwritable(ledger, turn_id), ledger.present.owner
        feed = shared.feeds.open(turn_id, ledger.key, tell, owner)
        await feed.wait_shown()
        if feed.failure is not None:
            await shared.feeds.drop(feed)
            raise storage_failed(feed.failure)
    return feed


def _unwritable(ledger: Ledger, turn_id: str) -> Callable[[BaseException], None]:
    ref = ledger.context.ref

    def tell(error: BaseException) -> None:
        # Of things to stop one will do, and a session that has ended has nothing to stop.
        with suppress(ActorStopped, MailboxFull):
            ref.tell(TurnUnwritable(turn_id, error))

    return tell


def agent_turn(
    shared: Shared, record: Record, turn_id: str, prompt: str | None = None
) -> AgentTurn:
    """What the agent is asked: to answer the pending prompt, or one beside the conversation."""
    model = record.model or shared.default_model
    options = {} if prompt is not None else dict(record.pending_options)
    options.pop(INSTRUCTIONS, None)
    seen = model_sees(record, turn_id, prompt)
    return AgentTurn(record.session_id, turn_id, seen, model, options=options)


def model_sees(record: Record, turn_id: str, prompt: str | None = None) -> Sequence[Row]:
    """The context, and the prompt: the pending one, or one beside the conversation."""
    if prompt is not None:
        return model_input([*context_rows(record), user_row(prompt, (), 0.0, turn_id)])
    asked = user_row(record.pending_user_message or "", record.pending_attachments, 0.0, turn_id)
    told = record.pending_options.get(INSTRUCTIONS)
    instructions = [{"role": "system", "content": told}] if told else []
    return model_input([*instructions, *context_rows(record), asked])
