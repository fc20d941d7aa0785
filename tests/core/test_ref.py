"""Telling and asking."""

import gc
import threading
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    Kind,
    MailboxFull,
    Rejected,
    UnknownKind,
    open_system,
)
from tests.core.conftest import Do, Player, Say, Stop


def open_players(diary, **options):
    return open_system(Kind("player", partial(Player, diary=diary), **options))


class Gate:
    """A handler that waits until the test lets it go."""

    def __init__(self):
        self.entered = trio.Event()
        self.open = trio.Event()

    async def __call__(self, player):
        self.entered.set()
        await self.open.wait()
        return "through"


async def test_messages_of_one_sender_arrive_in_order_and_handlers_never_overlap(diary):
    async with open_players(diary) as system:
        ref = system.ref("player", "a")

        async def sender(name):
            for n in range(50):
                await ref.send(Say((name, n)))

        async with trio.open_nursery() as nursery:
            for name in "xyz":
                nursery.start_soon(sender, name)
        await ref.ask(Say("last"))
    for name in "xyz":
        mine = [line[1] for line in diary.of("a") if line[0] == name]
        assert mine == list(range(50))


async def test_a_thousand_first_messages_make_one_activation(diary):
    async with open_players(diary) as system:
        async with trio.open_nursery() as nursery:
            for n in range(1000):
                nursery.start_soon(system.ref("player", "a").ask, Say(n))
        assert system.statistics().activations == 1
    assert diary.of("a").count("start") == 1


async def test_a_full_mailbox_refuses_a_tell_and_lets_send_and_ask_wait_in_order(diary):
    gate = Gate()
    async with open_players(diary, capacity=3) as system, trio.open_nursery() as nursery:
        ref = system.ref("player", "a")
        nursery.start_soon(ref.ask, Do(gate))
        await gate.entered.wait()
        for n in range(3):
            ref.tell(Say(n))
        with pytest.raises(MailboxFull):
            ref.tell(Say("refused"))
        for n in (3, 4):
            nursery.start_soon(ref.send, Say(n))
            await wait_all_tasks_blocked()
        nursery.start_soon(ref.ask, Say(5))
        await wait_all_tasks_blocked()
        (cell,) = system.statistics().cells
        assert (cell.depth, cell.high_water, cell.capacity) == (3, 3, 3)
        gate.open.set()
    assert diary.of("a") == ["start", 0, 1, 2, 3, 4, 5, "stop"]


async def test_a_cancelled_send_is_never_delivered(diary):
    gate = Gate()
    async with open_players(diary, capacity=1) as system, trio.open_nursery() as nursery:
        ref = system.ref("player", "a")
        nursery.start_soon(ref.ask, Do(gate))
        await gate.entered.wait()
        ref.tell(Say("queued"))
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_when_blocked, scope)
            await ref.send(Say("never"))
        assert scope.cancelled_caught
        gate.open.set()
    assert "never" not in diary.of("a")
    assert "queued" in diary.of("a")


async def _cancel_when_blocked(scope):
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_an_ask_given_up_while_queued_never_runs_and_while_running_drops_the_answer(diary):
    gate = Gate()
    async with open_players(diary) as system, trio.open_nursery() as nursery:
        ref = system.ref("player", "a")
        with trio.CancelScope() as running:
            nursery.start_soon(_cancel_when_blocked, running)
            await ref.ask(Do(gate))
        assert running.cancelled_caught
        with trio.CancelScope() as queued:
            nursery.start_soon(_cancel_when_blocked, queued)
            await ref.ask(Say("withdrawn"))
        assert queued.cancelled_caught
        gate.open.set()
        assert await ref.ask(Say("next")) == "next"
    assert "withdrawn" not in diary.of("a")


async def test_a_control_message_overtakes_a_full_mailbox(diary):
    gate = Gate()
    async with open_players(diary, capacity=100) as system, trio.open_nursery() as nursery:
        ref = system.ref("player", "a")
        nursery.start_soon(ref.ask, Do(gate))
        await gate.entered.wait()
        for n in range(100):
            ref.tell(Say(n))
        ref.tell(Stop())
        gate.open.set()
    assert diary.of("a")[:3] == ["start", "control", 0]


async def test_the_control_lane_is_bounded_too(diary):
    gate = Gate()
    async with open_players(diary) as system, trio.open_nursery() as nursery:
        ref = system.ref("player", "a")
        nursery.start_soon(ref.ask, Do(gate))
        await gate.entered.wait()
        for _ in range(64):
            ref.tell(Stop())
        with pytest.raises(MailboxFull):
            ref.tell(Stop())
        with pytest.raises(MailboxFull):
            await ref.ask(Stop())
        gate.open.set()


async def test_a_refusal_is_an_answer_and_no_crash(diary):
    async def refuse(player):
        raise Rejected("no")

    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        with pytest.raises(Rejected, match="no"):
            await ref.ask(Do(refuse))
        ref.tell(Do(refuse))
        assert await ref.ask(Say(1)) == 1
        assert system.statistics().cells[0].restarts == 0


async def test_none_and_exceptions_as_values_survive(diary):
    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        error = ValueError("a value")
        assert await ref.ask(Say(None)) is None
        assert await ref.ask(Say(error)) is error


async def test_asking_oneself_or_in_a_circle_raises_at_once_with_the_path(diary):
    async with open_players(diary) as system:

        async def ask(key, work, player):
            return await player.context.refer("player", key).ask(Do(work))

        to_self = partial(ask, "a", Gate())
        with pytest.raises(ActorCrashed) as crash:
            await system.ref("player", "a").ask(Do(to_self))
        assert isinstance(crash.value.__cause__, AskCycle)
        assert crash.value.__cause__.path == ("player/a", "player/a")

        circle = partial(ask, "b", partial(ask, "c", partial(ask, "a", Gate())))
        with pytest.raises(ActorCrashed) as crash:
            await system.ref("player", "a").ask(Do(circle))
        cause = crash.value
        while not isinstance(cause, AskCycle):
            cause = cause.__cause__
        assert cause.path == ("player/c", "player/a", "player/b", "player/c")


async def test_a_circle_through_a_child_task_of_the_handler_is_found_too(diary):
    async def through_a_child(player):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(player.context.ref.ask, Say("me"))

    async with open_players(diary) as system:
        with pytest.raises(ActorCrashed) as crash:
            await system.ref("player", "a").ask(Do(through_a_child))
        assert crash.value.__cause__.split(AskCycle)[0] is not None


async def test_a_task_of_the_actors_own_may_ask_it(diary):
    answers = []

    async def background(player):
        async def later():
            answers.append(await player.context.ref.ask(Say("from a child")))

        player.context.start_soon(later)

    async with open_players(diary) as system:
        await system.ref("player", "a").ask(Do(background))
        await wait_all_tasks_blocked()
    assert answers == ["from a child"]


async def test_threads_tell_in_order_and_nothing_is_lost(diary):
    async with open_players(diary, capacity=10_000) as system:
        ref = system.ref("player", "a")

        def work(name):
            for n in range(200):
                trio.from_thread.run_sync(ref.tell, Say((name, n)))

        async with trio.open_nursery() as nursery:
            for name in range(8):
                nursery.start_soon(trio.to_thread.run_sync, work, name)
        await ref.ask(Say("last"))
    for name in range(8):
        assert [line[1] for line in diary.of("a") if line[0] == name] == list(range(200))


async def test_two_askers_get_errors_of_their_own(diary):
    class Broken(Player):
        async def on_start(self):
            raise ValueError("no disk")

    errors = []
    async with open_system(Kind("broken", partial(Broken, diary=diary))) as system:

        async def ask():
            try:
                await system.ref("broken", "a").ask(Say(1))
            except ActorCrashed as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
    first, second = errors
    assert first is not second
    assert first.__cause__ is second.__cause__
    assert "no disk" in str(first)


async def test_an_unknown_kind_and_a_closed_system_say_so(diary):
    async with open_players(diary) as system:
        with pytest.raises(UnknownKind, match="player"):
            system.ref("nobody", "a")
        ref = system.ref("player", "a")
    with pytest.raises(ActorStopped):
        ref.tell(Say(1))
    with pytest.raises(ActorStopped):
        await ref.ask(Say(1))


async def test_a_busy_actor_lets_others_run_in_between(diary):
    """Counted in messages, not in time: the clock of this test stands still."""
    async with open_players(diary, capacity=5000) as system:
        ref = system.ref("player", "a")
        await ref.ask(Say("up"))
        for n in range(5000):
            ref.tell(Say(n))
        turns = 0
        while len(diary.of("a")) < 5000:
            await trio.lowlevel.checkpoint()
            turns += 1
        assert turns > 2


async def test_refs_do_not_keep_ended_actors_alive(diary, autojump_clock):
    async with open_players(diary, idle_after=0) as system:
        for n in range(10):
            await system.ref("player", str(n)).ask(Say(n))
        await trio.sleep(1)
        gc.collect()
        assert system.statistics().cells == ()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Player)]


async def test_a_send_to_oneself_that_could_never_have_room_raises_at_once(diary):
    async def flood(player):
        for _ in range(3):
            await player.context.ref.send(Say("again"))

    async with open_players(diary, capacity=1) as system:
        with pytest.raises(ActorCrashed) as crash:
            await system.ref("player", "a").ask(Do(flood))
        assert isinstance(crash.value.__cause__, AskCycle)


async def test_telling_from_a_thread_without_trio_raises_and_changes_nothing(diary):
    async with open_players(diary) as system:
        ref = system.ref("player", "a")
        await ref.ask(Say(1))
        raised = []

        def tell():
            try:
                ref.tell(Say("never"))
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
        assert raised
        assert await ref.ask(Say(2)) == 2
    assert "never" not in diary.of("a")
