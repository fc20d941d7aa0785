"""A session as a page of its own, to keep, print or send: it loads nothing and runs nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from actors.session.record import Record
from actors.session.transcript import is_of_turn, text_of

__all__ = ["html_of"]

LINKS = ("http://", "https://", "mailto:")
MARKDOWN_LIMIT = 50_000  # characters; the time that hostile Markdown takes grows with the square
SPEAKERS = {"user": "You", "assistant": "Assistant", "system": "System", "tool": "Tool"}


@dataclass(frozen=True, slots=True)
class _Fold:
    """What is there for those who want to know."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class _Shown:
    """One row of the transcript. `kind` is ours, never the row's own word."""

    kind: str
    speaker: str
    at: datetime | None
    mark: str
    before: Sequence[_Fold]
    text: Markup
    after: Sequence[_Fold]
    attachments: Sequence[str]


class _Markdown(MarkdownIt):
    """HTML is text, an image is a link to it, and a link leads to the web or to a mailbox."""

    def __init__(self) -> None:
        super().__init__("js-default", {"html": False, "breaks": True})
        self.disable("image")

    def validateLink(self, url: str) -> bool:
        return url.lower().startswith(LINKS)


_MARKDOWN = _Markdown()
_TEMPLATE = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
).get_template("session.html")


def html_of(record: Record) -> bytes:
    """The page. Long sessions take a while: call it in a thread."""
    page = _TEMPLATE.render(
        title=record.title.strip() or "Untitled",
        began=_time(record.created_at),
        changed=_time(record.updated_at),
        model=record.model,
        rows=[_shown(row) for row in _rows(record)],
    )
    return page.encode(errors="replace")


def _rows(record: Record) -> Iterator[Mapping[str, Any]]:
    """What was said, and what was asked and has no answer yet."""
    yield from record.messages
    turn_id = record.active_stream_id or ""
    if record.pending_user_message is not None and not any(
        is_of_turn(row, turn_id) for row in record.messages
    ):
        yield {
            "role": "user",
            "content": record.pending_user_message,
            "timestamp": record.pending_started_at,
            "attachments": list(record.pending_attachments),
        }


def _shown(row: Mapping[str, Any]) -> _Shown:
    role = row.get("role")
    kind = role if isinstance(role, str) and role in SPEAKERS else "other"
    text = text_of(row.get("content"))
    is_tool = kind == "tool"
    return _Shown(
        kind="error" if row.get("_error") else kind,
        speaker=SPEAKERS.get(kind, "Unknown"),
        at=_time(row.get("timestamp", row.get("_ts"))),
        mark="Error" if row.get("_error") else "Cut short" if row.get("_partial") else "",
        before=[*_thoughts(row)],
        text=Markup() if is_tool else _rendered(text),
        after=[_Fold(_label("Result", row.get("name")), text)] if is_tool else [*_calls(row)],
        attachments=[_name(attachment) for attachment in _list(row.get("attachments"))],
    )


def _rendered(text: str) -> Markup:
    if not text.strip():
        return Markup()
    if len(text) > MARKDOWN_LIMIT:
        return Markup('<p class="plain">{}</p>').format(text)
    return Markup(_MARKDOWN.render(text))


def _thoughts(row: Mapping[str, Any]) -> Iterator[_Fold]:
    reasoning = text_of(row.get("reasoning"))
    if reasoning.strip():
        yield _Fold("Reasoning", reasoning)


def _calls(row: Mapping[str, Any]) -> Iterator[_Fold]:
    """Tools that were called, those of a turn that was cut short too, and a provider's words."""
    for call in _list(row.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield _Fold(_label("Call", function.get("name")), _text(function.get("arguments")))
    for call in _list(row.get("_partial_tool_calls")):
        if isinstance(call, dict):
            said = (_text(call.get("args")), _text(call.get("snippet")))
            yield _Fold(_label("Call", call.get("name")), "\n\n".join(filter(None, said)))
    details = _text(row.get("provider_details"))
    if details:
        yield _Fold(_text(row.get("provider_details_label")) or "Details", details)


def _label(what: str, name: object) -> str:
    return f"{what}: {name}" if name else what


def _name(attachment: object) -> str:
    if isinstance(attachment, dict):
        return _text(attachment.get("name") or attachment.get("path")) or "attachment"
    return _text(attachment)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """Anything of JSON in words."""
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _time(at: object) -> datetime | None:
    """None if it was not kept, or is no time."""
    if not isinstance(at, int | float) or not at:
        return None
    try:
        return datetime.fromtimestamp(at, tz=UTC).replace(microsecond=0)
    except (OverflowError, ValueError, OSError):
        return None
