"""Whoever waits for news may be cancelled at any moment, and then still gets all of it."""

from types import SimpleNamespace

import pytest
import trio
import trio.testing

from actors.session.notices import Notice, Notices
from app.direct import Direct
from app.side_streams import _Listener
from app.tab import _Tab

STEPS = 8  # more than it takes from the news to the answer


def house():
    return SimpleNamespace(notices=Notices(), feeds=SimpleNamespace(find=lambda _: None))


LISTENERS = {
    "a side stream": lambda greenroom: _Listener(greenroom, trio.Event()),
    "a tab": lambda greenroom: _Tab(greenroom, trio.Event(), None, Direct({})),
}


@pytest.mark.parametrize("steps", range(STEPS))
@pytest.mark.parametrize("listener", LISTENERS)
async def test_news_that_come_as_the_wait_is_cancelled_are_not_lost(listener, steps):
    greenroom = house()
    waiting = LISTENERS[listener](greenroom)
    news = Notice("s", "session_rename")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            got = []

            async def listen():
                got.append(await waiting.next())

            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            greenroom.notices.publish(news)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    if not got:
        with trio.fail_after(1):
            got.append(await waiting.next())
    (batch,) = got
    assert list(batch) in ([news], [[news]])
