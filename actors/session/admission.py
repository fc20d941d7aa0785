"""Which turns may begin, and when: so many accepted of each owner, so many at work in all."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from .allowance import Allowance
from .feeds import Feeds
from .refusals import TooManyTurns

__all__ = ["Admission", "Place"]


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

    @contextmanager
    def place(self, owner: str | None) -> Iterator["Place"]:
        """One to be taken, and for the length of the block at most."""
        place = Place(self, owner)
        try:
            yield place
        finally:
            place.give_back()

    async def take(self, owner: str | None) -> None:
        if self.is_free():
            self._at_work[owner] += 1
        else:
            await self._wait(owner)

    def give_back(self, owner: str | None) -> None:
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
                self.give_back(owner)
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


class Place:
    """One turn's. While all that the turn does is wait for people, others may have it: it is given
    back, and has to be waited for again.
    """

    def __init__(self, admission: Admission, owner: str | None) -> None:
        self._admission = admission
        self._owner = owner
        self._held = False
        self._taking = trio.Lock()  # calls that are allowed together need one place
        self._asking = 0
        self._calls: set[str] = set()

    @property
    def at_hand(self) -> bool:
        """To take it needs no waiting."""
        return self._held or self._admission.is_free()

    async def take(self) -> None:
        """Wait for it, unless it is held already."""
        async with self._taking:
            if not self._held:
                await self._admission.take(self._owner)
                self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._admission.give_back(self._owner)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Somebody is asked, for the length of the block. Take it again afterwards."""
        self._asking += 1
        self._rest()
        try:
            yield
        finally:
            self._asking -= 1

    def begins(self, call_id: str) -> None:
        """A call; take it before the call is made."""
        self._calls.add(call_id)

    def ended(self, call_id: str) -> None:
        self._calls.discard(call_id)
        self._rest()

    def _rest(self) -> None:
        if self._asking and not self._calls:
            self.give_back()
