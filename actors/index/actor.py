"""The list's owner, and the only writer of `_index.json`."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import trio

from actors import Actor, ActorError, Message, Rejected
from actors.stores import RecordInfo, RecordNotFound, RecordStore, StoreError
from actors.viewer import Viewer

from .file import checked, decode_rows, encode_parts
from .listing import Listing
from .messages import (
    STAMP,
    CountRows,
    IndexUnavailable,
    IndexWritten,
    ListPage,
    ListRows,
    Page,
    PinLimit,
    ReleasePin,
    ReservePin,
    Row,
    RowChanged,
    RowRemoved,
    RowsFound,
    RowsNamed,
    RowsOf,
)
from .rows import place

__all__ = ["INDEX", "Index"]

log = logging.getLogger("actors.index")

INDEX = "_index"  # its name in the store
READ_AT_ONCE = 200  # stale rows read before the first answer; more are read in the background
BATCH = 100
REST = 10  # times as long as a write took, until the next one
LEAST_REST_SECONDS = 1.0  # what a crash makes stale in it, a start reads again
RETRY_SECONDS = 5.0
MOST_RETRY_SECONDS = 600.0
PIN_LIMIT = 3


class Index(Actor):
    """A projection of the records. Sessions tell it what they have become; what happened while
    nobody told is found by the stamps of the files: each row holds that of its own.

    `row_of(session_id, data)` reads a record's row; it raises `Rejected` for a damaged one.
    `sweep(session_id)` has that session look at what a crash left of it.
    `rebuilt` is called when rows that were read in the background are all there.
    """

    def __init__(
        self,
        store: RecordStore,
        row_of: Callable[[str, bytes], Row],
        sweep: Callable[[str], Awaitable[object]],
        rebuilt: Callable[[], None],
    ) -> None:
        self._store = store
        self._row_of = row_of
        self._sweep = sweep
        self._rebuilt = rebuilt
        self._rows = Listing()
        self._told: set[str] = set()  # while files are being read: those who spoke for themselves
        self._reserved: dict[str, str | None] = {}  # about to be pinned, and whose
        self._reading = False
        self._writing = False
        self._dirty = False

    async def on_start(self) -> None:
        try:
            await self._open()
        except StoreError as error:
            raise IndexUnavailable(str(error)) from error

    async def _open(self) -> None:
        infos = {info.name: info for info in await self._store.scan()}
        written = infos.pop(INDEX, None)
        files = {name: info for name, info in infos.items() if not name.startswith("_")}
        rows = await self._load()
        self._rows = Listing(row for name, row in rows.items() if name in files)
        stale = [name for name, info in files.items() if self._is_stale(info)]
        self._dirty = bool(stale) or len(self._rows) != len(rows) or written is None
        stamps = {info.name: info.stamp for info in files.values()}
        found, missed = await self._read(stale[:READ_AT_ONCE], stamps)
        self._put(found)
        later = [*stale[READ_AT_ONCE:], *missed]
        if later:
            self._reading = True
            self.context.start_soon(self._read_on, later, stamps)
        else:
            self.context.start_soon(self._sweep_all, self._rows.left_over())
        self._write_soon()

    def _is_stale(self, info: RecordInfo) -> bool:
        """A row that is not of this version of the file, or one of the reference system's, which
        may lack what we ask for.
        """
        row = self._rows.get(info.name)
        return row is None or bool(row.get(STAMP) != info.stamp)

    async def receive(self, message: Message[object]) -> object:
        match message:
            case RowChanged(row):
                self._reserved.pop(row["session_id"], None)
                self._told.add(row["session_id"])
                self._put([row])
            case RowRemoved(session_id):
                self._reserved.pop(session_id, None)
                self._told.add(session_id)
                self._rows.remove(session_id)
                self._dirty = True
            case ListRows(hidden, viewer):
                return self._rows.all(viewer) if hidden else self._rows.shown(viewer)
            case ListPage(part, archived, viewer):
                return self._page(part, archived, viewer)
            case RowsOf(project_id):
                rows = self._rows
                return [r["session_id"] for r in rows if r.get("project_id") == project_id]
            case RowsNamed(session_ids, shown, viewer):
                return self._named(session_ids, shown, viewer)
            case CountRows(besides, viewer):
                new = sum(self._rows.get(name) is None for name in besides)
                return self._rows.count_of(viewer.owner) + new
            case ReservePin(session_id, owner):
                self._reserve_pin(session_id, owner)
            case ReleasePin(session_id):
                self._reserved.pop(session_id, None)
            case RowsFound(rows, complete, missed):
                self._put([row for row in rows if row["session_id"] not in self._told])
                self._reading = missed or not complete
                if complete:
                    self._rebuilt()
                    self.context.start_soon(self._sweep_all, self._rows.left_over())
            case IndexWritten(error):
                self._written(error)
        if not self._reading:
            self._told.clear()
        self._write_soon()
        return None

    def may_passivate(self) -> bool:
        return False

    async def on_stop(self) -> None:
        if self._dirty or self._writing:  # a write may have failed, and rest before it tries again
            try:
                await self._store.save(INDEX, await self._encoded(self._rows.all()))
            except StoreError as error:
                log.warning("the index could not be written, and is behind the records: %s", error)

    # -- the rows ---------------------------------------------------------------------------

    def _put(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._rows.put(row)
            self._dirty = True

    def _page(self, part: tuple[int, int], archived: tuple[int, int], viewer: Viewer) -> Page:
        listed = self._rows
        both = *listed.page(*part, viewer), *listed.page(*archived, viewer, archived=True)
        rows = sorted(both, key=place, reverse=True)
        return Page(rows, listed.count(viewer), listed.count(viewer, archived=True))

    def _named(self, session_ids: Sequence[str], shown: bool, viewer: Viewer) -> Sequence[Row]:
        rows = (self._rows.get(name) for name in session_ids if not shown or self._rows.shows(name))
        return [row for row in rows if row is not None and viewer.may_see(row.get("owner"))]

    def _reserve_pin(self, session_id: str, owner: str | None) -> None:
        reserved = {name for name, whose in self._reserved.items() if whose == owner}
        if len((self._rows.pinned_of(owner) | reserved) - {session_id}) >= PIN_LIMIT:
            raise PinLimit(PIN_LIMIT)
        self._reserved[session_id] = owner

    # -- the files --------------------------------------------------------------------------

    async def _load(self) -> dict[str, Row]:
        """What the index file says; nothing if it is missing or makes no sense."""
        rows: dict[str, Row] = {}
        try:
            for part in decode_rows(await self._store.load(INDEX)):
                rows |= {str(row["session_id"]): row for row in part}
                await trio.lowlevel.checkpoint()
            return rows
        except RecordNotFound:
            return {}
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError) as error:
            log.warning("the index is damaged and is made anew: %s", error)
            return {}

    async def _read(
        self, names: Sequence[str], stamps: Mapping[str, str]
    ) -> tuple[list[Row], list[str]]:
        """The rows, and the names of the files that the disk did not give."""
        rows: list[Row] = []
        missed: list[str] = []
        for name in names:
            try:
                row = self._row_of(name, await self._store.load(name))
                rows.append({**row, STAMP: stamps[name]})
            except RecordNotFound:
                continue
            except (StoreError, Rejected) as error:
                log.warning("session %s is not listed: %s", name, error)
                if isinstance(error, StoreError):
                    missed.append(name)
        return rows, missed

    async def _read_on(self, names: Sequence[str], stamps: Mapping[str, str]) -> None:
        pause = RETRY_SECONDS
        while names:
            missed: list[str] = []
            for start in range(0, len(names), BATCH):
                rows, unread = await self._read(names[start : start + BATCH], stamps)
                missed += unread
                complete = start + BATCH >= len(names)
                await self.context.ref.send(RowsFound(rows, complete, bool(missed)))
            if missed:
                await trio.sleep(pause)
                pause = min(2 * pause, MOST_RETRY_SECONDS)
            names = missed

    async def _sweep_all(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            try:
                await self._sweep(session_id)
            except ActorError as error:
                log.warning("what a crash left of session %s stays: %s", session_id, error)

    def _write_soon(self) -> None:
        """One write at a time. What changes meanwhile is written together, by the next one."""
        if self._dirty and not self._writing:
            self._dirty, self._writing = False, True
            self.context.start_soon(self._write, self._rows.all())

    async def _write(self, rows: Sequence[Row]) -> None:
        began = trio.current_time()
        error: Exception | None = None
        try:
            await self._store.save(INDEX, await self._encoded(rows))
        except StoreError as failure:
            error = failure
            await trio.sleep(RETRY_SECONDS)
        if error is None:
            await trio.sleep(max(REST * (trio.current_time() - began), LEAST_REST_SECONDS))
        await self.context.ref.send(IndexWritten(error))

    async def _encoded(self, rows: Sequence[Row]) -> bytes:
        """A part at a time: others have something to do, too."""
        parts = []
        for part in encode_parts(rows):
            parts.append(part)
            await trio.lowlevel.checkpoint()
        return checked(b"".join(parts))

    def _written(self, error: Exception | None) -> None:
        self._writing = False
        if error is not None:
            log.warning("the index could not be written, trying again: %s", error)
            self._dirty = True
