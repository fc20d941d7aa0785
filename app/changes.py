"""Endpoints that change sessions."""

from contextlib import suppress
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response

from actors.index.messages import ListRows, PinLimit
from actors.projects.messages import MoveSession
from actors.session.copies import branch_of, duplicate_of
from actors.session.messages import (
    Archive,
    Clear,
    Compress,
    CompressionStatus,
    CreateSession,
    DeleteIfEmpty,
    DeleteSession,
    GetSession,
    Pin,
    Removed,
    RemoveLastTurn,
    Rename,
    SaveDraft,
    Snapshot,
    Truncate,
    UpdateSession,
)
from actors.session.record import Record
from actors.session.refusals import NothingToRemove, SessionNotFound, TurnRunning

from . import bodies, views
from .asking import ask, ask_named, create, in_its_project
from .bodies import BadRequest, import_of, keep_count_of, require
from .body import read_body, read_bytes
from .http_errors import json_response
from .saying import said
from .view import View
from .workspace import checked_workspace

__all__ = ["routes"]

DRAFT_LENGTH = 50_000
DRAFT_FILES = 50
FOCUS_LENGTH = 500
STREAMING = "Session is still streaming; wait for the current turn to finish."


def routes(greenroom: View) -> Blueprint:
    """Parse, ask one actor, render."""
    page = Blueprint("changes", __name__)

    @page.post("/api/session/new")
    async def new() -> Response:
        body = await read_body(bodies.NewBody)
        workspace = await checked_workspace(body.workspace) or str(await trio.Path.cwd())
        content = Record(
            session_id="",
            workspace=workspace,
            created_workspace=workspace,
            model=body.model,
            model_provider=body.model_provider,
            profile=body.profile,
            project_id=body.project_id,
            enabled_toolsets=body.enabled_toolsets,
        )
        return await _whole(greenroom, await create(greenroom, CreateSession(content)))

    @page.post("/api/session/import")
    async def import_session() -> Response:
        command, pinned = import_of(await read_bytes())
        snapshot = await create(greenroom, command)
        if pinned:
            with suppress(PinLimit):  # it is there all the same
                snapshot = await greenroom.session(snapshot.record.session_id).ask(Pin(True))
        return await _whole(greenroom, snapshot, ok=True)

    @page.post("/api/session/duplicate")
    async def duplicate() -> Response:
        body = await read_body(bodies.SessionBody)
        content = duplicate_of(await _record(greenroom, body))
        return await _whole(greenroom, await create(greenroom, CreateSession(content, keep=True)))

    @page.post("/api/session/branch")
    async def branch() -> Response:
        body = await read_body(bodies.BranchBody)
        keep = None if body.keep_count is None else keep_count_of(body)
        content = branch_of(await _record(greenroom, body), keep, body.title)
        command = CreateSession(content, keep=bool(content.messages))
        record = (await create(greenroom, command)).record
        return json_response(
            {"session_id": record.session_id, "title": record.title}
            | {"parent_session_id": record.parent_session_id}
        )

    @page.post("/api/session/rename")
    async def rename() -> Response:
        body = await read_body(bodies.RenameBody)
        require(body, "session_id", "title")
        snapshot = await ask(greenroom, body.session_id, Rename(body.title or ""))
        return await _compact(greenroom, snapshot)

    @page.post("/api/session/title/regenerate")
    async def retitle() -> Response:
        body = await read_body(bodies.RetitleBody)
        require(body, "session_id")
        made = await greenroom.retitle(body.session_id or "", latest=body.prefer_latest)
        if made.status == "skipped":
            return json_response(
                {"error": f"Could not generate a better title ({made.reason})"}, 422
            )
        return json_response(
            {"session": views.compact(Snapshot(made.record, made.record.busy))}
            | {"title": made.record.title, "status": made.status, "raw_preview": made.raw[:240]}
        )

    @page.post("/api/session/pin")
    async def pin() -> Response:
        body = await read_body(bodies.PinBody)
        require(body, "session_id")
        return await _compact(
            greenroom, await ask(greenroom, body.session_id, Pin(body.pinned)), ok=True
        )

    @page.post("/api/session/archive")
    async def archive() -> Response:
        body = await read_body(bodies.ArchiveBody)
        require(body, "session_id")
        snapshot = await ask(greenroom, body.session_id, Archive(body.archived))
        return await _compact(greenroom, snapshot, ok=True)

    @page.post("/api/session/move")
    async def move() -> Response:
        body = await read_body(bodies.MoveBody)
        require(body, "session_id")
        session = greenroom.session(body.session_id or "")  # refuses what cannot be an id
        snapshot = await greenroom.projects.ask(MoveSession(session.key, body.project_id or None))
        assert isinstance(snapshot, Snapshot)
        return await _compact(greenroom, snapshot, ok=True)

    @page.post("/api/session/update")
    async def update() -> Response:
        body = await read_body(bodies.UpdateBody)
        require(body, "session_id")
        given = {
            "workspace": await checked_workspace(body.workspace),
            "model": body.model,
            "model_provider": body.model_provider,
        }
        fields = {name: value for name, value in given.items() if value is not None}
        snapshot = await ask(greenroom, body.session_id, UpdateSession(fields))
        return await _compact(greenroom, snapshot)

    @page.post("/api/session/toolsets")
    async def toolsets() -> Response:
        body = await read_body(bodies.ToolsetsBody)
        require(body, "session_id")
        fields = {"enabled_toolsets": body.toolsets}
        await ask(greenroom, body.session_id, UpdateSession(fields))
        return json_response({"ok": True, "enabled_toolsets": body.toolsets})

    @page.post("/api/personality/set")
    async def personality() -> Response:
        body = await read_body(bodies.PersonalityBody)
        require(body, "session_id")
        if not body.name:
            raise BadRequest("Missing required field: name")
        await _record(greenroom, body)
        if body.name.lower() not in ("none", "default"):
            return json_response({"error": f"There is no personality {body.name[:40]!r}"}, 404)
        await ask(greenroom, body.session_id, UpdateSession({"personality": None}))
        return json_response({"ok": True, "personality": None, "prompt": ""})

    @page.post("/api/session/draft")
    async def draft() -> Response:
        body = await read_body(bodies.DraftBody)
        require(body, "session_id")
        kept = {"text": body.text[:DRAFT_LENGTH], "files": body.files[:DRAFT_FILES]}
        if (await _record(greenroom, body)).composer_draft == kept:
            return json_response({"ok": True, "draft": kept, "unchanged": True})
        await ask(greenroom, body.session_id, SaveDraft(kept))
        return json_response({"ok": True, "draft": kept})

    @page.post("/api/session/undo")
    async def undo() -> Response:
        removed = await _remove_last_turn(greenroom, "Nothing to undo.")
        if isinstance(removed, Response):
            return removed
        preview = views.preview(removed.text)
        return json_response(
            {"ok": True, "removed_count": removed.count, "removed_preview": preview}
        )

    @page.post("/api/session/retry")
    async def retry() -> Response:
        removed = await _remove_last_turn(greenroom, "No previous message to retry.")
        if isinstance(removed, Response):
            return removed
        return json_response(
            {"ok": True, "last_user_text": removed.text, "removed_count": removed.count}
        )

    @page.post("/api/session/truncate")
    async def truncate() -> Response:
        body = await read_body(bodies.TruncateBody)
        keep = keep_count_of(body)
        snapshot = await ask(greenroom, body.session_id, Truncate(keep))
        return await _whole(greenroom, snapshot, ok=True)

    @page.post("/api/session/clear")
    async def clear() -> Response:
        body = await read_body(bodies.SessionBody)
        require(body, "session_id")
        return await _compact(greenroom, await ask(greenroom, body.session_id, Clear()), ok=True)

    @page.post("/api/session/delete")
    async def delete() -> Response:
        body = await read_body(bodies.SessionBody)
        if not body.session_id:
            raise BadRequest("session_id is required")
        try:
            greenroom.session(body.session_id)
        except SessionNotFound as error:
            raise BadRequest("Invalid session_id") from error
        await ask(greenroom, body.session_id, DeleteSession())
        return json_response({"ok": True, "state_db_cleanup_failed": False})

    @page.post("/api/sessions/cleanup", defaults={"untitled": True})
    @page.post("/api/sessions/cleanup_zero_message", defaults={"untitled": False})
    async def cleanup(untitled: bool) -> Response:
        rows = await greenroom.index.ask(ListRows(hidden=True))
        cleaned = 0
        for row in rows:
            if not row["message_count"]:
                session = greenroom.session(row["session_id"])
                cleaned += await session.ask(DeleteIfEmpty(untitled))
        return json_response({"ok": True, "cleaned": cleaned})

    @page.post("/api/session/compress/start", endpoint="compress_start")
    async def compress_start() -> Response:
        return await _compress(greenroom)

    @page.get("/api/session/compress/status")
    async def compress_status() -> Response:
        session_id = (await ask_named(greenroom)).record.session_id
        return await _compression(greenroom, session_id)

    @page.post("/api/session/compress")
    async def compress() -> Response:
        seen = greenroom.notices.last
        began = await _compress(greenroom)
        if began.status_code != 200:
            return began
        body = await read_body(bodies.CompressBody)
        session = greenroom.session(body.session_id or "")
        while (state := await session.ask(CompressionStatus())).status == "running":
            await greenroom.notices.after(seen)
            seen = greenroom.notices.last
        if state.status == "error":
            return json_response(
                {"error": state.text}, 409 if "please retry" in state.text else 400
            )
        return await _compression(greenroom, session.key)

    return page


async def _compress(greenroom: View) -> Response:
    body = await read_body(bodies.CompressBody)
    require(body, "session_id")
    try:
        await ask(greenroom, body.session_id, Compress(body.focus_topic[:FOCUS_LENGTH]))
    except TurnRunning:
        return json_response({"error": STREAMING}, 409)
    return await _compression(greenroom, body.session_id or "")


async def _compression(greenroom: View, session_id: str) -> Response:
    session = greenroom.session(session_id)
    state = await session.ask(CompressionStatus())
    answer: dict[str, Any] = {
        "ok": state.status != "error",
        "status": state.status,
        "session_id": session_id,
    }
    if state.started_at is not None:
        answer["started_at"] = state.started_at
    if state.status == "error":
        answer["error"] = state.text
    if state.status == "done":
        answer |= views.compressed(await session.ask(GetSession()), state, session_id)
    return said(answer)


async def _record(greenroom: View, body: msgspec.Struct) -> Record:
    """Of the session that the body names."""
    require(body, "session_id")
    session_id: str = getattr(body, "session_id", "")
    record: Record = (await greenroom.session(session_id).ask(GetSession())).record
    return record


async def _whole(greenroom: View, snapshot: Snapshot, **more: Any) -> Response:
    session = await in_its_project(greenroom, views.full_session(snapshot))
    return said({**more, "session": session})


async def _compact(greenroom: View, snapshot: Snapshot, **more: Any) -> Response:
    session = await in_its_project(greenroom, views.compact(snapshot))
    return json_response({**more, "session": session})


async def _remove_last_turn(greenroom: View, nothing: str) -> Removed | Response:
    body = await read_body(bodies.SessionBody)
    require(body, "session_id")
    try:
        return await ask(greenroom, body.session_id, RemoveLastTurn())
    except NothingToRemove:
        return json_response({"error": nothing})
