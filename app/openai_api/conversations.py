"""/v1/conversations: a conversation is a session, be it made here or on the page."""

import time
from typing import Any
from uuid import uuid4

from quart import Blueprint, Response, request

from actors.session.messages import (
    AddRows,
    Annotate,
    CreateSession,
    DeleteSession,
    GetSession,
    Snapshot,
    Truncate,
)
from actors.session.record import Record
from actors.session.refusals import SessionNotFound

from ..asking import ask, create
from ..body import read_bytes
from ..http_errors import json_response
from ..saying import said
from ..view import View
from .errors import ApiError
from .items import Placed, rows_of_input
from .names import conversation_id, session_of
from .paging import list_of, page_of
from .requests import decode
from .retold import items_of
from .schemas import ConversationBody, ConversationUpdateBody, ItemsBody
from .turns import no_conversation

__all__ = ["routes"]

METADATA = "metadata"  # the field of a record


def routes(greenroom: View) -> Blueprint:
    page = Blueprint("openai_conversations", __name__, url_prefix="/v1/conversations")

    async def found(name: str) -> tuple[str, Snapshot]:
        """Raises `ApiError` if there is none."""
        session_id = session_of(name)
        try:
            if session_id is not None:
                return session_id, await greenroom.session(session_id).ask(GetSession())
        except SessionNotFound:
            pass
        raise no_conversation(name)

    async def placed(name: str, item_id: str) -> tuple[str, Snapshot, Placed]:
        session_id, snapshot = await found(name)
        for one in items_of(snapshot.record):
            if one.item["id"] == item_id:
                return session_id, snapshot, one
        raise ApiError(404, f"Item with id '{item_id}' not found.", "item_id")

    @page.post("")
    async def begin() -> Response:
        body = decode(await read_bytes(), ConversationBody)
        rows = rows_of_input(body.items or (), time.time(), lambda: uuid4().hex, "items")
        content = Record(
            session_id="",
            session_source="api",
            messages=tuple(rows),
            extra={METADATA: body.metadata or {}},
        )
        snapshot = await create(greenroom, CreateSession(content, keep=True))
        return json_response(_conversation(snapshot.record))

    @page.get("/<name>")
    async def retrieve(name: str) -> Response:
        _, snapshot = await found(name)
        return json_response(_conversation(snapshot.record, name))

    @page.post("/<name>")
    async def update(name: str) -> Response:
        body = decode(await read_bytes(), ConversationUpdateBody)
        session_id, _ = await found(name)
        snapshot = await ask(greenroom, session_id, Annotate({METADATA: body.metadata}))
        return json_response(_conversation(snapshot.record, name))

    @page.delete("/<name>")
    async def delete(name: str) -> Response:
        session_id, _ = await found(name)
        await greenroom.session(session_id).ask(DeleteSession())
        return json_response({"id": name, "object": "conversation.deleted", "deleted": True})

    @page.get("/<name>/items")
    async def items(name: str) -> Response:
        _, snapshot = await found(name)
        return said(page_of([p.item for p in items_of(snapshot.record)], request.args))

    @page.post("/<name>/items")
    async def add_items(name: str) -> Response:
        body = decode(await read_bytes(), ItemsBody)
        rows = rows_of_input(body.items, time.time(), lambda: uuid4().hex, "items")
        session_id, _ = await found(name)
        snapshot = await ask(greenroom, session_id, AddRows(tuple(rows)))
        first = len(snapshot.record.messages) - len(rows)
        added = [p.item for p in items_of(snapshot.record) if p.row >= first]
        return said(list_of(added))

    @page.get("/<name>/items/<item_id>")
    async def item(name: str, item_id: str) -> Response:
        _, _, one = await placed(name, item_id)
        return said(one.item)

    @page.delete("/<name>/items/<item_id>")
    async def remove_item(name: str, item_id: str) -> Response:
        session_id, snapshot, one = await placed(name, item_id)
        if snapshot.running:
            raise ApiError(409, "A response is being made in this conversation.")
        last = len(snapshot.record.messages) - 1
        if one.row != last:
            message = "Only the last item can be deleted: what comes after it stands on it."
            raise ApiError(400, message, "item_id", "unsupported_value")
        changed = await greenroom.session(session_id).ask(Truncate(last))
        return json_response(_conversation(changed.record, name))

    return page


def _conversation(record: Record, name: str | None = None) -> dict[str, Any]:
    return {
        "id": name or conversation_id(record.session_id),
        "object": "conversation",
        "created_at": int(record.created_at),
        "metadata": record.extra.get(METADATA) or {},
    }
