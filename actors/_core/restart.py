"""How often an actor may crash before it is given up."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RestartPolicy"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """At most `restarts` restarts in any `within` seconds; the next crash stops the actor.

    What it was given up over is logged; whoever writes to it next activates it afresh.
    """

    restarts: int = 3
    within: float = 60.0

    def recent(self, crashes: Sequence[float], now: float) -> tuple[float, ...]:
        """Those crashes that still count at `now`."""
        return tuple(at for at in crashes if now - at < self.within)

    def allows(self, crashes: Sequence[float], now: float) -> bool:
        """May an actor that crashed at these times (the last one now) start again?"""
        return len(self.recent(crashes, now)) <= self.restarts
