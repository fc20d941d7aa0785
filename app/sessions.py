"""Endpoints that read sessions: one, all, those in which something was said."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response, request

from actors.index.messages import ListPage, RowsNamed
from actors.search.messages import Search

from . import views
from .asking import ask_named, in_its_project, project_ids
from .bodies import BadRequest
from .export_html import html_of
from .http_errors import json_body, json_response
from .redaction import redacted
from .view import View

__all__ = ["routes"]

ARCHIVED_LIMIT = 2000
SEARCH_LIMIT = 50
QUERY_LENGTH = 500

Rows = Sequence[Mapping[str, Any]]


def routes(greenroom: View) -> Blueprint:
    """Parse, ask one actor, render."""
    page = Blueprint("sessions", __name__)

    async def rendered(rows: Rows) -> list[dict[str, Any]]:
        live = {greenroom.current_id(feed.session_id) for feed in greenroom.running()}
        projects = await project_ids(greenroom)
        shown = [views.list_row(row, row["session_id"] in live) for row in rows]
        for row in shown:
            if row["project_id"] not in projects:
                row["project_id"] = None
        return shown

    @page.get("/api/sessions")
    async def list_sessions() -> Response:
        part = _part("limit", "offset", None)
        archived = _part("archived_limit", "archived_offset", ARCHIVED_LIMIT)
        everything = request.args.get("include_archived") == "1"
        page = await greenroom.index.ask(ListPage(part, archived if everything else (0, 0)))
        counts = {"archived_count": page.archived, "archived_webui_count": page.archived}
        envelope = views.list_of(page.present) | counts | {"include_archived": everything}
        if request.args.get("sidebar_source") == "cli":
            return json_response(envelope | {"sessions": []})
        _say_part(envelope, part, "limit", "offset", page.present)
        if everything:
            _say_part(envelope, archived, "archived_limit", "archived_offset", ARCHIVED_LIMIT)
        return json_response(envelope | {"sessions": await rendered(page.rows)})

    @page.get("/api/sessions/search")
    async def search() -> Response:
        query = request.args.get("q", "")[:QUERY_LENGTH]
        content = request.args.get("content", "1") != "0"
        limit = _whole_number("limit") or SEARCH_LIMIT
        found = await greenroom.search.ask(Search(query, content, limit))
        names = [hit.session_id for hit in found.results]
        named = await greenroom.index.ask(RowsNamed(names, shown=True))
        rows = {row["session_id"]: row for row in named}
        hits = [hit for hit in found.results if hit.session_id in rows]
        shown = await rendered([rows[hit.session_id] for hit in hits])
        for row, hit in zip(shown, hits, strict=True):
            row |= {"match_type": hit.match_type, "match_preview": hit.preview}
        return json_response(
            {"sessions": shown, "query": query, "count": len(shown), "complete": found.complete}
            | {"all_profiles": False, "active_profile": "default"}
        )

    @page.get("/api/session")
    async def get_session() -> Response:
        session = views.full_session(
            await ask_named(greenroom),
            messages=request.args.get("messages", "1") != "0",
            limit=_whole_number("msg_limit"),
            before=_whole_number("msg_before"),
        )
        draft = msgspec.json.encode(session.pop("composer_draft"))
        shown = redacted(msgspec.json.encode(await in_its_project(greenroom, session)))
        # What was being written goes back as it was: it is sent from there.
        return json_body(b'{"session":%s,"composer_draft":%s}}' % (shown[:-1], draft))

    @page.get("/api/session/status")
    async def status() -> Response:
        return json_response(views.status_of(await ask_named(greenroom, "Missing session_id")))

    @page.get("/api/session/usage")
    async def usage() -> Response:
        return json_response(views.usage_of(await ask_named(greenroom, "Missing session_id")))

    @page.get("/api/session/draft")
    async def draft() -> Response:
        record = (await ask_named(greenroom)).record
        return json_response({"ok": True, "draft": record.composer_draft})

    @page.get("/api/session/export")
    async def export() -> Response:
        snapshot = await ask_named(greenroom)
        form = request.args.get("format", "json")
        if form == "json":
            data, kind = views.export_of(snapshot), "application/json"
        elif form == "html":
            data = await trio.to_thread.run_sync(html_of, snapshot.record)
            kind = "text/html; charset=utf-8"
        else:
            raise BadRequest("format must be json or html")
        response = Response(redacted(data), content_type=kind)
        name = f"hermes-{snapshot.record.session_id}.{form}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    @page.get("/api/session/lineage/report")
    async def lineage() -> Response:
        """From the session back to what it was branched or compressed from."""
        record = (await ask_named(greenroom)).record
        ids, parent = [record.session_id], record.parent_session_id
        while parent is not None and parent not in ids:
            ids.append(parent)
            rows = await greenroom.index.ask(RowsNamed([parent], shown=True))
            parent = rows[0].get("parent_session_id") if rows else None
        return json_response({"ok": True, "session_id": record.session_id, "lineage": ids})

    @page.get("/api/session/resolve")
    async def resolve() -> Response:
        """Where an id leads that a session was known by."""
        asked = request.args.get("session_id", "")
        record = (await ask_named(greenroom)).record
        return json_response({"session_id": record.session_id, "asked_for": asked})

    return page


def _part(limit: str, offset: str, most: int | None) -> tuple[int, int]:
    """From where to where the rows are that were asked for; all, or `most`, if none were."""
    wanted, start = _whole_number(limit), _whole_number(offset) or 0
    if wanted is None:
        return start, sys.maxsize if most is None else start + most
    return start, start + min(wanted, ARCHIVED_LIMIT)


def _say_part(
    envelope: dict[str, Any], part: tuple[int, int], limit: str, offset: str, most: int
) -> None:
    wanted = _whole_number(limit)
    if wanted is not None:
        envelope |= {limit: min(wanted, max(most, ARCHIVED_LIMIT)), offset: part[0]}


def _whole_number(name: str) -> int | None:
    text = request.args.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)
