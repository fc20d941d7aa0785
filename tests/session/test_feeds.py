"""Feeds: durable first, then shown; served from the journal when memory has let go."""

from pathlib import Path

from trio.testing import wait_all_tasks_blocked

from actors.session.agent import ReasoningDelta, TextDelta, ToolStarted
from actors.session.entries import StreamEnded, TurnDone, merged
from actors.session.feeds import Feeds
from actors.stores import MemoryDisk, open_journal
from actors.testing.faulty_disk import FaultyDisk


async def read_all(feeds, turn_id, after=0):
    reader, entries = feeds.read(turn_id, after), []
    while batch := await reader.next():
        entries += batch
    return entries


async def test_nothing_is_shown_before_it_is_flushed():
    shown_at_flush = []
    disk = FaultyDisk(MemoryDisk())
    async with open_journal(Path("/j"), disk=disk) as journal:
        feeds = Feeds(journal)
        feed = feeds.open("t", "s", lambda error: None)

        def look(number, name):
            if name == "flush":
                shown_at_flush.append(feed.last)
            return False

        disk.fail = look
        await feed.wait_shown()
        feed.put(TextDelta("x"))
        assert feed.last == 1
        await feed.wait_shown()
        assert feed.last == 2
    assert shown_at_flush == [0, 1]


async def test_what_waits_for_the_disk_merges_into_fewer_entries():
    async with open_journal(Path("/j"), disk=MemoryDisk()) as journal:
        feeds = Feeds(journal)
        feed = feeds.open("t", "s", lambda error: None)
        for n in range(100):
            feed.put(TextDelta(f"{n} "))
        feed.put(ToolStarted("c", "t"))
        await feeds.end(feed, TurnDone({}), StreamEnded("s"))
        entries = await read_all(feeds, "t")
    assert [type(entry.event).__name__ for entry in entries] == [
        "TurnBegan",
        "TextDelta",
        "ToolStarted",
        "TurnDone",
        "StreamEnded",
    ]
    assert entries[1].event.text == "".join(f"{n} " for n in range(100))


async def test_a_reader_far_behind_is_served_from_the_journal():
    async with open_journal(Path("/j"), disk=MemoryDisk()) as journal:
        feeds = Feeds(journal)
        feed = feeds.open("t", "s", lambda error: None)
        slow = feeds.read("t")
        for n in range(9000):  # more than memory keeps
            feed.put(ToolStarted(str(n), "t"))
            if n % 100 == 0:
                await feed.wait_shown()
        await feed.wait_shown()
        seen = []
        while len(seen) < feed.last:
            seen += await slow.next()
        assert [entry.seq for entry in seen] == list(range(1, feed.last + 1))
        await feeds.end(feed, TurnDone({}), StreamEnded("s"))
        assert len(await read_all(feeds, "t")) == feed.last


async def test_a_settled_feed_is_found_until_its_space_is_given_back():
    async with open_journal(Path("/j"), disk=MemoryDisk()) as journal:
        feeds = Feeds(journal)
        feed = feeds.open("t", "s", lambda error: None)
        assert await feeds.session_of("t") == "s"
        await feeds.end(feed, TurnDone({}), StreamEnded("s"))
        assert feeds.find("t") is None
        assert feeds.last_seq("t") == 3
        assert await feeds.session_of("t") == "s"
        assert [entry.seq for entry in await read_all(feeds, "t", after=2)] == [3]
        assert feeds.read("unknown") is None
        await wait_all_tasks_blocked()
        assert feeds.unsettled() == []


def test_only_what_says_the_same_merges():
    assert merged(TextDelta("a"), TextDelta("b")) == TextDelta("ab")
    assert merged(ReasoningDelta("a"), ReasoningDelta("b")) == ReasoningDelta("ab")
    assert merged(TextDelta("a"), ReasoningDelta("b")) is None
    assert merged(ToolStarted("a", "t"), ToolStarted("a", "t")) is None
