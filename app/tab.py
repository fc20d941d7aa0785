"""Endpoints for our own page: all that one tab follows in one stream, and a list that is short.

A browser has six connections for all its tabs, so a tab has one. It carries what happens to the
list, and everything of the session that the tab shows: what others do to it, and each of its turns,
those too that begin later. A tab comes back with its cursor and goes on where it was.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import trio
from quart import Blueprint, Response, request

from actors.index.messages import ListRows
from actors.session.entries import Entry
from actors.session.feeds import Reader
from actors.session.messages import GetSession, Snapshot
from actors.session.notices import Notice
from actors.session.refusals import SessionNotFound

from . import views
from .asking import project_ids
from .chat import words
from .direct import Direct
from .http_errors import json_response
from .sse import cursor_of, event_stream, frame, kept_alive
from .view import View

__all__ = ["routes"]

KEEPALIVE = b": keepalive\n\n"

LISTED = (
    *("session_id", "title", "last_message_at", "pinned", "archived", "project_id"),
    *("message_count", "waiting_count", "approval_count"),
)

Batch = tuple[str, Sequence[Entry]] | Sequence[Notice | None]


def routes(greenroom: View, stopping: trio.Event) -> Blueprint:
    """`stopping` ends the streams, those of running turns when the turn has ended."""
    page = Blueprint("tab", __name__)

    @page.get("/api/tab/sessions")
    async def sessions() -> Response:
        """All sessions, each with what a list shows of it: some hundred bytes."""
        rows = await greenroom.index.ask(ListRows())
        live = {greenroom.current_id(feed.session_id) for feed in greenroom.running()}
        projects = await project_ids(greenroom)
        return json_response({"sessions": [_listed(row, live, projects) for row in rows]})

    @page.get("/api/tab/events")
    async def events() -> Response:
        direct = Direct(request.scope)
        tab = _Tab(greenroom, stopping, request.args.get("session_id") or None, direct)
        stream_id = request.args.get("stream_id") or None
        first = await tab.begin(stream_id, cursor_of(request.args, None, stream_id or ""))
        chunks = kept_alive(tab.next, tab.render, KEEPALIVE, first=first, direct=direct)
        return event_stream(chunks)

    return page


def _listed(row: Any, live: Collection[str], projects: Collection[str | None]) -> dict[str, Any]:
    shown = {name: row[name] for name in LISTED if row.get(name)}
    if shown.get("project_id") not in projects:
        del shown["project_id"]
    if row["session_id"] in live:
        shown["running"] = True
    return shown


class _Tab:
    """What one tab is to be told. `next` may be cancelled at any time, and loses nothing."""

    def __init__(
        self,
        greenroom: View,
        stopping: trio.Event,
        session_id: str | None,
        direct: Direct,
    ) -> None:
        self._greenroom = greenroom
        self._stopping = stopping
        self._session_id = session_id
        self._direct = direct
        self._seen = greenroom.notices.last
        self._readers: list[Reader] = []

    async def begin(self, stream_id: str | None, cursor: int) -> bytes:
        """How the session stands, and from where its turns are told.

        The tab names the turn it was following; one that nobody can replay any more is told of
        as `turn_gone`, and the transcript has it all.
        """
        snapshot = await self._snapshot()
        hello = frame("hello", {"session": None if snapshot is None else _standing(snapshot)})
        if snapshot is None:
            return hello
        running = snapshot.record.active_stream_id if snapshot.running else None
        if stream_id is not None:
            reader = await self._greenroom.feeds.read(stream_id, cursor)
            if reader is None:
                hello += frame("turn_gone", {"stream_id": stream_id})
            else:
                self._readers.append(reader)
        if running is not None and running != stream_id:
            hello += await self._begun(snapshot, running)
        return hello

    async def next(self) -> Sequence[Batch]:
        """What came, of one kind; nothing when the server stops, or nobody will hear more."""
        while True:
            await self._direct.flush()
            for reader in self._readers:
                if self._is_ready(reader):
                    if entries := await reader.next():
                        return [(reader.turn_id, entries)]
                    self._readers.remove(reader)
                    break
            else:
                if self._greenroom.notices.last > self._seen:
                    notices = await self._greenroom.notices.after(self._seen)
                    self._seen = self._greenroom.notices.last
                    if notices is None or notices:
                        return [[None] if notices is None else notices]
                    continue  # they were for others
                if self._stopping.is_set() and not self._readers:
                    return []
                await self._wait()

    def _is_ready(self, reader: Reader) -> bool:
        """It has something, or has ended: asking it does not wait."""
        feed = self._greenroom.feeds.find(reader.turn_id)
        return feed is None or feed.last > reader.cursor or feed.closed

    async def _wait(self) -> None:
        """Until there may be something."""
        async with trio.open_nursery() as nursery:

            async def then_stop(wait: Any, *args: Any) -> None:
                await wait(*args)
                nursery.cancel_scope.cancel()

            nursery.start_soon(then_stop, self._greenroom.notices.after, self._seen)
            if not self._stopping.is_set():
                nursery.start_soon(then_stop, self._stopping.wait)
            for reader in self._readers:
                if self._is_ready(reader):
                    nursery.cancel_scope.cancel()
                show = partial(_turn_frame, reader.turn_id)
                nursery.start_soon(then_stop, self._direct.follow, reader, show)

    async def render(self, batches: Sequence[Batch]) -> bytes:
        frames = []
        for batch in batches:
            if isinstance(batch, tuple):
                frames += [_turn_frame(batch[0], entry) for entry in batch[1]]
            else:
                frames.append(_changed(batch))
                frames += [await self._own(note) for note in batch if note is not None]
        return b"".join(frames)

    async def _own(self, note: Notice) -> bytes:
        """A turn of the session that the tab shows has begun: it follows."""
        if note.reason != "turn_started" or note.turn_id is None or not self._is_mine(note):
            return b""
        snapshot = await self._snapshot()
        return b"" if snapshot is None else await self._begun(snapshot, note.turn_id)

    def _is_mine(self, note: Notice) -> bool:
        current = self._greenroom.current_id
        return self._session_id is not None and current(note.session_id) == current(
            self._session_id
        )

    async def _begun(self, snapshot: Snapshot, turn_id: str) -> bytes:
        record = snapshot.record
        if any(reader.turn_id == turn_id for reader in self._readers):
            return b""
        reader = await self._greenroom.feeds.read(turn_id)
        if reader is not None:
            self._readers.append(reader)
        began: dict[str, Any] = {"stream_id": turn_id, "session_id": record.session_id}
        if record.active_stream_id == turn_id:
            began |= {
                "message": record.pending_user_message,
                "attachments": record.pending_attachments,
                "at": record.pending_started_at,
            }
        return frame("turn_began", began)

    async def _snapshot(self) -> Snapshot | None:
        if self._session_id is None:
            return None
        try:
            return await self._greenroom.session(self._session_id).ask(GetSession())
        except SessionNotFound:
            return None


def _standing(snapshot: Snapshot) -> dict[str, Any]:
    """Enough to tell whether a tab shows what is true."""
    record = snapshot.record
    return {
        "session_id": record.session_id,
        "updated_at": record.updated_at,
        "message_count": len(record.messages),
        "active_stream_id": record.active_stream_id if snapshot.running else None,
    }


def _changed(notices: Sequence[Notice | None]) -> bytes:
    """Which sessions to look at again: all of them, if `session_ids` is null."""
    if any(note is None or not note.session_id for note in notices):
        return frame("changed", {"session_ids": None, "reasons": ["all"]})
    known = [note for note in notices if note is not None]
    return frame(
        "changed",
        {
            "session_ids": list(dict.fromkeys(note.session_id for note in known)),
            "reasons": list(dict.fromkeys(note.reason for note in known)),
        },
    )


def _turn_frame(stream_id: str, entry: Entry) -> bytes:
    """The same as in the turn's own stream, but without the session that comes with its end there:
    the tab asks for as much of it as it shows.
    """
    event_id = f"{stream_id}:{entry.seq}"
    return words(stream_id, entry) or frame(*views.event_of(entry.event), event_id)
