"""Streams that tell a tab what others did: to the list, and to the session it shows."""

from collections.abc import Callable, Sequence
from typing import Any

import trio
from quart import Blueprint, Response, request

from actors.session.messages import GetSession, Snapshot
from actors.session.notices import Notice

from .asking import ask_named
from .bodies import BadRequest
from .http_errors import json_response
from .sse import event_stream, frame, kept_alive
from .view import View

__all__ = ["routes"]

KEEPALIVE = b": keepalive\n\n"

# Nothing that the list shows has changed.
NOT_LISTED = frozenset({"compression_ended"})


def routes(greenroom: View, stopping: trio.Event) -> Blueprint:
    """`stopping` ends the streams."""
    page = Blueprint("side_streams", __name__)

    @page.get("/api/sessions/events")
    async def sessions_events() -> Response:
        if request.args.get("probe") == "1":
            return json_response({"ok": True})
        listener = _Listener(greenroom, stopping)

        async def render(notices: Sequence[Notice | None]) -> bytes:
            listed = [note for note in notices if note is None or note.reason not in NOT_LISTED]
            return _sessions_changed(listed, greenroom.notices.last) if listed else b""

        return event_stream(kept_alive(listener.next, render, KEEPALIVE))

    @page.get("/api/session/stream")
    async def session_stream() -> Response:
        session_id = request.args.get("session_id", "")
        known = request.args.get("known_count", "")
        if known and not (known.isascii() and known.isdigit() and len(known) < 10):
            raise BadRequest("known_count must be a whole number")
        listener = _Listener(greenroom, stopping)
        snapshot = await ask_named(greenroom)
        tab = _Tab(greenroom, session_id, int(known) if known else None)
        first = frame("initial", {"session_id": session_id}) + tab.at_first(snapshot)
        return event_stream(kept_alive(listener.next, tab.render, KEEPALIVE, first=first))

    return page


class _Listener:
    """One reader of the notices, from the moment it was made."""

    def __init__(self, greenroom: View, stopping: trio.Event) -> None:
        self._notices = greenroom.notices
        self._stopping = stopping
        self._cursor = self._notices.last

    async def next(self) -> Sequence[Notice | None]:
        """What is new, all of it, or [None] for too much; nothing when the server stops. It may be
        cancelled at any time: the cursor moves when there is nothing left to wait for.
        """
        new: Sequence[Notice | None] | None = ()
        cursor = self._cursor
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_when_set, self._stopping, nursery.cancel_scope.cancel)
            while new is not None and not new:
                new = await self._notices.after(cursor)
                cursor = self._notices.last
            nursery.cancel_scope.cancel()
        self._cursor = cursor
        return [None] if new is None else new


async def _when_set(event: trio.Event, call: Callable[[], None]) -> None:
    await event.wait()
    call()


def _sessions_changed(notices: Sequence[Notice | None], version: int) -> bytes:
    """One event for all that waited together. It names the session if it was but one."""
    data: dict[str, Any] = {"type": "sessions_changed", "version": version}
    names = {None if note is None else note.session_id for note in notices}
    last = notices[-1]
    data["reason"] = "sessions_changed" if last is None else last.reason
    if len(names) == 1 and last is not None and last.session_id:
        data["session_id"] = last.session_id
    return frame("sessions_changed", data)


class _Tab:
    """What one tab shows of one session, under whatever id it opened it."""

    def __init__(self, greenroom: View, session_id: str, known: int | None) -> None:
        self._greenroom = greenroom
        self._session_id = session_id
        self._known = known

    def at_first(self, snapshot: Snapshot) -> bytes:
        """What happened between the tab's reading the session and its listening."""
        record = snapshot.record
        if snapshot.running and record.active_stream_id is not None:
            at = record.pending_started_at or 0.0
            source = record.pending_user_source or ""
            note = Notice(self._session_id, "turn_started", 0, record.active_stream_id, at, source)
            return self._started(note, recovered=True)
        if self._known is not None and len(record.messages) != self._known:
            return self._updated(len(record.messages), "session_updated")
        return b""

    async def render(self, notices: Sequence[Notice | None]) -> bytes:
        frames = []
        for note in notices:
            if note is None:
                record = (await self._greenroom.session(self._session_id).ask(GetSession())).record
                frames.append(self._updated(len(record.messages), "session_updated"))
            elif self._is_mine(note.session_id):
                frames.append(self._event(note))
        return b"".join(frames)

    def _is_mine(self, session_id: str) -> bool:
        current = self._greenroom.current_id
        return current(session_id) == current(self._session_id)

    def _event(self, note: Notice) -> bytes:
        if note.reason == "turn_started":
            return self._started(note)
        if note.reason == "session_delete":
            return frame("session-deleted", {"session_id": self._session_id})
        return self._updated(note.message_count, note.reason)

    def _started(self, note: Notice, *, recovered: bool = False) -> bytes:
        data: dict[str, Any] = {
            "session_id": self._session_id,
            "stream_id": note.turn_id,
            "pending_started_at": note.at,
            "source": note.source,
        }
        return frame("server_turn_started", data | ({"recovered": True} if recovered else {}))

    def _updated(self, count: int, source: str) -> bytes:
        known, self._known = self._known, count
        return frame(
            "session-updated",
            {"session_id": self._session_id, "message_count": count}
            | {"known_count": count if known is None else known, "source": source},
        )
