"""The sessions as whoever asks may see them. All routes ask through this, and through nothing else.

It has the face of a `Greenroom`. Whom it answers, it looks up anew each time: a route holds it from
the beginning, a stream for as long as it lasts. Where nobody was let in, it raises.
"""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import Any, TypeVar

import trio

from actors import CellStatistics, Message, Ref, Statistics
from actors.greenroom import Greenroom
from actors.index.messages import CountRows, RowsNamed
from actors.session.actor import SHELL_SECONDS
from actors.session.entries import Entry
from actors.session.feeds import Feeds, Reader, TurnFeed
from actors.session.messages import (
    CreateSession,
    DeleteIfEmpty,
    DeleteSession,
    GetSession,
    OnBehalf,
    Once,
    TitleOutcome,
)
from actors.session.notices import Notice, Notices
from actors.session.record import RecordDamaged
from actors.session.refusals import SessionNotFound
from actors.session.stories import Story
from actors.stores import DurationsSummary, JournalStatistics, WriterStatistics
from actors.viewer import Viewer

from .authority.denied import Denied
from .authority.principal import principal
from .limits import Limits, checked_size

__all__ = ["View"]

R = TypeVar("R")

FULL_SECONDS = 60  # nothing frees a place but the user


def _viewer() -> Viewer:
    return principal().viewer


class View:
    def __init__(self, greenroom: Greenroom, limits: Limits) -> None:
        self.limits = limits
        self._greenroom = greenroom
        self._shells: OrderedDict[str, tuple[str | None, float]] = OrderedDict()

    @property
    def index(self) -> "Asked":
        return Asked(self._greenroom.index)

    @property
    def projects(self) -> "Asked":
        return Asked(self._greenroom.projects)

    @property
    def search(self) -> "Asked":
        return Asked(self._greenroom.search)

    @property
    def feeds(self) -> "FeedsSeen":
        return FeedsSeen(self._greenroom.feeds)

    @property
    def notices(self) -> "NoticesSeen":
        return NoticesSeen(self._greenroom.notices)

    # -- sessions ---------------------------------------------------------------------------

    def session(self, session_id: str) -> "SessionSeen":
        """Raises `SessionNotFound` for what cannot be the id of one."""
        return SessionSeen(self, self._greenroom.session(session_id))

    def new_session(self, session_id: str | None = None) -> "SessionSeen":
        return SessionSeen(self, self._greenroom.new_session(session_id))

    async def check_room(self, session_id: str) -> None:
        """For one more session. One in which nothing was said yet counts too, for as long as it
        is in memory. Raises `Denied`.
        """
        most, owner = self.limits["sessions"], _viewer().owner
        if not most:
            return
        now = trio.current_time()
        while self._shells and next(iter(self._shells.values()))[1] < now:
            self._shells.popitem(last=False)
        self._shells[session_id] = (owner, now + SHELL_SECONDS)
        shells = [name for name, (whose, _) in self._shells.items() if whose == owner]
        if await self.index.ask(CountRows(shells)) > most:
            self._shells.pop(session_id, None)
            text = f"There are {most} chats, as many as may be; delete some first"
            raise Denied(429, text, retry_after=FULL_SECONDS)

    def forget_shell(self, session_id: str) -> None:
        whose, _ = self._shells.get(session_id, (None, 0.0))
        if whose == _viewer().owner:
            self._shells.pop(session_id, None)

    def current_id(self, session_id: str) -> str:
        return self._greenroom.current_id(session_id)

    def running(self) -> list[TurnFeed]:
        viewer = _viewer()
        return [feed for feed in self._greenroom.running() if viewer.may_see(feed.owner)]

    async def sees(self, session_id: str) -> bool:
        """Whether it is in the viewer's list. Wakes nobody. Everybody sees what is not, too."""
        if _viewer().sees is None:
            return True
        return bool(await self.index.ask(RowsNamed([self.current_id(session_id)])))

    async def retitle(self, session_id: str, *, latest: bool = False) -> TitleOutcome:
        await self.session(session_id).ask(GetSession())
        return await self._greenroom.retitle(session_id, latest=latest)

    # -- the inspector ----------------------------------------------------------------------

    @property
    def accepting(self) -> bool:
        return self._greenroom.accepting

    async def statistics(self) -> Statistics:
        """All of it for an admin; of the viewer's own sessions for others."""
        statistics = self._greenroom.statistics()
        if principal().admin:
            return statistics
        keys = [key for cell in statistics.cells if (key := _session_of(cell)) is not None]
        own = {row["session_id"] for row in await self.index.ask(RowsNamed(keys))}
        cells = tuple(cell for cell in statistics.cells if _session_of(cell) in own)
        handled = sum(cell.handled for cell in cells)
        return replace(statistics, cells=cells, handled=handled, activations=0, dead_letters=0)

    async def inspects(self, session_id: str) -> bool:
        return principal().admin or await self.sees(session_id)

    async def session_statistics(self, session_id: str) -> CellStatistics | None:
        if not await self.inspects(session_id):
            return None
        return self._greenroom.session_statistics(session_id)

    def open_feeds(self) -> list[TurnFeed]:
        asked = principal()
        feeds = (feed for feed in self._greenroom.feeds if not feed.closed)
        return [feed for feed in feeds if asked.admin or asked.viewer.may_see(feed.owner)]

    async def watch(self, session_id: str) -> AbstractContextManager[Story]:
        """The story of a session; of one that the viewer does not see, there is none."""
        seen = await self.inspects(session_id)
        return self._greenroom.feeds.stories.watch(session_id if seen else "")

    def journal_statistics(self) -> JournalStatistics:
        principal()
        return self._greenroom.journal_statistics()

    def record_statistics(self) -> WriterStatistics:
        principal()
        return self._greenroom.record_statistics()

    def lag(self) -> DurationsSummary:
        principal()
        return self._greenroom.feeds.lags.summary()

    async def saving_seconds(self, session_id: str) -> float:
        seen = await self.inspects(session_id)
        return self._greenroom.saving_seconds(session_id) if seen else 0.0


def _session_of(cell: CellStatistics) -> str | None:
    kind, _, key = cell.address.partition("/")
    return key if kind == "session" else None


class SessionSeen:
    """A session's address, for whoever asks."""

    def __init__(self, view: View, ref: Ref) -> None:
        self.key = ref.key
        self._view = view
        self._ref = ref

    async def ask(self, command: Message[R]) -> R:
        viewer, said = _viewer(), command.command if isinstance(command, Once) else command
        checked_size(said, self._view.limits)
        if isinstance(said, CreateSession):
            await self._view.check_room(self.key)
        elif isinstance(said, DeleteSession | DeleteIfEmpty):
            self._view.forget_shell(self.key)
        if viewer.sees is None:
            return await self._ref.ask(command)
        try:
            answer: R = await self._ref.ask(OnBehalf(viewer, command))
        except RecordDamaged:
            # It cannot say whose it is; the list may remember.
            if await self._view.sees(self.key):
                raise
            raise SessionNotFound from None
        return answer

    def tell(self, command: Message[Any]) -> None:
        """As `Ref.tell`."""
        viewer = _viewer()
        self._ref.tell(command if viewer.sees is None else OnBehalf(viewer, command))


class Asked:
    """The owner of what is everybody's, asked for the viewer. What cannot be asked for a viewer
    cannot be asked here.
    """

    def __init__(self, ref: Ref) -> None:
        self._ref = ref

    async def ask(self, message: Message[R]) -> R:
        assert any(field.name == "viewer" for field in fields(message)), message  # type: ignore[arg-type]
        changed: Message[R] = replace(message, viewer=_viewer())  # type: ignore[type-var]
        return await self._ref.ask(changed)


class FeedsSeen:
    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds

    def find(self, turn_id: str) -> TurnFeed | None:
        feed = self._feeds.find(turn_id)
        return feed if feed is not None and _viewer().may_see(feed.owner) else None

    async def _sees(self, turn_id: str) -> bool:
        viewer = _viewer()
        if viewer.sees is None:
            return True
        began = await self._feeds.began(turn_id)
        return began is not None and viewer.may_see(began.owner)

    async def read(self, turn_id: str, after: int = 0) -> Reader | None:
        return self._feeds.read(turn_id, after) if await self._sees(turn_id) else None

    async def last_seq(self, turn_id: str) -> int | None:
        return self._feeds.last_seq(turn_id) if await self._sees(turn_id) else None

    async def session_of(self, turn_id: str) -> str | None:
        return await self._feeds.session_of(turn_id) if await self._sees(turn_id) else None

    async def stored(self, turn_id: str, after: int) -> list[Entry]:
        return await self._feeds.stored(turn_id, after) if await self._sees(turn_id) else []


class NoticesSeen:
    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    @property
    def last(self) -> int:
        return self._notices.last

    async def after(self, cursor: int) -> Sequence[Notice] | None:
        """As `Notices.after`; but of what came, perhaps none is for this viewer."""
        viewer = _viewer()
        notices = await self._notices.after(cursor)
        if notices is None or viewer.sees is None:
            return notices
        return [note for note in notices if not note.session_id or viewer.may_see(note.owner)]
