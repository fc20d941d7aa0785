"""What `/openapi.json` says of each route that the code does not say by itself.

A new route gets a line in `OPERATIONS`: a test fails without it. Shapes are types, objects as dicts
(a name with `?` may be missing), lists of one shape, and tuples of which it is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from actors.session.record import Record, summary

from . import bodies
from .authority.login import LoginBody
from .quiet import CONSTANT

__all__ = ["COMPONENTS", "OPERATIONS", "REFERENCE", "Operation", "Schema", "Shape"]


REFERENCE = "#/components/schemas/{name}"


@dataclass(frozen=True)
class Schema:
    """JSON Schema as it is."""

    json: dict[str, Any]

    @classmethod
    def named(cls, name: str) -> "Schema":
        """One of `COMPONENTS`."""
        return cls({"$ref": REFERENCE.format(name=name)})


Shape = Any

JSON = ("application/json",)
PAGE = ("text/html",)
STREAM = ("text/event-stream",)
FILE = ("*/*",)


@dataclass(frozen=True, kw_only=True)
class _Told:
    answer: Shape = field(default_factory=dict)  # with status 200
    body: type[msgspec.Struct] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)  # of the path
    needs: tuple[str, ...] = ()  # of the body or the query: given, and not empty
    narrowed: Mapping[str, Any] = field(default_factory=dict)  # what else is true of those
    refuses: frozenset[int] = frozenset()  # besides what any POST may be refused with
    also: Mapping[int, Shape] = field(default_factory=dict)  # other statuses that are no error
    kinds: tuple[str, ...] = JSON
    events: Mapping[str, Shape] = field(default_factory=dict)
    error: str = "Error"  # which of the `COMPONENTS` its refusals are
    keyed: bool = True  # a POST with an `Idempotency-Key` is done once


@dataclass(frozen=True)
class Operation(_Told):
    summary: str


# -- refusals -----------------------------------------------------------------------------------

READS = frozenset({503})
NAMED = frozenset({400, 404, 503})  # it reads one session
WRITES = frozenset({403, 409, 507})  # it changes one
CHANGES = NAMED | WRITES

# -- what comes in ------------------------------------------------------------------------------

TEXT = {"type": "string"}
NUMBER = {"type": "string", "pattern": "^[0-9]{0,9}$"}
SESSION = {"session_id": TEXT}
SESSION_NAMED: dict[str, Any] = {"query": SESSION, "needs": ("session_id",), "refuses": NAMED}
COUNT = {"keep_count": {"type": "integer", "minimum": 0}}
CURSOR = {
    "stream_id": TEXT,
    "after_event_id": {"type": "string", "description": "The id of the last event you have."},
    "after_seq": {"type": "string", "description": "Its number alone."},
}

# -- what goes out ------------------------------------------------------------------------------

OK = {"ok": bool}
PAGING = ("limit", "offset", "archived_limit", "archived_offset")
Error, Row, Session, Waiting, Project, Approval, Grant = map(
    Schema.named, ("Error", "Row", "Session", "Waiting", "Project", "Approval", "Grant")
)
Usage = {
    "input_tokens": int,
    "output_tokens": int,
    "total_tokens": int,
    "usage_estimated": bool,
    "estimated_cost": float | None,
    "model": str | None,
}
Message = Schema({"type": "object", "description": "A row of the transcript: role, content, ..."})

_TYPES = {each.name: each.type for each in msgspec.structs.fields(Record)}
_DERIVED: dict[str, Any] = {
    "last_message_at": float,
    "has_pending_user_message": bool,
    "profile": str,
    "is_streaming": bool,
}
_ROW = {name: _TYPES.get(name, int) for name in summary(Record(session_id=""))} | _DERIVED
_COMPACT = _ROW | {
    "pending_user_message": str | None,
    "composer_draft": dict[str, Any],
    "queue": [Waiting],
}

_APPROVAL = {
    "approval_id": str,
    "tool": str,
    "tid": str,
    "args": dict[str, Any],
    "command": str,
    "description": str,
    "pattern_key": str,
    "pattern_keys": list[str],
    "expires_at": float,
    "pending_count": int,
}

COMPONENTS: dict[str, Shape] = {
    "Error": {
        "error": str,
        "active_stream_id?": str | None,
        "type?": str,
        "answered?": str,
        "stale?": bool,
    },
    "Row": _ROW,
    "Compact": _COMPACT,
    "Session": _COMPACT
    | {
        "messages": [Message],
        "tool_calls": [dict[str, Any]],
        "pending_attachments": list[Any],
        "pending_started_at": float | None,
        "pending_user_source": str | None,
        "message_count": int,
        "approvals": [Approval],
        "grants": [Grant],
        "_messages_truncated": bool,
        "_messages_offset": int,
        "_msg_limit_max": int,
        "regeneration_revision?": str,
    },
    "Waiting": {
        "id": str,
        "message": str,
        "attachments?": list[Any],
        "model?": str | None,
        "queued_at?": float,
        "steer?": bool,
    },
    "Approval": _APPROVAL | {"session_id": str, "stream_id": str},
    "Grant": {"tool": str, "server": str, "at": float},
    "Project": {
        "project_id": str,
        "name": str,
        "color": str | None,
        "created_at": float | None,
        "profile": str | None,
    },
}
COMPACT = {"session": Schema.named("Compact")}
WHOLE = {"session": Session}
QUEUE = {"queue": [Waiting]}
COMPRESSION = {
    "ok": bool,
    "status": str,
    "session_id": str,
    "started_at?": float,
    "error?": str,
    "session?": Session,
    "old_session_id?": str,
    "new_session_id?": str,
    "summary?": dict[str, Any],
}
STARTED = {
    "stream_id": str,
    "turn_id": str,
    "session_id": str,
    "pending_started_at": float | None,
    "title": str,
    "fallback?": str,
    "steered?": bool,
}
PROJECT = OK | {"project": Project}

# -- events -------------------------------------------------------------------------------------

_TOOL = {"event_type": str, "name": str, "preview": str, "args": dict[str, Any], "tid": str}
_WITH_SESSION = {"session_id?": str, "session?": dict[str, Any]}
OF_A_TURN: dict[str, Shape] = {
    "context_status": {"session_id": str, "prefill": dict[str, Any]},
    "token": {"text": str},
    "reasoning": {"text": str},
    "tool": _TOOL,
    "tool_complete": _TOOL | {"is_error": bool},
    "approval": _APPROVAL,
    "approval_resolved": {"approval_id": str, "choice": str},
    "warning": {"type": str, "message": str},
    "steered": {"id": str, "text": str},
    "metering": {"tps_available": bool, "usage": dict[str, Any]},
    "compressing": {"session_id": str, "message": str},
    "compressed": {"old_session_id": str, "new_session_id": str, "message": str},
    "done": {"usage": dict[str, Any], "ephemeral?": bool, "answer?": str} | _WITH_SESSION,
    "title_status": {"session_id": str, "status": str, "reason": str, "title": str},
    "title": {"session_id": str, "title": str},
    "stream_end": {"session_id": str},
    "cancel": {"message": str, "type": str, "status": str} | _WITH_SESSION,
    "apperror": {"message": str, "type": str, "label": str, "hint?": str, "details?": str}
    | _WITH_SESSION,
}
OF_A_SESSION: dict[str, Shape] = {
    "initial": {"session_id": str},
    "server_turn_started": {"session_id": str, "stream_id": str | None},
    "session-updated": {"session_id": str, "message_count": int},
    "session-deleted": {"session_id": str},
}
OF_A_TAB: dict[str, Shape] = {
    "hello": {"session": dict[str, Any] | None},
    "turn_began": {"stream_id": str, "session_id": str},
    "turn_gone": {"stream_id": str},
    "changed": {"session_ids": list[str] | None, "reasons": list[str]},
    **OF_A_TURN,
}
OF_THE_INSPECTOR: dict[str, Shape] = {
    "snapshot": dict[str, Any],
    "session": dict[str, Any],
    "story": {"facts": list[dict[str, Any]]},
}
LISTENING = frozenset({400, 404, 503})

# -- the routes ---------------------------------------------------------------------------------


def _change(
    summary: str, body: type[msgspec.Struct], answer: Shape, *needs: str, **more: Any
) -> Operation:
    """It changes the session that its body names."""
    more = {"needs": ("session_id", *needs), "refuses": CHANGES, **more}
    return Operation(summary, body=body, answer=answer, **more)


def _file(summary: str, *refuses: int, **more: Any) -> Operation:
    also = frozenset({206, 304, 404, 416, *refuses})
    return Operation(summary, kinds=FILE, refuses=also, **more)


MANIFESTS = ["manifest.json", "manifest.webmanifest"]

OPERATIONS: dict[str, Operation] = {
    "GET /health": Operation(
        "How the server is",
        answer={"status": str, "version": str, "active_streams": int, "agent": dict[str, Any]},
        also={503: {"status": str}},
    ),
    "GET /ready": Operation(
        "Whether turns should be sent here",
        answer={"ready": bool},
        also={503: {"ready": bool, "reason": str}},
    ),
    "GET /metrics": Operation("For Prometheus", kinds=("text/plain",)),
    "GET /api/backup": Operation(
        "All that was accepted before, as `greenroom restore` takes it",
        kinds=("application/x-tar",),
        refuses=READS | {403},
    ),
    "GET /openapi.json": Operation("This document"),
    # Who it is.
    "GET /api/auth/status": Operation(
        "Whether one must be logged in, and who is",
        answer={
            **dict.fromkeys(("auth_enabled", "logged_in", "password_auth_enabled"), bool),
            **dict.fromkeys(("passkeys_enabled", "oidc_enabled"), bool),
            "user": ({"name": str, "admin": bool}, None),
        },
    ),
    "POST /api/auth/login": Operation(
        "Log in: the answer sets a cookie",
        body=LoginBody,
        answer=OK,
        refuses=frozenset({429}),
        keyed=False,
    ),
    "POST /api/auth/logout": Operation("End this login", answer=OK, keyed=False),
    "GET /login": Operation("The page to log in with", kinds=PAGE, also={302: {}}),
    "POST /login": Operation("Log in from that page", kinds=PAGE, also={303: {}}, keyed=False),
    "GET /login/static/{name}": _file("A file of that page", 308),
    # Sessions, read.
    "GET /api/sessions": Operation(
        "A page of the list",
        query=dict.fromkeys(PAGING, NUMBER) | {"include_archived": TEXT, "sidebar_source": TEXT},
        answer={"sessions": [Row], "archived_count": int, "include_archived": bool},
        refuses=READS | {400},
    ),
    "GET /api/sessions/search": Operation(
        "Full text, the best first",
        query={"q": TEXT, "content": TEXT, "limit": NUMBER},
        answer={"sessions": [Row], "query": str, "count": int, "complete": bool},
        refuses=READS | {400},
    ),
    "GET /api/session": Operation(
        "A session with its transcript, or a part of it",
        query=SESSION | {"messages": TEXT, "msg_limit": NUMBER, "msg_before": NUMBER},
        needs=("session_id",),
        refuses=NAMED,
        answer=WHOLE,
    ),
    "GET /api/session/status": Operation(
        "How a session stands",
        **SESSION_NAMED,
        answer=Usage
        | {"session_id": str, "title": str, "message_count": int, "agent_running": bool}
        | {"active_stream_id": str | None, "updated_at": float},
    ),
    "GET /api/session/usage": Operation("What its turn took", **SESSION_NAMED, answer=Usage),
    "GET /api/session/draft": Operation(
        "What was being written", **SESSION_NAMED, answer=OK | {"draft": dict[str, Any]}
    ),
    "GET /api/session/queue": Operation("What waits for its turn", **SESSION_NAMED, answer=QUEUE),
    "GET /api/session/export": Operation(
        "The whole session as a file",
        query=SESSION | {"format": {"enum": ["json", "html"], "default": "json"}},
        needs=("session_id",),
        refuses=NAMED,
        kinds=("application/json", "text/html"),
        answer={"session_id": str, "messages": [Message]},
    ),
    "GET /api/session/lineage/report": Operation(
        "What it was made from",
        **SESSION_NAMED,
        answer=OK | {"session_id": str, "lineage": list[str]},
    ),
    "GET /api/session/resolve": Operation(
        "Where an id leads", **SESSION_NAMED, answer={"session_id": str, "asked_for": str}
    ),
    # Sessions, changed.
    "POST /api/session/new": Operation(
        "A new session", body=bodies.NewBody, answer=WHOLE, refuses=frozenset({507})
    ),
    "POST /api/session/import": Operation(
        "A new session from an exported one",
        body=bodies.ImportBody,
        needs=("messages",),
        narrowed={"messages": {"type": "array"}},
        answer=OK | WHOLE,
        refuses=WRITES,
    ),
    "POST /api/session/duplicate": _change("Copy", bodies.SessionBody, WHOLE),
    "POST /api/session/branch": _change(
        "Go another way from some row on",
        bodies.BranchBody,
        {"session_id": str, "title": str, "parent_session_id": str | None},
    ),
    "POST /api/session/rename": _change("Rename", bodies.RenameBody, COMPACT, "title"),
    "POST /api/session/title/regenerate": _change(
        "Have the model name it",
        bodies.RetitleBody,
        COMPACT | {"title": str, "status": str, "raw_preview": str},
    ),
    "POST /api/session/pin": _change("Pin", bodies.PinBody, OK | COMPACT),
    "POST /api/session/archive": _change("Archive", bodies.ArchiveBody, OK | COMPACT),
    "POST /api/session/move": _change("Put into a project", bodies.MoveBody, OK | COMPACT),
    "POST /api/session/update": _change("Model and directory", bodies.UpdateBody, COMPACT),
    "POST /api/session/toolsets": _change(
        "Its tools", bodies.ToolsetsBody, OK | {"enabled_toolsets": list[str] | None}
    ),
    "POST /api/personality/set": _change(
        "Its personality: there is none to choose",
        bodies.PersonalityBody,
        OK | {"personality": None, "prompt": str},
        "name",
    ),
    "POST /api/session/draft": _change(
        "Keep what is being written",
        bodies.DraftBody,
        OK | {"draft": {"text": str, "files": list[Any]}, "unchanged?": bool},
    ),
    "POST /api/session/undo": _change(
        "Remove the last turn",
        bodies.SessionBody,
        (OK | {"removed_count": int, "removed_preview": str}, Error),
    ),
    "POST /api/session/retry": _change(
        "Remove the last turn and say what was asked",
        bodies.SessionBody,
        (OK | {"removed_count": int, "last_user_text": str}, Error),
    ),
    "POST /api/session/truncate": _change(
        "Keep the first rows", bodies.TruncateBody, OK | WHOLE, "keep_count", narrowed=COUNT
    ),
    "POST /api/session/clear": _change("Empty it", bodies.SessionBody, OK | COMPACT),
    "POST /api/session/delete": _change(
        "Delete", bodies.SessionBody, OK | {"state_db_cleanup_failed": bool}
    ),
    "POST /api/sessions/cleanup": Operation(
        "Delete what is empty and has no title", answer=OK | {"cleaned": int}, refuses=WRITES
    ),
    "POST /api/sessions/cleanup_zero_message": Operation(
        "Delete what is empty", answer=OK | {"cleaned": int}, refuses=WRITES
    ),
    "POST /api/session/compress": _change(
        "Summarise what is old, and wait for it", bodies.CompressBody, COMPRESSION
    ),
    "POST /api/session/compress/start": _change(
        "Begin to summarise what is old", bodies.CompressBody, COMPRESSION
    ),
    "GET /api/session/compress/status": Operation(
        "How far that is", **SESSION_NAMED, answer=COMPRESSION
    ),
    # Projects.
    "GET /api/projects": Operation(
        "All projects", answer={"projects": [Project]}, refuses=frozenset({503})
    ),
    "POST /api/projects/create": Operation(
        "A new project",
        body=bodies.ProjectBody,
        needs=("name",),
        answer=PROJECT,
        refuses=frozenset({507}),
    ),
    "POST /api/projects/rename": Operation(
        "Another name or colour",
        body=bodies.ProjectBody,
        needs=("project_id", "name"),
        answer=PROJECT,
        refuses=frozenset({404, 507}),
    ),
    "POST /api/projects/delete": Operation(
        "Delete a project; its sessions stay",
        body=bodies.ProjectBody,
        needs=("project_id",),
        answer=OK | {"unassigned": int},
        refuses=frozenset({404, 409, 507}),
    ),
    # Turns.
    "POST /api/chat/start": _change(
        "Say something, and have it answered",
        bodies.StartBody,
        STARTED,
        also={202: STARTED | QUEUE | {"queued": bool}},
        refuses=CHANGES | {429},
    ),
    "GET /api/chat/stream": Operation(
        "Follow a turn to its end",
        query=CURSOR | {"replay": TEXT},
        refuses=frozenset({404, 503}),
        kinds=STREAM,
        events=OF_A_TURN,
    ),
    "GET /api/chat/stream/status": Operation(
        "Whether a turn runs, and can be replayed",
        query={"stream_id": TEXT},
        answer={
            "active": bool,
            "stream_id": str,
            "replay_available": bool,
            "journal?": {"run_id": str, "last_seq": int, "last_event_id": str, "terminal": bool},
        },
    ),
    "GET /api/chat/cancel": Operation(
        "Stop a turn, and keep what was shown of it",
        query={"stream_id": TEXT},
        needs=("stream_id",),
        answer=OK | {"cancelled": bool, "stream_id": str},
        refuses=CHANGES,
    ),
    "POST /api/chat/cancel": Operation(
        "Stop a turn, and keep what was shown of it",
        query={"stream_id": TEXT},
        body=bodies.StreamBody,
        answer=OK | {"cancelled": bool, "stream_id": str},
        refuses=CHANGES,
    ),
    "POST /api/chat/steer": _change(
        "Say something to the running turn",
        bodies.SteerBody,
        {"accepted": bool, "fallback": str | None, "stream_id": str | None},
        "text",
    ),
    "POST /api/session/queue/edit": _change(
        "Change what waits", bodies.WaitingBody, OK | QUEUE, "id", "message"
    ),
    "POST /api/session/queue/remove": _change(
        "Take back what waits", bodies.WaitingBody, OK | QUEUE, "id"
    ),
    "GET /api/approval/pending": Operation(
        "The first tool call that waits to be allowed",
        query=SESSION,
        answer={"pending": (Approval, None), "pending_count": int},
        refuses=READS,
    ),
    "POST /api/approval/respond": _change(
        "Allow a tool call, or deny it",
        bodies.ApprovalBody,
        OK | {"choice": str},
        "choice",
        "approval_id",
        narrowed={"choice": {"enum": list(bodies.CHOICES)}},
    ),
    "POST /api/approval/revoke": _change(
        "Have a tool asked for again", bodies.GrantBody, OK | {"grants": [Grant]}, "tool"
    ),
    "POST /api/btw": _change(
        "Ask something beside the conversation",
        bodies.QuestionBody,
        {"stream_id": str, "session_id": str, "parent_session_id": str},
        "question",
    ),
    "POST /api/background": _change(
        "Have something done in the background",
        bodies.PromptBody,
        {"task_id": str, "stream_id": str, "session_id": str},
        "prompt",
    ),
    "GET /api/background/status": Operation(
        "What was done in the background, once",
        query=SESSION,
        needs=("session_id",),
        refuses=NAMED | {507},
        answer={"results": [dict[str, Any]]},
    ),
    # Streams for those who watch.
    "GET /api/sessions/events": Operation(
        "What changes in the list",
        query={"probe": TEXT},
        kinds=(*STREAM, *JSON),
        answer=OK,
        events={"sessions_changed": {"type": str, "version": int, "reason": str}},
    ),
    "GET /api/session/stream": Operation(
        "What others do to a session",
        query=SESSION | {"known_count": NUMBER},
        needs=("session_id",),
        refuses=LISTENING,
        kinds=STREAM,
        events=OF_A_SESSION,
    ),
    "GET /api/tab/sessions": Operation(
        "All sessions, in short",
        answer={"sessions": [{"session_id": str, "title?": str, "running?": bool}]},
        refuses=READS,
    ),
    "GET /api/tab/events": Operation(
        "All that one tab follows",
        query=SESSION | CURSOR,
        refuses=LISTENING,
        kinds=STREAM,
        events=OF_A_TAB,
    ),
    "GET /api/inspector": Operation(
        "What lives, and how fast it works",
        query={"limit": TEXT},
        answer={"at": float, "actors": dict[str, Any], "kinds": list[dict[str, Any]]},
        refuses=READS,
    ),
    "GET /api/inspector/events": Operation(
        "The same each second, and the story of one session",
        query=SESSION | {"limit": TEXT},
        refuses=LISTENING,
        kinds=STREAM,
        events=OF_THE_INSPECTOR,
    ),
    "GET /api/inspector/session": Operation(
        "Why a session is busy",
        **SESSION_NAMED,
        answer={"session_id": str, "busy": bool, "why": list[str], "past": list[Any] | None},
    ),
    # What an existing client asks for.
    **{f"GET {path}": Operation("A constant", answer=dict[str, Any]) for path in CONSTANT},
    "GET /api/settings": Operation("Fixed settings", answer=dict[str, Any]),
    "GET /api/workspaces": Operation("Where sessions work", answer=dict[str, Any]),
    "GET /api/models": Operation("The one model", answer=dict[str, Any]),
    "POST /api/client-events/log": Operation("Nothing is kept", answer=OK),
    "POST /api/session/anchor-scene": Operation("Nothing is kept", answer=OK),
    # The pages.
    **{
        f"GET {path}": Operation("The page", kinds=PAGE, refuses=frozenset({404}))
        for path in ("/", "/index.html")
    },
    "GET /session/{_}": Operation("The page", kinds=PAGE, refuses=frozenset({308, 404})),
    "GET /sw.js": _file("The page's worker, if it has one"),
    "GET /static/{name}": _file("A file of the page", 308),
    "GET /session/static/{name}": _file("A file of the page", 308),
    "GET /{name}": _file(
        "Beside the page", variables={"name": {"enum": [*MANIFESTS, "favicon.ico"]}}
    ),
    "GET /session/{name}": _file("Beside the page", variables={"name": {"enum": MANIFESTS}}),
    "GET /inspector": _file("The inspector"),
    "GET /inspector/": _file("The inspector"),
    "GET /inspector/static/{name}": _file("A file of the inspector", 308),
}
