"""Starting, stopping, parents and children, death watch."""

from contextlib import suppress
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorStopped,
    AddressTaken,
    AskCycle,
    Ended,
    Kind,
    Rejected,
    RestartPolicy,
    open_system,
)
from tests.core.conftest import Do, Player, Say, Stop
from tests.core.test_ref import Gate


class Parent(Player):
    """Notes what it is told of others."""

    async def receive(self, message):
        if isinstance(message, Ended):
            self.note(("ended", message.ref.key, type(message.error).__name__))
            return None
        return await super().receive(message)


def open_family(diary, *kinds, **options):
    return open_system(
        Kind("parent", partial(Parent, diary=diary), **options),
        Kind("child", partial(Player, diary=diary), restart=RestartPolicy(restarts=0)),
        *kinds,
        on_dead_letter=lambda letter: diary.lines.append((letter.address, letter.message)),
    )


async def fail(player):
    raise ValueError("broken")


async def start_children(*keys, player):
    for key in keys:
        await player.context.start_child("child", key)


async def watch(key, player):
    player.context.watch(player.context.refer("child", key))


def keys(system):
    return sorted(cell.address for cell in system.statistics().cells)


# -- start and stop -----------------------------------------------------------------------------


async def test_start_returns_when_on_start_has_and_starts_one_for_all(diary):
    gate = Gate()

    class Slow(Player):
        async def on_start(self):
            await gate(self)
            await super().on_start()

    async with open_system(Kind("slow", partial(Slow, diary=diary))) as system:
        started = []

        async def start():
            await system.ref("slow", "a").start()
            started.append(diary.of("a"))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(start)
            await gate.entered.wait()
            await wait_all_tasks_blocked()
            assert started == []
            gate.open.set()
        assert started == [["start"]] * 3
        await system.ref("slow", "a").start()  # at once


@pytest.mark.parametrize(
    ("error", "raised"), [(ValueError("no disk"), ActorCrashed), (Rejected("no"), Rejected)]
)
async def test_start_raises_what_on_start_raised_and_leaves_nobody(diary, error, raised):
    class Broken(Player):
        async def on_start(self):
            await trio.lowlevel.checkpoint()
            raise error

    async with open_system(Kind("broken", partial(Broken, diary=diary))) as system:
        with pytest.raises(raised) as failure:
            await system.ref("broken", "a").start()
        assert raised is Rejected or failure.value.__cause__ is error
        assert keys(system) == []


async def test_stop_ends_after_the_message_that_is_handled_and_returns_the_mail(diary):
    async with open_family(diary) as system, trio.open_nursery() as nursery:
        ref, gate = system.ref("child", "a"), Gate()
        nursery.start_soon(ref.ask, Do(gate))
        await gate.entered.wait()
        for n in range(3):
            ref.tell(Say(n))

        async def ask():
            with pytest.raises(ActorStopped):
                await ref.ask(Say("asked"))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        nursery.start_soon(ref.stop)
        await wait_all_tasks_blocked()
        assert keys(system) == ["child/a"]
        gate.open.set()
        await ref.stop()
        assert keys(system) == []
        assert diary.of("a") == ["start", "stop"]
        assert diary.of("child/a") == [Say(0), Say(1), Say(2)]
        assert await ref.ask(Say("afresh")) == "afresh"


async def test_stopping_whom_nobody_woke_does_not_wake_it(diary):
    async with open_family(diary) as system:
        await system.ref("child", "a").stop()
        system.ref("child", "a").kill()
        assert system.statistics().activations == 0


async def test_an_actor_ends_itself_but_cannot_wait_for_that(diary):
    async def stop_myself(player):
        player.context.stop()
        return "my last"

    async def wait_for_my_end(player):
        await player.context.ref.stop()

    async with open_family(diary) as system:
        ref = system.ref("parent", "a")
        with pytest.raises(ActorCrashed) as crash:
            await ref.ask(Do(wait_for_my_end))
        assert isinstance(crash.value.__cause__, AskCycle)
        assert await ref.ask(Do(stop_myself)) == "my last"
        await wait_all_tasks_blocked()
        assert keys(system) == []
    assert diary.of("a") == ["start", "start", "stop"]


async def test_kill_ends_it_in_mid_message_and_tells_the_asker(diary):
    async with open_family(diary) as system, trio.open_nursery() as nursery:
        ref, gate = system.ref("child", "a"), Gate()

        async def ask():
            with pytest.raises(ActorCrashed, match="mid-message"):
                await ref.ask(Do(gate))

        nursery.start_soon(ask)
        await gate.entered.wait()
        ref.kill()
        await ref.stop()
        assert keys(system) == []
    assert diary.of("a") == ["start"]


async def test_who_kills_itself_does_not_stop_in_order(diary):
    async def kill_myself(player):
        player.context.ref.kill()

    class Noting(Player):
        async def on_stop(self):
            self.note("in order")

    async with open_system(Kind("noting", partial(Noting, diary=diary))) as system:
        system.ref("noting", "a").tell(Do(kill_myself))
        await wait_all_tasks_blocked()
    assert diary.of("a") == ["start"]


async def test_a_task_that_is_no_actor_can_wait_for_the_end_and_is_told_why(diary):
    async with open_family(diary) as system:
        ref, ends = system.ref("child", "a"), []

        async def wait():
            ends.append(await ref.wait_ended())

        for end in (ref.stop, partial(ref.ask, Do(fail))):
            await ref.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                with suppress(ActorCrashed):
                    await end()
        await wait()  # nobody is awake
    assert [type(end).__name__ for end in ends] == ["NoneType", "ValueError", "NoneType"]


@pytest.mark.parametrize("where", ["on_stop", "on_start"])
async def test_a_start_meanwhile_waits_for_the_next_incarnation_or_is_told(diary, where):
    gate = Gate()

    class Slow(Player):
        async def on_start(self):
            await super().on_start()
            if where == "on_start":
                await gate(self)

        async def on_stop(self):
            if where == "on_stop":
                await gate(self)

    async with open_system(Kind("slow", partial(Slow, diary=diary), idle_after=0)) as system:
        ref = system.ref("slow", "a")
        ref.tell(Say(1))
        await gate.entered.wait()
        async with trio.open_nursery() as nursery:
            if where == "on_stop":  # put away meanwhile: it is woken again
                nursery.start_soon(ref.start)
            else:

                async def start():
                    with pytest.raises(ActorStopped):
                        await ref.start()

                nursery.start_soon(start)
                await wait_all_tasks_blocked()
                ref.kill()
            await wait_all_tasks_blocked()
            gate.open.set()
    assert diary.of("a").count("start") == (2 if where == "on_stop" else 1)


# -- parents and children -----------------------------------------------------------------------


async def test_children_end_before_their_parents_on_stop(diary):
    async with open_family(diary) as system:
        await system.ref("parent", "p").ask(Do(partial(_start, "a", "b")))
        (a,) = [cell for cell in system.statistics().cells if cell.address == "child/a"]
        assert a.parent == "parent/p"
        await system.ref("parent", "p").stop()
        assert keys(system) == []
    stops = [who for who, line in diary.lines if line == "stop"]
    assert sorted(stops[:2]) == ["a", "b"]
    assert stops[2] == "p"


async def _start(*names_and_player):
    *names, player = names_and_player
    await start_children(*names, player=player)


async def test_a_child_that_is_given_up_crashes_its_parent_which_begins_afresh(diary):
    class Supervisor(Parent):
        async def on_start(self):
            await super().on_start()
            await start_children("a", "b", player=self)

    async with open_family(diary, Kind("top", partial(Supervisor, diary=diary))) as system:
        await system.ref("top", "t").start()
        system.ref("child", "a").tell(Do(fail))
        await wait_all_tasks_blocked()
        assert keys(system) == ["child/a", "child/b", "top/t"]
        (top,) = [cell for cell in system.statistics().cells if cell.address == "top/t"]
        assert top.restarts == 1
    assert diary.of("a").count("start") == diary.of("b").count("start") == 2
    assert diary.of("b")[:2] == ["start", "stop"]


async def test_the_failure_of_a_child_goes_up_as_far_as_nobody_can_mend_it(diary, caplog):
    class Middle(Parent):
        async def on_start(self):
            await super().on_start()
            await start_children("leaf", player=self)

    class Top(Parent):
        async def on_start(self):
            await super().on_start()
            self.context.watch(await self.context.start_child("middle", "m"))

    strict = RestartPolicy(restarts=0)
    kinds = (
        Kind("top", partial(Top, diary=diary)),
        Kind("middle", partial(Middle, diary=diary), restart=strict),
    )
    async with open_family(diary, *kinds) as system:
        await system.ref("top", "t").start()
        with pytest.raises(ActorCrashed):
            await system.ref("child", "leaf").ask(Do(fail))
        await wait_all_tasks_blocked()
        assert keys(system) == ["top/t"]
        assert system.statistics().cells[0].restarts == 0
    assert ("ended", "m", "ChildFailed") in diary.of("t")
    assert "child/leaf: ValueError" in caplog.text


async def test_a_child_in_mid_message_is_waited_for_then_cut_off(diary, autojump_clock):
    gate = Gate()
    slow = Kind("slow", partial(Player, diary=diary), stop_seconds=3)

    async def start_slow(player):
        await player.context.start_child("slow", "s")

    async def be_stuck():
        with pytest.raises(ActorCrashed, match="mid-message"):
            await system.ref("slow", "s").ask(Do(gate))

    async with open_family(diary, slow) as system, trio.open_nursery() as nursery:
        await system.ref("parent", "p").ask(Do(start_slow))
        nursery.start_soon(be_stuck)
        await gate.entered.wait()
        began = trio.current_time()
        await system.ref("parent", "p").stop()
        assert trio.current_time() - began == pytest.approx(3)


async def test_a_child_that_cannot_start_is_told_where_it_was_started_and_is_no_child(diary):
    class Broken(Actor):
        async def on_start(self):
            raise ValueError("no disk")

    async def start(player):
        try:
            await player.context.start_child("broken", "b")
        except ActorCrashed as crash:
            return crash.__cause__

    async with open_family(diary, Kind("broken", lambda key: Broken())) as system:
        assert isinstance(await system.ref("parent", "p").ask(Do(start)), ValueError)
        assert keys(system) == ["parent/p"]


async def test_a_start_that_is_given_up_leaves_no_child(diary):
    gate = Gate()

    class Slow(Player):
        async def on_start(self):
            await gate(self)

    async def start(player):
        player.context.start_soon(_cancel_when_entered)
        with scope:
            await player.context.start_child("slow", "s")

    async def _cancel_when_entered():
        await gate.entered.wait()
        scope.cancel()

    scope = trio.CancelScope()
    async with open_family(diary, Kind("slow", partial(Slow, diary=diary))) as system:
        await system.ref("parent", "p").ask(Do(start))
        await wait_all_tasks_blocked()
        assert keys(system) == ["parent/p"]


async def test_a_child_has_one_parent_and_nobody_is_its_own_ancestor(diary):
    async def start_me(player):
        await player.context.start_child("parent", "p")

    async def start_me_later(player):
        async def start():
            with pytest.raises(AddressTaken):
                await player.context.start_child("parent", player.context.key)

        player.context.start_soon(start)

    async with open_family(diary) as system:
        p, q = system.ref("parent", "p"), system.ref("parent", "q")
        await p.ask(Do(partial(_start, "a")))
        await p.ask(Do(partial(_start, "a")))
        with pytest.raises(ActorCrashed) as crash:
            await q.ask(Do(partial(_start, "a")))
        assert isinstance(crash.value.__cause__, AddressTaken)
        with pytest.raises(ActorCrashed):
            await p.ask(Do(start_me))
        await p.ask(Do(start_me_later))
        await wait_all_tasks_blocked()


async def test_a_child_that_is_in_the_middle_of_asking_its_parent_ends_too(diary, autojump_clock):
    async def ask_parent(player):
        await player.context.refer("parent", "p").ask(Say("never"))

    async with open_family(diary) as system, trio.open_nursery() as nursery:
        p, gate = system.ref("parent", "p"), Gate()
        await p.ask(Do(partial(_start, "a")))
        nursery.start_soon(p.ask, Do(gate))
        await gate.entered.wait()
        system.ref("child", "a").tell(Do(ask_parent))
        await wait_all_tasks_blocked()
        nursery.start_soon(p.stop)
        await wait_all_tasks_blocked()
        gate.open.set()
    assert diary.of("p") == ["start", "stop"]


# -- death watch --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "error"),
    [("crash", "ValueError"), ("stop", "NoneType"), ("kill", "ActorStopped")],
)
async def test_who_watches_is_told_once_of_any_end(diary, end, error):
    async with open_family(diary) as system:
        p, a = system.ref("parent", "p"), system.ref("child", "a")
        await a.start()
        for _ in range(2):
            await p.ask(Do(partial(watch, "a")))
        if end == "crash":
            a.tell(Do(fail))
        elif end == "stop":
            await a.stop()
        else:
            a.kill()
        await wait_all_tasks_blocked()
        assert diary.of("p") == ["start", ("ended", "a", error)]
        await a.start()
        await a.stop()
        await p.ask(Say("only once"))
        assert diary.of("p")[2:] == ["only once"]


async def test_watching_who_is_not_awake_is_told_at_once_and_who_starts_is_waited_for(diary):
    gate = Gate()

    class Broken(Player):
        async def on_start(self):
            await gate(self)
            raise ValueError("late")

    async def watch_broken(player):
        player.context.watch(player.context.refer("broken", "b"))

    async with open_family(diary, Kind("broken", partial(Broken, diary=diary))) as system:
        p = system.ref("parent", "p")
        await p.ask(Do(partial(watch, "nobody")))
        await wait_all_tasks_blocked()
        assert diary.of("p") == ["start", ("ended", "nobody", "NoneType")]
        system.ref("broken", "b").tell(Say("lost"))
        await gate.entered.wait()
        await p.ask(Do(watch_broken))
        gate.open.set()
        await wait_all_tasks_blocked()
        assert diary.of("p")[2:] == [("ended", "b", "ValueError")]


async def test_a_restart_is_no_end(diary):
    tough = Kind("tough", partial(Player, diary=diary))

    async def watch_tough(player):
        player.context.watch(await player.context.start_child("tough", "t"))

    async with open_family(diary, tough) as system:
        await system.ref("parent", "p").ask(Do(watch_tough))
        system.ref("tough", "t").tell(Do(fail))
        await wait_all_tasks_blocked()
        assert diary.of("p") == ["start"]


@pytest.mark.parametrize("told", [False, True])
async def test_what_is_not_watched_any_more_is_not_told_not_even_if_it_waits(diary, told):
    async def unwatch(player):
        player.context.watch(a)
        if told:
            await trio.to_thread.run_sync(lambda: trio.from_thread.run(a.stop))
        player.context.unwatch(a)
        player.context.unwatch(a)

    async with open_family(diary) as system:
        a = system.ref("child", "a")
        await a.start()
        await system.ref("parent", "p").ask(Do(unwatch))
        await a.stop()
        await wait_all_tasks_blocked()
    assert diary.of("p") == ["start", "stop"]


async def test_the_next_incarnation_is_not_told_what_the_last_one_asked_for(diary):
    async def watch_and_fail(player):
        player.context.watch(a)
        player.context.watch(player.context.refer("child", "nobody"))  # told at once
        player.context.tell_after(0, Say("timer"))
        await wait_all_tasks_blocked()
        raise ValueError("broken")

    async with open_family(diary) as system:
        a, p = system.ref("child", "a"), system.ref("parent", "p")
        await a.start()
        with pytest.raises(ActorCrashed):
            await p.ask(Do(watch_and_fail))
        await a.stop()
        assert await p.ask(Say("next")) == "next"
    assert diary.of("p") == ["start", "start", "next", "stop"]


async def test_what_an_actor_watches_is_forgotten_by_those_it_watched(diary):
    async with open_family(diary) as system:
        await system.ref("child", "a").start()
        for n in range(10):
            await system.ref("parent", str(n)).ask(Do(partial(watch, "a")))
            await system.ref("parent", str(n)).stop()
        (cell,) = system._registry
        assert cell.ties.watchers == {}


# -- timers -------------------------------------------------------------------------------------


async def test_a_timer_tells_at_its_moment_and_not_when_it_was_cancelled(diary, autojump_clock):
    timers = []

    async def begin(player):
        timers.append(player.context.tell_after(5, Say("never")))
        timers.append(player.context.tell_every(3, Say("tick")))
        player.context.tell_after(4, Say("once"))

    async with open_family(diary) as system:
        await system.ref("parent", "p").ask(Do(begin))
        await trio.sleep(4.5)
        timers[0].cancel()
        timers[0].cancel()
        await trio.sleep(5)
        timers[1].cancel()
        await trio.sleep(30)
        assert diary.of("p") == ["start", "tick", "once", "tick", "tick"]


async def test_a_timer_that_is_cancelled_takes_back_what_waits(diary, autojump_clock):
    async def be_busy(player):
        timer = player.context.tell_after(1, Say("taken back"))
        player.context.tell_after(1, Say("kept"))
        await trio.sleep(2)
        timer.cancel()

    async with open_family(diary) as system:
        await system.ref("parent", "p").ask(Do(be_busy))
    assert diary.of("p") == ["start", "kept", "stop"]


async def test_ticks_that_were_missed_are_told_once(diary, autojump_clock):
    async def be_busy(player):
        player.context.tell_every(1, Say("tick"))
        await trio.sleep(10.5)

    async with open_family(diary) as system:
        await system.ref("parent", "p").ask(Do(be_busy))
        await wait_all_tasks_blocked()
        assert diary.of("p").count("tick") == 1
        await trio.sleep(1)
        assert diary.of("p").count("tick") == 2


async def test_timers_do_not_need_room_and_leave_room_for_urgent_mail(diary):
    async with open_family(diary, capacity=1) as system, trio.open_nursery() as nursery:
        gate = Gate()

        async def begin(player):
            for n in range(100):
                player.context.tell_after(0, Say(n))
            await gate(player)

        p = system.ref("parent", "p")
        nursery.start_soon(p.ask, Do(begin))
        await gate.entered.wait()
        p.tell(Say("mail"))
        await wait_all_tasks_blocked()
        p.tell(Stop())
        gate.open.set()
    assert sorted(diary.of("p")[1:101]) == list(range(100))
    assert diary.of("p")[101:] == ["control", "mail", "stop"]


async def test_a_clock_that_jumps_gives_one_tick(diary, mock_clock):
    async def begin(player):
        player.context.tell_every(1, Say("tick"))

    async with open_family(diary) as system:
        await system.ref("parent", "p").ask(Do(begin))
        for seconds, ticks in ((10.5, 1), (0.9, 1), (0.2, 2)):
            await wait_all_tasks_blocked()
            mock_clock.jump(seconds)
            await wait_all_tasks_blocked()
            assert diary.of("p").count("tick") == ticks


@pytest.mark.parametrize(("seconds", "every"), [(-1, False), (0, True), (-1, True)])
async def test_a_timer_that_could_not_be_kept_is_refused(diary, seconds, every):
    async def begin(player):
        tell = player.context.tell_every if every else player.context.tell_after
        with pytest.raises(ValueError, match="a timer of"):
            tell(seconds, Say("x"))

    async with open_family(diary) as system:
        await system.ref("parent", "p").ask(Do(begin))


# -- all of it at once --------------------------------------------------------------------------


class Keeper(Parent):
    """Keeps three children, and starts each again that was given up."""

    async def on_start(self):
        await super().on_start()
        for n in range(3):
            self.context.watch(await self.context.start_child("child", str(n)))
        self.context.tell_every(0.7, Say("tick"))

    async def receive(self, message):
        if isinstance(message, Ended):
            self.note("lost one")
            self.context.watch(await self.context.start_child("child", message.ref.key))
            return None
        return await super().receive(message)


@pytest.mark.seeds(30)
async def test_a_keeper_keeps_its_children_under_any_schedule(diary):
    keeper = Kind("keeper", partial(Keeper, diary=diary), restart=RestartPolicy(restarts=1000))
    async with open_family(diary, keeper) as system:
        ref = system.ref("keeper", "k")
        await ref.start()

        async def harm(n):
            for k in range(8):
                child = system.ref("child", str((n + k) % 3))
                child.kill() if k % 3 == 2 else child.tell(Do(fail))
                await trio.sleep(0.3 * (n + 1))

        async def harm_the_keeper():
            for _ in range(3):
                await trio.sleep(1)
                ref.tell(Do(fail))

        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(harm, n)
            nursery.start_soon(harm_the_keeper)
        await trio.sleep(5)
        assert await ref.ask(Say("alive")) == "alive"
        assert keys(system) == ["child/0", "child/1", "child/2", "keeper/k"]
        assert {cell.parent for cell in system.statistics().cells} == {None, "keeper/k"}
    assert diary.of("k").count("start") >= 4
