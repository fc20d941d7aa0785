"""Endpoints of a turn: start it, follow it, speak to it, stop it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from quart import Blueprint, Response, request

from actors.session.entries import Entry, TurnCancelled, TurnDone, TurnFailed
from actors.session.messages import (
    CancelTurn,
    EditWaiting,
    FetchBackground,
    GetSession,
    Regenerate,
    RemoveWaiting,
    StartSideTurn,
    StartTurn,
    Steer,
    TurnAccepted,
)
from actors.session.refusals import SessionNotFound

from . import bodies, views
from .asking import ask, ask_named, in_its_project
from .bodies import BadRequest, StartBody, require
from .body import read_body
from .direct import Direct
from .http_errors import json_response
from .redaction import redacted
from .requests import note_turn
from .sse import cursor_of, event_stream, frame, kept_alive
from .view import View
from .workspace import checked_workspace

__all__ = ["routes", "words"]

MAX_ATTACHMENTS = 20

WITH_SESSION = (TurnDone, TurnCancelled, TurnFailed)


def routes(greenroom: View) -> Blueprint:
    """Parse, ask one actor, render."""
    page = Blueprint("chat", __name__)

    @page.post("/api/chat/start")
    async def start() -> Response:
        body = await read_body(StartBody)
        require(body, "session_id")
        # An unknown session is the first thing to be told of.
        await greenroom.session(body.session_id or "").ask(GetSession())
        if body.regenerate:
            command: Regenerate | StartTurn = Regenerate(body.regeneration_revision or "")
        else:
            command = await _start_of(body)
        return _accepted(await ask(greenroom, body.session_id, command))

    @page.get("/api/chat/stream")
    async def stream() -> Response:
        stream_id = request.args.get("stream_id", "")
        header = request.headers.get("Last-Event-ID")
        cursor = cursor_of(request.args, header, stream_id)
        reader = await greenroom.feeds.read(stream_id, cursor)
        if reader is None:
            return json_response({"error": "stream not found"}, 404)

        held: list[Entry] = []
        direct, show = Direct(request.scope), partial(words, stream_id)

        async def next_batch() -> Sequence[Entry]:
            """What carries the session waits for an answer of its actor; the words before it go."""
            if not held:
                await direct.follow(reader, show)
                await direct.flush()
            batch = tuple(held) or await reader.next()
            before = next((n for n, e in enumerate(batch) if isinstance(e.event, WITH_SESSION)), 0)
            held[:] = batch[before:] if before else ()
            return batch[:before] if before else batch

        async def render(entries: Sequence[Entry]) -> bytes:
            return b"".join([await _frame(greenroom, stream_id, entry) for entry in entries])

        chunks = kept_alive(next_batch, render, b": heartbeat\n\n", direct=direct)
        return event_stream(chunks, last=True)

    @page.get("/api/chat/stream/status")
    async def stream_status() -> Response:
        stream_id = request.args.get("stream_id", "")
        last = await greenroom.feeds.last_seq(stream_id)
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
        if request.method == "POST":
            stream_id = (await read_body(bodies.StreamBody)).stream_id or stream_id
        if not stream_id:
            raise BadRequest("stream_id required")
        feed = greenroom.feeds.find(stream_id)
        cancelled = False
        if feed is not None:
            cancelled = await greenroom.session(feed.session_id).ask(CancelTurn(stream_id))
        return json_response({"ok": True, "cancelled": cancelled, "stream_id": stream_id})

    @page.post("/api/chat/steer")
    async def steer() -> Response:
        body = await read_body(bodies.SteerBody)
        for name in ("session_id", "text"):
            if not getattr(body, name):
                raise BadRequest(f"{name} required")
        try:
            session = await greenroom.session(body.session_id or "").ask(GetSession())
        except SessionNotFound:
            return _not_steered("session_not_found")
        taken = await ask(greenroom, body.session_id, Steer(body.text or ""))
        if taken is None:
            return _not_steered("agent_lacks_steer" if session.running else "not_running")
        return json_response({"accepted": True, "fallback": None, "stream_id": taken.turn_id})

    @page.get("/api/session/queue")
    async def queue() -> Response:
        return json_response({"queue": views.waiting_of((await ask_named(greenroom)).record)})

    @page.post("/api/session/queue/edit")
    async def edit_waiting() -> Response:
        body = await read_body(bodies.WaitingBody)
        require(body, "session_id", "id", "message")
        command = EditWaiting(body.id or "", body.message or "")
        snapshot = await ask(greenroom, body.session_id, command)
        return json_response({"ok": True, "queue": views.waiting_of(snapshot.record)})

    @page.post("/api/session/queue/remove")
    async def remove_waiting() -> Response:
        body = await read_body(bodies.WaitingBody)
        require(body, "session_id", "id")
        snapshot = await ask(greenroom, body.session_id, RemoveWaiting(body.id or ""))
        return json_response({"ok": True, "queue": views.waiting_of(snapshot.record)})

    @page.post("/api/btw")
    async def by_the_way() -> Response:
        body = await read_body(bodies.QuestionBody)
        require(body, "session_id", "question")
        accepted = await ask(greenroom, body.session_id, StartSideTurn(body.question or ""))
        note_turn(accepted.turn_id)
        session_id = accepted.record.session_id
        return json_response(
            {"stream_id": accepted.turn_id, "session_id": session_id}
            | {"parent_session_id": session_id}
        )

    @page.post("/api/background")
    async def background() -> Response:
        body = await read_body(bodies.PromptBody)
        require(body, "session_id", "prompt")
        command = StartSideTurn(body.prompt or "", keep=True)
        accepted = await ask(greenroom, body.session_id, command)
        note_turn(accepted.turn_id)
        return json_response(
            {"task_id": accepted.turn_id[:8], "stream_id": accepted.turn_id}
            | {"session_id": accepted.record.session_id}
        )

    @page.get("/api/background/status")
    async def background_status() -> Response:
        session_id = request.args.get("session_id")
        if not session_id:
            raise BadRequest("session_id is required")
        results = await greenroom.session(session_id).ask(FetchBackground())
        return json_response({"results": results})

    return page


async def _start_of(body: StartBody) -> StartTurn:
    attachments = tuple(body.attachments or ())
    if len(attachments) > MAX_ATTACHMENTS:
        raise BadRequest(f"At most {MAX_ATTACHMENTS} attachments, not {len(attachments)}")
    return StartTurn(
        prompt=body.message or "",
        attachments=attachments,
        model=body.model or None,
        model_provider=body.model_provider or None,
        workspace=await checked_workspace(body.workspace),
        if_busy=body.if_busy,
    )


def _accepted(accepted: TurnAccepted) -> Response:
    """200 for a prompt that has its turn, 202 for one that waits for it."""
    note_turn(accepted.turn_id)
    record = accepted.record
    answer: dict[str, Any] = {
        "stream_id": accepted.turn_id,
        "turn_id": accepted.turn_id,
        "session_id": record.session_id,
        "pending_started_at": record.pending_started_at,
        "title": record.title,
    }
    if accepted.fallback is not None:
        answer["fallback"] = accepted.fallback
    if accepted.steered:
        answer["steered"] = True
    if not accepted.waiting:
        return json_response(answer)
    answer |= {"queued": True, "queue": views.waiting_of(record)}
    return json_response(answer, 202)


def _not_steered(fallback: str) -> Response:
    return json_response({"accepted": False, "fallback": fallback, "stream_id": None})


def words(stream_id: str, entry: Entry) -> bytes | None:
    """An entry as it goes out, encoded once and shared by all who read the feed; None for what
    carries the session.
    """
    if entry.frame is None and not isinstance(entry.event, WITH_SESSION):
        entry.frame = frame(*views.event_of(entry.event), f"{stream_id}:{entry.seq}")
    return entry.frame


async def _frame(greenroom: View, stream_id: str, entry: Entry) -> bytes:
    shared = words(stream_id, entry)
    if shared is not None:
        return shared
    name, data = views.event_of(entry.event)
    # Not kept: it carries the whole session, as it is when it is read.
    event_id = f"{stream_id}:{entry.seq}"
    return redacted(frame(name, data | await _session_of(greenroom, stream_id), event_id))


async def _session_of(greenroom: View, stream_id: str) -> dict[str, Any]:
    session_id = await greenroom.feeds.session_of(stream_id)
    if session_id is None:
        return {}
    try:
        snapshot = await greenroom.session(session_id).ask(GetSession())
    except SessionNotFound:
        gone = {"session_id": session_id, "title": "Untitled", "messages": [], "tool_calls": []}
        return {"session_id": session_id, "session": gone}
    session = await in_its_project(greenroom, views.full_session(snapshot))
    return {"session_id": session_id, "session": session}
