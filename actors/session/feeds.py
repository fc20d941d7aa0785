"""The turns' feeds: durable first, then shown."""

from collections.abc import Callable, Iterator, Sequence

import trio

from actors import Feed, Gap
from actors.stores import Durations, Journal

from .agent import ReasoningDelta, TextDelta, ToolStarted
from .entries import TERMINAL, Entry, FeedEvent, TurnBegan, decode, encode, merged
from .stories import Stories

__all__ = ["Feeds", "Reader", "TurnFeed"]

ANSWERING = (TextDelta, ReasoningDelta, ToolStarted)
ROOM = 1 << 20  # characters that may wait for the disk before whoever writes them waits too


class TurnFeed:
    """What one turn has to show. `put` numbers events and hands them to the journal; readers see
    an entry when the journal has it. What is put while the disk is busy waits here and merges,
    so a slow disk makes fewer and larger entries, not a longer queue.
    """

    def __init__(
        self,
        turn_id: str,
        session_id: str,
        journal: Journal,
        on_failure: Callable[[BaseException], None],
        lags: Durations,
        stories: Stories,
        owner: str | None = None,
        last: int = 0,
    ) -> None:
        self.turn_id = turn_id
        self.session_id = session_id  # as it was called when the feed began
        self.owner = owner
        self.failure: BaseException | None = None
        self.running_since: float | None = None  # Trio's clock, like the next
        self.shown_at: float | None = None  # the newest entry
        self.answered_at: float | None = None  # the first that is of the answer
        self._lags = lags  # from put to shown, of all feeds
        self._stories = stories
        self._journal = journal
        self._on_failure = on_failure
        self._feed: Feed[Entry] = Feed(last=last)
        self._pending: list[FeedEvent] = []
        self._pending_size = 0
        self._pending_since = 0.0
        self._in_flight: list[Entry] = []
        self._in_flight_since = 0.0  # its oldest event was put
        self._line = 0  # of the session's story
        self._progress = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<TurnFeed {self.turn_id} {self._feed!r}>"

    @property
    def running(self) -> bool:
        """Its agent works; not while it waits, nor while a title is found."""
        return self.running_since is not None

    @running.setter
    def running(self, running: bool) -> None:
        self.running_since = trio.current_time() if running else None

    @property
    def unshown_seconds(self) -> float:
        """How long the oldest event that waits for the disk has waited; 0 if none does."""
        return trio.current_time() - self._in_flight_since if self._in_flight else 0.0

    @property
    def last_event(self) -> FeedEvent | None:
        """The newest that is shown and in memory."""
        newest = (
            self._feed.after(self._feed.last - 1) if self._feed.first <= self._feed.last else ()
        )
        return newest[0].event if newest else None

    @property
    def last(self) -> int:
        """Number of the newest entry that may be shown."""
        return self._feed.last

    @property
    def closed(self) -> bool:
        return self._feed.closed

    def close(self) -> None:
        """Without an end: nobody was told of it."""
        self._feed.close()

    def put(self, event: FeedEvent) -> None:
        """Take an event; it will be shown when it is durable. Never waits."""
        if self.failure is not None or self.closed:
            return
        if not self._pending:
            self._pending_since = trio.current_time()
        self._pending_size += len(getattr(event, "text", ""))
        together = merged(self._pending[-1], event) if self._pending else None
        if together is None:
            self._pending.append(event)
        else:
            self._pending[-1] = together
        if not self._in_flight:
            self._write()

    def _write(self) -> None:
        events, self._pending, self._pending_size = self._pending, [], 0
        self._in_flight = [
            Entry(seq, event) for seq, event in enumerate(events, self._feed.last + 1)
        ]
        self._in_flight_since = self._pending_since
        if self._stories.watched:
            first, last = self._feed.last + 1, self._feed.last + len(events)
            self._line = self._stories.entries(self.session_id, self.turn_id, events, first, last)
        payloads = [(entry.seq, encode(entry.event)) for entry in self._in_flight]
        self._journal.append(self.turn_id, payloads, self._written)

    def _written(self, error: BaseException | None) -> None:
        entries, self._in_flight = self._in_flight, []
        if error is not None:
            self.failure = error
            self._on_failure(error)
        else:
            self._feed.publish(entries)
            self.shown_at = trio.current_time()
            if self.answered_at is None and any(isinstance(e.event, ANSWERING) for e in entries):
                self.answered_at = self.shown_at
            self._lags.add(self.shown_at - self._in_flight_since)
            if self._line:
                self._stories.reached(self.session_id, self._line, "durable", "shown")
                self._line = 0
            if self._pending:
                self._write()
        self._progress.unpark_all()

    async def wait_room(self) -> None:
        """Until so little waits for the disk that more may be put."""
        while self._pending_size > ROOM and self.failure is None:
            await self._progress.park()

    async def wait_shown(self) -> None:
        """Until all that was put is durable and shown, or cannot be."""
        while (self._in_flight or self._pending) and self.failure is None:
            await self._progress.park()

    async def end(self, *events: FeedEvent) -> None:
        """Show these as the last ones, and close.

        If even that cannot be made durable, readers are told all the same: they must not wait for
        ever, and after a restart they would be told the like of it again.
        """
        for event in events:
            self.put(event)
        await self.wait_shown()
        if self.failure is None:
            self._journal.settle(self.turn_id)
        elif not self.closed:
            first = self._feed.last + 1
            self._feed.publish(Entry(seq, event) for seq, event in enumerate(events, first))
        self._feed.close()

    # -- reading ----------------------------------------------------------------------------

    def after(self, cursor: int) -> Sequence[Entry]:
        return self._feed.after(cursor)

    async def wait_after(self, cursor: int) -> None:
        await self._feed.wait_after(cursor)

    async def follow(self, take: Callable[[Sequence[Entry]], bool]) -> None:
        await self._feed.follow(take)


class Reader:
    """One reader's place in a feed. A slow one costs nobody anything: what is no longer in memory
    it gets from the journal.
    """

    def __init__(self, feeds: "Feeds", turn_id: str, feed: TurnFeed | None, cursor: int) -> None:
        self.turn_id = turn_id
        self.cursor = cursor
        self._feeds = feeds
        self._feed = feed

    async def follow(self, take: Callable[[Sequence[Entry]], bool]) -> None:
        """While nothing is left to read, have new entries handed to `take` as they are shown: no
        task is woken for them. Return when there is something for `next`: `take` said False, and
        has moved `cursor` over what it took; or the feed has ended.
        """
        if self._feed is not None and self._feed.last == self.cursor:
            await self._feed.follow(take)

    async def next(self) -> Sequence[Entry]:
        """The next entries that are ready, all of them; none when the feed has ended.

        Waits for the first one. Ended without a terminal entry means that its space was given
        back meanwhile: read the record.
        """
        entries: Sequence[Entry]
        if self._feed is None:
            entries = await self._feeds.stored(self.turn_id, self.cursor)
        else:
            await self._feed.wait_after(self.cursor)
            try:
                entries = self._feed.after(self.cursor)
            except Gap:
                entries = await self._feeds.stored(self.turn_id, self.cursor)
        if entries:
            self.cursor = entries[-1].seq
        return entries


class Feeds:
    """All turns whose output can be read: those that run, and those the journal still holds."""

    def __init__(self, journal: Journal) -> None:
        self.lags = Durations()  # from put to shown, once a write
        self.stories = Stories()
        self._journal = journal
        self._live: dict[str, TurnFeed] = {}
        self._ended = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[TurnFeed]:
        return iter(list(self._live.values()))

    def open(
        self,
        turn_id: str,
        session_id: str,
        on_failure: Callable[[BaseException], None],
        owner: str | None = None,
    ) -> TurnFeed:
        """Begin a feed. Its first entry is on the way to the disk when this returns."""
        feed = self._feed(turn_id, TurnBegan(session_id, owner), on_failure)
        self._live[turn_id] = feed
        feed.put(TurnBegan(session_id, owner))
        return feed

    def _feed(
        self,
        turn_id: str,
        began: TurnBegan,
        on_failure: Callable[[BaseException], None],
        last: int = 0,
    ) -> TurnFeed:
        of, owner = began.session_id, began.owner
        lags, stories = self.lags, self.stories
        return TurnFeed(turn_id, of, self._journal, on_failure, lags, stories, owner, last)

    async def resume(self, turn_id: str, session_id: str) -> tuple[TurnFeed, list[Entry]]:
        """The feed of a turn that was cut off, and what it had shown: cut off by the end of a
        process, or of its session's actor; then readers still follow it.
        """
        feed = self._live.get(turn_id)
        if feed is not None:
            await feed.wait_shown()
        entries = await self.stored(turn_id, 0)
        if feed is None:
            began = _began(entries) or TurnBegan(session_id)
            feed = self._feed(turn_id, began, lambda _: None, last=len(entries))
        return feed, entries

    async def reopen(
        self,
        turn_id: str,
        session_id: str,
        on_failure: Callable[[BaseException], None],
        owner: str | None = None,
    ) -> None:
        """The feed of a turn that had not begun when the process ended."""
        entries = await self.stored(turn_id, 0)
        if not entries:
            self.open(turn_id, session_id, on_failure, owner)
            return
        began = _began(entries) or TurnBegan(session_id, owner)
        self._live[turn_id] = self._feed(turn_id, began, on_failure, last=len(entries))

    async def end(self, feed: TurnFeed, *events: FeedEvent) -> None:
        """End it with these entries, the last of them terminal. Shielded: it is short, and a
        feed without an end is a reader that waits for ever.
        """
        assert isinstance(events[-1], TERMINAL)
        with trio.CancelScope(shield=True):
            await feed.end(*events)
        if feed.failure is None:
            self._live.pop(feed.turn_id, None)
        self._ended.unpark_all()

    async def drop(self, feed: TurnFeed) -> None:
        """Forget a turn that was never accepted. Nobody has its name."""
        self._live.pop(feed.turn_id, None)
        await feed.wait_shown()
        feed.close()
        self._journal.settle(feed.turn_id)

    def find(self, turn_id: str) -> TurnFeed | None:
        """The feed of a turn that runs."""
        return self._live.get(turn_id)

    def last_seq(self, turn_id: str) -> int | None:
        """How far the feed has come; None if there is no such feed, or no longer."""
        feed = self._live.get(turn_id)
        if feed is not None:
            return feed.last
        info = self._journal.streams().get(turn_id)
        return None if info is None else info.last_seq

    def read(self, turn_id: str, after: int = 0) -> Reader | None:
        """Read from behind `after`. A cursor beyond the end starts again at 1: never skip."""
        last = self.last_seq(turn_id)
        if last is None:
            return None
        return Reader(self, turn_id, self._live.get(turn_id), after if 0 <= after <= last else 0)

    async def stored(self, turn_id: str, after: int) -> list[Entry]:
        """What the journal holds of a turn."""
        stored = await self._journal.read(turn_id, after)
        return [Entry(seq, decode(payload)) for seq, payload in stored]

    async def session_of(self, turn_id: str) -> str | None:
        """The id of the session whose turn it is, as the turn's first entry names it."""
        began = await self.began(turn_id)
        return None if began is None else began.session_id

    async def began(self, turn_id: str) -> TurnBegan | None:
        """Of which session it is, and whose; None if there is no such feed, or no longer."""
        feed = self._live.get(turn_id)
        if feed is not None:
            return TurnBegan(feed.session_id, feed.owner)
        if self.last_seq(turn_id) is None:
            return None
        return _began(await self.stored(turn_id, 0))

    def is_unsettled(self, turn_id: str) -> bool:
        """It has begun, has not ended, and does not run."""
        info = self._journal.info(turn_id)
        return info is not None and not info.settled and turn_id not in self._live

    def unsettled(self) -> list[str]:
        """Turns that the journal knows to have begun and not to have ended, and that do not run."""
        streams = self._journal.streams().items()
        return [name for name, info in streams if not info.settled and name not in self._live]

    async def wait_idle(self, waiting: Callable[[TurnFeed], bool] = lambda _: False) -> None:
        """Until no feed is open but those `waiting`."""
        while any(not feed.closed and not waiting(feed) for feed in self._live.values()):
            await self._ended.park()


def _began(entries: Sequence[Entry]) -> TurnBegan | None:
    first = entries[0].event if entries else None
    return first if isinstance(first, TurnBegan) else None
