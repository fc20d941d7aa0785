"""Requests to an app in this process, as a server hands them over."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import trio

__all__ = ["Reply", "Stream", "ask", "call", "reply_of", "scope_of", "streaming"]


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def scope_of(method, target, token, headers):
    path, _, query = target.partition("?")
    sent = {"host": "localhost", **headers}
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    return {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "extensions": {},
    }


async def call(app, scope, body, send):
    data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    incoming = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive():
        if not incoming:
            await trio.sleep_forever()
        return incoming.pop()

    await app(scope, receive, send)


async def ask(app, method, target, body=None, *, token=None, **headers) -> Reply:
    """The whole answer. One that goes on for ever is a failure."""
    events: list[dict[str, Any]] = []

    async def send(event):
        await trio.lowlevel.checkpoint()
        events.append(event)

    with trio.fail_after(30):
        await call(app, scope_of(method, target, token, headers), body, send)
    return reply_of(events)


def reply_of(events):
    data = b"".join(event.get("body", b"") for event in events)
    return Reply(events[0]["status"], _headers(events[0]), data)


def _headers(start):
    return {name.decode().lower(): value.decode() for name, value in start["headers"]}


class Stream:
    """What has come of an answer so far. `ended`: there will be no more."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.data = b""
        self.ended = False
        self._more = trio.Event()

    async def send(self, event) -> None:
        await trio.lowlevel.checkpoint()
        if event["type"] == "http.response.start":
            self.status, self.headers = event["status"], _headers(event)
        self.data += event.get("body", b"")
        self.tell()

    def tell(self) -> None:
        self._more.set()
        self._more = trio.Event()

    async def begun(self) -> Reply:
        """What it begins with; all of it, if it is no stream."""
        with trio.fail_after(30):
            while not (self.data and self.status == 200) and not self.ended:
                await self._more.wait()
        return Reply(self.status, self.headers, self.data)

    async def until(self, text: str) -> str:
        """Wait until this has come. Gives all that has."""
        with trio.fail_after(30):
            while text.encode() not in self.data:
                assert not self.ended, f"{text!r} is not in {self.data!r}"
                await self._more.wait()
        return self.data.decode()

    async def wait_ended(self) -> None:
        with trio.fail_after(30):
            while not self.ended:
                await self._more.wait()


@asynccontextmanager
async def streaming(app, target, *, token=None, **headers) -> AsyncIterator[Stream]:
    """A request that is answered for as long as the block lasts."""
    stream = Stream()

    async def run():
        await call(app, scope_of("GET", target, token, headers), None, stream.send)
        stream.ended = True
        stream.tell()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield stream
        nursery.cancel_scope.cancel()
