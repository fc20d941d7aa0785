"""Which refusal is which status, in one table."""

import logging
from typing import Any

import msgspec
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from actors import ActorCrashed, ActorError, ActorStopped, MailboxFull
from actors.index.messages import IndexUnavailable, PinLimit
from actors.projects.messages import (
    BadProject,
    ProjectNotFound,
    ProjectsDamaged,
    ProjectsUnavailable,
)
from actors.search.messages import SearchUnavailable
from actors.session.record import RecordDamaged
from actors.session.refusals import (
    ApprovalClosed,
    ApprovalNotFound,
    BlankMessage,
    KeyReused,
    MessageNotWaiting,
    NotCompressible,
    NothingToRemove,
    ReadOnly,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    ShuttingDown,
    StaleRevision,
    StorageFailed,
    TokensSpent,
    TooManyTurns,
    TooManyWaiting,
    TurnRunning,
)
from actors.stores import InvalidName, RecordNotFound, StoreError, StoreFull

from .bodies import BadRequest
from .openai_api.errors import ApiError, error_body, speaks_api

__all__ = ["error_response", "json_body", "json_response", "register_errors"]

log = logging.getLogger("app")

# What the exception says itself is shown where the text is None.
STATUS: dict[type[Exception], tuple[int, str | None]] = {
    BadRequest: (400, None),
    SessionNotFound: (404, "Session not found"),
    InvalidName: (404, "Session not found"),
    RecordNotFound: (404, "Session not found"),
    BlankMessage: (400, "message is required"),
    TurnRunning: (409, "session already has an active stream"),
    SessionBusy: (409, None),
    ReadOnly: (403, None),
    NothingToRemove: (409, "There is nothing that could be answered again"),
    SessionExists: (409, "There is a session of this id already"),
    MessageNotWaiting: (404, "This message is not waiting any more"),
    ApprovalNotFound: (404, "There is no such approval"),
    NotCompressible: (400, None),
    KeyReused: (422, "This Idempotency-Key was used for another request"),
    ProjectNotFound: (404, "Project not found"),
    BadProject: (400, None),
    ProjectsDamaged: (500, None),
    SearchUnavailable: (503, None),
    RecordDamaged: (500, None),
    ShuttingDown: (503, None),
    IndexUnavailable: (503, None),
    MailboxFull: (503, "This session is too busy; try again in a moment"),
    ActorStopped: (503, "Try again in a moment"),
    ActorCrashed: (500, "Internal server error"),
    StoreFull: (507, None),
    StoreError: (503, None),
}
ANSWERED = {
    "once": "This was answered already: allowed once",
    "session": "This was answered already: allowed for the session",
    "deny": "This was answered already: denied",
    "expired": "Nobody answered in time, so this was denied",
    "cancelled": "The turn that asked for this was stopped, so it was not run",
    "interrupted": "The turn that asked for this has ended, so it was not run",
}
JSON = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
RETRY_AFTER = {429: "1", 503: "1"}


def json_response(data: object, status: int = 200) -> Response:
    return json_body(msgspec.json.encode(data), status)


def json_body(body: bytes, status: int = 200) -> Response:
    """A response with a body that is JSON already."""
    return Response(body, status, JSON)


def error_response(status: int, text: str, **more: Any) -> Response:
    """An error as whoever asked here expects it: in the form of the API whose path it is."""
    if speaks_api(request.path):
        body = error_body(status, text, more.get("param"), more.get("code"))
    else:
        body = {"error": text, **more}
    response = json_response(body, status)
    if status in RETRY_AFTER:
        response.headers["Retry-After"] = RETRY_AFTER[status]
    return response


async def _refused(error: Exception) -> Response:
    if isinstance(error, ApiError):
        return error_response(error.status, str(error), param=error.param, code=error.code)
    if isinstance(error, TurnRunning):
        return error_response(409, str(STATUS[TurnRunning][1]), active_stream_id=error.turn_id)
    if isinstance(error, ApprovalClosed):
        text = ANSWERED.get(error.choice, ANSWERED["interrupted"])
        return error_response(409, text, answered=error.choice, stale=True)
    if isinstance(error, PinLimit):
        text = f"Up to {error.limit} sessions can be pinned. Unpin one first."
        return error_response(400, text)
    if isinstance(error, StaleRevision):
        return error_response(409, str(error), type="stale_regeneration_revision")
    if isinstance(error, TooManyWaiting):
        return error_response(429, f"{error.limit} messages are waiting already; remove one first")
    if isinstance(error, TooManyTurns):
        text = f"{error.limit} of your turns run or wait already, as many as may be; stop one first"
        return error_response(429, text)
    if isinstance(error, TokensSpent):
        response = error_response(429, f"The {error.limit} tokens of today are used up")
        response.headers["Retry-After"] = str(error.seconds)
        return response
    if isinstance(error, StorageFailed | ProjectsUnavailable):
        return error_response(507 if error.full else 503, f"{error.args[0]}. Nothing was changed.")
    for kind in type(error).__mro__:
        if kind in STATUS:
            status, fixed = STATUS[kind]
            return error_response(status, fixed or str(error))
    return await _broken(error)


async def _broken(error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return error_response(500, "Internal server error")


async def _too_large(_: Exception) -> Response:
    size, limit = request.content_length, request.max_content_length
    return error_response(413, f"Request body too large ({size or 'more'} bytes, max {limit})")


async def _http(error: HTTPException) -> Response:
    if error.code == 404:
        return error_response(404, "not found")
    response = error_response(error.code or 500, (error.name or "error").lower())
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def register_errors(app: Quart) -> None:
    """Every error leaves as `{"error": text}`; below /v1 as OpenAI's API has it."""
    for kind in (ApiError, BadRequest, ActorError, StoreError):
        app.register_error_handler(kind, _refused)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _broken)
