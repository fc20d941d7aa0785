"""A real server, a provider whose strings the test holds, and a client: all over HTTP.

async with house.up() as client:          # again and again on the same directory
    stream_id, upstream = await house.talk(session_id, "hello")
    await upstream.say("Hel")
    await house.kill()                     # -9
"""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import trio
from httpx_sse import aconnect_sse

from actors.session.amendments import amended
from tests.app.client import Client, open_client
from tests.app.process import ServerProcess, running_server
from tests.app.upstream import Upstream, UpstreamTurn

__all__ = ["House", "contents", "rows_of"]


class House:
    """One data directory. The server that runs on it now, and the client that talks to it."""

    def __init__(self, data_dir: Path, upstream: Upstream) -> None:
        self.data_dir = data_dir
        self.sessions = data_dir / "sessions"
        self.upstream = upstream
        self.server: ServerProcess
        self.client: Client

    @asynccontextmanager
    async def up(self, **env: str) -> AsyncIterator[Client]:
        """A server on the directory for the length of the block; killed at its end if it lives.

        `env` sets its options, as TITLES="model" does GREENROOM_TITLES.
        """
        settings = {"AGENT": "openai", "BASE_URL": self.upstream.url, "MODEL": "puppet", **env}
        named = {f"GREENROOM_{name}": value for name, value in settings.items()}
        async with (
            running_server(self.data_dir, env=named) as self.server,
            open_client(self.server.url) as self.client,
        ):
            yield self.client

    async def kill(self) -> None:
        """As a power cut ends a process: SIGKILL."""
        await self.server.kill()

    async def answer_from(self, text: str, session_id: str, prompt: str) -> str:
        """A whole turn. Gives its stream's id, when the stream has ended."""
        stream_id, turn = await self.talk(session_id, prompt)
        await turn.answer(text)
        await self.client.events(stream_id)
        return stream_id

    async def talk(self, session_id: str, prompt: str, **body) -> tuple[str, UpstreamTurn]:
        """A turn that runs: its stream's id, and the provider's end of it."""
        response = await self.start(session_id, prompt, **body)
        assert response.status_code == 200, response.text
        return response.json()["stream_id"], await self.upstream.next_turn()

    async def start(self, session_id: str, prompt: str, **body) -> httpx.Response:
        body = {"session_id": session_id, "message": prompt, **body}
        return await self.client.http.post("/api/chat/start", json=body)

    async def post(self, path: str, key: str | None = None, **body) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.client.http.post(path, json=body, headers=headers)

    async def shown(self, stream_id: str, text: str) -> int:
        """Wait until a reader has been shown this text. Gives the number of the event."""
        seen = ""
        with trio.fail_after(30):
            async with aclosing(self.client.follow(stream_id)) as events:
                async for event in events:
                    seen += event.data["text"] if event.name == "token" else ""
                    if text in seen:
                        return event.seq
        raise AssertionError(f"{text!r} was not shown, {seen!r} was")

    async def rows(self, session_id: str) -> list[dict]:
        return (await self.client.session(session_id))["messages"]

    async def listed(self, **params) -> list[dict]:
        return (await self.client.get("/api/sessions", **params))["sessions"]

    def record(self, session_id: str) -> dict:
        """What is on disk."""
        return amended((self.sessions / f"{session_id}.json").read_bytes())

    def files(self) -> set[str]:
        return {path.name for path in self.sessions.iterdir()}

    @asynccontextmanager
    async def listening(self, path: str, **params) -> AsyncIterator[trio.MemoryReceiveChannel]:
        """The events of a side stream, as (name, data), from the moment the server listens."""
        send, receive = trio.open_memory_channel[tuple[str, dict]](1000)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._listen, path, params, send)
            yield receive
            nursery.cancel_scope.cancel()

    async def _listen(self, path, params, send, task_status=trio.TASK_STATUS_IGNORED) -> None:
        async with (
            send,
            aconnect_sse(self.client.http, "GET", path, params=params) as source,
            aclosing(source.aiter_sse()) as events,
        ):
            task_status.started()
            async for event in events:
                if event.data:
                    await send.send((event.event, json.loads(event.data)))


def contents(rows) -> list[tuple[str, str]]:
    """What was said, by whom; a marker as ("marker", its type or label)."""
    return [
        ("marker", row.get("type") or row.get("provider_details_label") or "error")
        if row.get("_error")
        else (row["role"], row["content"])
        for row in rows
    ]


def rows_of(session: dict, role: str) -> list[dict]:
    return [row for row in session["messages"] if row["role"] == role and not row.get("_error")]
