"""/v1/responses: a response is a turn of a session."""

import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from quart import Blueprint, Response, request

from actors.session.entries import FeedEvent
from actors.session.messages import Annotate, CancelTurn, DeleteSession, Truncate

from ..body import read_bytes
from ..http_errors import json_response
from ..saying import said
from ..sse import frame
from ..view import View
from .errors import ApiError
from .events import ResponseEvents
from .names import response_id
from .offer import Offer
from .paging import page_of
from .requests import asked_by_response, decode
from .retold import end_of, turn_items
from .schemas import ResponseBody
from .streaming import stream_of
from .turns import Turn, Turns, deleted_mark

__all__ = ["routes"]


def routes(greenroom: View, offer: Offer, turns: Turns) -> Blueprint:
    page = Blueprint("openai_responses", __name__, url_prefix="/v1/responses")

    async def found(name: str) -> Turn:
        named, _, told = await turns.find(name)
        return Turn(named.session_id, named.turn_id, told.at, told.note)

    async def as_it_is(name: str, turn: Turn) -> Response:
        events = ResponseEvents(base_of(name, turn))
        for event in await turns.shown(turn):
            for _ in events.take(event):
                pass
        return json_response(events.response)

    @page.post("")
    async def create() -> Response:
        body = decode(await read_bytes(), ResponseBody)
        offer.check(body.model)
        asked = asked_by_response(body, offer.options, time.time(), lambda: uuid4().hex)
        turn = await turns.begin(asked, "response")
        name = response_id(turn.session_id, turn.turn_id)
        if asked.stream:
            return await stream_of(turns, turn, _Frames(base_of(name, turn)).take)
        if asked.background:
            return await as_it_is(name, turn)
        events = ResponseEvents(base_of(name, turn))
        await turns.follow(turn, events.take)
        return json_response(events.response)

    @page.get("/<name>")
    async def retrieve(name: str) -> Response:
        turn = await found(name)
        if not _is_true("stream"):
            return await as_it_is(name, turn)
        after = _number(request.args.get("starting_after"))
        if after >= 0 and await turns.reader(turn) is None:
            # Its pieces are forgotten, and with them their numbers.
            message = "The stream of this response is not kept any more: retrieve it whole."
            raise ApiError(400, message, "starting_after", "stream_expired")
        return await stream_of(turns, turn, _Frames(base_of(name, turn), after).take)

    @page.post("/<name>/cancel")
    async def cancel(name: str) -> Response:
        turn = await found(name)
        await greenroom.session(turn.session_id).ask(CancelTurn(turn.turn_id))
        return await as_it_is(name, turn)

    @page.delete("/<name>")
    async def delete(name: str) -> Response:
        """What was said goes too, but where something was said after it that stands on it, and
        from a conversation, which has a life of its own.
        """
        named, record, told = await turns.find(name)
        session = greenroom.session(named.session_id)
        if told.prompt is None:
            await session.ask(CancelTurn(named.turn_id))
            named, record, told = await turns.find(name)
        if told.note.get("conversation") or end_of(record, told) != len(record.messages):
            await session.ask(Annotate({deleted_mark(named.turn_id): True}))
        else:
            await session.ask(Truncate(told.first) if told.first else DeleteSession())
        return json_response({"id": name, "object": "response", "deleted": True})

    @page.get("/<name>/input_items")
    async def input_items(name: str) -> Response:
        named, record, _ = await turns.find(name)
        return said(page_of(turn_items(record, named.turn_id), request.args))

    return page


class _Frames:
    """The events of a response as they go out, from behind number `after`."""

    def __init__(self, base: Mapping[str, Any], after: int = -1) -> None:
        self._events = ResponseEvents(base)
        self._after = after

    def take(self, event: FeedEvent) -> Iterator[bytes]:
        for made in self._events.take(event):
            if made["sequence_number"] > self._after:
                yield frame(made["type"], made)


def _is_true(name: str) -> bool:
    said = request.args.get(name, "false")
    if said not in ("true", "false"):
        raise ApiError(400, f"'{name}' must be true or false.", name, "invalid_value")
    return said == "true"


def _number(text: str | None) -> int:
    if text is None:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        message = "'starting_after' must be the number of an event."
        raise ApiError(400, message, "starting_after", "invalid_value")
    return int(text)


def base_of(name: str, turn: Turn) -> dict[str, Any]:
    """The response without what comes of it: what was asked for, and what is so here."""
    note = turn.note
    asked = {
        key: note.get(key)
        for key in (
            *("instructions", "max_output_tokens", "model", "previous_response_id"),
            *("conversation", "reasoning", "temperature", "top_p", "user", "safety_identifier"),
            *("prompt_cache_key", "background", "store"),
        )
    }
    return {
        "id": name,
        "object": "response",
        "created_at": int(turn.created_at),
        "error": None,
        "incomplete_details": None,
        "max_tool_calls": None,
        "metadata": note.get("metadata") or {},
        "parallel_tool_calls": True,
        "service_tier": "default",
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "truncation": "auto",
        "usage": None,
        **asked,
    }
