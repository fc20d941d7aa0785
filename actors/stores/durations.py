"""How long something took, each time that it was done."""

from collections import deque
from dataclasses import dataclass

__all__ = ["Durations", "DurationsSummary"]

RECENT = 64


@dataclass(frozen=True, slots=True)
class DurationsSummary:
    """Seconds. `total / count` is the mean; the rest is of the last few."""

    count: int
    total: float
    median: float
    longest: float


class Durations:
    """Adding one is a sum and a slot of a ring: cheap enough for once a write."""

    __slots__ = ("_recent", "count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, seconds: float) -> None:
        """Take one, in seconds."""
        self.count += 1
        self.total += seconds
        self._recent.append(seconds)

    def summary(self) -> DurationsSummary:
        """As it stands; sorts the last few."""
        recent = sorted(self._recent) or [0.0]
        return DurationsSummary(self.count, self.total, recent[len(recent) // 2], recent[-1])
