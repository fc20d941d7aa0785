"""The list's owner, and the only writer of `_index.json`."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import trio

from actors import Actor, ActorError, Message, Rejected
from actors.stores import RecordInfo, RecordNotFound, RecordStore, StoreError

from .file import decode_rows, encode_rows
from .messages import (
    STAMP,
    IndexUnavailable,
    IndexWritten,
    ListRows,
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
from .rows import left_over, ordered, shown

__all__ = ["INDEX", "Index"]

log = logging.getLogger("actors.index")

INDEX = "_index"  # its name in the store
READ_AT_ONCE = 200  # stale rows read before the first answer; more are read in the background
BATCH = 100
REST = 10  # times as long as a write took, until the next one
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
        self._rows: dict[str, Row] = {}
        self._told: set[str] = set()  # while files are being read: those who spoke for themselves
        self._reserved: set[str] = set()  # about to be pinned
        self._reading = False
        self._writing = False
        self._dirty = False
        self._listed: Sequence[Row] | None = None

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
        self._rows = {name: row for name, row in rows.items() if name in files}
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
            self.context.start_soon(self._sweep_all, left_over(self._rows))
        self._write_soon()

    def _is_stale(self, info: RecordInfo) -> bool:
        """A row that is not of this version of the file, or one of the reference system's, which
        may lack what we ask for.
        """
        return bool(self._rows.get(info.name, {}).get(STAMP) != info.stamp)

    async def receive(self, message: Message[object]) -> object:
        match message:
            case RowChanged(row):
                self._reserved.discard(row["session_id"])
                self._told.add(row["session_id"])
                self._put([row])
            case RowRemoved(session_id):
                self._reserved.discard(session_id)
                self._told.add(session_id)
                self._rows.pop(session_id, None)
                self._changed()
            case ListRows(hidden=True):
                return ordered(self._rows.values())
            case ListRows():
                return self._list()
            case RowsOf(project_id):
                rows = self._rows.values()
                return [r["session_id"] for r in rows if r.get("project_id") == project_id]
            case RowsNamed(session_ids):
                return [self._rows[name] for name in session_ids if name in self._rows]
            case ReservePin(session_id):
                self._reserve_pin(session_id)
            case ReleasePin(session_id):
                self._reserved.discard(session_id)
            case RowsFound(rows, complete, missed):
                self._put([row for row in rows if row["session_id"] not in self._told])
                self._reading = missed or not complete
                if complete:
                    self._rebuilt()
                    self.context.start_soon(self._sweep_all, left_over(self._rows))
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
                await self._store.save(INDEX, encode_rows(ordered(self._rows.values())))
            except StoreError as error:
                log.warning("the index could not be written, and is behind the records: %s", error)

    # -- the rows ---------------------------------------------------------------------------

    def _put(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._rows[row["session_id"]] = row
        if rows:
            self._changed()

    def _changed(self) -> None:
        self._dirty = True
        self._listed = None

    def _list(self) -> Sequence[Row]:
        if self._listed is None:
            self._listed = tuple(shown(self._rows))
        return self._listed

    def _reserve_pin(self, session_id: str) -> None:
        pinned = {name for name, row in self._rows.items() if row.get("pinned")}
        if len((pinned | self._reserved) - {session_id}) >= PIN_LIMIT:
            raise PinLimit(PIN_LIMIT)
        self._reserved.add(session_id)

    # -- the files --------------------------------------------------------------------------

    async def _load(self) -> dict[str, Row]:
        """What the index file says; nothing if it is missing or makes no sense."""
        try:
            rows = decode_rows(await self._store.load(INDEX))
            return {str(row["session_id"]): row for row in rows}
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
            self.context.start_soon(self._write, encode_rows(ordered(self._rows.values())))

    async def _write(self, data: bytes) -> None:
        began = trio.current_time()
        error: Exception | None = None
        try:
            await self._store.save(INDEX, data)
        except StoreError as failure:
            error = failure
            await trio.sleep(RETRY_SECONDS)
        await trio.sleep(REST * (trio.current_time() - began) if error is None else 0)
        await self.context.ref.send(IndexWritten(error))

    def _written(self, error: Exception | None) -> None:
        self._writing = False
        if error is not None:
            log.warning("the index could not be written, trying again: %s", error)
            self._dirty = True
