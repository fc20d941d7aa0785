"""Which turns begin, and when: places go round the owners, tokens are counted by the day."""

from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.greenroom import open_greenroom
from actors.session.admission import Admission
from actors.session.agent import TextDelta, Usage
from actors.session.allowance import DAY, Allowance
from actors.session.context import estimated_tokens
from actors.session.messages import (
    CancelTurn,
    Compress,
    CreateSession,
    GetSession,
    OnBehalf,
    StartSideTurn,
    StartTurn,
)
from actors.session.record import Record
from actors.session.refusals import SessionExists, TokensSpent, TooManyTurns, TurnRunning
from actors.stores import MemoryDisk
from actors.testing.faulty_disk import FaultyDisk
from actors.testing.puppet import Puppet
from actors.viewer import Viewer
from tests.session.conftest import DATA_DIR, Room


class Gatekeeper:
    """Tasks that wait for a place, keep it until they are told, and note the order."""

    def __init__(self, nursery, most):
        self.most = most
        self.admission = Admission(running=lambda: self.most)
        self.began = []
        self._nursery = nursery
        self._over = {}

    async def come(self, name):
        """Whose it is is the first letter."""
        scope = trio.CancelScope()
        self._over[name] = trio.Event(), scope
        self._nursery.start_soon(self._work, name, scope)
        await wait_all_tasks_blocked()
        return scope

    async def _work(self, name, scope):
        with scope:
            async with self.admission.place(name[0]):
                self.began.append(name)
                await self._over[name][0].wait()

    async def end(self, name):
        self._over[name][0].set()
        await wait_all_tasks_blocked()


@pytest.fixture
async def keeper(nursery):
    yield Gatekeeper(nursery, 2)
    nursery.cancel_scope.cancel()


async def test_a_hundred_of_one_owner_keep_nobody_elses_first_waiting(keeper):
    for n in range(100):
        await keeper.come(f"a{n}")
    await keeper.come("b0")
    await keeper.come("b1")
    await keeper.come("c0")
    assert keeper.began == ["a0", "a1"]
    await keeper.end("a0")
    assert keeper.began[2:] == ["b0"]
    await keeper.end("b0")
    assert keeper.began[3:] == ["c0"]
    await keeper.end("a1")
    await keeper.end("c0")
    assert keeper.began[4:] == ["a2", "b1"]


async def test_equals_take_turns(keeper):
    keeper.most = 1
    for name in ("a0", "a1", "a2", "b0", "b1"):
        await keeper.come(name)
    for n in range(4):
        await keeper.end(keeper.began[n])
    assert keeper.began == ["a0", "a1", "b0", "a2", "b1"]


async def test_who_gives_up_waiting_takes_no_place(keeper):
    for name in ("a0", "a1", "a2", "b0"):
        await keeper.come(name)
    scope = (await keeper.come("c0"), await keeper.come("c1"))[0]
    scope.cancel()
    await wait_all_tasks_blocked()
    assert keeper.admission.waiting == 3
    for name in ("a0", "a1", "b0", "c1"):
        await keeper.end(name)
    assert sorted(keeper.began) == ["a0", "a1", "a2", "b0", "c1"]
    assert keeper.admission.waiting == 0


async def test_a_place_that_comes_with_a_cancellation_goes_to_the_next(keeper):
    for name in ("a0", "a1", "b0"):
        await keeper.come(name)
    scope = keeper._over["b0"][1]
    await keeper.come("c0")
    keeper._over["a0"][0].set()
    # Both in one step of the scheduler: the place is given, and the task that gets it is cancelled.
    await trio.lowlevel.checkpoint()
    scope.cancel()
    await wait_all_tasks_blocked()
    assert "c0" in keeper.began
    assert keeper.admission._at_work.total() == 2


async def test_a_limit_that_is_raised_or_taken_away_lets_in_who_waits(keeper):
    for n in range(5):
        await keeper.come(f"a{n}")
    keeper.most = 3
    await keeper.come("b0")
    assert keeper.began == ["a0", "a1", "b0"]
    keeper.most = 0
    await keeper.end("a0")
    assert len(keeper.began) == 6


# -- in a greenroom -----------------------------------------------------------------------------

ANN = Viewer("ann", frozenset({"ann"}))
BOB = Viewer("bob", frozenset({"bob"}))


@pytest.fixture
async def limited():
    """At most two turns of each owner, of which one is at work in all."""
    agent, disk = Puppet(), MemoryDisk()
    admission = Admission(turns=lambda: 2, running=lambda: 1)
    async with open_greenroom(DATA_DIR, agent, disk=disk, admission=admission) as greenroom:
        room = Room(greenroom, disk, agent)
        for key, viewer in (("a", ANN), ("b", ANN), ("c", ANN), ("d", BOB)):
            record = Record(session_id="", workspace="/")
            await room.session(key).ask(OnBehalf(viewer, CreateSession(record)))
        yield room


async def test_a_turn_that_waits_for_its_place_was_accepted_and_says_that_it_waits(limited):
    room = limited
    _, first = await room.start(key="a")
    accepted = await room.session("b").ask(StartTurn("next"))
    reader = room.greenroom.feeds.read(accepted.turn_id, 1)
    (said,) = await reader.next()
    assert said.event.kind == "waiting"
    assert (await room.session("b").ask(GetSession())).running
    first.finish()
    second = await room.agent.next_turn()
    assert second.asked.turn_id == accepted.turn_id
    await second.say("yes")
    second.finish()
    await room.events(accepted.turn_id)
    assert (await room.record("b")).messages[-1]["content"] == "yes"


async def test_one_that_waits_can_be_stopped(limited):
    room = limited
    _, first = await room.start(key="a")
    waiting = await room.session("b").ask(StartTurn("next"))
    assert await room.session("b").ask(CancelTurn(waiting.turn_id))
    _, third = (await room.session("d").ask(StartTurn("mine"))), first.finish()
    assert third is None
    assert (await room.agent.next_turn()).asked.session_id == "d"


async def test_more_turns_than_may_be_are_refused_and_change_nothing(limited):
    room = limited
    await room.start(key="a")
    queued = await room.session("a").ask(StartTurn("next", if_busy="queue"))
    before = [await room.record(key) for key in "abc"]
    for key, command in (
        ("a", StartTurn("more", if_busy="queue")),
        ("b", StartTurn("more")),
        ("c", StartSideTurn("more", keep=True)),
    ):
        with pytest.raises(TooManyTurns) as refusal:
            await room.session(key).ask(command)
        assert refusal.value.limit == 2
    with pytest.raises(TurnRunning):
        await room.session("a").ask(StartTurn("more"))
    assert [await room.record(key) for key in "abc"] == before
    await room.session("d").ask(StartTurn("another user's"))
    await room.session("a").ask(StartTurn("instead", if_busy="interrupt"))
    await room.session("a").ask(CancelTurn(queued.turn_id))
    await room.session("b").ask(StartTurn("more"))


# -- tokens -------------------------------------------------------------------------------------


class Day:
    """A greenroom with an allowance, on a clock that the test turns."""

    def __init__(self):
        self.disk = MemoryDisk()
        self.now = 20_000 * DAY + 100
        self.most = 100

    def open(self, disk=None, **options):
        self.allowance = Allowance(lambda: self.most, lambda: self.now)
        self.agent = Puppet()
        return open_greenroom(
            DATA_DIR,
            self.agent,
            disk=disk or self.disk,
            clock=lambda: self.now,
            admission=Admission(allowance=self.allowance),
            **options,
        )

    async def use(self, greenroom, key, tokens, viewer=ANN, ended="done", said="x"):
        session = greenroom.session(key)
        record = Record(session_id="", workspace="/")
        with suppress(SessionExists):
            await session.ask(OnBehalf(viewer, CreateSession(record)))
        accepted = await session.ask(StartTurn("hello"))
        turn = await self.agent.next_turn()
        await turn.say(said, Usage(tokens - 1, 1))
        reader = greenroom.feeds.read(accepted.turn_id)
        while (await reader.next())[-1].seq < 3:
            pass
        if ended == "done":
            turn.finish()
        elif ended == "failed":
            turn.finish(OSError("gone"))
        else:
            await session.ask(CancelTurn(accepted.turn_id))
        while await reader.next():
            pass


@pytest.mark.parametrize("ended", ["done", "failed", "stopped"])
async def test_who_has_used_the_days_tokens_waits_for_the_next_however_turns_ended(ended):
    day = Day()
    async with day.open() as greenroom:
        await day.use(greenroom, "a", 99, ended=ended)
        await day.use(greenroom, "b", 50, ended=ended)
        with pytest.raises(TokensSpent) as refusal:
            await greenroom.session("a").ask(StartTurn("more"))
        assert (refusal.value.limit, refusal.value.seconds) == (100, int(DAY) - 100)
        await day.use(greenroom, "c", 10, BOB)
        day.now += DAY
        await greenroom.session("a").ask(StartTurn("more"))


class Aside:
    """Asked for titles and summaries. It says this much, and what it has cost if it knows."""

    def __init__(self, *says):
        self.says = says
        self.asked = []

    async def __call__(self, turn, emit):
        self.asked.append(turn)
        for event in self.says:
            if isinstance(event, Exception):
                raise event
            await emit(event)


@pytest.mark.parametrize(
    ("says", "costs"),
    [
        ((TextDelta("Of boats"), Usage(40, 2)), lambda _: 42),
        ((Usage(40, 2), OSError("gone")), lambda _: 42),
        ((TextDelta("Of boats"),), lambda asked: estimated_tokens(asked) + 6),
        ((OSError("gone"),), lambda _: 0),
    ],
    ids=["counted", "counted, and it failed", "estimated", "nothing was said"],
)
async def test_a_title_takes_tokens_of_the_day(says, costs):
    day, aside = Day(), Aside(*says)
    async with day.open(side_agent=aside) as greenroom:
        await day.use(greenroom, "a", 50)
        (asked,) = aside.asked
        assert asked.purpose == "title"
        assert day.allowance.spent("ann") == 50 + costs(asked.messages)
        assert day.allowance.spent("bob") == 0


async def test_a_summary_takes_tokens_of_the_day_asked_for_or_needed():
    day, aside = Day(), Aside(TextDelta("All of it."), Usage(70, 5))
    day.most = 1000
    options = {"side_agent": aside, "model_titles": False, "context_tokens": 200}
    async with day.open(**options) as greenroom:
        for _ in range(2):
            await day.use(greenroom, "a", 10, said="word " * 60)
        assert aside.asked == []
        await day.use(greenroom, "a", 10)  # it begins with a summary
        assert [turn.purpose for turn in aside.asked] == ["summary"]
        assert day.allowance.spent("ann") == 30 + 75
        await day.use(greenroom, "a", 10)
        await greenroom.session("a").ask(Compress())
        await wait_all_tasks_blocked()
        assert len(aside.asked) == 2
        assert day.allowance.spent("ann") == 40 + 150


async def test_who_has_used_the_days_tokens_gets_no_title_or_summary_of_a_models():
    day, aside = Day(), Aside(TextDelta("Of boats"))
    async with day.open(side_agent=aside) as greenroom:
        for key, tokens in (("a", 10), ("a", 10), ("c", 90)):
            await day.use(greenroom, key, tokens)
        assert [turn.session_id for turn in aside.asked] == ["a"]
        session = greenroom.session("a")
        before = (await session.ask(GetSession())).record
        with pytest.raises(TokensSpent):
            await session.ask(Compress())
        assert (await session.ask(GetSession())).record == before
        await day.use(greenroom, "b", 10, BOB)
        day.now += DAY
        await session.ask(Compress())
        await wait_all_tasks_blocked()
        assert [turn.purpose for turn in aside.asked] == ["title", "title", "summary"]


async def test_what_was_spent_is_known_after_a_restart():
    day = Day()
    async with day.open() as greenroom:
        await day.use(greenroom, "a", 100)
        await day.use(greenroom, "n", 7, Viewer())
    async with day.open() as greenroom:
        allowance = greenroom._shared.admission.allowance
        assert (allowance.spent("ann"), allowance.spent(None), allowance.spent("bob")) == (
            100,
            7,
            0,
        )
        with pytest.raises(TokensSpent):
            await greenroom.session("a").ask(StartTurn("more"))


async def test_it_is_saved_while_the_server_runs(autojump_clock):
    day = Day()
    async with day.open() as greenroom:
        await day.use(greenroom, "a", 100)
        await trio.sleep(3)
        assert b'"ann":100' in day.disk.read(Path(DATA_DIR) / "tokens.json")


async def test_a_damaged_count_begins_at_nothing():
    day = Day()
    async with day.open() as greenroom:
        await day.use(greenroom, "a", 100)
    path = Path(DATA_DIR) / "tokens.json"
    day.disk.remove(path)
    day.disk.create(path, b"{")
    async with day.open() as greenroom:
        await greenroom.session("a").ask(StartTurn("more"))


async def test_without_a_limit_nothing_is_counted_or_written():
    day = Day()
    day.most = 0
    disk = FaultyDisk(day.disk)
    async with day.open(disk) as greenroom:
        await day.use(greenroom, "a", 100)
        assert greenroom._shared.admission.allowance.spent("ann") == 0
    assert "tokens.json" not in set(day.disk.names(Path(DATA_DIR)))
