"""The search's owner, who alone uses its database."""

import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from actors import Actor, Message, Rejected
from actors.stores import RecordInfo, RecordNotFound, RecordStore, StoreError

from .database import Database, is_full, open_database, renew_database
from .messages import Forget, Found, Search, SearchUnavailable
from .text import Document, terms_of

__all__ = ["Searcher"]

log = logging.getLogger("actors.search")

BUDGET_SECONDS = 2.0  # for catching up before the answer; the rest is read in the background
BATCH_FILES = 200  # read, then indexed together
BATCH_BYTES = 4_000_000
LIMIT = 500

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Files = Sequence[tuple[RecordInfo, bytes]]


@dataclass(frozen=True, slots=True)
class _FilesRead(Message[None]):
    """A batch that was read in the background."""

    files: Files


class Searcher(Actor):
    """A projection of the records. Nobody tells it anything: at each search it compares the files
    with what it has indexed, and reads those that differ.

    `document_of(session_id, data)` reads a record's text, in a thread; it raises `Rejected` for a
    damaged one. `database` None keeps the index in memory, for as long as the actor is. A database
    file belongs to one actor.
    """

    def __init__(
        self,
        store: RecordStore,
        database: Path | None,
        document_of: Callable[[str, bytes], Document],
    ) -> None:
        self._store = store
        self._path = database
        self._document_of = document_of
        self._database: Database
        self._behind: deque[RecordInfo] = deque()  # still to be read, the newest first
        self._reading = False  # in the background: `_behind` belongs to that task
        self._unreadable: set[RecordInfo] = set()  # until they change, or the next incarnation

    async def on_start(self) -> None:
        try:
            self._database = await _in_thread(open_database, self._path)
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(error) from error

    async def receive(self, message: Message[object]) -> object:
        match message:
            case Search():
                return await self._search(message)
            case Forget(session_ids):
                await self._forget(session_ids)
            case _FilesRead(files):
                await self._files_read(files)
        return None

    def may_passivate(self) -> bool:
        return not self._reading

    async def on_stop(self) -> None:
        await _in_thread(self._database.close)

    # -- the search -------------------------------------------------------------------------

    async def _search(self, search: Search) -> Found:
        terms = terms_of(search.query)
        if not terms:
            return Found((), complete=True)
        try:
            try:
                return await self._answer(terms, search)
            except sqlite3.DatabaseError as error:
                await self._renew(error)
            return await self._answer(terms, search)
        except (sqlite3.Error, StoreError) as error:
            raise _unavailable(error) from error

    async def _answer(self, terms: Sequence[str], search: Search) -> Found:
        if not self._reading:
            await self._catch_up()
        limit = max(0, min(search.limit, LIMIT))
        hits = await _in_thread(self._database.find, terms, search.content, limit, search.viewer)
        return Found(hits, complete=not self._reading)

    async def _renew(self, error: sqlite3.Error) -> None:
        """Begin again with an empty database, unless there is but no room for more."""
        if is_full(error):
            raise error
        await _in_thread(self._database.close)
        try:
            self._database = await _in_thread(renew_database, self._path, error)
        except OSError as failure:
            raise _unavailable(failure) from failure

    async def _forget(self, session_ids: Sequence[str]) -> None:
        try:
            await _in_thread(self._database.forget, session_ids)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    # -- the files --------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        late = trio.current_time() + BUDGET_SECONDS
        infos = [info for info in await self._store.scan() if not info.name.startswith("_")]
        stale = await _in_thread(self._database.compare, infos)
        self._unreadable.intersection_update(stale)
        self._behind = deque(info for info in stale if info not in self._unreadable)
        while self._behind and trio.current_time() < late:
            await self._put(await self._read(late))
        self._read_on_soon()

    async def _read(self, until: float) -> Files:
        """The next of those we are behind with: as many as fit into a batch, and into the time."""
        files: list[tuple[RecordInfo, bytes]] = []
        room = BATCH_BYTES
        while self._behind and len(files) < BATCH_FILES and room > 0:
            if trio.current_time() >= until:
                break
            info = self._behind.popleft()
            try:
                files.append((info, await self._store.load(info.name)))
            except RecordNotFound:
                continue  # removed meanwhile
            except StoreError as error:
                log.warning("session %s is not searched: %s", info.name, error)
                self._unreadable.add(info)
            room -= info.size
        return files

    async def _put(self, files: Files) -> None:
        await _in_thread(_index, self._database, self._document_of, files)

    def _read_on_soon(self) -> None:
        """One batch at a time: the next is read when this one is indexed. Searches go between."""
        self._reading = bool(self._behind)
        if self._reading:
            self.context.start_soon(self._read_on)

    async def _read_on(self) -> None:
        await self.context.ref.send(_FilesRead(await self._read(inf)))

    async def _files_read(self, files: Files) -> None:
        """If it cannot be kept, we stop here: the next search finds what is missing."""
        self._reading = False
        try:
            await self._put(files)
        except sqlite3.DatabaseError as error:
            log.warning("records were read and could not be indexed: %s", error)
            return
        self._read_on_soon()


def _index(database: Database, document_of: Callable[[str, bytes], Document], files: Files) -> None:
    documents: list[tuple[RecordInfo, Document | None]] = []
    for info, data in files:
        try:
            documents.append((info, document_of(info.name, data)))
        except Rejected as error:
            log.warning("session %s is not searched: %s", info.name, error)
            documents.append((info, None))
    database.put(documents)


async def _in_thread(operation: Callable[[*Ts], T], *args: *Ts) -> T:
    """Never left behind: when this returns or raises, the thread has let go of the database."""
    return await trio.to_thread.run_sync(operation, *args)


def _unavailable(error: Exception) -> SearchUnavailable:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return SearchUnavailable(f"The search cannot be used: {reason or type(error).__name__}")
