"""How many tokens each owner may use in a day, and how many they have used."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import ceil
from time import time

import msgspec
import trio

from actors.stores import RecordNotFound, RecordStore, StoreError

from .agent import Usage
from .refusals import TokensSpent

__all__ = ["Allowance"]

log = logging.getLogger("actors.session")

NAME = "tokens"  # the record's, in the store
DAY = 86400.0
SAVE_SECONDS = 2.0  # what is spent in so many seconds before a crash may be forgotten


class _Spent(msgspec.Struct):
    """`day` since the epoch, by UTC. Nobody's tokens are under the empty name."""

    day: int
    tokens: dict[str, int]


class Allowance:
    """Counted when a turn has ended, or a question of the session's own for a title or a summary;
    so the last one may go beyond. `most` 0 is no limit, and nothing is counted.
    """

    def __init__(
        self, most: Callable[[], int] = lambda: 0, clock: Callable[[], float] = time
    ) -> None:
        self._most = most
        self._clock = clock
        self._day = 0
        self._tokens: Counter[str] = Counter()
        self._changed = trio.Event()

    def spent(self, owner: str | None) -> int:
        self._turn_the_page()
        return self._tokens[owner or ""]

    def check(self, owner: str | None) -> None:
        """Raises `TokensSpent`."""
        most = self._most()
        if most and self.spent(owner) >= most:
            raise TokensSpent(most, ceil((self._day + 1) * DAY - self._clock()))

    def spend(self, owner: str | None, usage: Usage | None) -> None:
        if usage is None or not self._most():
            return
        self._turn_the_page()
        self._tokens[owner or ""] += usage.input_tokens + usage.output_tokens
        self._changed.set()

    def _turn_the_page(self) -> None:
        today = int(self._clock() // DAY)
        if today != self._day:
            self._day = today
            self._tokens.clear()

    # -- kept -------------------------------------------------------------------------------

    @asynccontextmanager
    async def kept(self, store: RecordStore) -> AsyncIterator[None]:
        """From one process to the next, for the length of the block. Nothing without a limit."""
        if not self._most():
            yield
            return
        await self._load(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, store)
            yield
            nursery.cancel_scope.cancel()

    async def _load(self, store: RecordStore) -> None:
        """What cannot be read was nothing."""
        try:
            kept = msgspec.json.decode(await store.load(NAME), type=_Spent)
        except RecordNotFound:
            return
        except (StoreError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("what was spent today is not known, and begins at 0: %s", error)
            return
        self._day, self._tokens = kept.day, Counter(kept.tokens)

    async def _keep(self, store: RecordStore) -> None:
        """Save what changes, until it is cancelled; and what is left then."""
        try:
            while True:
                await self._changed.wait()
                await self._save(store)
                await trio.sleep(SAVE_SECONDS)
        finally:
            if self._changed.is_set():
                with trio.CancelScope(shield=True):
                    await self._save(store)

    async def _save(self, store: RecordStore) -> None:
        self._changed = trio.Event()
        try:
            await store.save(NAME, msgspec.json.encode(_Spent(self._day, dict(self._tokens))))
        except StoreError as error:
            log.warning("what was spent today is not saved: %s", error)
            self._changed.set()
