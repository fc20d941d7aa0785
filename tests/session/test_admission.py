"""Which turns begin, and when: places go round the owners, tokens are counted by the day."""

from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.greenroom import open_greenroom
from actors.session.admission import Admission
from actors.session.agent import TextDelta, ToolCompleted, ToolStarted, Usage, Warned
from actors.session.allowance import DAY, Allowance
from actors.session.approvals import open_approvals
from actors.session.context import estimated_tokens
from actors.session.messages import (
    AnswerApproval,
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
        with scope, self.admission.place(name[0]) as place:
            await place.take()
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


# -- while somebody is asked ---------------------------------------------------------------------


class Asker:
    """Makes these calls together. It asks for those called c at once, for those called l when it is
    told to, and not at all for those called f. A call takes as long as its event.
    """

    def __init__(self, *calls):
        self.calls = calls
        self.made, self.denied = [], []
        self.begin = {call: trio.Event() for call in calls}
        self.over = {call: trio.Event() for call in calls}

    async def __call__(self, turn, emit):
        async def call(name):
            if name[0] != "c":
                await self.begin[name].wait()
            if name[0] != "f" and not (await turn.approve(name, "remove", {})).allowed:
                self.denied.append(name)
                return
            await emit(ToolStarted(name, "remove"))
            self.made.append(name)
            await self.over[name].wait()
            await emit(ToolCompleted(name, "gone"))

        async with trio.open_nursery() as nursery:
            for name in self.calls:
                nursery.start_soon(call, name)
        await emit(TextDelta("done"))


class Either:
    """Session a has one agent, the others another."""

    def __init__(self, of_a, other):
        self.of_a, self.other = of_a, other

    async def __call__(self, turn, emit):
        await (self.of_a if turn.session_id == "a" else self.other)(turn, emit)


class Asked:
    """A session of Ann's that has asked for its calls, where one turn may be at work in all."""

    def __init__(self, room, asker, puppet, turn_id):
        self.room, self.asker, self.puppet, self.turn_id = room, asker, puppet, turn_id
        self.admission = room.greenroom._shared.admission

    async def answer(self, call, choice="once"):
        rows = {row["call_id"]: row["id"] for row in open_approvals(await self.room.record("a"))}
        await self.room.session("a").ask(AnswerApproval(rows[call], choice))
        await wait_all_tasks_blocked(0.01)

    async def other(self, key="d"):
        """Another session's turn, once it is at work."""
        await self.room.session(key).ask(StartTurn("mine"))
        await wait_all_tasks_blocked(0.01)
        return await self.puppet.next_turn()

    async def finished(self, turn):
        turn.finish()
        await wait_all_tasks_blocked(0.01)


@pytest.fixture
def open_asked():
    @asynccontextmanager
    async def opened(*calls, **options):
        asker, puppet, disk = Asker(*calls), Puppet(), MemoryDisk()
        admission = Admission(running=lambda: 1)
        agent = Either(asker, puppet)
        async with open_greenroom(
            DATA_DIR, agent, disk=disk, admission=admission, **options
        ) as greenroom:
            room = Room(greenroom, disk, agent)
            for key, viewer in (("a", ANN), ("b", ANN), ("d", BOB)):
                record = Record(session_id="", workspace="/")
                await room.session(key).ask(OnBehalf(viewer, CreateSession(record)))
            accepted = await room.session("a").ask(StartTurn("Remove it"))
            await wait_all_tasks_blocked(0.01)
            yield Asked(room, asker, puppet, accepted.turn_id)

    return opened


async def test_who_waits_to_be_allowed_keeps_nobody_from_working(open_asked):
    async with open_asked("c1") as asked:
        other = await asked.other()
        await asked.answer("c1")
        assert asked.asker.made == [], "it waits for a place again"
        assert asked.admission.waiting == 1
        await asked.finished(other)
        assert asked.asker.made == ["c1"]
        asked.asker.over["c1"].set()
        events = [entry.event for entry in await asked.room.events(asked.turn_id)]
        assert [event.kind for event in events if isinstance(event, Warned)] == ["waiting"]
        assert asked.admission._at_work.total() == 0


@pytest.mark.parametrize("choice", ["deny", "expired"])
async def test_so_it_is_when_it_was_not_allowed(open_asked, autojump_clock, choice):
    async with open_asked("c1", approval_seconds=60.0) as asked:
        other = await asked.other()
        if choice == "deny":
            await asked.answer("c1", choice)
        else:
            await trio.sleep(61)
        assert asked.asker.denied == [], "what it does then is work, too"
        assert asked.admission.waiting == 1
        await asked.finished(other)
        assert asked.asker.denied == ["c1"]
        await asked.room.events(asked.turn_id)
        (row,) = (await asked.room.record("a")).approvals
        assert row["choice"] == choice


async def test_a_call_that_is_made_keeps_the_place_while_another_waits(open_asked):
    async with open_asked("c1", "c2") as asked:
        await asked.answer("c1")
        assert asked.asker.made == ["c1"]
        await asked.room.session("d").ask(StartTurn("mine"))
        await wait_all_tasks_blocked(0.01)
        assert asked.admission.waiting == 1
        asked.asker.over["c1"].set()
        await wait_all_tasks_blocked(0.01)
        assert asked.admission.waiting == 0
        other = await asked.puppet.next_turn()
        await asked.answer("c2")
        assert asked.asker.made == ["c1"]
        await asked.finished(other)
        assert asked.asker.made == ["c1", "c2"]


async def test_a_call_that_is_made_keeps_the_place_when_another_is_asked_for(open_asked):
    async with open_asked("c1", "l2") as asked:
        await asked.answer("c1")
        asked.asker.begin["l2"].set()
        await wait_all_tasks_blocked(0.01)
        assert len(open_approvals(await asked.room.record("a"))) == 1
        assert asked.admission._at_work.total() == 1
        asked.asker.over["c1"].set()
        await wait_all_tasks_blocked(0.01)
        assert asked.admission._at_work.total() == 0


async def test_a_call_that_needs_no_question_waits_for_a_place_too(open_asked):
    async with open_asked("c1", "f2") as asked:
        other = await asked.other()
        asked.asker.begin["f2"].set()
        await wait_all_tasks_blocked(0.01)
        assert asked.asker.made == []
        await asked.finished(other)
        assert asked.asker.made == ["f2"]


async def test_calls_that_are_allowed_together_take_one_place(open_asked):
    async with open_asked("c1", "c2") as asked:
        other = await asked.other()
        await asked.answer("c1", "session")
        assert asked.admission.waiting == 1
        await asked.finished(other)
        assert sorted(asked.asker.made) == ["c1", "c2"]
        assert asked.admission._at_work.total() == 1


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_turn_without_a_place_can_be_stopped(open_asked, allowed):
    async with open_asked("c1") as asked:
        other = await asked.other()
        if allowed:
            await asked.answer("c1")
        assert await asked.room.session("a").ask(CancelTurn(asked.turn_id))
        await asked.room.events(asked.turn_id)
        assert (asked.admission.waiting, asked.admission._at_work.total()) == (0, 1)
        await asked.finished(other)
        assert asked.admission._at_work.total() == 0
        assert asked.asker.made == []
        await asked.finished(await asked.other("b"))


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
