"""Endpoints of a turn: start it, follow it, stop it."""

from collections.abc import Sequence
from typing import Any

from quart import Blueprint, Response, request

from actors.greenroom import Greenroom
from actors.session.entries import Entry, TurnCancelled, TurnDone, TurnFailed
from actors.session.messages import CancelTurn, GetSession, SessionNotFound, StartTurn

from . import wire
from .body import read_body
from .http_errors import json_response
from .sessions import checked_workspace
from .sse import cursor_of, event_stream, frame, kept_alive
from .wire import BadRequest, require

__all__ = ["routes"]

MAX_ATTACHMENTS = 20


def routes(greenroom: Greenroom) -> Blueprint:
    """Parse, ask one actor, render."""
    page = Blueprint("chat", __name__)

    @page.post("/api/chat/start")
    async def start() -> Response:
        body = await read_body(wire.StartBody)
        require(body, "session_id")
        session = greenroom.session(body.session_id or "")
        attachments = tuple(body.attachments or ())
        if len(attachments) > MAX_ATTACHMENTS:
            raise BadRequest(f"At most {MAX_ATTACHMENTS} attachments, not {len(attachments)}")
        await session.ask(GetSession())  # an unknown session is the first thing to be told of
        command = StartTurn(
            prompt=body.message or "",
            attachments=attachments,
            model=body.model or None,
            model_provider=body.model_provider or None,
            workspace=await checked_workspace(body.workspace),
        )
        accepted = await session.ask(command)
        record = accepted.record
        return json_response(
            {
                "stream_id": accepted.turn_id,
                "turn_id": accepted.turn_id,
                "session_id": record.session_id,
                "pending_started_at": record.pending_started_at,
                "title": record.title,
            }
        )

    @page.get("/api/chat/stream")
    async def stream() -> Response:
        stream_id = request.args.get("stream_id", "")
        header = request.headers.get("Last-Event-ID")
        reader = greenroom.feeds.read(stream_id, cursor_of(request.args, header, stream_id))
        if reader is None:
            return json_response({"error": "stream not found"}, 404)

        async def render(entries: Sequence[Entry]) -> bytes:
            return b"".join([await _frame(greenroom, stream_id, entry) for entry in entries])

        return event_stream(kept_alive(reader.next, render, b": heartbeat\n\n"), last=True)

    @page.get("/api/chat/stream/status")
    async def stream_status() -> Response:
        stream_id = request.args.get("stream_id", "")
        last = greenroom.feeds.last_seq(stream_id)
        feed = greenroom.feeds.find(stream_id)
        active = feed is not None and not feed.closed
        status: dict[str, Any] = {"active": active, "stream_id": stream_id}
        status["replay_available"] = last is not None
        if last is not None:
            status["journal"] = {
                "run_id": stream_id,
                "last_seq": last,
                "last_event_id": f"{stream_id}:{last}",
                "terminal": not active,
            }
        return json_response(status)

    @page.route("/api/chat/cancel", methods=["GET", "POST"])
    async def cancel() -> Response:
        stream_id = request.args.get("stream_id")
        if not stream_id and request.method == "POST":
            stream_id = (await read_body(wire.StreamBody)).stream_id
        if not stream_id:
            raise BadRequest("stream_id required")
        feed = greenroom.feeds.find(stream_id)
        cancelled = False
        if feed is not None:
            cancelled = await greenroom.session(feed.session_id).ask(CancelTurn(stream_id))
        return json_response({"ok": True, "cancelled": cancelled, "stream_id": stream_id})

    return page


async def _frame(greenroom: Greenroom, stream_id: str, entry: Entry) -> bytes:
    """An entry as it goes out; encoded once, and shared by all who read the feed."""
    if entry.frame is not None:
        return entry.frame
    name, data = wire.event_of(entry.event)
    event_id = f"{stream_id}:{entry.seq}"
    if isinstance(entry.event, TurnDone | TurnCancelled | TurnFailed):
        # Not kept: it carries the whole session, as it is when it is read.
        return frame(name, data | await _session_of(greenroom, stream_id), event_id)
    entry.frame = frame(name, data, event_id)
    return entry.frame


async def _session_of(greenroom: Greenroom, stream_id: str) -> dict[str, Any]:
    session_id = await greenroom.feeds.session_of(stream_id)
    if session_id is None:
        return {}
    try:
        snapshot = await greenroom.session(session_id).ask(GetSession())
    except SessionNotFound:
        gone = {"session_id": session_id, "title": "Untitled", "messages": [], "tool_calls": []}
        return {"session_id": session_id, "session": gone}
    return {"session_id": session_id, "session": wire.full_session(snapshot)}
