"""Whole schedules, chosen by a seed: Trio's order of runnable tasks made a choice of ours."""

from functools import partial

import pytest
import trio
import trio.testing

from actors import Kind, RestartPolicy, open_system
from actors.testing.schedule import seeded_schedule
from tests.core.conftest import Diary, Do, Player, Say


async def fail(player):
    raise ValueError


async def rotate(key, player):
    player.context.rotate(key)


async def crowd(diary):
    """Senders, crashes, rotations and passivations, all at once; gives what was answered."""
    answered = []
    kind = Kind(
        "player",
        partial(Player, diary=diary),
        capacity=3,
        idle_after=0.1,
        restart=RestartPolicy(restarts=100),
    )

    async def asker(n):
        for k in range(5):
            answered.append(await system.ref("player", "a").ask(Say((n, k))))
            await trio.sleep(0.1 * (n % 3))

    async with open_system(kind) as system, trio.open_nursery() as nursery:
        for n in range(6):
            nursery.start_soon(asker, n)
        for k in range(3):
            await system.ref("player", "a").send(Do(fail))
            await trio.sleep(0.15)
            await system.ref("player", "a").ask(Do(partial(rotate, f"b{k}")))
    return answered


def played(seed):
    diary = Diary()
    clock = trio.testing.MockClock(autojump_threshold=0)
    with seeded_schedule(seed):
        answered = trio.run(crowd, diary, clock=clock)
    return diary.lines, answered


@pytest.mark.seeds(60)
async def test_no_schedule_loses_doubles_or_reorders_anything(diary):
    answered = await crowd(diary)
    handled = [line for _, line in diary.lines if isinstance(line, tuple)]
    assert sorted(handled) == sorted(answered) == [(n, k) for n in range(6) for k in range(5)]
    for n in range(6):
        assert [k for who, k in handled if who == n] == list(range(5))


def test_the_same_seed_gives_the_same_schedule_and_others_give_others():
    assert played(7) == played(7)
    assert len({str(played(seed)) for seed in range(60)}) > 10
