"""The session record: what is on disk as `<session_id>.json`; see `dumping` and `amendments`."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from actors import Rejected

from .amendments import amended

__all__ = [
    "Compression",
    "Record",
    "RecordDamaged",
    "Row",
    "alias_of",
    "fields_of",
    "is_session_id",
    "load",
    "summary",
    "time_of",
    "user_messages",
]

Row = dict[str, Any]
"""One message of a transcript: JSON as it came, for we must give back what we do not know.
Treat it as frozen; to change a row, make another."""

SESSION_ID = re.compile(r"[0-9A-Za-z_-]{1,200}")
_OURS = frozenset(
    {
        "pending_options",
        "pending_note",
        "waiting",
        "background",
        "applied",
        "compressions",
        "continues_session_id",
        "rotating_to",
        "usage_estimated",
        "owner",
        "approvals",
        "grants",
    }
)
VERSION = 2
_VERSION = "greenroom_schema"  # in the file, from version 3 on
_DERIVED = frozenset({"message_count", "anchor_scene_index"})  # written, never read


class RecordDamaged(Rejected):
    """The file is there and cannot be read. It is left as it is until somebody mends it."""


def is_session_id(text: object) -> bool:
    """May this be looked up? A leading underscore is ours: `_index.json` is no session."""
    return (
        isinstance(text, str)
        and SESSION_ID.fullmatch(text) is not None
        and not text.startswith("_")
    )


class Compression(msgspec.Struct, frozen=True, kw_only=True):
    """From `at_row` on, the model saw `summary` in place of what stands before `kept_from`.

    Both are indices of `messages`. `of_turn` is the turn that could not go on without it, if it
    was not asked for. `before` is the context that it replaced, if that cannot be made again.
    """

    at_row: int
    kept_from: int
    summary: str
    at: float
    of_turn: str | None = None
    before: tuple[Row, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One session. Times are epoch seconds; `active_stream_id` names the running turn.

    `waiting` holds prompts that were accepted and have not had their turn, `background` tasks
    whose results nobody has fetched, `applied` what was done under a key of the caller's,
    `approvals` the tool calls that somebody was asked to allow, `grants` the tools that may be
    called without that. `owner` is a user's id, None: it was made when there were no users.
    `usage_estimated` says of `input_tokens` and `output_tokens` that no provider has counted them.
    `continuation_session_id` makes the file no more than a pointer: the session goes on there.
    `rotating_to` is the id under which it is about to go on: a file that a crash may have left.

    The fields before `messages` are written before it, so that a reader who wants no transcript
    may stop early. `extra` holds the fields we know nothing of, and goes back where it came from.
    """

    session_id: str
    title: str = "Untitled"
    workspace: str = ""
    created_workspace: str | None = None
    model: str | None = None
    model_provider: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    pinned: bool = False
    archived: bool = False
    project_id: str | None = None
    profile: str | None = None
    owner: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    usage_estimated: bool = False
    estimated_cost: float | None = None
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    personality: str | None = None
    active_stream_id: str | None = None
    pending_user_message: str | None = None
    pending_attachments: tuple[Any, ...] = ()
    pending_started_at: float | None = None
    pending_user_source: str | None = None
    pending_options: dict[str, Any] = {}
    pending_note: dict[str, Any] = {}
    context_length: int | None = None
    threshold_tokens: int | None = None
    last_prompt_tokens: int | None = None
    llm_title_generated: bool = False
    manual_title: bool = False
    parent_session_id: str | None = None
    session_source: str | None = None
    continues_session_id: str | None = None
    continuation_session_id: str | None = None
    rotating_to: str | None = None
    pre_compression_snapshot: bool = False
    compression_anchor_visible_idx: int | None = None
    compression_anchor_summary: str | None = None
    enabled_toolsets: list[str] | None = None
    clear_generation: str | None = None
    truncation_watermark: float | None = None
    intentional_shrink_generation: str | None = None
    read_only: bool = False
    composer_draft: dict[str, Any] = {}
    waiting: tuple[Row, ...] = ()
    background: tuple[Row, ...] = ()
    applied: dict[str, Row] = {}
    approvals: tuple[Row, ...] = ()
    grants: tuple[Row, ...] = ()
    messages: tuple[Row, ...] = ()
    tool_calls: tuple[Row, ...] = ()
    context_messages: tuple[Row, ...] = ()
    compressions: tuple[Compression, ...] = ()
    extra: dict[str, Any] = {}

    @property
    def busy(self) -> bool:
        """A turn was accepted and has not ended."""
        return self.active_stream_id is not None or self.pending_user_message is not None


_FIELDS = {field.name: field for field in msgspec.structs.fields(Record) if field.name != "extra"}


def load(session_id: str, data: bytes) -> Record:
    """Read a record file, ours or one of the reference system. Raises `RecordDamaged`.

    A field that is null where we want a value takes its default. The id is the file's name,
    whatever the file says.
    """
    try:
        raw = amended(data)
        if not isinstance(raw, dict):
            raise msgspec.ValidationError("Expected `object`, got something else")
        if _is_newer(raw.get(_VERSION)):
            raise msgspec.ValidationError("a newer Greenroom wrote it")
        known: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in raw.items():
            field = _FIELDS.get(name)
            if field is None:
                if name not in _DERIVED:
                    extra[name] = value
            elif value is not None and not _is_lost_context(name, value):
                known[name] = value
        known |= {"session_id": session_id, "extra": extra}
        record = msgspec.convert(known, Record)
        if not all(isinstance(row.get("id"), str) and row.get("message") for row in record.waiting):
            raise msgspec.ValidationError("what waits has no id or no text")
        return record
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordDamaged(
            f"The record of session {session_id} is damaged and was left as it is: {error}"
        ) from error


def _is_newer(version: object) -> bool:
    return isinstance(version, int) and version > VERSION


def _is_lost_context(name: str, value: object) -> bool:
    """The reference reads a context that is no list as none: the model then gets `messages`."""
    return name == "context_messages" and not isinstance(value, list)


def fields_of(record: Record) -> dict[str, Any]:
    """What the file holds, in its order: metadata first. Ours alone is left out where it says
    nothing.
    """
    fields: dict[str, Any] = {}
    for name in _FIELDS:
        if name == "messages":
            fields["message_count"] = len(record.messages)
        value = getattr(record, name)
        if value or name not in _OURS:
            fields[name] = value
    return fields | record.extra


_SUMMARY = tuple(
    name
    for name in _FIELDS
    if name
    not in {
        "messages",
        "tool_calls",
        "context_messages",
        "pending_attachments",
        "pending_options",
        "pending_note",
        "composer_draft",
        "truncation_watermark",
        "intentional_shrink_generation",
        "clear_generation",
        "llm_title_generated",
        "waiting",
        "background",
        "applied",
        "approvals",
        "grants",
        "compressions",
        "rotating_to",
    }
)

_SUMMARY_EXTRA = (
    "compression_anchor_message_key",
    "gateway_routing",
    "gateway_routing_history",
    "is_cli_session",
    "source_tag",
    "raw_source",
    "source_label",
    "worktree_path",
    "worktree_branch",
    "worktree_repo_root",
    "worktree_created_at",
)


def user_messages(rows: Iterable[Row]) -> int:
    return sum(row.get("role") == "user" for row in rows)


def summary(record: Record, said: int | None = None) -> Row:
    """The session's row in the list: all but its content. `said` is how many messages are of the
    user, if that is known.
    """
    row: Row = {name: getattr(record, name) for name in _SUMMARY}
    row |= {name: record.extra[name] for name in _SUMMARY_EXTRA if name in record.extra}
    pending = record.pending_user_message is not None
    row["message_count"] = max(len(record.messages), 1 if pending else 0)
    row["user_message_count"] = user_messages(record.messages) if said is None else said
    row["last_message_at"] = _last_message_at(record)
    row["has_pending_user_message"] = pending
    row["waiting_count"] = len(record.waiting)
    row["approval_count"] = sum("choice" not in row for row in record.approvals)
    return row


def time_of(row: Row) -> float | None:
    """When it was said, in epoch seconds; older rows have it under another name."""
    stamp = row.get("timestamp", row.get("_ts"))
    return float(stamp) if isinstance(stamp, int | float) else None


def alias_of(record: Record, continuation: str) -> Record:
    """What stays under an id that was left: who asks here is sent on. It holds nothing that was
    said; the record it points at has that.
    """
    return Record(
        session_id=record.session_id,
        owner=record.owner,
        workspace=record.workspace,
        created_at=record.created_at,
        updated_at=record.updated_at,
        parent_session_id=record.parent_session_id,
        continues_session_id=record.continues_session_id,
        continuation_session_id=continuation,
        pre_compression_snapshot=True,
    )


def _last_message_at(record: Record) -> float:
    """When something was last said: what the list is ordered by."""
    if record.pending_started_at is not None:
        return record.pending_started_at
    for message in reversed(record.messages):
        if message.get("role") != "tool":
            at = time_of(message)
            return record.updated_at if at is None else at
    return record.updated_at
