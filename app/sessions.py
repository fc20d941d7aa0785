"""Endpoints that read and change sessions."""

import trio
from quart import Blueprint, Response, request

from actors import Ref
from actors.greenroom import Greenroom
from actors.index.messages import ListRows
from actors.session.messages import (
    Archive,
    CreateSession,
    DeleteSession,
    GetSession,
    NothingToRemove,
    Pin,
    Removed,
    RemoveLastTurn,
    Rename,
    SaveDraft,
    SessionNotFound,
    Snapshot,
    UpdateSession,
)

from . import wire
from .body import read_body, read_bytes
from .http_errors import json_response
from .wire import BadRequest, require

__all__ = ["checked_workspace", "routes"]

DRAFT_LENGTH = 50_000
DRAFT_FILES = 50


def routes(greenroom: Greenroom) -> Blueprint:
    """Parse, ask one actor, render."""
    page = Blueprint("sessions", __name__)

    def running() -> set[str]:
        return {feed.session_id for feed in greenroom.feeds if not feed.closed}

    @page.get("/api/sessions")
    async def list_sessions() -> Response:
        rows = await greenroom.index.ask(ListRows())
        live = running()
        shown = [wire.list_row(row, row["session_id"] in live) for row in rows]
        archived = [row for row in shown if row["archived"]]
        everything = request.args.get("include_archived") == "1"
        return json_response(
            wire.list_of(shown if everything else [row for row in shown if not row["archived"]])
            | {"archived_count": len(archived), "archived_webui_count": len(archived)}
            | {"include_archived": everything}
        )

    @page.get("/api/session")
    async def get_session() -> Response:
        snapshot = await _ask_named(greenroom, "session_id is required")
        session = wire.full_session(
            snapshot,
            messages=request.args.get("messages", "1") != "0",
            limit=_whole_number("msg_limit"),
            before=_whole_number("msg_before"),
        )
        return json_response({"session": session})

    @page.get("/api/session/status")
    async def status() -> Response:
        return json_response(wire.status_of(await _ask_named(greenroom, "Missing session_id")))

    @page.get("/api/session/usage")
    async def usage() -> Response:
        return json_response(wire.usage_of(await _ask_named(greenroom, "Missing session_id")))

    @page.get("/api/session/export")
    async def export() -> Response:
        snapshot = await _ask_named(greenroom, "session_id is required")
        if request.args.get("format", "json") != "json":
            raise BadRequest("format must be json")
        response = Response(wire.export_of(snapshot), content_type="application/json")
        name = f"hermes-{snapshot.record.session_id}.json"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    @page.post("/api/session/new")
    async def new() -> Response:
        body = await read_body(wire.NewBody)
        command = CreateSession(
            workspace=await checked_workspace(body.workspace) or str(await trio.Path.cwd()),
            model=body.model,
            model_provider=body.model_provider,
            profile=body.profile,
            project_id=body.project_id,
        )
        snapshot = await greenroom.new_session().ask(command)
        return json_response({"session": wire.full_session(snapshot)})

    @page.post("/api/session/import")
    async def import_session() -> Response:
        command = wire.import_of(await read_bytes())
        snapshot = await greenroom.new_session().ask(command)
        return json_response({"ok": True, "session": wire.full_session(snapshot)})

    @page.post("/api/session/rename")
    async def rename() -> Response:
        body = await read_body(wire.RenameBody)
        require(body, "session_id", "title")
        snapshot = await _session(greenroom, body.session_id).ask(Rename(body.title or ""))
        return json_response({"session": wire.compact(snapshot)})

    @page.post("/api/session/pin")
    async def pin() -> Response:
        body = await read_body(wire.PinBody)
        require(body, "session_id")
        snapshot = await _session(greenroom, body.session_id).ask(Pin(body.pinned))
        return json_response({"ok": True, "session": wire.compact(snapshot)})

    @page.post("/api/session/archive")
    async def archive() -> Response:
        body = await read_body(wire.ArchiveBody)
        require(body, "session_id")
        snapshot = await _session(greenroom, body.session_id).ask(Archive(body.archived))
        return json_response({"ok": True, "session": wire.compact(snapshot)})

    @page.post("/api/session/update")
    async def update() -> Response:
        body = await read_body(wire.UpdateBody)
        require(body, "session_id")
        command = UpdateSession(
            await checked_workspace(body.workspace), body.model, body.model_provider
        )
        snapshot = await _session(greenroom, body.session_id).ask(command)
        return json_response({"session": wire.compact(snapshot)})

    @page.post("/api/session/draft")
    async def draft() -> Response:
        body = await read_body(wire.DraftBody)
        require(body, "session_id")
        kept = {"text": body.text[:DRAFT_LENGTH], "files": body.files[:DRAFT_FILES]}
        session = _session(greenroom, body.session_id)
        if (await session.ask(GetSession())).record.composer_draft == kept:
            return json_response({"ok": True, "draft": kept, "unchanged": True})
        await session.ask(SaveDraft(kept))
        return json_response({"ok": True, "draft": kept})

    @page.post("/api/session/undo")
    async def undo() -> Response:
        removed = await _remove_last_turn(greenroom, "Nothing to undo.")
        if isinstance(removed, Response):
            return removed
        preview = wire.preview(removed.text)
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

    @page.post("/api/session/delete")
    async def delete() -> Response:
        body = await read_body(wire.SessionBody)
        if not body.session_id:
            raise BadRequest("session_id is required")
        try:
            session = greenroom.session(body.session_id)
        except SessionNotFound as error:
            raise BadRequest("Invalid session_id") from error
        await session.ask(DeleteSession())
        return json_response({"ok": True, "state_db_cleanup_failed": False})

    return page


def _session(greenroom: Greenroom, session_id: str | None) -> Ref:
    return greenroom.session(session_id or "")


async def _ask_named(greenroom: Greenroom, missing: str) -> Snapshot:
    """The session that the query names."""
    session_id = request.args.get("session_id")
    if not session_id:
        raise BadRequest(missing)
    return await greenroom.session(session_id).ask(GetSession())


async def _remove_last_turn(greenroom: Greenroom, nothing: str) -> Removed | Response:
    body = await read_body(wire.SessionBody)
    require(body, "session_id")
    try:
        return await greenroom.session(body.session_id or "").ask(RemoveLastTurn())
    except NothingToRemove:
        return json_response({"error": nothing})


def _whole_number(name: str) -> int | None:
    text = request.args.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)


async def checked_workspace(workspace: str | None) -> str | None:
    """The directory a session works in, absolute; None for none given. Raises `BadRequest`."""
    if not workspace:
        return None
    if "\0" in workspace:
        raise BadRequest("Path does not exist: it has a NUL in it")
    path = await trio.Path(workspace).expanduser()
    if not await path.is_dir():
        raise BadRequest(f"Path does not exist: {workspace[:200]}")
    return str(await path.resolve())
