"""The composition root: one data directory, its sessions and their list, in one block."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import trio

from actors import (
    ActorError,
    CellStatistics,
    Kind,
    NotOnTrio,
    Ref,
    Rejected,
    Statistics,
    System,
    open_system,
)
from actors.index.actor import Index
from actors.index.messages import TEMPORARY, Row, RowsOf
from actors.projects.actor import Projects
from actors.schema import settle_schema
from actors.search.actor import Searcher
from actors.search.messages import Forget
from actors.search.text import Document
from actors.session.actor import Session
from actors.session.admission import Admission
from actors.session.agent import Agent
from actors.session.entries import Entry
from actors.session.feeds import Feeds, TurnFeed
from actors.session.messages import (
    Assign,
    CancelTurn,
    GetSession,
    OnBehalf,
    SetTitle,
    SettleStream,
    Sweep,
    TitleOutcome,
)
from actors.session.notices import Notice, Notices
from actors.session.record import is_session_id, load, summary
from actors.session.refusals import SessionNotFound
from actors.session.reports import TurnReport
from actors.session.shared import Shared
from actors.session.titles import tidied_title
from actors.session.titling import ask_for_title
from actors.session.transcript import text_of
from actors.stores import (
    Disk,
    Journal,
    JournalStatistics,
    RecordStore,
    WriterStatistics,
    open_journal,
    open_record_store,
    own_directory,
)
from actors.stores.writer import background
from actors.viewer import Viewer

__all__ = ["Greenroom", "open_greenroom"]

log = logging.getLogger("actors.greenroom")

FORGET_SECONDS = 0.1
IDLE_SECONDS = 300.0
SHRINKS = frozenset({"session_delete", "session_clear", "session_truncate", "session_undo"})
GRACE_SECONDS = 2.0  # for turns that are nearly done when we are to end


class Greenroom:
    """Made by `open_greenroom`. Sessions are asked in the words of `actors.session.messages`; their
    list, their projects and the search in those of `actors.index`, `.projects` and `.search`.
    """

    def __init__(
        self,
        data_dir: Path,
        system: System,
        shared: Shared,
        journal: Journal,
        root: RecordStore,
    ) -> None:
        self.data_dir = data_dir
        self.feeds = shared.feeds
        self.index = system.ref("index", "main")
        self.projects = system.ref("projects", "main")
        self.search = system.ref("search", "main")
        self._system = system
        self._shared = shared
        self._journal = journal
        self._root = root

    def session(self, session_id: str) -> Ref:
        """The session's address, whether there is such a session or not.

        Raises `SessionNotFound` for what cannot be the id of one: no other characters than
        letters, digits, `_` and `-` ever reach the disk.
        """
        if not is_session_id(session_id):
            raise SessionNotFound
        return self._system.ref("session", session_id)

    def new_session(self, session_id: str | None = None) -> Ref:
        """An address that nobody has, unless you name one: 12 hex digits."""
        return self._system.ref("session", session_id or uuid4().hex[:12])

    def current_id(self, session_id: str) -> str:
        """The id under which the session goes on, as far as this process knows."""
        return self._system.resolve("session", session_id)

    async def follow(self, turn_id: str, after: int = 0) -> AsyncIterator[Entry]:
        """The turn's entries behind number `after`, as they become durable, to the last.

        `async for entry in greenroom.follow(accepted.turn_id)`: who comes back after a cut, or a
        restart, names the last `entry.seq` that it has. A turn's entries are kept for two minutes
        after its end; then, or for a name that is no turn's, there are none: read the record.
        """
        reader = self.feeds.read(turn_id, after)
        while reader is not None and (entries := await reader.next()):
            for entry in entries:
                yield entry

    def running(self) -> list[TurnFeed]:
        """The feeds of the turns whose agents work."""
        return [feed for feed in self.feeds if feed.running]

    @property
    def notices(self) -> Notices:
        """What becomes of all sessions."""
        return self._shared.notices

    @property
    def accepting(self) -> bool:
        """False once `settle` was called: no new turns are taken."""
        return self._shared.accepting

    @property
    def turns_started(self) -> int:
        """Since this process began."""
        return self._shared.turns_started

    def statistics(self) -> Statistics:
        """All live actors, and what has happened; nothing is gathered until it is called."""
        return self._system.statistics()

    def session_statistics(self, session_id: str) -> CellStatistics | None:
        """Of one session's actor; None if it is put away, and this does not wake it."""
        return self._system.cell_statistics("session", session_id)

    def journal_statistics(self) -> JournalStatistics:
        """Of what running turns show: its size, and how long its commits take."""
        return self._journal.statistics()

    def record_statistics(self) -> WriterStatistics:
        """Of the saves of sessions: how long they take, and whether one is stuck."""
        return self._shared.store.statistics()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Inside the block nothing of its own is written to disk, and all that was ever answered
        is there: what comes after another is not there without it.
        """
        async with self._shared.store.held(), self._root.held(), self._journal.held():
            yield

    @property
    def records(self) -> RecordStore:
        """Of the sessions. For who keeps them as they are now: see `app.backup`."""
        return self._shared.store

    async def check_disk(self) -> None:
        """Whether the disk takes a file now. Raises `StoreError`."""
        await self._shared.store.check()

    def saving_seconds(self, session_id: str) -> float:
        """How long a save of the session's record has waited for the disk; 0 if none does."""
        return self._shared.store.waiting_seconds(session_id)

    async def retitle(self, session_id: str, *, latest: bool = False) -> TitleOutcome:
        """A new title in place of whatever is there, from the first exchange or the latest; made
        from its first words if no model makes one. Giving up leaves the title as it was.
        """
        session = self.session(session_id)
        record = (await session.ask(GetSession())).record
        said = await ask_for_title(self._shared, record, latest=latest)
        return await session.ask(
            SetTitle(record, tidied_title(said), said, force=True, latest=latest)
        )

    async def settle(self) -> None:
        """Take no more turns; let those that run finish, for a moment, then stop them and keep
        what they have shown. Prompts that wait go on waiting, and have their turn after a restart.
        """
        self._shared.accepting = False
        with trio.move_on_after(GRACE_SECONDS):
            await self.feeds.wait_idle(waiting=lambda feed: feed.last == 1 and not feed.running)
        async with trio.open_nursery() as nursery:
            for feed in self.feeds:
                cancel = CancelTurn(feed.turn_id, shutdown=True)
                nursery.start_soon(self.session(feed.session_id).ask, cancel)

    async def recover(self) -> None:
        """Wake the sessions whose turns a crash cut off; each mends itself as it starts. What was
        idle costs nothing: the journal names those that were not.
        """
        for turn_id in self.feeds.unsettled():
            session_id = await self.feeds.session_of(turn_id)
            try:
                if session_id is not None:
                    await self.session(session_id).ask(SettleStream(turn_id))
            except Rejected as error:
                # What it has shown stays in the journal until its session can take it in.
                log.warning("session %s: %s", session_id, str(error) or type(error).__name__)
                continue
            if self.feeds.find(turn_id) is None:
                self._journal.settle(turn_id)  # harmless if the session has done so


def _row_of(session_id: str, data: bytes) -> Row:
    return summary(load(session_id, data))


def _document_of(session_id: str, data: bytes) -> Document:
    record = load(session_id, data)
    said = [
        text_of(row.get("content"))
        for row in record.messages
        if row.get("role") in ("user", "assistant") and not row.get("_error")
    ]
    hidden = record.pre_compression_snapshot or record.session_source == TEMPORARY
    return Document(record.title, said, hidden=hidden, owner=record.owner)


@asynccontextmanager
async def open_greenroom(
    data_dir: Path,
    agent: Agent,
    *,
    side_agent: Agent | None = None,
    model_titles: bool = True,
    default_model: str | None = None,
    context_tokens: int | None = None,
    checkpoint_seconds: float = 15.0,
    on_turn_ended: Callable[[TurnReport], None] = lambda report: None,
    admission: Admission | None = None,
    approval_seconds: float = 600.0,
    disk: Disk | None = None,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[], str] = lambda: uuid4().hex,
) -> AsyncIterator[Greenroom]:
    """Own `data_dir` and run its sessions inside the block, answered by `agent`.

    `side_agent`, usually the same, is asked for titles and summaries (`AgentTurn.purpose` says for
    which). `context_tokens` is how much the model can see at once: a turn that comes near it begins
    with a summary of what is old. `admission` says how many turns there may be, and of whom.
    `on_turn_ended` is told how each turn went, and must not raise.

    Raises `DirectoryInUse` if another process owns the directory, `NewerVersion` if a newer program
    has written there, and `NotOnTrio`. `disk`, `clock` (epoch seconds) and `new_id` are for tests:
    with a disk of their own nothing is locked, and `data_dir` is but a name.
    """
    if not trio.lowlevel.in_trio_run():
        raise NotOnTrio
    with _owned(data_dir) if disk is None else nullcontext():
        async with (
            open_record_store(data_dir / "sessions", disk=disk) as store,
            open_record_store(data_dir, disk=disk) as root,
            open_journal(data_dir / "journal", disk=disk) as journal,
        ):
            shared = Shared(
                store=store,
                feeds=Feeds(journal),
                agent=agent,
                clock=clock,
                new_id=new_id,
                side_agent=side_agent,
                model_titles=model_titles,
                default_model=default_model,
                context_tokens=context_tokens,
                checkpoint_seconds=checkpoint_seconds,
                admission=admission or Admission(),
                on_turn_ended=on_turn_ended,
                approval_seconds=approval_seconds,
            )
            database = data_dir / "search.sqlite" if disk is None else None
            async with (
                shared.admission.allowance.kept(root),
                open_system(*_kinds(shared, root, database)) as system,
            ):
                greenroom = Greenroom(data_dir, system, shared, journal, root)
                await greenroom.recover()
                async with background(partial(_forget_removed, greenroom, database)) as forgetting:
                    try:
                        yield greenroom
                    finally:
                        forgetting.cancel()


async def _forget_removed(greenroom: Greenroom, database: Path | None) -> None:
    """What was removed from a session is not to stay in the search until somebody searches."""
    if database is None:
        return
    path, seen = trio.Path(database), greenroom.notices.last
    while True:
        notices = await greenroom.notices.after(seen) or ()
        seen = greenroom.notices.last
        shrunk = {notice.session_id for notice in notices if notice.reason in SHRINKS}
        if shrunk and await path.exists():
            with suppress(ActorError):  # the next search will see to it
                await greenroom.search.ask(Forget(sorted(shrunk)))
        await trio.sleep(FORGET_SECONDS)  # many go together


@contextmanager
def _owned(data_dir: Path) -> Iterator[None]:
    with own_directory(data_dir):
        settle_schema(data_dir)
        yield


def _kinds(shared: Shared, root: RecordStore, database: Path | None) -> tuple[Kind, ...]:
    """Whom the others need to the last is named first."""
    return (
        Kind("index", lambda _: _index_of(shared), capacity=1 << 16),
        Kind("session", lambda key: Session(key, shared), idle_after=IDLE_SECONDS),
        Kind("projects", lambda _: _projects_of(shared, root), idle_after=IDLE_SECONDS),
        Kind(
            "search",
            lambda _: Searcher(shared.store, database, _document_of),
            idle_after=IDLE_SECONDS,
        ),
    )


def _index_of(shared: Shared) -> Index:
    index: Index

    async def sweep(session_id: str) -> object:
        return await index.context.refer("session", session_id).ask(Sweep())

    def rebuilt() -> None:
        shared.notices.publish(Notice("", "list_rebuilt"))

    index = Index(shared.store, _row_of, sweep, rebuilt)
    return index


def _projects_of(shared: Shared, root: RecordStore) -> Projects:
    projects: Projects

    async def members(project_id: str) -> Sequence[str]:
        return await projects.context.refer("index", "main").ask(RowsOf(project_id))

    async def move(session_id: str, project_id: str | None, viewer: Viewer) -> object:
        session = projects.context.refer("session", session_id)
        return await session.ask(OnBehalf(viewer, Assign(project_id)))

    projects = Projects(root, "projects", members, move, shared.clock, shared.new_id)
    return projects
