"""What is written straight to a connection, and what a reader's task gives it: one stream."""

import random
from pathlib import Path

import pytest
import trio

from actors.session.agent import TextDelta
from actors.session.entries import TurnBegan, TurnCancelled
from actors.session.feeds import Feeds
from actors.stores import MemoryDisk, open_journal
from app.asgi import EXTENSION
from app.direct import Direct
from app.sse import kept_alive


class Client:
    """Takes what it has room for now, and the rest when it is waited for."""

    def __init__(self, schedule):
        self.received = b""
        self.pushes = 0
        self._unsent = b""
        self._schedule = schedule

    def push(self, data):
        self.pushes += 1
        room = len(data) if self._schedule.random() < 0.7 else self._schedule.randrange(len(data))
        room = 0 if self._unsent else room
        self.received += data[:room]
        self._unsent += data[room:]
        return not self._unsent

    async def flush(self):
        data, self._unsent = self._unsent, b""
        with trio.CancelScope(shield=True):
            for place in range(0, len(data), 7):
                self.received += data[place : place + 7]
                await trio.sleep(self._schedule.choice([0, 1]))

    async def write(self, data):
        self._unsent += data
        await self.flush()


def render(entry):
    """As in a turn's stream: the last entry is for the task."""
    if isinstance(entry.event, TurnCancelled):
        return None
    return b"began " if isinstance(entry.event, TurnBegan) else entry.event.text.encode()


async def follow(reader, client):
    direct = Direct({"extensions": {EXTENSION: client}})

    async def next_batch():
        await direct.follow(reader, render)
        await direct.flush()
        return await reader.next()

    async def rendered(entries):
        await trio.lowlevel.checkpoint()
        return b"".join(render(entry) or b"end" for entry in entries)

    async for data in kept_alive(next_batch, rendered, b"", direct=direct):
        await client.write(data)


@pytest.mark.parametrize("seed", range(40))
async def test_all_is_shown_once_and_in_order_however_slow_a_client_is(seed, autojump_clock):
    schedule = random.Random(seed)
    clients = [Client(schedule) for _ in range(3)]
    words = [f"word{n} " for n in range(60)]
    async with open_journal(Path("/journal"), disk=MemoryDisk(latency=0.01)) as journal:
        feeds = Feeds(journal)
        feed = feeds.open("turn", "session", lambda error: None)
        await feed.wait_shown()
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(follow, feeds.read("turn"), client)
            for word in words:
                feed.put(TextDelta(word))
                await trio.sleep(schedule.choice([0, 0.001, 0.5, 8]))
            await feeds.end(feed, TurnCancelled("enough"))
    for client in clients:
        assert client.received.decode() == "began " + "".join(words) + "end"
        assert client.pushes


async def test_on_a_server_that_cannot_do_it_the_task_does_it_all(autojump_clock):
    async with open_journal(Path("/journal"), disk=MemoryDisk()) as journal:
        feeds = Feeds(journal)
        feed = feeds.open("turn", "session", lambda error: None)
        await feed.wait_shown()
        reader, direct = feeds.read("turn"), Direct({})
        await reader.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(direct.follow, reader, render)
            await trio.testing.wait_all_tasks_blocked()
            feed.put(TextDelta("word"))
        assert [entry.event for entry in await reader.next()] == [TextDelta("word")]
