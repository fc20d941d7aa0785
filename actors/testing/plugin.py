"""The pytest plugin, beside pytest-trio. Nobody has it who does not ask for it, in the conftest.py
at the top of the suite:

    pytest_plugins = ["actors.testing.plugin"]

Fixtures:

- `actor_system`: `async with actor_system(*kinds) as system`, see `open_checked_system`.
- `greenroom`: sessions on `memory_disk`, a `MemoryDisk`, answered by `puppet`, a `Puppet`; see
  `open_checked_greenroom`. Both wait to be told otherwise.
- `actor_seed`: the number that decides the test's schedule.

A test that uses one of these runs on a clock that jumps ahead whenever all tasks wait, unless it
asks for a clock of its own. `@pytest.mark.seeds(30)` runs a test under 30 schedules, each decided
by its seed; a failure prints the seed, and `--actor-seed N` runs that one alone.
"""

from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors import System
from actors.greenroom import Greenroom
from actors.stores import MemoryDisk

from .checked import open_checked_greenroom, open_checked_system
from .puppet import Puppet
from .schedule import seeded_schedule

OURS = ("actor_system", "greenroom")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("actors").addoption(
        "--actor-seed",
        type=int,
        metavar="N",
        help="run the tests that are marked with `seeds` under the schedule of this seed alone",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "seeds(number): run the test under this many schedules, each made from a seed"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("seeds")
    if marker is not None and "actor_seed" not in metafunc.fixturenames:
        metafunc.fixturenames.append("actor_seed")
    if "actor_seed" in metafunc.fixturenames:
        only = metafunc.config.getoption("actor_seed")
        number = marker.args[0] if marker is not None else 1
        seeds = range(number) if only is None else (only,)
        metafunc.parametrize("actor_seed", seeds, ids=[f"seed {seed}" for seed in seeds])


def _run(
    function: Callable[..., Any], *, clock: trio.abc.Clock | None, instruments: Sequence[Any]
) -> object:
    clock = clock or MockClock(autojump_threshold=0)
    return trio.run(function, clock=clock, instruments=instruments)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    seed: int | None = item.callspec.params.get("actor_seed") if hasattr(item, "callspec") else None
    ours = seed is not None or any(name in getattr(item, "fixturenames", ()) for name in OURS)
    if ours and item.get_closest_marker("trio") is not None:
        item.add_marker(pytest.mark.trio(run=_run), append=False)
    with nullcontext() if seed is None else seeded_schedule(seed):
        try:
            return (yield)
        except BaseException:
            if seed is not None:
                again = f"pytest {item.nodeid.partition('[')[0]!r} --actor-seed {seed}"
                item.add_report_section("call", "seed", again)
            raise


@pytest.fixture
def actor_system() -> Callable[..., AbstractAsyncContextManager[System]]:
    """Opens a system whose block fails if an actor, a message or a crash is left behind."""
    return open_checked_system


@pytest.fixture
def memory_disk() -> MemoryDisk:
    """The disk of `greenroom`: `memory_disk.crash()` is what a power cut leaves of it."""
    return MemoryDisk()


@pytest.fixture
def puppet() -> Puppet:
    """The agent of `greenroom`: `await puppet.next_turn()` gives the test its strings."""
    return Puppet()


@pytest.fixture
async def greenroom(memory_disk: MemoryDisk, puppet: Puppet) -> AsyncIterator[Greenroom]:
    """Sessions in memory, on Trio's clock; what they leave behind fails the test."""
    async with open_checked_greenroom(memory_disk, puppet) as greenroom:
        yield greenroom
