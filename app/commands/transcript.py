"""A session as text to read in a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from actors.session.transcript import text_of

from .terminal import clock, one_line

__all__ = ["transcript_of"]

SPEAKERS = {"user": "You", "assistant": "Assistant", "system": "System", "tool": "Tool"}
RESULT = 200  # characters


def transcript_of(session: Mapping[str, Any]) -> str:
    facts = (session["session_id"], session["model"], clock(session["updated_at"]))
    parts = [session["title"], " · ".join(filter(None, facts)), ""]
    for row in session["messages"]:
        parts += _told(row)
    if session["pending_user_message"] is not None:
        parts += _told({"role": "user", "content": session["pending_user_message"]})
        parts += ["(is being answered)", ""]
    return "\n".join(parts).rstrip("\n")


def _told(row: Mapping[str, Any]) -> Iterator[str]:
    role, text = row.get("role"), text_of(row.get("content"))
    if role == "tool":
        name = one_line(str(row.get("name") or "tool"))
        yield f"[{name}: {one_line(text)[:RESULT]}]"
        yield ""
        return
    mark = "error" if row.get("_error") else "cut short" if row.get("_partial") else ""
    who = SPEAKERS.get(str(role), "Unknown")
    yield f"── {', '.join(filter(None, (who, clock(row.get('timestamp')), mark)))}"
    if text.strip():
        yield text
    for attachment in row.get("attachments") or ():
        named = attachment.get("name") if isinstance(attachment, dict) else attachment
        yield f"[attached: {one_line(str(named))}]"
    for call in (*(row.get("tool_calls") or ()), *(row.get("_partial_tool_calls") or ())):
        function = call.get("function") or call
        said = function.get("arguments", function.get("args", ""))
        yield f"[{one_line(str(function.get('name')))}({one_line(str(said))[:RESULT]})]"
    yield ""
