"""What a watched session tells, and that one nobody watches leaves no trace."""

import pytest

from actors.session.messages import Rename, StartTurn
from actors.session.refusals import StorageFailed
from actors.session.stories import WINDOW
from actors.stores import MemoryDisk
from actors.testing.faulty_disk import FaultyDisk


@pytest.fixture
def stories(room):
    return room.greenroom.feeds.stories


def lines(story):
    """Of each line its names and steps, in the order in which they began."""
    told = {}
    for fact in story.after(0):
        told.setdefault(fact.line, []).append(fact.name or fact.step)
    return list(told.values())


async def test_a_command_its_event_and_what_became_of_it_are_one_line(room, stories):
    session = await room.new(keep=True)
    with stories.watch("s1") as story:
        await session.ask(Rename("Mine"))
    assert lines(story) == [["Rename", "Changed", "durable", "shown"]]
    facts = story.after(0)
    assert [fact.step for fact in facts] == ["command", "event", "durable", "shown"]
    assert [fact.at for fact in facts] == sorted(fact.at for fact in facts)


async def test_a_turn_tells_of_its_entries_and_not_of_what_they_say(room, stories):
    await room.new(keep=True)
    with stories.watch("s1") as story:
        turn_id, agent = await room.start("a secret question")
        await agent.say("a secret answer")
        agent.finish()
        await room.events(turn_id)
    told = story.after(0)
    entries = [fact for fact in told if fact.turn_id == turn_id]
    assert [fact.first for fact in entries] == [1, *(fact.last + 1 for fact in entries[:-1])]
    assert any("TextDelta" in fact.name for fact in entries)
    steps = {line: [f.step for f in told if f.line == line] for line in {f.line for f in entries}}
    assert all(each == ["event", "durable", "shown"] for each in steps.values())
    assert ["StartTurn", "TurnStarted", "durable", "shown"] in lines(story)
    assert "TurnOutput" not in str(told)
    assert "secret" not in repr(told)


async def test_reading_a_session_is_no_part_of_its_story(room, stories):
    await room.new(keep=True)
    with stories.watch("s1") as story:
        await room.record()
    assert story.facts.last == 0


async def test_nothing_is_kept_of_what_nobody_watches(room, stories):
    session = await room.new(keep=True)
    assert not stories.watched
    with stories.watch("s1") as mine, stories.watch("s1") as also:
        assert mine is also
        await (await room.new("s2", keep=True)).ask(Rename("another"))
        assert list(stories.watched) == ["s1"]
        assert mine.facts.last == 0
    assert not stories.watched
    await session.ask(Rename("unseen"))
    turn_id, agent = await room.start()
    agent.finish()
    await room.events(turn_id)
    assert mine.facts.last == 0
    assert not stories.watched
    with stories.watch("s1") as later:
        assert later is not mine
        assert later.facts.last == 0


async def test_who_leaves_does_not_end_the_story_of_who_stays(room, stories):
    session = await room.new(keep=True)
    with stories.watch("s1") as story:
        with stories.watch("s1"):
            pass
        await session.ask(Rename("still told"))
    assert story.facts.last == 4


async def test_a_story_goes_on_under_the_new_id(room, stories):
    with stories.watch("s1") as story:
        stories.moved("s1", "s2")
        await (await room.new("s2", keep=True)).ask(Rename("moved"))
        assert story.facts.last > 0
        stories.moved("nobody", "s3")
        assert set(stories.watched) == {"s1", "s2"}
    assert not stories.watched


async def test_a_long_story_forgets_its_beginning(stories):
    with stories.watch("s1") as story:
        for _ in range(WINDOW + 10):
            stories.command("s1", "Rename")
        told = story.after(0)
    assert len(told) == WINDOW
    assert story.after(story.facts.last) == []


async def test_what_was_not_saved_never_becomes_durable(open_room):
    full = False
    disk = FaultyDisk(MemoryDisk(), lambda _, name: full and name not in ("names", "read", "scan"))
    async with open_room(disk) as room:
        session = await room.new(keep=True)
        with room.greenroom.feeds.stories.watch("s1") as story:
            full = True
            with pytest.raises(StorageFailed):
                await session.ask(Rename("lost"))
            full = False
        assert lines(story) == [["Rename", "Changed"]]


async def test_the_lag_of_a_feed_is_counted_once_a_write(open_room, autojump_clock):
    async with open_room(MemoryDisk(latency=2.0)) as room:
        session = await room.new()
        before = room.greenroom.feeds.lags.count
        accepted = await session.ask(StartTurn("hi"))
        agent = await room.agent.next_turn()
        summary = room.greenroom.feeds.lags.summary()
        assert summary.count == before + 1
        assert summary.longest == pytest.approx(2.0)
        feed = room.greenroom.feeds.find(accepted.turn_id)
        assert feed.unshown_seconds == 0.0
        await agent.say("one")
        agent.finish()
        await room.events(accepted.turn_id)
        written = room.greenroom.journal_statistics().writer.commits
        assert written.longest == pytest.approx(2.0)
        assert written.total == pytest.approx(2.0 * written.count)
