"""Making a conversation shorter for its model, when that is asked for or cannot be avoided."""

from collections.abc import Sequence

from .agent import Warned
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
from .entries import TurnCompressing
from .ledger import Ledger
from .messages import (
    Compress,
    CompressionState,
    ContextSummarised,
    SummaryMade,
    TurnOutput,
)
from .record import Compression, Row
from .refusals import NotCompressible, StorageFailed, TurnRunning
from .shared import Shared
from .transcript import content_seen, text_of

__all__ = ["Compressing"]

SUMMARY_SECONDS = 300.0


class Compressing:
    """One session's. The model is asked in a task of its own; what it says is applied by the
    session, and only to the transcript that it was asked about.
    """

    def __init__(self, ledger: Ledger, shared: Shared) -> None:
        self.state = CompressionState("idle")
        self._ledger = ledger
        self._shared = shared
        self._subject: tuple[Row, ...] | None = None  # the transcript that is being summarised

    @property
    def running(self) -> bool:
        return self._subject is not None

    # -- on request -------------------------------------------------------------------------

    def begin(self, command: Compress) -> CompressionState:
        """Raises `SessionNotFound`, `TurnRunning`, `NotCompressible` or `TokensSpent`."""
        record = self._ledger.present
        if self.running:
            return self.state
        if self._ledger.running:
            raise TurnRunning(record.active_stream_id or "")
        if self._shared.side_agent is None:
            raise NotCompressible("No provider configured -- cannot compress.")
        plan = plan_compression(record, focus=command.focus, room=self._shared.context_tokens)
        if plan is None:
            raise NotCompressible("Not enough conversation to compress (need at least 4 messages).")
        self._shared.admission.allowance.check(record.owner)
        self._subject = record.messages
        self.state = CompressionState("running", self._shared.clock())
        self._ledger.context.start_soon(self._work, plan)
        return self.state

    async def _work(self, plan: CompressionPlan) -> None:
        try:
            made = SummaryMade(plan, await self._summarise(plan))
        except Exception as error:  # noqa: BLE001 - the door: providers raise anything
            made = SummaryMade(plan, None, str(error) or type(error).__name__)
        await self._ledger.context.ref.send(made)

    async def apply(self, made: SummaryMade) -> None:
        subject, self._subject = self._subject, None
        began, record, failure = self.state.started_at, self._ledger.record, ""
        before = 0 if record is None else estimated_tokens(context_rows(record))
        if made.summary is None:
            failure = f"Compression failed: {made.failure}"
        elif self._ledger.running:
            failure = "Session stream state changed during compression; please retry."
        elif record is None or record.messages is not subject:
            failure = "Session was modified during compression; please retry."
        else:
            try:
                await self._ledger.rotate(self._compression(made.plan, made.summary, None))
            except StorageFailed as error:
                failure = f"Compression failed: {error}"
        if failure:
            self.state = CompressionState("error", began, failure)
        else:
            after = estimated_tokens(context_rows(self._ledger.present))
            self.state = CompressionState("done", began, saved_tokens=max(0, before - after))
        self._ledger.tell("compression_ended")

    # -- for a running turn -----------------------------------------------------------------

    async def shorten(self, turn_id: str, force: bool) -> Sequence[Row] | None:
        """In the turn's task, before the agent works: a summary, if the context is too long, or
        in any case with `force`. Gives what the model sees then; None if nothing has changed.
        """
        record, room = self._ledger.record, self._shared.context_tokens
        if record is None or self._shared.side_agent is None:
            return None
        if not force:
            files = record.pending_attachments
            pending = {"content": record.pending_user_message, "attachments": files}
            prompt = text_of(content_seen(pending))
            if room is None or tokens_in_use(record, prompt) < room * NEAR:
                return None
        plan = plan_compression(record, room=room)
        if plan is None:
            return None
        session = self._ledger.context.ref
        await session.send(TurnOutput(turn_id, TurnCompressing(record.session_id)))
        try:
            summary = await self._summarise(plan)
            return await session.ask(ContextSummarised(turn_id, plan, summary))
        except Exception as error:  # noqa: BLE001 - the door: providers raise anything
            text = f"The conversation could not be summarised: {error}"
            await session.send(TurnOutput(turn_id, Warned("compression", text)))
            return None

    async def apply_to_turn(self, done: ContextSummarised) -> bool:
        """False if it is another transcript by now. Raises `StorageFailed`."""
        record = self._ledger.record
        if record is None or len(record.messages) != done.plan.at_row:
            return False
        await self._ledger.rotate(self._compression(done.plan, done.summary, done.turn_id))
        return True

    # -- both -------------------------------------------------------------------------------

    async def _summarise(self, plan: CompressionPlan) -> str:
        record, request = self._ledger.present, summary_request(plan)
        said = await consult(self._shared, record, "summary", request, SUMMARY_SECONDS)
        if not said.strip():
            raise NotCompressible("the model answered nothing")
        return said.strip()

    def _compression(self, plan: CompressionPlan, summary: str, turn_id: str | None) -> Compression:
        return Compression(
            at_row=plan.at_row,
            kept_from=plan.kept_from,
            summary=summary,
            at=self._shared.clock(),
            of_turn=turn_id,
        )
