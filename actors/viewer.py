"""Who asks, and whose things they may see. Pure."""

from dataclasses import dataclass

__all__ = ["EVERYBODY", "Viewer"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """What they make is `owner`'s, None: nobody's. They see what belongs to one of `sees`; None:
    to anybody, and to nobody. Whatever they may not see is, to them, not there.
    """

    owner: str | None = None
    sees: frozenset[str | None] | None = None

    def may_see(self, owner: str | None) -> bool:
        return self.sees is None or owner in self.sees


EVERYBODY = Viewer()
"""Without users: all is there for whoever asks."""
