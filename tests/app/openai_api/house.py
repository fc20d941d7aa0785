"""A server with a provider that the test holds, and the official Python client, unmodified."""

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import openai
import trio

from tests.app.process import running_server
from tests.app.upstream import open_upstream

__all__ = ["House", "open_house", "text_of"]

GUARD = 60


class House:
    def __init__(self, data_dir: Path, upstream, *options: str) -> None:
        self.data_dir = data_dir
        self.upstream = upstream
        self.options = options
        self.server = None
        self.client = None

    @asynccontextmanager
    async def open(self):
        """One life of the server."""
        arguments = ("--agent", "openai", "--base-url", self.upstream.url, "--model", "gpt-test")
        async with running_server(self.data_dir, *arguments, *self.options) as self.server:
            base = f"{self.server.url}/v1"
            with openai.OpenAI(base_url=base, api_key="any", max_retries=0) as self.client:
                yield self

    @asynccontextmanager
    async def much_later(self):
        """Another life of the server, in which only the record tells of turns that have ended."""
        assert await self.server.stop() == 0
        for file in (self.data_dir / "journal").iterdir():
            file.unlink()
        async with self.open():
            yield self

    async def call(self, function, *args, **kwargs):
        """The client blocks, so it is asked in a thread."""
        with trio.fail_after(GUARD):
            return await trio.to_thread.run_sync(
                partial(function, *args, **kwargs), abandon_on_cancel=True
            )

    async def create(self, **body):
        return await self.call(self.client.responses.create, **body)

    async def answered(self, prompt: str, answer: str, **body):
        """A response, and what the provider was asked."""
        asked = {}

        async def respond():
            turn = await self.upstream.next_turn()
            asked.update(turn.request)
            await turn.answer(answer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(respond)
            response = await self.create(input=prompt, **body)
        return response, asked

    async def rest(self, stream):
        """All that is left of a stream."""
        return await self.call(list, stream)

    async def until(self, stream, kind, count=1):
        """The events up to so many of this kind."""
        events = []
        while count:
            events.append(await self.call(next, stream))
            count -= events[-1].type == kind
        return events

    def sessions(self) -> set[str]:
        return {p.stem for p in (self.data_dir / "sessions").glob("[!_]*.json")}


@asynccontextmanager
async def open_house(data_dir: Path, *options: str):
    async with open_upstream() as upstream, House(data_dir, upstream, *options).open() as house:
        yield house


def text_of(events) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")
