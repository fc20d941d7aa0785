"""The block in which actors live, and its end."""

import contextvars
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed, AddressTaken, Kind, Moved, open_system
from tests.core.conftest import Do, Player, Say
from tests.core.test_ref import Gate


def open_players(diary, **options):
    return open_system(Kind("player", partial(Player, diary=diary)), **options)


async def rotate(key, player):
    player.context.rotate(key)


async def test_at_the_end_all_mail_is_handled_and_nothing_remains(diary):
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_players(diary) as system:
        for n in range(10):
            system.ref("player", "a").tell(Say(n))
            system.ref("player", str(n)).tell(Say("x"))
    assert diary.of("a") == ["start", *range(10), "stop"]
    assert diary.living == 0
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_kinds_named_first_end_last(diary):
    kinds = [Kind(name, partial(Player, diary=diary)) for name in ("ground", "roof")]
    async with open_system(*kinds) as system:
        for name in ("ground", "roof"):
            await system.ref(name, name).ask(Say(1))
    assert [where for where, line in diary.lines if line == "stop"] == ["roof", "ground"]


async def test_what_does_not_end_by_the_deadline_is_cut_off(diary, autojump_clock):
    outcomes, gate = [], Gate()

    async def ask(system):
        try:
            await system.ref("player", "a").ask(Do(gate))
        except ActorCrashed as crash:
            outcomes.append(str(crash))

    async with trio.open_nursery() as outside:
        async with open_players(diary, drain_seconds=3) as system:
            outside.start_soon(ask, system)
            await gate.entered.wait()
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(3)
    assert outcomes == ["player/a was stopped in mid-message"]


async def test_an_exception_in_the_block_leaves_it_bare_and_the_actors_end(diary):
    with pytest.raises(ValueError, match="mine"):
        async with open_players(diary) as system:
            await system.ref("player", "a").ask(Say(1))
            raise ValueError("mine")
    assert diary.living == 0


async def test_a_cancelled_block_still_lets_actors_end_in_order(diary):
    with trio.CancelScope() as scope:
        async with open_players(diary) as system:
            system.ref("player", "a").tell(Say(1))
            scope.cancel()
            await trio.sleep_forever()
    assert diary.of("a") == ["start", 1, "stop"]


async def test_who_is_cancelled_before_the_block_begins_does_not_wait_for_ever(autojump_clock):
    with trio.fail_after(1), trio.CancelScope() as scope:
        scope.cancel()
        async with open_system():
            raise AssertionError("it was cancelled")
    assert scope.cancelled_caught


async def test_several_systems_in_one_process_know_nothing_of_each_other(diary):
    async with open_players(diary) as one, open_players(diary) as two:
        await one.ref("player", "a").ask(Say("one"))
        assert two.statistics().cells == ()


async def test_after_a_rotation_both_addresses_lead_to_the_same_mailbox(diary):
    async with open_players(diary) as system:
        old, gate = system.ref("player", "old"), Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(old.ask, Do(gate))
            await gate.entered.wait()
            nursery.start_soon(old.ask, Do(partial(rotate, "new")))
            await wait_all_tasks_blocked()
            old.tell(Say("queued before"))
            gate.open.set()
        for key in ("old", "new"):
            await system.ref("player", key).ask(Say(f"to {key}"))
        assert system.resolve("player", "old") == "new"
        assert [cell.address for cell in system.statistics().cells] == ["player/new"]
    assert diary.of("old") == ["start", "queued before", "to old", "to new", "stop"]
    assert diary.of("new") == []


async def test_rotating_while_a_hundred_senders_use_both_names_loses_nothing(diary):
    async with open_players(diary) as system:

        async def sender(n):
            for k in range(10):
                await system.ref("player", f"name{k % 5}").send(Say((n, k)))

        await system.ref("player", "name0").ask(Say("up"))
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(sender, n)
            for k in range(1, 5):
                with_name = system.ref("player", f"name{k - 1}")
                try:
                    await with_name.ask(Do(partial(rotate, f"name{k}")))
                except ActorCrashed as crash:
                    assert isinstance(crash.__cause__, AddressTaken)
        handled = [line for _, line in diary.lines if isinstance(line, tuple)]
        assert len(handled) == len(set(handled))


async def test_a_chain_of_a_thousand_rotations_and_back_makes_no_circle(diary):
    async with open_players(diary) as system:
        await system.ref("player", "n0").ask(Say(1))
        for n in range(1000):
            await system.ref("player", "n0").ask(Do(partial(rotate, f"n{n + 1}")))
        assert system.resolve("player", "n0") == "n1000"
        await system.ref("player", "n500").ask(Do(partial(rotate, "n0")))
        for n in (0, 1, 999, 1000):
            assert system.resolve("player", f"n{n}") == "n0"
            await system.ref("player", f"n{n}").ask(Say(n))
        assert len(system.statistics().cells) == 1


async def test_rotating_onto_somebody_elses_name_is_refused_and_changes_nothing(diary):
    async with open_players(diary) as system:
        await system.ref("player", "other").ask(Say("mine"))
        with pytest.raises(ActorCrashed) as crash:
            await system.ref("player", "a").ask(Do(partial(rotate, "other")))
        assert isinstance(crash.value.__cause__, AddressTaken)
        assert await system.ref("player", "a").ask(Say(1)) == 1
        assert diary.of("other") == ["start", "mine"]


async def test_statistics_tell_the_truth_during_a_hang(diary, autojump_clock):
    async with open_players(diary) as system, trio.open_nursery() as nursery:
        gate = Gate()

        async def ask_b(player):
            return await player.context.refer("player", "b").ask(Do(gate))

        nursery.start_soon(system.ref("player", "a").ask, Do(ask_b))
        await gate.entered.wait()
        system.ref("player", "b").tell(Say("waiting"))
        await trio.sleep(7)
        a, b = sorted(system.statistics().cells, key=lambda cell: cell.address)
        assert (a.current, a.waiting_on, a.depth) == ("Do", ("player/b",), 0)
        assert (b.current, b.waiting_on, b.depth) == ("Do", (), 1)
        assert b.current_seconds == pytest.approx(7, abs=0.1)
        assert system.cell_statistics("player", "b") == b
        gate.open.set()


async def test_looking_at_an_actor_tells_its_tasks_and_does_not_wake_it(diary):
    async def begin(player):
        player.context.start_soon(trio.sleep_forever)

    async with open_players(diary) as system:
        assert system.cell_statistics("player", "a") is None
        assert system.statistics().cells == ()
        await system.ref("player", "a").ask(Do(begin))
        (task,) = system.cell_statistics("player", "a").tasks
        assert task.endswith("sleep_forever")


async def test_messages_are_counted_past_the_end_of_who_handled_them(diary):
    async with open_players(diary) as system:
        for name in ("a", "b"):
            await system.ref("player", name).ask(Say("x"))
        await system.ref("player", "b").ask(Do(partial(rotate, "c")))
        (cell,) = [cell for cell in system._registry if cell.key == "a"]
        cell.passivate()
        await wait_all_tasks_blocked()
        assert len(system.statistics().cells) == 1
        assert system.statistics().handled == 3


async def test_a_sink_for_dead_letters_that_fails_harms_nobody(diary):
    class Broken(Player):
        async def on_start(self):
            raise ValueError

    def sink(letter):
        raise RuntimeError("sink")

    async with open_system(Kind("b", partial(Broken, diary=diary)), on_dead_letter=sink) as system:
        system.ref("b", "a").tell(Say(1))
        await wait_all_tasks_blocked()
        assert system.statistics().dead_letters == 1


async def test_until_its_kind_ends_an_actor_may_still_be_woken(diary):
    class Roof(Player):
        async def on_stop(self):
            await self.context.refer("ground", "g").ask(Say("last"))

    kinds = (Kind("ground", partial(Player, diary=diary)), Kind("roof", partial(Roof, diary=diary)))
    async with open_system(*kinds) as system:
        await system.ref("roof", "r").ask(Say(1))
    assert diary.of("g") == ["start", "last", "stop"]


async def test_an_actor_does_not_see_the_context_variables_of_who_wrote_first(diary):
    variable = contextvars.ContextVar("variable", default="nobody's")

    async def look(player):
        await trio.lowlevel.checkpoint()
        return variable.get()

    async with open_system(Kind("player", partial(Player, diary=diary))) as system:
        variable.set("a request's")
        assert await system.ref("player", "a").ask(Do(look)) == "nobody's"


async def test_two_kinds_of_one_name_are_refused(diary):
    with pytest.raises(ValueError, match="two kinds"):
        async with open_system(Kind("player", Player), Kind("player", Player)):
            pass


class Mover(Player):
    """Lives at the key that `homes` names for its own, if it names one."""

    def __init__(self, key, diary, homes):
        super().__init__(key, diary)
        self.homes = homes

    async def on_start(self):
        await trio.lowlevel.checkpoint()
        if self.key in self.homes:
            raise Moved(self.homes[self.key])
        await super().on_start()


def open_movers(diary, homes, **options):
    return open_system(Kind("player", partial(Mover, diary=diary, homes=homes), **options))


@pytest.mark.parametrize("awake", [True, False])
async def test_mail_for_one_who_has_moved_goes_to_the_new_address_in_order(diary, awake):
    async with open_movers(diary, {"old": "new"}, capacity=2) as system:
        if awake:
            await system.ref("player", "new").ask(Say("first"))
        old = system.ref("player", "old")
        old.tell(Say(1))
        old.tell(Say(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(old.send, Say(3))
            await wait_all_tasks_blocked()
        assert await old.ask(Say(4)) == 4
        assert system.resolve("player", "old") == "new"
        assert len(system.statistics().cells) == 1
    said = [line for line in diary.of("new") if isinstance(line, int)]
    assert said == [1, 2, 3, 4]


async def test_an_ask_on_its_way_to_one_who_has_moved_can_still_be_given_up(diary):
    async with open_movers(diary, {"old": "new"}) as system:
        gate = Gate()
        system.ref("player", "new").tell(Do(gate))
        await gate.entered.wait()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(system.ref("player", "old").ask, Say("given up"))
                await wait_all_tasks_blocked()
                scope.cancel()
        gate.open.set()
        await system.ref("player", "new").ask(Say("last"))
    assert "given up" not in diary.of("new")


async def test_a_thousand_moves_are_walked_once(diary):
    homes = {str(n): str(n + 1) for n in range(1000)}
    async with open_movers(diary, homes) as system:
        assert await system.ref("player", "0").ask(Say("hello")) == "hello"
        assert system.resolve("player", "0") == "1000"
        before = system.statistics().activations
        assert await system.ref("player", "500").ask(Say("again")) == "again"
        assert system.statistics().activations == before


async def test_who_has_moved_in_a_circle_is_an_error_and_no_endless_walk(diary):
    async with open_movers(diary, {"a": "b", "b": "a"}) as system:
        with pytest.raises(ActorCrashed, match="itself"):
            await system.ref("player", "a").ask(Say(1))
