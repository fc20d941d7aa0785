"""What is known of the request that is being answered, for the log, the traces and the counts; and
what each answer says besides its own.
"""

import logging
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from quart_trio import QuartTrio

__all__ = ["CURRENT", "Known", "Requests", "note_session", "note_turn"]

log = logging.getLogger("app.access")

ID = re.compile(r"[0-9A-Za-z_-]{1,200}")
GIVEN_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
REQUEST_ID = b"x-request-id"
STREAM = b"text/event-stream"
ON_ALL_ANSWERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)

Began = Callable[[str, "Known"], None]


@dataclass(slots=True)
class Known:
    """Names, and nothing of what was said. `headers` are the request's, lower case."""

    request_id: str
    headers: Sequence[tuple[bytes, bytes]]
    query: bytes
    began: Began
    session_id: str | None = None
    turn_id: str | None = None
    status: int = 0
    streaming: bool = False

    def names(self) -> dict[str, str]:
        """As far as they are known."""
        session, turn = self.session_id, self.turn_id
        if self.query and (session is None or turn is None):
            asked = parse_qs(self.query.decode("latin-1"))
            session = session or _id(asked.get("session_id", [None])[-1])
            turn = turn or _id(asked.get("stream_id", [None])[-1])
        names = {"request_id": self.request_id, "session_id": session, "turn_id": turn}
        return {name: value for name, value in names.items() if value is not None}


CURRENT: ContextVar[Known | None] = ContextVar("request", default=None)


def note_session(session_id: object) -> None:
    known = CURRENT.get()
    if known is not None:
        known.session_id = _id(session_id)


def note_turn(turn_id: str) -> None:
    """The request has begun this turn. To be said before anything is waited for."""
    known = CURRENT.get()
    if known is not None:
        known.turn_id = turn_id
        known.began(turn_id, known)


def _id(value: object) -> str | None:
    """What a client says that it is: only if it can be one."""
    return value if isinstance(value, str) and ID.fullmatch(value) else None


def _no_traces(turn_id: str, known: Known) -> None: ...


@dataclass(slots=True)
class Requests:
    """All of them: one line in the log each, and how many there were. `began` is told which turn a
    request has begun.
    """

    began: Began = _no_traces
    statuses: Counter[int] = field(default_factory=Counter)
    open: int = 0
    streams: int = 0

    def register(self, app: QuartTrio) -> None:
        answer = app.asgi_app

        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await self._answer(answer, scope, receive, send)
            else:
                await answer(scope, receive, send)

        app.asgi_app = asgi  # type: ignore[method-assign]

    async def _answer(
        self, answer: Callable[..., Awaitable[None]], scope: Any, receive: Any, send: Any
    ) -> None:
        headers = scope["headers"]
        given = next((value for name, value in headers if name == REQUEST_ID), b"").decode(
            "latin-1"
        )
        request_id = given if GIVEN_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        known = Known(request_id, headers, scope["query_string"], self.began)
        reset = CURRENT.set(known)
        began = time.perf_counter()
        self.open += 1

        async def telling(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._begins(known, message)
            await send(message)

        try:
            await answer(scope, receive, telling)
        finally:
            self.open -= 1
            self.streams -= known.streaming
            self.statuses[known.status] += 1
            if log.isEnabledFor(logging.INFO):
                self._tell(scope, known.status, time.perf_counter() - began)
            CURRENT.reset(reset)

    def _begins(self, known: Known, start: dict[str, Any]) -> None:
        """Not by Quart's headers, which are gone through for each that is set."""
        known.status = start["status"]
        known.streaming = any(
            name == b"content-type" and value.startswith(STREAM) for name, value in start["headers"]
        )
        self.streams += known.streaming
        its_id = (REQUEST_ID, known.request_id.encode())
        start["headers"] = [*start["headers"], *ON_ALL_ANSWERS, its_id]

    def _tell(self, scope: Any, status: int, seconds: float) -> None:
        path = scope.get("raw_path", b"").decode("latin-1")[:200]  # as it came: one line
        told = {"method": scope["method"], "path": path, "status": status}
        told["seconds"] = round(seconds, 4)
        said = f"{scope['method']} {path} {status} {seconds * 1000:.1f} ms"
        log.info("%s", said, extra={"told": told})
