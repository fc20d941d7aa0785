"""The pytest plugin, in suites of its own."""

import re

import pytest

pytest_plugins = ["pytester"]

HEAD = """
from dataclasses import dataclass
from functools import partial
import pytest, trio
from actors import Actor, ActorCrashed, Kind, Message
from actors.session import CreateSession, GetSession, StartTurn

@dataclass(frozen=True)
class Say(Message[object]):
    word: object = None

class Echo(Actor):
    async def receive(self, message):
        if message.word == "crash":
            raise ValueError("broken")
        if message.word == "hang":
            await trio.sleep_forever()
        if message.word == "stop":
            self.context.stop()
        return message.word

ECHO = Kind("echo", lambda key: Echo())
"""


@pytest.fixture
def suite(pytester):
    """Runs a module of tests with the plugin; gives pytest's result."""
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    pytester.makeconftest("pytest_plugins = ['actors.testing.plugin']")

    def run(tests, *options):
        pytester.makepyfile(HEAD + tests)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)

    return run


def test_time_jumps_and_a_clean_test_passes(suite):
    result = suite("""
async def test_clean(actor_system):
    async with actor_system(ECHO) as system:
        await trio.sleep(100_000)
        assert await system.ref("echo", "a").ask(Say(1)) == 1
        system.ref("echo", "a").tell(Say(2))

@pytest.mark.seeds(2)
async def test_seeds_alone():
    await trio.sleep(100_000)

async def test_a_clock_of_its_own(actor_system, mock_clock):
    assert trio.lowlevel.current_clock() is mock_clock
    async with actor_system(ECHO):
        pass
""")
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("act", "names"),
    [
        ("ref.tell(Say('hang'))", "echo/a is running, handles Say since 5.0 s"),
        ("ref.tell(Say('stop')); ref.tell(Say('lost'))", "a dead letter: Say to echo/a"),
        ("ref.tell(Say('crash'))", "a crash: echo/a crashed and starts again: ValueError"),
    ],
)
def test_what_is_left_behind_fails_the_test_and_is_named(suite, act, names):
    result = suite(f"""
async def test_leak(actor_system):
    async with actor_system(ECHO) as system:
        ref = system.ref("echo", "a")
        {act}
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Leaked: left behind:*", f"*{names}*"])


def test_what_is_expected_is_no_leak_and_the_failure_of_a_test_comes_first(suite):
    result = suite("""
async def test_expected(actor_system):
    expected = dict(expected_crashes=ValueError, expected_dead_letters=Say)
    async with actor_system(ECHO, **expected) as system:
        ref = system.ref("echo", "a")
        with pytest.raises(ActorCrashed):
            await ref.ask(Say("crash"))
        ref.tell(Say("stop"))
        ref.tell(Say("lost"))

async def test_failure(actor_system):
    async with actor_system(ECHO) as system:
        system.ref("echo", "a").tell(Say("hang"))
        assert "the test" == "itself"
""")
    result.assert_outcomes(passed=1, failed=1)
    assert "left behind" not in result.stdout.str()


def test_a_greenroom_on_a_disk_that_loses_its_power(suite):
    result = suite("""
from actors.testing import open_checked_greenroom

async def test_turn(greenroom, memory_disk, puppet):
    session = greenroom.session("s1")
    await session.ask(CreateSession())
    accepted = await session.ask(StartTurn("hello"))
    turn = await puppet.next_turn()
    await turn.say("half of ")
    entries = greenroom.follow(accepted.turn_id)
    while getattr((await anext(entries)).event, "text", "") != "half of ":
        pass
    await entries.aclose()
    after = memory_disk.crash()
    await turn.say("it")
    turn.finish()
    await greenroom.feeds.wait_idle()
    async with open_checked_greenroom(after, life=1) as survivor:
        rows = (await survivor.session("s1").ask(GetSession())).record.messages
        assert [row["content"] for row in rows][:2] == ["hello", "half of "]

async def test_turn_that_still_runs(greenroom, puppet):
    session = greenroom.session("s1")
    await session.ask(CreateSession())
    await session.ask(StartTurn("hello"))
    await puppet.next_turn()
""")
    outcomes = result.parseoutcomes()
    assert outcomes == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["*a turn that runs: * of session s1"])


SEEDED = """
ORDERS = []

@pytest.mark.seeds(20)
async def test_order(actor_system):
    order = []
    async with actor_system(ECHO) as system, trio.open_nursery() as nursery:
        async def ask(n):
            await system.ref("echo", str(n)).ask(Say())
            order.append(n)
        for n in range(4):
            nursery.start_soon(ask, n)
    assert order != [2, 0, 1, 3] and order[0] != 3, order

@pytest.mark.seeds(2)
def test_plain():
    pass
"""


def test_a_seed_that_fails_is_printed_and_plays_the_same_again(suite):
    result = suite(SEEDED)
    outcomes = result.parseoutcomes()
    assert 0 < outcomes["failed"] < 20
    assert sum(outcomes.values()) == 22
    said = re.findall(r"(\[\d, \d, \d, \d\])\n", result.stdout.str())
    command = re.search(r"pytest '?(\S+?)'? --actor-seed (\d+)", result.stdout.str())
    assert command, result.stdout.str()
    for _ in range(2):
        again = suite(SEEDED, "-k", "test_order", "--actor-seed", command[2])
        again.assert_outcomes(failed=1)
        assert re.search(r"(\[\d, \d, \d, \d\])\n", again.stdout.str())[1] == said[0]


def test_it_is_nobodys_who_does_not_ask_for_it(pytester):
    pytester.makepyfile("def test_fixture(actor_system): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'actor_system' not found*"])
