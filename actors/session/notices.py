"""What becomes of all sessions, for whoever wants to know: a second tab, the list.

Not durable: a notice says "look again", and looking gives the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors import Feed, Gap

__all__ = ["Notice", "Notices"]


@dataclass(frozen=True, slots=True)
class Notice:
    """`reason` is what happened, as in `session_rename`. `turn_id` names the turn that began. With
    no `session_id` it is of all of them, whoever's they are.
    """

    session_id: str
    reason: str
    message_count: int = 0
    turn_id: str | None = None
    at: float = 0.0
    source: str = ""
    owner: str | None = None


class Notices:
    """One feed for the process. A slow listener loses nothing but detail: it gets None, and must
    look at everything again.
    """

    def __init__(self) -> None:
        self._feed: Feed[Notice] = Feed()

    @property
    def last(self) -> int:
        return self._feed.last

    def publish(self, notice: Notice) -> None:
        self._feed.publish([notice])

    async def after(self, cursor: int) -> Sequence[Notice] | None:
        """What came behind `cursor`, at least one; None if some of it is forgotten. The next
        cursor is `last`, read without waiting in between.
        """
        await self._feed.wait_after(cursor)
        try:
            return self._feed.after(cursor)
        except Gap:
            return None
