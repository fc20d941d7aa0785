"""A model provider whose strings the test holds: real HTTP, one chat completion a connection."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from actors.session import context, titles

__all__ = ["HEAD", "Upstream", "UpstreamTurn", "open_upstream", "read_request"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


ERROR = b'{"error": {"code": "context_length_exceeded", "message": "Your messages are too long."}}'
TOO_LONG = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(ERROR), ERROR)
)


class UpstreamTurn:
    """One request. `closed` is set when the other side closes its connection."""

    def __init__(self, stream: trio.SocketStream, request: dict) -> None:
        self.request = request
        self.closed = trio.Event()
        self._stream = stream
        self._over = trio.Event()

    @property
    def purpose(self) -> str:
        """What the session wants: an "answer", or for itself a "title" or a "summary"."""
        asked = self.request["messages"][0]["content"]
        known = {titles.INSTRUCTIONS: "title", context.INSTRUCTIONS: "summary"}
        return next((known[text] for text in known if asked.startswith(text)), "answer")

    @property
    def prompts(self) -> list[str]:
        return [message["content"] for message in self.request["messages"]]

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.chunk({"choices": [{"delta": {"content": text}}]})

    async def chunk(self, chunk: dict) -> None:
        await self._stream.send_all(b"data: %s\n\n" % json.dumps(chunk).encode())

    async def answer(self, text: str) -> None:
        """All of it at once."""
        await self.say(text)
        await self.finish()

    async def finish(self, prompt_tokens: int = 7, completion_tokens: int = 3) -> None:
        await self.chunk({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        await self.chunk({"choices": [], "usage": usage})
        await self._stream.send_all(b"data: [DONE]\n\n")
        self._over.set()

    async def hang_up(self) -> None:
        """Close the connection in mid-answer."""
        self._over.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            await self._over.wait()
            nursery.cancel_scope.cancel()

    async def _watch(self, scope: trio.CancelScope) -> None:
        try:
            while await self._stream.receive_some(1024):
                pass
        except trio.BrokenResourceError:
            pass
        self.closed.set()
        scope.cancel()


class Upstream:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.fits: Callable[[dict], bool] = lambda request: True
        self._send, self._receive = trio.open_memory_channel[UpstreamTurn](64)

    async def next_turn(self) -> UpstreamTurn:
        with trio.fail_after(30):
            return await self._receive.receive()

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            request = await read_request(stream)
            if request is None:
                return
            if not self.fits(request):
                await stream.send_all(TOO_LONG)
                return
            await stream.send_all(HEAD)
            turn = UpstreamTurn(stream, request)
            self._send.send_nowait(turn)
            await turn.run()


async def read_request(stream: trio.SocketStream) -> dict | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = await stream.receive_some(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
    while len(body) < length:
        part = await stream.receive_some(65536)
        if not part:
            return None
        body += part
    request: dict = json.loads(body)
    return request


@asynccontextmanager
async def open_upstream() -> AsyncIterator[Upstream]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        upstream = Upstream(listeners[0].socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, upstream.serve, listeners)
        yield upstream
        nursery.cancel_scope.cancel()
