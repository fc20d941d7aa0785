"""A numbered broadcast that many readers follow at their own pace."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Generic, TypeVar

import trio

__all__ = ["Feed", "Gap"]

T = TypeVar("T")


class Gap(Exception):
    """The entries after `cursor` are no longer in memory, up to and including `first - 1`."""

    def __init__(self, cursor: int, first: int) -> None:
        super().__init__(f"entry {cursor + 1} was asked for, the oldest in memory is {first}")
        self.cursor = cursor
        self.first = first


class Feed(Generic[T]):
    """Entries are numbered from 1. Publishing never waits; a reader is nothing but a cursor, so
    a slow one costs nobody anything. The last `window` entries stay in memory: a reader who
    fell further behind gets `Gap`, and reads on from where the entries are kept.
    """

    def __init__(self, *, window: int = 8192, last: int = 0) -> None:
        self.last = last  # number of the newest entry
        self.closed = False
        self._window: deque[T] = deque(maxlen=window)
        self._readers = trio.lowlevel.ParkingLot()
        self._followers: dict[trio.Event, Callable[[Sequence[T]], bool]] = {}

    def __repr__(self) -> str:
        return f"<Feed {self.last} entries{', closed' if self.closed else ''}>"

    @property
    def first(self) -> int:
        """Number of the oldest entry in memory; `last + 1` if there is none."""
        return self.last - len(self._window) + 1

    @property
    def readers_waiting(self) -> int:
        """How many tasks wait for the next entry."""
        return len(self._readers)

    @trio.lowlevel.enable_ki_protection
    def publish(self, entries: Iterable[T]) -> None:
        """Number the entries and wake whoever waits for them."""
        if self.closed:
            raise ValueError("the feed is closed")
        entries = tuple(entries)  # all or, should this raise, none
        self._window.extend(entries)
        self.last += len(entries)
        if entries:
            self._readers.unpark_all()
            for left, take in list(self._followers.items()):
                if not take(entries):
                    left.set()
                    del self._followers[left]

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """There will be no more entries. Closing twice is harmless."""
        self.closed = True
        self._readers.unpark_all()
        for left in self._followers:
            left.set()

    def after(self, cursor: int) -> Sequence[T]:
        """All entries in memory behind `cursor`, perhaps none. Raises `Gap`."""
        if cursor < self.first - 1:
            raise Gap(cursor, self.first)
        return list(islice(self._window, cursor - self.first + 1, None))

    async def wait_after(self, cursor: int) -> None:
        """Return as soon as there is an entry behind `cursor`, or the feed is closed."""
        await trio.lowlevel.checkpoint()
        while self.last <= cursor and not self.closed:
            await self._readers.park()

    async def follow(self, take: Callable[[Sequence[T]], bool]) -> None:
        """Have what is published from now on handed to `take`, there and then: no task is woken
        for it. Return when `take` has said False, or the feed is closed. `take` must not raise.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        left = trio.Event()
        self._followers[left] = take
        try:
            if not self.closed:
                await left.wait()
        finally:
            self._followers.pop(left, None)
