"""What users, agents and the world do in one run: made from chance, and nothing but data.

A source of chance is a `random.Random`: seeded, or one of Hypothesis's, which can make a program
that fails smaller.
"""

from dataclasses import dataclass
from random import Random

__all__ = ["MOST_ACTS", "Crash", "Fault", "Program", "Script", "Step", "programs"]

# What users do, and how often in a hundred steps.
STEPS = {
    "start": 30,
    "again": 4,  # the same request a second time, under its key
    "cancel": 12,
    "unqueue": 3,
    "undo": 7,
    "retry": 5,
    "edit": 4,
    "clear": 3,
    "rename": 5,
    "pin": 3,
    "compress": 8,
    "delete": 2,
    "branch": 2,
    "get": 5,
    "rest": 3,  # long enough to be put away
}
OFTEN_SUMMARISED = STEPS | {"compress": 30}
WHEN_BUSY = ("reject", "queue", "queue", "interrupt", "rollback")
# What an agent does. "stubborn" takes its time to leave when it is stopped.
ACTS = ("text", "text", "text", "tool", "pause", "usage", "reasoning")
ENDS = ("return", "return", "return", "raise", "hang")
MOST_ACTS = 5
PAUSES = (0.0, 0.001, 0.1, 3.0)


@dataclass(frozen=True)
class Step:
    """What one tab does next, `after` so many seconds. It gives up after `patience` seconds."""

    kind: str
    after: float
    patience: float | None = None
    if_busy: str = "reject"
    key: bool = False
    place: int = 0  # which of several: a prompt to cancel, a turn to edit


@dataclass(frozen=True)
class Script:
    """How the agent answers one prompt."""

    acts: tuple[str, ...]
    end: str
    stubborn: float = 0.0  # seconds that it goes on after it was stopped
    title: str | None = None
    summary: bool = True


@dataclass(frozen=True)
class Crash:
    """At the n-th operation of the disk, perhaps counted from a summary on: the process dies, the
    power fails (strictly, or with anything that was not flushed as it may be), or it is told to
    end.
    """

    at: int
    kind: str  # kill, power, torn, restart
    summary: bool = False


@dataclass(frozen=True)
class Fault:
    """Operations of the disk that fail, from the n-th on."""

    at: int
    length: int
    code: str


@dataclass(frozen=True)
class Program:
    """`lives` are the processes that follow one another on a directory: the steps of their tabs,
    and how each ends before its time.
    """

    seed: int
    lives: tuple[tuple[tuple[Step, ...], ...], ...]
    crashes: tuple[Crash, ...]
    scripts: tuple[Script, ...]
    fault: Fault | None = None
    latency: float = 0.0
    model_titles: bool = False
    checkpoint_seconds: float = 15.0
    keep: bool = True
    context_tokens: int | None = None  # so few that turns begin with a summary

    @property
    def amended(self) -> bool:
        """Short records are amended like long ones."""
        return self.seed & 2 == 0

    def __str__(self) -> str:
        lines = [f"schedule {self.seed}, latency {self.latency}, {self.fault or 'no fault'}"]
        for number, tabs in enumerate(self.lives):
            for name, tab in zip("abcdefgh", tabs, strict=False):
                lines += [f"life {number} tab {name}: {step}" for step in tab]
            if number < len(self.crashes):
                lines.append(f"then {self.crashes[number]}")
        lines += [f"prompt {number}: {script}" for number, script in enumerate(self.scripts)]
        return "\n".join(lines)


def programs(chance: Random) -> Program:
    """One program of all that there may be."""
    world = chance.choice(("calm", "crash", "crash", "crash", "summary", "fault"))
    crashes = tuple(
        _crash(chance, summary=world == "summary")
        for _ in range(chance.choice((1, 1, 2)) if world in ("crash", "summary") else 0)
    )
    kinds, most = (OFTEN_SUMMARISED, 12) if world == "summary" else (STEPS, 6)
    lives = tuple(_tabs(chance, kinds, most) for _ in range(len(crashes) + 1))
    steps = sum(len(tab) for tabs in lives for tab in tabs)
    return Program(
        seed=chance.randint(0, 2**32 - 1),
        lives=lives,
        crashes=crashes,
        scripts=tuple(_script(chance) for _ in range(steps)),
        fault=_fault(chance) if world == "fault" else None,
        latency=chance.choice((0.0, 0.0, 0.004, 0.2, 7.0)),
        model_titles=chance.random() < 0.3,
        checkpoint_seconds=chance.choice((0.5, 2.0, 15.0)),
        keep=chance.random() < 0.7,
        context_tokens=chance.choice((None, None, None, 40)),
    )


def _crash(chance: Random, *, summary: bool) -> Crash:
    at = chance.randint(1, 16) if summary else chance.randint(3, 70)
    return Crash(at, chance.choice(("kill", "power", "torn", "torn", "restart")), summary)


def _tabs(chance: Random, kinds: dict[str, int], most: int) -> tuple[tuple[Step, ...], ...]:
    return tuple(
        tuple(_step(chance, kinds) for _ in range(chance.randint(1, most)))
        for _ in range(chance.choice((1, 2, 2, 3)))
    )


def _step(chance: Random, kinds: dict[str, int]) -> Step:
    kind = chance.choices(list(kinds), list(kinds.values()))[0]
    return Step(
        kind,
        after=chance.choice((0.0, 0.0, 0.0, 0.002, 0.05, 2.0, 20.0)),
        patience=chance.choice((None,) * 9 + (0.0, 0.001, 0.3)),
        if_busy=chance.choice(WHEN_BUSY),
        key=chance.random() < 0.3,
        place=chance.randint(0, 3),
    )


def _script(chance: Random) -> Script:
    return Script(
        acts=tuple(chance.choice(ACTS) for _ in range(chance.randint(0, MOST_ACTS))),
        end=chance.choice(ENDS),
        stubborn=chance.choice((0.0,) * 8 + (1.0, 30.0)),
        title=chance.choice((None, "A title of it", "Another title")),
        summary=chance.random() < 0.8,
    )


def _fault(chance: Random) -> Fault:
    code = chance.choice(("ENOSPC", "EIO", "EACCES"))
    return Fault(chance.randint(2, 60), chance.choice((1, 1, 2, 5, 20)), code)
