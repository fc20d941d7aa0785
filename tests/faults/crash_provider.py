"""A model provider that answers by itself: what, and how, comes from the seed and the prompt."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import trio

from tests.app.upstream import HEAD, Upstream, UpstreamTurn, read_request

from .crash_oracle import key_of

__all__ = ["Provider", "Script", "open_provider", "script"]

# How often in a hundred prompts.
KINDS = {
    "short": 34,
    "slow": 24,
    "many": 10,
    "silent": 7,  # says nothing
    "stuck": 8,  # goes silent in mid-answer
    "refused": 4,  # an HTTP error
    "later": 3,  # an HTTP error that is tried again
    "cut": 4,  # hangs up in mid-answer
    "empty": 3,
    "too long": 3,  # for the model, until it is summarised
}
NEVER_DONE = frozenset({"refused", "cut", "empty"})
SIDE_KINDS = {"short": 55, "slow": 25, "refused": 8, "silent": 12}


@dataclass(frozen=True)
class Script:
    """The answer to one prompt. `text` is all of it, and the same whenever it is asked for."""

    kind: str
    tokens: tuple[str, ...]
    pause: float

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def may_be_done(self) -> bool:
        return self.kind not in NEVER_DONE


@lru_cache(maxsize=1 << 16)
def script(seed: int, key: str) -> Script:
    chance = Random(f"{seed} answer {key}")
    kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
    count = {"short": chance.randint(1, 8), "many": chance.randint(150, 400), "empty": 0}
    tokens = (f"{key}.{n} " for n in range(count.get(kind, chance.randint(5, 40))))
    pause = chance.uniform(0.002, 0.03) if kind in ("slow", "stuck", "cut") else 0.0
    return Script(kind, tuple(tokens), pause)


class Provider(Upstream):
    """`working` counts the requests that it is at, by their purpose."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(port)
        self.working: Counter[str] = Counter()
        self._seed = seed
        self._asked: Counter[str] = Counter()
        self._hurry = trio.Event()

    def calm(self) -> None:
        """No more pauses and silences: all that runs comes to its end."""
        self._hurry.set()

    def stir(self) -> None:
        self._hurry = trio.Event()

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._hurry.wait()

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                request = await read_request(stream)
                if request is not None:
                    await self._serve(stream, UpstreamTurn(stream, request))
        except* trio.BrokenResourceError:
            pass  # the server was killed

    async def _serve(self, stream: trio.SocketStream, turn: UpstreamTurn) -> None:
        purpose = turn.purpose
        key = key_of(turn.prompts[-1]) if purpose == "answer" else purpose
        self._asked[key] += 1
        self.working[purpose] += 1
        try:
            async with trio.open_nursery() as nursery:
                if purpose == "answer":
                    nursery.start_soon(self._answer, stream, turn, key)
                else:
                    nursery.start_soon(self._say_aside, stream, turn, purpose)
                await turn.run()
                nursery.cancel_scope.cancel()
        finally:
            self.working[purpose] -= 1

    async def _answer(self, stream: trio.SocketStream, turn: UpstreamTurn, key: str) -> None:
        said, first = script(self._seed, key), self._asked[key] == 1
        if said.kind == "refused" or (said.kind == "later" and first):
            await _refuse(stream, turn, 503 if said.kind == "later" else 500)
            return
        await stream.send_all(HEAD)
        if said.kind == "too long" and first:
            await turn.chunk({"error": {"message": "no room", "code": "context_length_exceeded"}})
            await turn.hang_up()
            return
        await self._pause(60 if said.kind == "silent" else said.pause)
        half = len(said.tokens) // 2
        for number, token in enumerate(said.tokens):
            if number == half and said.kind == "cut":
                await turn.hang_up()
                return
            if number == half and said.kind == "stuck":
                await self._pause(60)
            await turn.say(token)
            if said.pause:
                await self._pause(said.pause)
        await turn.finish()

    async def _say_aside(self, stream: trio.SocketStream, turn: UpstreamTurn, purpose: str) -> None:
        """A title, or a summary."""
        number = self._asked[purpose]
        chance = Random(f"{self._seed} {purpose} {number}")
        kind = chance.choices(list(SIDE_KINDS), list(SIDE_KINDS.values()))[0]
        if kind == "refused":
            await _refuse(stream, turn, 500)
            return
        await stream.send_all(HEAD)
        await self._pause({"short": 0.0, "slow": chance.uniform(0.01, 0.4), "silent": 60.0}[kind])
        await turn.answer(f"The {purpose} of number {number}")


async def _refuse(stream: trio.SocketStream, turn: UpstreamTurn, status: int) -> None:
    body = json.dumps({"error": {"message": "not now"}}).encode()
    head = (
        f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\n"
        "Retry-After: 0\r\nConnection: close\r\n"
    )
    await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await turn.hang_up()


@asynccontextmanager
async def open_provider(seed: int) -> AsyncIterator[Provider]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        provider = Provider(listeners[0].socket.getsockname()[1], seed)
        nursery.start_soon(trio.serve_listeners, provider.serve, listeners)
        yield provider
        nursery.cancel_scope.cancel()
