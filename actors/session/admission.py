"""Which turns may begin, and when: so many accepted of each owner, so many at work in all."""

from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from .allowance import Allowance
from .feeds import Feeds
from .refusals import TooManyTurns

__all__ = ["Admission"]


def _no_limit() -> int:
    return 0


class Admission:
    """Limits may change as they are asked for; 0 is none. `turns` is how many of one owner may be
    accepted and not ended, `running` how many agents may work at once. A place that becomes free
    goes to the owner with the fewest at work, and between equals to who has waited since the
    longest: a hundred prompts of one keep nobody's first one waiting.
    """

    def __init__(
        self,
        *,
        turns: Callable[[], int] = _no_limit,
        running: Callable[[], int] = _no_limit,
        allowance: Allowance | None = None,
    ) -> None:
        self.allowance = allowance or Allowance()
        self._turns = turns
        self._running = running
        self._at_work: Counter[str | None] = Counter()
        self._waiting: OrderedDict[str | None, deque[trio.Event]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many turns were accepted and wait for a place."""
        return sum(map(len, self._waiting.values()))

    def check(self, owner: str | None, feeds: Feeds) -> None:
        """May this owner have another turn? Raises `TooManyTurns` or `TokensSpent`. What follows
        without waiting counts: open the turn's feed in the same step.
        """
        most = self._turns()
        if most and sum(feed.owner == owner and not feed.closed for feed in feeds) >= most:
            raise TooManyTurns(most)
        self.allowance.check(owner)

    def is_free(self) -> bool:
        most = self._running()
        return not most or (not self._waiting and self._at_work.total() < most)

    @asynccontextmanager
    async def place(self, owner: str | None) -> AsyncIterator[None]:
        """Wait for a place, and keep it for the length of the block."""
        if self.is_free():
            self._at_work[owner] += 1
        else:
            await self._wait(owner)
        try:
            yield
        finally:
            self._at_work[owner] -= 1
            self._give()

    async def _wait(self, owner: str | None) -> None:
        mine = trio.Event()
        self._waiting.setdefault(owner, deque()).append(mine)
        self._give()  # the limit may have been raised
        try:
            await mine.wait()
        except BaseException:
            if mine.is_set():
                self._at_work[owner] -= 1
            else:
                self._leave(owner, mine)
            self._give()
            raise

    def _leave(self, owner: str | None, mine: trio.Event) -> None:
        self._waiting[owner].remove(mine)
        if not self._waiting[owner]:
            del self._waiting[owner]

    def _give(self) -> None:
        """The places that are free, to those that wait."""
        most = self._running()
        while self._waiting and (not most or self._at_work.total() < most):
            owner = min(self._waiting, key=lambda each: self._at_work[each])
            theirs = self._waiting.pop(owner)
            self._at_work[owner] += 1
            theirs.popleft().set()
            if theirs:
                self._waiting[owner] = theirs  # behind the others
