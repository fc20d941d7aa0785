"""A numbered broadcast."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors import Feed, Gap


@given(st.lists(st.lists(st.integers(), max_size=5), max_size=8), st.integers(1, 10))
def test_every_cursor_gets_what_is_behind_it_or_a_gap(batches, window):
    async def check():
        feed, everything = Feed(window=window), []
        for batch in batches:
            feed.publish(batch)
            everything += batch
            assert feed.last == len(everything)
            for cursor in range(feed.last + 1):
                if cursor < feed.first - 1:
                    with pytest.raises(Gap) as gap:
                        feed.after(cursor)
                    assert gap.value.first == feed.first
                else:
                    assert list(feed.after(cursor)) == everything[cursor:]

    trio.run(check)


async def test_readers_wake_together_and_a_slow_one_costs_nobody_anything():
    feed, heard = Feed(), []

    async def reader(name):
        cursor = 0
        while True:
            await feed.wait_after(cursor)
            entries = feed.after(cursor)
            if not entries:
                return
            cursor += len(entries)
            heard.append((name, *entries))

    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(reader, name)
        await wait_all_tasks_blocked()
        assert feed.readers_waiting == 2
        feed.publish([1, 2])
        feed.publish([3])
        await wait_all_tasks_blocked()
        assert sorted(heard) == [("a", 1, 2, 3), ("b", 1, 2, 3)]
        feed.close()
        feed.close()
    with pytest.raises(ValueError, match="closed"):
        feed.publish([4])
    assert list(feed.after(0)) == [1, 2, 3]


async def test_a_feed_may_go_on_from_a_number():
    feed = Feed(last=7)
    feed.publish(["x"])
    assert (feed.first, feed.last) == (8, 8)
    with pytest.raises(Gap):
        feed.after(3)


async def test_a_follower_is_handed_what_comes_until_it_has_had_enough(nursery):
    feed, taken = Feed(), []
    feed.publish([1])

    def take(entries):
        taken.append(list(entries))
        return len(taken) < 2

    nursery.start_soon(feed.follow, take)
    await wait_all_tasks_blocked()
    feed.publish([2, 3])
    assert taken == [[2, 3]]  # there and then
    feed.publish([4])
    feed.publish([5])
    assert taken == [[2, 3], [4]]


async def test_a_follower_that_leaves_is_handed_nothing_more():
    feed, taken = Feed(), []

    def take(entries):
        taken.append(entries)
        return True

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.follow, take)
            await wait_all_tasks_blocked()
            scope.cancel()
    feed.publish([1])
    assert taken == []


async def test_followers_are_let_go_when_the_feed_is_closed():
    feed = Feed()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.follow, lambda _: True)
        await wait_all_tasks_blocked()
        feed.close()
    await feed.follow(lambda _: True)
