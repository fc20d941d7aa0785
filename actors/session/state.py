"""Which command is legal when, and what it changes. Plain functions: no clock, no disk, no Trio.

    decide(record, command, now, new_id) -> event, or Rejected
    evolve(record, event) -> record

`record` is None where there is no session.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from .agent import Usage
from .messages import (
    Archive,
    BlankMessage,
    Checkpoint,
    CreateSession,
    DeleteSession,
    NothingToRemove,
    Pin,
    ReadOnly,
    RemoveLastTurn,
    Rename,
    SaveDraft,
    SessionExists,
    SessionNotFound,
    StartTurn,
    TurnRunning,
    UpdateSession,
)
from .record import Record, Row
from .transcript import AUTOMATIC_TITLES, is_of_turn, last_user_row, text_of, title_from, user_row

__all__ = ["LEGAL", "STOPS_TURN", "Phase", "decide", "end_turn", "evolve", "phase_of"]

TITLE_LENGTH = 80
UNTITLED = "Untitled"


class Phase(Enum):
    ABSENT = "absent"
    IDLE = "idle"
    RUNNING = "running"


STOPS_TURN = frozenset({RemoveLastTurn, DeleteSession})
"""These end a running turn first, then apply."""

_ALWAYS = frozenset({Rename, Pin, Archive, UpdateSession, SaveDraft})

# Rule 2: everything that decides whether a command is legal is in this table, or in `decide`.
LEGAL: dict[Phase, frozenset[type]] = {
    Phase.ABSENT: frozenset({CreateSession, DeleteSession}),
    Phase.IDLE: _ALWAYS | {StartTurn, RemoveLastTurn, DeleteSession},
    Phase.RUNNING: _ALWAYS | {Checkpoint},
}


def phase_of(record: Record | None) -> Phase:
    if record is None:
        return Phase.ABSENT
    return Phase.RUNNING if record.busy else Phase.IDLE


# -- events: what has happened ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    record: Record


@dataclass(frozen=True, slots=True)
class TurnStarted:
    turn_id: str
    prompt: str
    attachments: tuple[Any, ...]
    at: float
    title: str
    model: str | None
    model_provider: str | None
    workspace: str
    source: str


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """`rows` come after the prompt. They reach the model, but for those marked `_error`."""

    rows: tuple[Row, ...]
    tool_calls: tuple[Row, ...]
    usage: Usage | None
    at: float | None  # None leaves `updated_at` alone
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Checkpointed:
    at: float


@dataclass(frozen=True, slots=True)
class LastTurnRemoved:
    keep: int  # rows of `messages`
    keep_context: int
    text: str
    generation: str
    at: float


@dataclass(frozen=True, slots=True)
class Changed:
    """Fields set to these values. `at` None leaves `updated_at` alone."""

    fields: dict[str, Any]
    at: float | None


@dataclass(frozen=True, slots=True)
class Deleted:
    pass


Event = Created | TurnStarted | TurnEnded | Checkpointed | LastTurnRemoved | Changed | Deleted


# -- decide -------------------------------------------------------------------------------------


def decide(record: Record | None, command: object, now: float, new_id: Callable[[], str]) -> Event:
    """What the command comes to. Raises `Rejected`, and then nothing has happened."""
    phase = phase_of(record)
    if type(command) not in LEGAL[phase]:
        raise _refusal(record, command)
    match command:
        case CreateSession():
            return Created(_new_record(command, new_id(), now))
        case DeleteSession():
            return Deleted()
    assert record is not None
    match command:
        case StartTurn():
            return _start(record, command, new_id(), now)
        case RemoveLastTurn():
            return _remove_last_turn(record, new_id(), now)
        case Checkpoint():
            return Checkpointed(now)
        case Rename(title):
            title = title.strip()[:TITLE_LENGTH].strip() or UNTITLED
            return Changed({"title": title, "manual_title": title not in AUTOMATIC_TITLES}, now)
        case Pin(pinned):
            return Changed({"pinned": pinned}, now)
        case Archive(archived):
            return Changed({"archived": archived}, None)
        case SaveDraft(draft):
            return Changed({"composer_draft": draft}, None)
        case UpdateSession():
            return Changed(_given(command), now)
    raise AssertionError(f"{command!r} is in the table of the legal, and nobody decides it")


def _refusal(record: Record | None, command: object) -> Exception:
    if record is None:
        return SessionNotFound()
    if isinstance(command, CreateSession):
        return SessionExists()
    if isinstance(command, StartTurn) and not command.prompt.strip():
        return BlankMessage()
    return TurnRunning(record.active_stream_id or "")


def _new_record(command: CreateSession, session_id: str, now: float) -> Record:
    return Record(
        session_id=session_id,
        title=command.title or UNTITLED,
        workspace=command.workspace or "",
        created_workspace=command.workspace,
        model=command.model,
        model_provider=command.model_provider,
        profile=command.profile,
        project_id=command.project_id,
        created_at=now,
        updated_at=now,
        pinned=command.pinned,
        messages=command.messages,
        tool_calls=command.tool_calls,
    )


def _start(record: Record, command: StartTurn, turn_id: str, now: float) -> TurnStarted:
    if record.read_only:
        raise ReadOnly("This session was imported to be read only")
    if not command.prompt.strip():
        raise BlankMessage()
    title = record.title
    if title in AUTOMATIC_TITLES and not record.manual_title:
        title = title_from(record.messages, command.prompt) or title
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
    )


def _remove_last_turn(record: Record, generation: str, now: float) -> LastTurnRemoved:
    keep = last_user_row(record.messages)
    if keep is None:
        raise NothingToRemove()
    return LastTurnRemoved(
        keep=keep,
        keep_context=last_user_row(record.context_messages) or 0,
        text=text_of(record.messages[keep].get("content")),
        generation=generation,
        at=now,
    )


def _given(command: UpdateSession) -> dict[str, Any]:
    fields = {
        "workspace": command.workspace,
        "model": command.model,
        "model_provider": command.model_provider,
    }
    return {name: value for name, value in fields.items() if value is not None}


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
        case LastTurnRemoved():
            return _last_turn_removed(record, event)
        case Changed(fields, at):
            changed: Record = replace(record, **fields)
            return changed if at is None else replace(changed, updated_at=at)


def _started(record: Record, event: TurnStarted) -> Record:
    return msgspec.structs.replace(
        record,
        active_stream_id=event.turn_id,
        pending_user_message=event.prompt,
        pending_attachments=event.attachments,
        pending_started_at=event.at,
        pending_user_source=event.source,
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
    new = (*((prompt,) if prompt else ()), *event.rows)
    usage = event.usage or Usage()
    context = record.context_messages
    return msgspec.structs.replace(
        record,
        messages=record.messages + new,
        context_messages=context + new if context else (),
        tool_calls=record.tool_calls + event.tool_calls,
        active_stream_id=None,
        pending_user_message=None,
        pending_attachments=(),
        pending_started_at=None,
        pending_user_source=None,
        # The latest turn's figures stand for the session, and only if the provider gave any.
        input_tokens=usage.input_tokens or record.input_tokens,
        output_tokens=usage.output_tokens or record.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or record.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens or record.cache_write_tokens,
        estimated_cost=record.estimated_cost if usage.cost is None else usage.cost,
        last_prompt_tokens=usage.input_tokens or record.last_prompt_tokens,
        updated_at=record.updated_at if event.at is None else event.at,
    )


def _pending_row(record: Record, event: TurnEnded) -> Row | None:
    text, turn_id = record.pending_user_message, record.active_stream_id
    if text is None:
        return None
    if turn_id is not None and any(is_of_turn(row, turn_id) for row in record.messages):
        return None
    at = record.pending_started_at or event.at or record.updated_at
    return user_row(text, record.pending_attachments, at, turn_id, recovered=event.recovered)


def _last_turn_removed(record: Record, event: LastTurnRemoved) -> Record:
    messages = record.messages[: event.keep]
    stamps = [row.get("timestamp") for row in messages[-1:]]
    return msgspec.structs.replace(
        record,
        messages=messages,
        context_messages=record.context_messages[: event.keep_context],
        tool_calls=tuple(
            card for card in record.tool_calls if card.get("assistant_msg_idx", 0) < event.keep
        ),
        # The reference system, given this file, must not take the cut for a loss and mend it.
        truncation_watermark=next((float(at) for at in stamps if at), 0.0),
        intentional_shrink_generation=event.generation,
        updated_at=event.at,
    )
