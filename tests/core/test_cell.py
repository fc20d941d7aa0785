"""Crashes, restarts, passivation and the end."""

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorCrashed,
    ActorStopped,
    Kind,
    Lifecycle,
    Rejected,
    RestartPolicy,
    open_system,
)
from actors._core.lifecycle import LEGAL
from tests.core.conftest import Do, Player, Say
from tests.core.test_ref import Gate


def open_players(diary, **options):
    return open_system(Kind("player", partial(Player, diary=diary), **options))


async def fail(player):
    raise ValueError("broken")


def test_every_state_but_the_last_leads_on_and_the_last_is_reached_from_all():
    assert set(LEGAL) == set(Lifecycle)
    assert LEGAL[Lifecycle.STOPPED] == frozenset()
    for state, following in LEGAL.items():
        assert state not in following
        assert state is Lifecycle.STOPPED or Lifecycle.STOPPED in following


async def test_a_crash_tells_the_asker_drops_that_message_and_keeps_the_others(diary):
    async with open_players(diary) as system:
        ref, gate = system.ref("player", "a"), Gate()
        crashes = []

        async def ask():
            with pytest.raises(ActorCrashed) as crash:
                await ref.ask(Do(fail))
            crashes.append(crash.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask, Do(gate))
            await gate.entered.wait()
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            ref.tell(Say("kept"))
            gate.open.set()
        assert await ref.ask(Say("next")) == "next"
        assert isinstance(crashes[0].__cause__, ValueError)
        assert system.statistics().cells[0].restarts == 1
    assert diary.of("a") == ["start", "start", "kept", "next", "stop"]


async def test_a_told_crash_follows_the_same_policy_as_an_asked_one(diary):
    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        ref.tell(Do(fail))
        assert await ref.ask(Say(1)) == 1
        assert system.statistics().cells[0].restarts == 1


async def test_too_many_crashes_stop_that_actor_and_no_other(diary):
    async with open_players(diary, restart=RestartPolicy(restarts=2, within=60)) as system:
        ref, other = system.ref("player", "a"), system.ref("player", "b")
        await other.ask(Say("alive"))
        for _ in range(5):
            ref.tell(Do(fail))
        with pytest.raises(ActorStopped):
            await ref.ask(Say("not answered"))
        assert [cell.address for cell in system.statistics().cells] == ["player/b"]
        assert await other.ask(Say("still alive")) == "still alive"
        assert await ref.ask(Say("afresh")) == "afresh"
    assert diary.of("a").count("start") == 4


async def test_crashes_long_ago_do_not_count(diary, autojump_clock):
    async with open_players(diary, restart=RestartPolicy(restarts=1, within=60)) as system:
        ref = system.ref("player", "a")
        for _ in range(5):
            ref.tell(Do(fail))
            await trio.sleep(61)
        assert await ref.ask(Say(1)) == 1
        assert system.statistics().cells[0].restarts == 5


async def test_state_that_was_changed_before_a_crash_is_gone_with_the_object(diary):
    async def change_and_fail(player):
        player.secret = "half done"
        raise ValueError

    async def look(player):
        return hasattr(player, "secret")

    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        ref.tell(Do(change_and_fail))
        assert await ref.ask(Do(look)) is False


async def test_a_childs_crash_is_the_actors_and_fails_what_it_is_doing(diary):
    async def start_a_bad_child(player):
        async def child():
            await trio.lowlevel.checkpoint()
            raise ValueError("child")

        player.context.start_soon(child)
        await trio.sleep_forever()

    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        with pytest.raises(ActorCrashed):
            await ref.ask(Do(start_a_bad_child))
        assert await ref.ask(Say("again")) == "again"
        assert system.statistics().cells[0].restarts == 1


async def test_children_end_with_their_incarnation(diary):
    ended = trio.Event()

    async def with_child(player):
        async def child():
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        player.context.start_soon(child)
        await trio.lowlevel.checkpoint()

    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        await ref.ask(Do(with_child))
        await wait_all_tasks_blocked()
        ref.tell(Do(fail))
        await ended.wait()
        assert await ref.ask(Say(1)) == 1


@pytest.mark.parametrize("where", ["create", "on_start"])
async def test_what_fails_at_the_start_is_told_to_all_and_leaves_the_name_free(diary, where):
    fails = [True]

    class Late(Player):
        async def on_start(self):
            await trio.lowlevel.checkpoint()
            if where == "on_start" and fails[0]:
                raise ValueError("not yet")
            await super().on_start()

    def create(key):
        if where == "create" and fails[0]:
            raise ValueError("not yet")
        return Late(key, diary)

    letters = []
    async with open_system(Kind("late", create), on_dead_letter=letters.append) as system:
        ref = system.ref("late", "a")
        ref.tell(Say("lost"))
        with pytest.raises(ActorCrashed, match="not yet"):
            await ref.ask(Say(1))
        await wait_all_tasks_blocked()
        assert system.statistics().cells == ()
        assert [(letter.address, letter.message) for letter in letters] == [("late/a", Say("lost"))]
        fails[0] = False
        assert await ref.ask(Say(2)) == 2


async def test_idle_actors_are_put_away_at_the_moment_that_was_said(diary, autojump_clock):
    async with open_players(diary, idle_after=10) as system:
        ref = system.ref("player", "a")
        await ref.ask(Say(1))
        await trio.sleep(6)
        await ref.ask(Say(2))
        await trio.sleep(9.9)
        assert "stop" not in diary.of("a")
        await trio.sleep(0.2)
        assert diary.of("a") == ["start", 1, 2, "stop"]
        assert system.statistics().cells == ()
        assert await ref.ask(Say(3)) == 3


async def test_who_says_no_is_asked_again_later(diary, autojump_clock):
    class Reluctant(Player):
        asked = 0

        def may_passivate(self):
            Reluctant.asked += 1
            return Reluctant.asked > 2

    async with open_system(Kind("r", partial(Reluctant, diary=diary), idle_after=10)) as system:
        await system.ref("r", "a").ask(Say(1))
        await trio.sleep(25)
        assert "stop" not in diary.of("a")
        await trio.sleep(10)
        assert "stop" in diary.of("a")


async def test_mail_that_comes_during_the_stop_is_handled_once_by_the_next_incarnation(diary):
    stopping, go_on = trio.Event(), trio.Event()

    class Slow(Player):
        async def on_stop(self):
            stopping.set()
            await go_on.wait()
            await super().on_stop()

    async with open_system(Kind("slow", partial(Slow, diary=diary), idle_after=0)) as system:
        ref = system.ref("slow", "a")
        await ref.ask(Say(1))
        await stopping.wait()
        ref.tell(Say("told during the stop"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask, Say("asked during the stop"))
            await wait_all_tasks_blocked()
            go_on.set()
    assert diary.of("a")[:5] == [
        "start",
        1,
        "stop",
        "start",
        "told during the stop",
    ]
    assert diary.of("a").count("asked during the stop") == 1
    assert diary.most_living == 1


async def test_a_flood_of_messages_and_passivations_loses_nothing(diary):
    async with open_players(diary, idle_after=0) as system:
        answers = []

        async def ask(n):
            for k in range(20):
                answers.append(await system.ref("player", "a").ask(Say((n, k))))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(ask, n)
        assert len(answers) == len(set(answers)) == 400
    assert diary.most_living == 1


async def test_on_stop_that_fails_is_logged_and_harms_nobody(diary, caplog):
    class Bad(Player):
        async def on_stop(self):
            raise ValueError("bad end")

    async with open_system(Kind("bad", partial(Bad, diary=diary))) as system:
        await system.ref("bad", "a").ask(Say(1))
    assert "bad end" in caplog.text


async def test_a_crash_in_may_passivate_restarts_the_actor(diary, autojump_clock):
    class Broken(Player):
        def may_passivate(self):
            raise ValueError("broken")

    async with open_system(Kind("player", partial(Broken, diary=diary), idle_after=1)) as system:
        assert await system.ref("player", "a").ask(Say(1)) == 1
        await trio.sleep(1.5)
        assert await system.ref("player", "a").ask(Say(2)) == 2
    assert diary.of("a") == ["start", 1, "start", 2, "stop"]


async def test_after_a_childs_crash_the_mail_is_the_next_incarnations(diary):
    async def crash_beside(player):
        crashed = trio.Event()

        async def child():
            crashed.set()
            raise ValueError("broken")

        player.context.start_soon(child)
        await crashed.wait()

    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        ref.tell(Do(crash_beside))
        ref.tell(Say("kept"))
        assert await ref.ask(Say("too")) == "too"
    assert diary.of("a") == ["start", "start", "kept", "too", "stop"]


async def test_a_child_that_crashes_during_the_start_fails_the_start(diary):
    class Broken(Player):
        async def on_start(self):
            async def child():
                raise ValueError("broken")

            self.context.start_soon(child)
            await trio.sleep_forever()

    async with open_system(Kind("player", partial(Broken, diary=diary))) as system:
        with pytest.raises(ActorCrashed, match="could not start"):
            await system.ref("player", "a").ask(Say(1))


async def test_what_an_actor_that_has_ended_starts_does_not_run_in_the_next(diary):
    old = []

    async def keep(player):
        old.append(player.context)
        raise ValueError("broken")

    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        with pytest.raises(ActorCrashed):
            await ref.ask(Do(keep))
        await ref.ask(Say(1))
        with pytest.raises(RuntimeError):
            old[0].start_soon(trio.sleep_forever)
        with pytest.raises(ActorStopped):
            old[0].rotate("b")


async def test_a_refusal_with_arguments_of_its_own_reaches_every_asker(diary):
    class Closed(Rejected):
        def __init__(self, since, until):
            super().__init__(f"from {since} to {until}")
            self.until = until

    class Shut(Player):
        async def on_start(self):
            await trio.lowlevel.checkpoint()
            raise Closed(1, until=2)

    async with open_system(Kind("player", partial(Shut, diary=diary))) as system:

        async def ask():
            with pytest.raises(Closed, match="from 1 to 2") as refusal:
                await system.ref("player", "a").ask(Say(1))
            assert refusal.value.until == 2

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)


async def test_an_error_that_cannot_be_described_is_still_an_answer(diary):
    class Mute:
        def __repr__(self):
            raise RuntimeError("no words")

    async def fail_mutely(player):
        raise ValueError(Mute())

    async with open_players(diary) as system:
        with pytest.raises(ActorCrashed, match="ValueError"):
            await system.ref("player", "a").ask(Do(fail_mutely))


def test_a_mailbox_that_holds_nothing_is_refused():
    with pytest.raises(ValueError, match="mailbox of 0"):
        Kind("player", Player, capacity=0)
