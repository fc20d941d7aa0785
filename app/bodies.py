"""What comes in: the bodies of requests, checked. Pure."""

from typing import Any, Literal, TypeVar

import msgspec

from actors.session.messages import CreateSession
from actors.session.record import Record

__all__ = ["CHOICES", "BadRequest", "decode_body", "import_of", "require"]

TITLE_LENGTH = 80


class BadRequest(Exception):
    """The request makes no sense, and its text says why. Nothing has happened."""


# "always" is what some clients call it.
CHOICES: dict[str, Literal["once", "session", "deny"]] = {
    "once": "once",
    "session": "session",
    "always": "session",
    "deny": "deny",
}

B = TypeVar("B", bound=msgspec.Struct)


class SessionBody(msgspec.Struct):
    session_id: str | None = None


class NewBody(msgspec.Struct):
    workspace: str | None = None
    model: str | None = None
    model_provider: str | None = None
    profile: str | None = None
    project_id: str | None = None
    enabled_toolsets: list[str] | None = None


class StartBody(msgspec.Struct):
    session_id: str | None = None
    message: str | None = None
    attachments: list[dict[str, Any] | str] | None = None
    model: str | None = None
    model_provider: str | None = None
    workspace: str | None = None
    if_busy: Literal["reject", "queue", "interrupt", "rollback", "steer"] = "reject"
    regenerate: bool = False
    regeneration_revision: str | None = None


class StreamBody(msgspec.Struct):
    stream_id: str | None = None


class SteerBody(msgspec.Struct):
    session_id: str | None = None
    text: str | None = None


class QuestionBody(msgspec.Struct):
    session_id: str | None = None
    question: str | None = None


class PromptBody(msgspec.Struct):
    session_id: str | None = None
    prompt: str | None = None


class WaitingBody(msgspec.Struct):
    session_id: str | None = None
    id: str | None = None
    message: str | None = None


class ApprovalBody(msgspec.Struct):
    session_id: str | None = None
    approval_id: str | None = None
    choice: str | None = None


class GrantBody(msgspec.Struct):
    session_id: str | None = None
    tool: str | None = None


class RenameBody(msgspec.Struct):
    session_id: str | None = None
    title: str | None = None


class RetitleBody(msgspec.Struct):
    session_id: str | None = None
    prefer_latest: bool = False


class PinBody(msgspec.Struct):
    session_id: str | None = None
    pinned: bool = True


class ArchiveBody(msgspec.Struct):
    session_id: str | None = None
    archived: bool = True


class MoveBody(msgspec.Struct):
    session_id: str | None = None
    project_id: str | None = None


class BranchBody(msgspec.Struct):
    session_id: str | None = None
    keep_count: Any = None
    title: str | None = None


class TruncateBody(msgspec.Struct):
    session_id: str | None = None
    keep_count: Any = None


class CompressBody(msgspec.Struct):
    session_id: str | None = None
    focus_topic: str = ""


class UpdateBody(msgspec.Struct):
    session_id: str | None = None
    workspace: str | None = None
    model: str | None = None
    model_provider: str | None = None


class ToolsetsBody(msgspec.Struct):
    session_id: str | None = None
    toolsets: list[str] | None = None


class PersonalityBody(msgspec.Struct):
    session_id: str | None = None
    name: str | None = None


class DraftBody(msgspec.Struct):
    session_id: str | None = None
    text: str = ""
    files: list[Any] = []


class ProjectBody(msgspec.Struct):
    project_id: str | None = None
    name: str | None = None
    color: str | msgspec.UnsetType | None = msgspec.UNSET
    profile: str | None = None


def decode_body(body: bytes, shape: type[B]) -> B:
    """The JSON object in a body; an empty body is an empty object. Raises `BadRequest`."""
    if not body.strip(b" \t\r\n"):
        return shape()
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Request body does not fit: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"Request body is not valid JSON: {error}") from error


class ImportBody(msgspec.Struct):
    """What is not named here is ignored, the id above all: an import is always a new session."""

    messages: list[dict[str, Any]]
    title: str = "Imported session"
    model: str | None = None
    workspace: str | None = None
    tool_calls: list[dict[str, Any]] = []
    context_messages: list[dict[str, Any]] = []
    pinned: bool = False


def import_of(body: bytes) -> tuple[CreateSession, bool]:
    """The session in an exported file, and whether it was pinned. Raises `BadRequest`."""
    try:
        raw = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"Request body is not valid JSON: {error}") from error
    if not isinstance(raw, dict) or not raw:
        raise BadRequest("Request body must be a JSON object")
    if not isinstance(raw.get("messages"), list):
        raise BadRequest('JSON must contain a "messages" array')
    if not isinstance(raw.get("tool_calls") or [], list):
        raise BadRequest('JSON "tool_calls" must be an array')
    try:
        given = msgspec.convert({k: v for k, v in raw.items() if v is not None}, ImportBody)
    except msgspec.ValidationError as error:
        raise BadRequest(
            "This is not a session as an export writes it, with each message an object of role and"
            f" content: {error}"
        ) from error
    content = Record(
        session_id="",
        title=given.title.strip()[:TITLE_LENGTH] or "Imported session",
        manual_title=True,
        model=given.model,
        workspace=given.workspace or "",
        messages=tuple(given.messages),
        tool_calls=tuple(given.tool_calls),
        context_messages=tuple(given.context_messages),
    )
    return CreateSession(content, keep=True), given.pinned


def require(body: msgspec.Struct, *names: str) -> None:
    """Each of these must be given and not be empty. Raises `BadRequest`, naming all that miss."""
    missing = [name for name in names if getattr(body, name) in (None, "", msgspec.UNSET)]
    if missing:
        raise BadRequest(f"Missing required field(s): {', '.join(missing)}")


def keep_count_of(body: BranchBody | TruncateBody) -> int:
    """How many rows to keep. Raises `BadRequest`."""
    require(body, "session_id", "keep_count")
    keep = body.keep_count
    if not isinstance(keep, int) or isinstance(keep, bool):
        raise BadRequest("keep_count must be an integer")
    if keep < 0:
        raise BadRequest("keep_count must be non-negative")
    return keep
