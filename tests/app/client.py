"""What a browser client does with the server, over real HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx
import trio
from httpx_sse import aconnect_sse

__all__ = ["Client", "Event", "open_client"]


@dataclass(frozen=True)
class Event:
    id: str
    name: str
    data: dict

    @property
    def seq(self) -> int:
        return int(self.id.split(":")[1])


class Client:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str, **params) -> dict:
        return (await self.http.get(path, params=params)).json()

    async def post(self, path: str, **body) -> dict:
        return (await self.http.post(path, json=body)).json()

    async def new(self) -> str:
        return (await self.post("/api/session/new"))["session"]["session_id"]

    async def start(self, session_id: str, message: str) -> str:
        started = await self.post("/api/chat/start", session_id=session_id, message=message)
        return started["stream_id"]

    async def session(self, session_id: str) -> dict:
        return (await self.get("/api/session", session_id=session_id))["session"]

    async def cancel(self, stream_id: str) -> bool:
        return (await self.get("/api/chat/cancel", stream_id=stream_id))["cancelled"]

    async def follow(self, stream_id: str, headers=None, **params) -> AsyncIterator[Event]:
        """The events of a turn, until the server closes the stream."""
        params = {"stream_id": stream_id, **params}
        async with (
            aconnect_sse(
                self.http, "GET", "/api/chat/stream", params=params, headers=headers or {}
            ) as source,
            aclosing(source.aiter_sse()) as events,
        ):
            async for event in events:
                if event.data:  # a comment comes as an event without any
                    yield Event(event.id, event.event, json.loads(event.data))

    async def events(self, stream_id: str, headers=None, **params) -> list[Event]:
        with trio.fail_after(100):
            async with aclosing(self.follow(stream_id, headers, **params)) as events:
                return [event async for event in events]


def text_of(events) -> str:
    return "".join(event.data["text"] for event in events if event.name == "token")


@asynccontextmanager
async def open_client(url: str) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        yield Client(http)
