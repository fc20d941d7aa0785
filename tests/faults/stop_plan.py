"""What is to happen to a prompt: how the provider answers it, who reads, and when it is stopped."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import trio

__all__ = ["CALL", "Plan", "planned"]

CALL = "\x01"  # what comes behind it is a tool call, not text
LATEST = 0.15  # of a cancel, in seconds after the start was answered
NAP = 0.05


@dataclass
class Plan:
    """How the provider answers one prompt, and when somebody does not want it any more. Of what is
    stopped, "end" is the only kind that comes to an end.
    """

    prompt: str
    kind: str
    rng: random.Random  # of what is said
    pace: float = 0.0  # seconds between two chunks
    headers_after: float = 0.0
    first_after: float = 0.0
    counts: bool = False  # says its usage, if it comes so far
    moment: float = 0.0  # to cancel, after the start
    near_end: trio.Event = field(default_factory=trio.Event)  # or this one, for an "end"
    lead: float = 0.0  # from the end to that, in seconds
    presses: int = 1
    readings: tuple[tuple[float, float], ...] = ()  # when each comes, and how long it naps
    go: trio.Event = field(default_factory=trio.Event)  # an "answer" waits for it

    def __repr__(self) -> str:
        return f"<Plan {self.kind} {self.prompt[:20]!r}>"

    def chunks(self) -> Iterator[dict]:
        """What is said, without an end unless it is an "end"."""
        numbers = count(1)

        def said(key: str) -> dict:
            """No two are the same: whatever shows up in the wrong place is recognised."""
            n = next(numbers)
            text = f"{self.prompt.partition(':')[0]}.{n} " * (40 if self.kind == "flood" else 1)
            usage = {"prompt_tokens": 100 + n, "completion_tokens": n} if self.counts else None
            return {"choices": [{"delta": {key: text}}], "usage": usage}

        def call(*event: object) -> dict:
            return {"choices": [{"delta": {"content": CALL + json.dumps(event)}}]}

        if self.kind == "thoughts":
            yield from (said("reasoning_content") for _ in numbers)
        for _ in range(self.rng.randrange(4)):
            yield said("reasoning_content")
        while self.kind in ("calls", "end"):
            for _ in range(self.rng.randrange(3)):
                yield said("content")
            names = [f"c{next(numbers)}" for _ in range(self.rng.randrange(1, 3))]
            for name in names:
                yield call("started", name, "look", {"at": name * 3})
            for name in names[::-1]:
                yield call("completed", name, f"seen {name}", self.rng.random() < 0.2)
            if self.kind == "end" and self.rng.random() < 0.5:
                break
        while self.kind != "end":
            yield said("content")
        for _ in range(self.rng.randrange(1, 6)):
            yield said("content")


# How often each is.
KINDS = {"deaf": 2, "mute": 2, "text": 4, "thoughts": 3, "calls": 4, "flood": 1, "end": 4}


def planned(n: int, seed: int) -> Plan:
    rng = random.Random(f"{seed}/{n}")
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    return Plan(
        f"Turn {n}: {'word ' * rng.randrange(1, 40)}",
        kind,
        random.Random(f"{seed}/{n} says"),
        pace=rng.uniform(0.001, 0.012) if kind != "flood" else 0.0,
        headers_after=rng.choice((0.0, 0.0, rng.uniform(0, 0.1))),
        first_after=rng.choice((0.0, 0.0, rng.uniform(0, 0.1))),
        counts=rng.random() < 0.3,
        moment=0.0 if rng.random() < 0.1 else rng.uniform(0, LATEST),
        lead=rng.choice((0.0, rng.uniform(-0.04, 0.01))),
        presses=2 if rng.random() < 0.1 else 1,
        readings=tuple(
            (rng.choice((0.0, rng.uniform(0, LATEST))), rng.choice((0.0, 0.0, NAP)))
            for _ in range(rng.randrange(1, 3))
        ),
    )
