"""Endpoints for the inspector. Nothing is gathered until somebody asks."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing
from typing import Any

import trio
from quart import Blueprint, Response, request

from actors.session.refusals import SessionNotFound
from actors.session.stories import Fact, Story

from .bodies import BadRequest
from .http_errors import json_response
from .page import ASK, OUR_PAGE, POLICY, file_of, mounted
from .sse import event_stream, frame, kept_alive
from .view import View
from .vitals import past_of, snapshot, standing_of

__all__ = ["routes", "watched"]

EVERY = 1.0  # seconds between two snapshots
GATHER = 0.1  # seconds in which the facts of a story come together
SHOWN, MOST_SHOWN = 30, 1000  # actors of each kind
KEEPALIVE = b": keepalive\n\n"


def routes(greenroom: View, stopping: trio.Event) -> Blueprint:
    """The streams end when `stopping` is set."""
    page = Blueprint("inspector", __name__)

    @page.get("/api/inspector")
    async def everything() -> Response:
        return json_response(await snapshot(greenroom, _limit()))

    @page.get("/api/inspector/events")
    async def events() -> Response:
        session_id = request.args.get("session_id") or None
        if session_id is not None:
            session_id = greenroom.current_id(greenroom.session(session_id).key)
        return event_stream(watched(greenroom, stopping, session_id, _limit()))

    @page.get("/api/inspector/session")
    async def session() -> Response:
        session_id = request.args.get("session_id")
        if not session_id:
            raise BadRequest("session_id is required")
        key = greenroom.current_id(greenroom.session(session_id).key)
        standing = await standing_of(greenroom, key)
        if standing is None:
            raise SessionNotFound
        return json_response(standing | {"past": await past_of(greenroom, key)})

    @page.get("/inspector")
    @page.get("/inspector/")
    async def index() -> Response:
        response = await _file("inspector/index.html")
        if request.root_path:
            response.set_data(mounted(await response.get_data(as_text=True)))
        return response

    @page.get("/inspector/static/<path:name>")
    async def static(name: str) -> Response:
        return await _file(name)

    return page


async def _file(name: str) -> Response:
    """Of our own page, whichever is served beside it."""
    response = await file_of(OUR_PAGE, name)
    response.headers["Cache-Control"] = ASK
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _limit() -> int:
    text = request.args.get("limit", "")
    return min(int(text), MOST_SHOWN) if text.isascii() and text.isdigit() and text else SHOWN


# -- the stream ---------------------------------------------------------------------------------


async def watched(
    greenroom: View, stopping: trio.Event, session_id: str | None, limit: int
) -> AsyncGenerator[bytes, None]:
    """A story is kept for as long as this runs."""
    with ExitStack() as watching:
        story = None
        if session_id is not None:
            story = watching.enter_context(await greenroom.watch(session_id))
        stream = _Stream(greenroom, stopping, session_id, story, limit)
        chunks = kept_alive(stream.next, stream.render, KEEPALIVE)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


class _Stream:
    """What one inspector is told. `next` may be cancelled at any time, and loses nothing."""

    def __init__(
        self,
        greenroom: View,
        stopping: trio.Event,
        session_id: str | None,
        story: Story | None,
        limit: int,
    ) -> None:
        self._greenroom = greenroom
        self._stopping = stopping
        self._session_id = session_id
        self._story = story
        self._limit = limit
        self._seen = 0
        self._due = trio.current_time()

    async def next(self) -> Sequence[Sequence[Fact] | None]:
        """Facts, or None when a snapshot is due; nothing when the server stops."""
        while not self._stopping.is_set():
            if trio.current_time() >= self._due:
                self._due = trio.current_time() + EVERY
                return [None]
            if self._story is not None and self._story.facts.last > self._seen:
                await trio.sleep(GATHER)
                facts = self._story.after(self._seen)
                self._seen = self._story.facts.last
                return [facts]
            with trio.move_on_at(self._due):
                await self._wait()
        return []

    async def _wait(self) -> None:
        async with trio.open_nursery() as nursery:

            async def story() -> None:
                assert self._story is not None
                await self._story.facts.wait_after(self._seen)
                nursery.cancel_scope.cancel()

            if self._story is not None:
                nursery.start_soon(story)
            await self._stopping.wait()
            nursery.cancel_scope.cancel()

    async def render(self, batches: Sequence[Sequence[Fact] | None]) -> bytes:
        (facts,) = batches
        if facts is not None:
            return frame("story", {"facts": [_fact(fact) for fact in facts]})
        data = frame("snapshot", await snapshot(self._greenroom, self._limit))
        if self._session_id is not None:
            key = self._greenroom.current_id(self._session_id)
            data += frame("session", await standing_of(self._greenroom, key) or {"gone": True})
        return data


def _fact(fact: Fact) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "line": fact.line,
        "step": fact.step,
        "at": round(time.time() - trio.current_time() + fact.at, 4),
    }
    if fact.name:
        shown["name"] = fact.name
    if fact.turn_id is not None:
        shown |= {"stream_id": fact.turn_id, "first": fact.first, "last": fact.last}
    return shown
