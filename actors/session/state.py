"""Which command is legal when, and what it changes. Plain functions: no clock, no disk, no Trio.

    decide(record, command, now, new_id) -> event, or Rejected
    evolve(record, event) -> record

`record` is None where there is no session.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from itertools import islice
from typing import Any

import msgspec

from . import approvals, waiting
from .agent import Usage
from .context import context_after_cut, context_rows, summary_row
from .copies import fresh_copy
from .events import (
    Changed,
    Checkpointed,
    Cleared,
    Compressed,
    Created,
    Cut,
    Deleted,
    Event,
    SideTurnStarted,
    TurnEnded,
    TurnStarted,
)
from .messages import (
    AddRows,
    Annotate,
    AnswerApproval,
    Archive,
    AskApproval,
    Assign,
    Checkpoint,
    Clear,
    CreateSession,
    DeleteIfEmpty,
    DeleteSession,
    EditWaiting,
    Pin,
    Regenerate,
    RemoveLastTurn,
    RemoveWaiting,
    Rename,
    RevokeGrant,
    SaveDraft,
    StartTurn,
    Truncate,
    UpdateSession,
)
from .record import Record, Row, time_of
from .refusals import (
    BlankMessage,
    NothingToRemove,
    ReadOnly,
    SessionExists,
    SessionNotFound,
    StaleRevision,
    TurnRunning,
)
from .transcript import (
    AUTOMATIC_TITLES,
    brought_by,
    cards_before,
    is_of_turn,
    last_user_row,
    revision,
    text_of,
    title_from,
    user_row,
)

__all__ = ["LEGAL", "STOPS_TURN", "Phase", "decide", "end_turn", "evolve", "phase_of", "start"]

TITLE_LENGTH = 80
UNTITLED = "Untitled"


class Phase(Enum):
    ABSENT = "absent"
    IDLE = "idle"
    RUNNING = "running"


STOPS_TURN = frozenset({RemoveLastTurn, Truncate, Clear, DeleteSession})
"""These end a running turn first, then apply."""

_ALWAYS = frozenset(
    {Rename, Pin, Archive, Assign, UpdateSession, SaveDraft, EditWaiting, RemoveWaiting, Annotate}
    | {AnswerApproval, RevokeGrant}
)

# Rule 2: everything that decides whether a command is legal is in this table, or in `decide`.
LEGAL: dict[Phase, frozenset[type]] = {
    Phase.ABSENT: frozenset({CreateSession, DeleteSession, DeleteIfEmpty}),
    Phase.IDLE: _ALWAYS | STOPS_TURN | {StartTurn, Regenerate, AddRows, DeleteIfEmpty},
    Phase.RUNNING: _ALWAYS | {Checkpoint, AskApproval},
}


def phase_of(record: Record | None) -> Phase:
    if record is None:
        return Phase.ABSENT
    return Phase.RUNNING if record.busy else Phase.IDLE


# -- decide -------------------------------------------------------------------------------------


def decide(record: Record | None, command: object, now: float, new_id: Callable[[], str]) -> Event:
    """What the command comes to. Raises `Rejected`, and then nothing has happened."""
    phase = phase_of(record)
    if type(command) not in LEGAL[phase]:
        raise _refusal(record, command)
    match command:
        case CreateSession(content):
            return Created(fresh_copy(content, new_id(), now))
        case DeleteSession() | DeleteIfEmpty():
            return Deleted()
    assert record is not None
    match command:
        case StartTurn():
            return start(record, command, command.turn_id or new_id(), now)
        case Regenerate():
            return _regenerate(record, command, new_id(), now)
        case RemoveLastTurn():
            keep = last_user_row(record.messages)
            if keep is None:
                raise NothingToRemove
            said = text_of(record.messages[keep].get("content"))
            return Cut(keep, new_id(), now, said)
        case Truncate(keep):
            return Cut(min(keep, len(record.messages)), new_id(), now)
        case Clear():
            return Cleared(new_id(), now)
        case Checkpoint():
            return Checkpointed(now)
        case AskApproval():
            return Changed(approvals.asked(record, _approval(command, new_id(), now)), None)
    return _change(record, command, now)


def _change(record: Record, command: object, now: float) -> Changed:
    """Commands that set fields, whatever else goes on."""
    match command:
        case Rename(title):
            if record.read_only:
                raise ReadOnly("This session was imported to be read only")
            title = title.strip()[:TITLE_LENGTH].strip() or UNTITLED
            manual = title not in AUTOMATIC_TITLES
            return Changed({"title": title, "manual_title": manual}, now)
        case Pin(pinned):
            return Changed({"pinned": pinned}, now)
        case Archive(archived):
            return Changed({"archived": archived}, None)
        case Assign(project_id):
            return Changed({"project_id": project_id}, now)
        case AddRows(rows):
            return Changed(_with_rows(record, rows), now)
        case Annotate(fields):
            return Changed({"extra": record.extra | fields}, None)
        case SaveDraft(draft):
            return Changed({"composer_draft": draft}, None)
        case UpdateSession(fields):
            return Changed(fields, now)
        case EditWaiting(turn_id, text):
            return Changed({"waiting": waiting.with_text(record, turn_id, text)}, None)
        case RemoveWaiting(turn_id):
            waiting.find(record, turn_id)
            return Changed({"waiting": waiting.without(record, [turn_id])}, None)
        case AnswerApproval(approval_id, choice):
            return Changed(approvals.answered(record, approval_id, choice, now), None)
        case RevokeGrant(tool):
            return Changed(approvals.revoked(record, tool), None)
    raise AssertionError(f"{command!r} is in the table of the legal, and nobody decides it")


def _approval(command: AskApproval, approval_id: str, now: float) -> Row:
    return {
        "id": approval_id,
        "turn_id": command.turn_id,
        "call_id": command.call_id,
        "tool": command.tool,
        "server": command.server,
        "arguments": command.arguments,
        "asked_at": now,
        "expires_at": now + command.seconds,
    }


def _refusal(record: Record | None, command: object) -> Exception:
    if record is None:
        return SessionNotFound()
    if isinstance(command, CreateSession):
        return SessionExists()
    if isinstance(command, StartTurn) and not command.prompt.strip():
        return BlankMessage()
    return TurnRunning(record.active_stream_id or "")


def start(
    record: Record, command: StartTurn, turn_id: str, now: float, *, keep: int | None = None
) -> TurnStarted:
    """The prompt gets its turn. Raises `Rejected`."""
    if record.read_only:
        raise ReadOnly("This session was imported to be read only")
    if not command.prompt.strip():
        raise BlankMessage
    if command.revision is not None and command.revision != revision(record):
        raise StaleRevision("The conversation has changed since")
    title = record.title
    if title in AUTOMATIC_TITLES and not record.manual_title:
        title = title_from(record.messages[:keep], command.prompt) or title
    return TurnStarted(
        turn_id=turn_id,
        prompt=command.prompt,
        attachments=command.attachments,
        at=now,
        title=title,
        model=command.model or record.model,
        model_provider=command.model_provider or record.model_provider,
        workspace=command.workspace or record.workspace,
        source=command.source,
        keep=keep,
        before=tuple(brought_by(row, turn_id) for row in command.before),
        options=command.options,
        note=command.note,
    )


def _regenerate(record: Record, command: Regenerate, turn_id: str, now: float) -> TurnStarted:
    keep = last_user_row(record.messages)
    if keep is None:
        raise NothingToRemove
    if command.revision != revision(record):
        raise StaleRevision("The conversation has changed since; reload it")
    row = record.messages[keep]
    again = StartTurn(
        text_of(row.get("content")),
        tuple(row.get("attachments") or ()),
        options=row.get("_options") or {},
    )
    return start(record, again, turn_id, now, keep=keep)


# -- evolve -------------------------------------------------------------------------------------


def evolve(record: Record | None, event: Event) -> Record | None:
    """The session after the event."""
    match event:
        case Created(created):
            return created
        case Deleted():
            return None
    assert record is not None
    replace = msgspec.structs.replace
    match event:
        case TurnStarted():
            return _started(record, event)
        case TurnEnded():
            return end_turn(record, event)
        case Checkpointed(at):
            return replace(record, updated_at=at)
        case SideTurnStarted(row=None):
            return record
        case SideTurnStarted(row=row):
            return replace(record, background=(*record.background, row))
        case Cut():
            return _cut(record, event)
        case Cleared():
            return _cleared(record, event)
        case Compressed():
            return _compressed(record, event)
        case Changed(fields, at):
            changed: Record = replace(record, **fields)
            return changed if at is None else replace(changed, updated_at=at)


def _started(record: Record, event: TurnStarted) -> Record:
    if event.keep is not None:
        record = _cut(record, Cut(event.keep, event.turn_id, event.at))
    return msgspec.structs.replace(
        record,
        **_with_rows(record, event.before),
        active_stream_id=event.turn_id,
        pending_user_message=event.prompt,
        pending_attachments=event.attachments,
        pending_started_at=event.at,
        pending_user_source=event.source,
        pending_options=event.options,
        pending_note=event.note,
        waiting=waiting.without(record, [event.turn_id]),
        title=event.title,
        model=event.model,
        model_provider=event.model_provider,
        workspace=event.workspace,
        updated_at=event.at,
    )


def end_turn(record: Record, event: TurnEnded) -> Record:
    """Whatever way a turn ends, its prompt moves into the transcript exactly once, here.

    The transcript is the one that stands now, not the one that stood when the turn began.
    """
    prompt = _pending_row(record, event)
    return msgspec.structs.replace(
        record,
        **_with_rows(record, (*((prompt,) if prompt else ()), *event.rows)),
        tool_calls=record.tool_calls + event.tool_calls,
        active_stream_id=None,
        pending_user_message=None,
        pending_attachments=(),
        pending_started_at=None,
        pending_user_source=None,
        pending_options={},
        pending_note={},
        waiting=waiting.without(record, event.steered),
        approvals=approvals.with_turn_closed(record, event.unanswered, event.at),
        updated_at=record.updated_at if event.at is None else event.at,
        **_figures(record, event.usage),
    )


def _with_rows(record: Record, rows: tuple[Row, ...]) -> dict[str, tuple[Row, ...]]:
    """The fields that say what was said, when these are said after it."""
    context = record.context_messages
    return {
        "messages": record.messages + rows,
        "context_messages": context + rows if context else (),
    }


def _figures(record: Record, usage: Usage | None) -> dict[str, Any]:
    """The latest turn's figures stand for the session, whether counted or estimated.

    A provider says zero of what it does not know: then what was counted before stands. Counted and
    estimated tokens never stand side by side, so that one mark speaks for both. An estimate leaves
    alone what only a provider knows: cache, cost, and how much the model had before it when that
    was last counted, which is `last_prompt_tokens` and the `output_tokens` that came after them.
    """
    usage = usage or Usage()
    figures = {
        "cache_read_tokens": usage.cache_read_tokens or record.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens or record.cache_write_tokens,
        "estimated_cost": record.estimated_cost if usage.cost is None else usage.cost,
    }
    if not (usage.input_tokens or usage.output_tokens):
        return figures
    before, last = (record.input_tokens, record.output_tokens), record.last_prompt_tokens
    if not usage.estimated:
        last = usage.last_prompt_tokens or usage.input_tokens or last
    elif last is not None and not record.usage_estimated:
        last += record.output_tokens
    if usage.estimated or record.usage_estimated:
        before = (0, 0)
    return figures | {
        "input_tokens": usage.input_tokens or before[0],
        "output_tokens": usage.output_tokens or before[1],
        "usage_estimated": usage.estimated,
        "last_prompt_tokens": last,
    }


def _pending_row(record: Record, event: TurnEnded) -> Row | None:
    text, turn_id = record.pending_user_message, record.active_stream_id
    if text is None:
        return None
    if turn_id is not None and _last_turn_is(record.messages, turn_id):
        return None
    if record.messages and _written_at_once(record.messages[-1], record):
        return None
    at = record.pending_started_at or event.at or record.updated_at
    return user_row(
        text,
        record.pending_attachments,
        at,
        turn_id,
        recovered=event.recovered,
        options=record.pending_options,
        note=record.pending_note,
    )


def _last_turn_is(rows: Sequence[Row], turn_id: str) -> bool:
    """Turns stand in a transcript in the order in which they were."""
    marked = (row for row in reversed(rows) if "_active_turn_token" in row)
    return any(is_of_turn(row, turn_id) for row in islice(marked, 1))


def _written_at_once(row: Row, record: Record) -> bool:
    """The reference system can put the prompt into the transcript as it accepts it, without a
    token. It is the same one if it was accepted at that very instant.
    """
    at = record.pending_started_at
    said = row.get("role") == "user" and row.get("content") == record.pending_user_message
    return said and at is not None and time_of(row) == at


def _cut(record: Record, event: Cut) -> Record:
    messages = record.messages[: event.keep]
    return msgspec.structs.replace(
        record,
        **context_after_cut(record, event.keep),
        messages=messages,
        tool_calls=cards_before(record.tool_calls, event.keep),
        # The reference system, given this file, must not take the cut for a loss and mend it.
        truncation_watermark=time_of(messages[-1]) if messages else 0.0,
        intentional_shrink_generation=event.generation,
        updated_at=event.at,
    )


def _cleared(record: Record, event: Cleared) -> Record:
    """A fork stays a fork of its parent; what went before a compression is gone with the rest."""
    return msgspec.structs.replace(
        _cut(record, Cut(0, event.generation, event.at)),
        title=UNTITLED,
        manual_title=False,
        llm_title_generated=False,
        waiting=(),
        approvals=(),
        composer_draft={},
        context_messages=(),
        compressions=(),
        clear_generation=event.generation,
        parent_session_id=record.parent_session_id if record.session_source == "fork" else None,
    )


def _compressed(record: Record, event: Compressed) -> Record:
    made, earlier = event.compression, record.compressions
    if not earlier and record.context_messages:
        made = msgspec.structs.replace(made, before=context_rows(record))
    elif (
        earlier and earlier[-1].at_row == made.at_row and not (made.of_turn or earlier[-1].of_turn)
    ):
        # Nothing was said in between: no cut can bring the earlier one back alone.
        made = msgspec.structs.replace(made, before=earlier[-1].before)
        earlier = earlier[:-1]
    return msgspec.structs.replace(
        record,
        session_id=event.session_id,
        parent_session_id=record.session_id,
        continues_session_id=record.session_id,
        context_messages=(summary_row(made), *record.messages[made.kept_from :]),
        compressions=(*earlier, made),
        compression_anchor_visible_idx=made.at_row,
        compression_anchor_summary=made.summary,
        last_prompt_tokens=None,
    )
