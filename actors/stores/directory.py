"""Records: whole values by name, replaced atomically."""

import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from .disk import Disk, FileInfo, RealDisk
from .errors import InvalidName, RecordNotFound, store_error
from .writer import Writer, WriterStatistics, open_writer

__all__ = ["RecordInfo", "RecordStore", "open_record_store"]

NAME = re.compile(r"[0-9A-Za-z_-]{1,200}")
SUFFIX = ".json"
CHECK_BYTES = 64 * 1024

T = TypeVar("T")


class RecordInfo(NamedTuple):
    """One record as it was last seen, without its content."""

    name: str
    mtime_ns: int
    size: int
    inode: int

    @property
    def stamp(self) -> str:
        """Of no other version of this record: each is a file of its own."""
        return f"{self.mtime_ns}:{self.size}:{self.inode}"


@dataclass(slots=True)
class _Save:
    temporary: Path
    target: Path
    data: bytes
    info: FileInfo | None = None  # the writer says


@dataclass(slots=True)
class _Load:
    path: Path
    result: bytes | OSError = b""  # the loader says


@dataclass(slots=True)
class _Append:
    target: Path
    data: bytes
    size: int  # of the file before
    info: FileInfo | None = None


@dataclass(frozen=True, slots=True)
class _Delete:
    target: Path


@dataclass(frozen=True, slots=True)
class _Rename:
    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class _Check:
    temporary: Path


@dataclass(frozen=True, slots=True)
class _Call:
    work: Callable[[], None]


_Job = _Save | _Append | _Delete | _Rename | _Check | _Call


def _attempt(operation: Callable[..., T], args: tuple[object, ...]) -> T | OSError:
    """An error that leaves a thread by itself leaves a cycle behind, which Python collects late."""
    try:
        return operation(*args)
    except OSError as error:
        return error.with_traceback(None)


def _checked(result: T | OSError) -> T:
    if isinstance(result, FileNotFoundError):
        raise RecordNotFound("There is no such record") from result
    if isinstance(result, OSError):
        raise store_error(result) from result
    return result


class RecordStore:
    """Each record is `<directory>/<name>.json`. A name is checked before it becomes a path.

    At every instant, and after a crash at any, a record is the old one or the new one. When a
    change returns, it is durable. When it raises, the record is the old one, unless nothing but
    the last step failed, the flush of the directory: then it may be the new one. What is appended
    is another matter: after a crash, or a failure, any part of it may be there.
    """

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk
        self._numbers = count()
        self._waiting: dict[str, float] = {}  # names of records that are being written, since when
        self._before_change: Callable[[Path], None] | None = None
        self._writer: Writer[_Job]
        self._loader: Writer[_Load]  # a hop to Trio's pool costs five times as much

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InvalidName(f"{name[:40]!r} cannot be the name of a record")
        return self._directory / (name + SUFFIX)

    async def _call(self, operation: Callable[..., T], *args: object) -> T:
        """What nobody waits for often: in a thread if it may block."""
        if self._disk.blocking:
            result = await trio.to_thread.run_sync(_attempt, operation, args)
        else:
            await trio.lowlevel.checkpoint()
            result = _attempt(operation, args)
        return _checked(result)

    async def load(self, name: str) -> bytes:
        """Raises `RecordNotFound`."""
        job = _Load(self._path(name))
        if not self._disk.blocking:
            return await self._call(self._disk.read, job.path)
        await self._loader.do(job)
        return _checked(job.result)

    async def save(self, name: str, data: bytes) -> str:
        """Saves that wait together share one flush of the directory. Gives this version's stamp."""
        target = self._path(name)
        temporary = target.with_name(f"{target.name}.tmp.{os.getpid()}.{next(self._numbers)}")
        return await self._write(name, _Save(temporary, target, data))

    async def append(self, name: str, data: bytes, size: int) -> str:
        """Add to a record whose file has this size. Gives this version's stamp."""
        return await self._write(name, _Append(self._path(name), data, size))

    async def _write(self, name: str, job: _Save | _Append) -> str:
        self._waiting[name] = trio.current_time()
        try:
            await self._writer.do(job)
        finally:
            self._waiting.pop(name, None)
        assert job.info is not None
        return _record_info(name, job.info).stamp

    async def delete(self, name: str) -> None:
        """Deleting what is not there is fine."""
        await self._writer.do(_Delete(self._path(name)))

    async def set_aside(self, name: str) -> str:
        """Take a damaged record out of the way without losing a byte; returns its file's name."""
        source = self._path(name)
        taken = {info.name for info in await self._call(self._disk.scan, self._directory)}
        names = (f"{source.name}.damaged{'' if n == 1 else f'.{n}'}" for n in count(1))
        target = source.with_name(next(free for free in names if free not in taken))
        if source.name not in taken:
            raise RecordNotFound("There is no such record")
        await self._writer.do(_Rename(source, target))
        return target.name

    def waiting_seconds(self, name: str) -> float:
        """How long a save of this record has waited for the disk; 0 if none does."""
        since = self._waiting.get(name)
        return 0.0 if since is None else trio.current_time() - since

    def statistics(self) -> WriterStatistics:
        """Of the task that writes: how long its commits take, and whether it is stuck."""
        return self._writer.statistics()

    def held(self) -> AbstractAsyncContextManager[None]:
        """Nothing is written inside the block; what would be waits."""
        return self._writer.held()

    def before_change(self, tell: Callable[[Path], None] | None) -> None:
        """Have the writer tell of each file that it is about to change; None: of none any more.
        While it is held. What is told must not raise.
        """
        self._before_change = tell

    async def between_writes(self, work: Callable[[], None]) -> None:
        """Done by the writer, so that nothing is written meanwhile. Must not take long."""
        await self._writer.do(_Call(work))

    async def check(self) -> None:
        """Whether the disk takes a file now; raises `StoreError`. Leaves nothing behind, and may
        be given up at any time.
        """
        name = f"check.json.tmp.{os.getpid()}.{next(self._numbers)}"
        checked = trio.Event()
        failures: list[BaseException] = []

        def done(error: BaseException | None) -> None:
            failures.extend(() if error is None else (error,))
            checked.set()

        self._writer.submit(_Check(self._directory / name), done)
        await checked.wait()
        if failures:
            raise store_error(failures[0])

    async def scan(self) -> list[RecordInfo]:
        """All records, the sizes and times of their files."""
        return [
            _record_info(info.name.removesuffix(SUFFIX), info)
            for info in await self._call(self._disk.scan, self._directory)
            if info.name.endswith(SUFFIX) and NAME.fullmatch(info.name.removesuffix(SUFFIX))
        ]

    async def _open(self) -> None:
        """Make the directory, and sweep what a dead writer left half done."""
        await self._call(self._disk.make_directory, self._directory)
        for name in await self._call(self._disk.names, self._directory):
            if ".json.tmp." in name:
                await self._call(self._disk.remove, self._directory / name)

    # -- in the loader's thread -------------------------------------------------------------

    def _load_all(self, jobs: Sequence[_Load]) -> Sequence[BaseException | None]:
        for job in jobs:
            job.result = _attempt(self._disk.read, (job.path,))
        return [None] * len(jobs)

    # -- in the writer's thread -------------------------------------------------------------

    def _commit(self, jobs: Sequence[_Job]) -> Sequence[BaseException | None]:
        outcomes: list[BaseException | None] = [self._attempt(job) for job in jobs]
        if all(isinstance(job, _Append | _Call) for job in jobs):
            return outcomes  # names are as they were
        try:
            self._disk.flush_directory(self._directory)
        except OSError as error:
            return [outcome or error for outcome in outcomes]
        return outcomes

    def _attempt(self, job: _Job) -> BaseException | None:
        if self._before_change is not None:
            match job:
                case _Save(target=path) | _Append(target=path) | _Delete(path) | _Rename(path):
                    self._before_change(path)
        try:
            match job:
                case _Save(temporary, target, data):
                    job.info = self._disk.create(temporary, data)
                    self._disk.flush(temporary)
                    self._disk.replace(temporary, target)
                case _Append(target, data):
                    job.info = self._disk.append(target, data)
                    self._disk.flush(target)
                case _Delete(target):
                    self._disk.remove(target)
                case _Rename(source, target):
                    self._disk.replace(source, target)
                case _Check(temporary):
                    self._disk.create(temporary, bytes(CHECK_BYTES))
                    self._disk.flush(temporary)
                    self._disk.remove(temporary)
                case _Call(work):
                    work()
        except OSError as error:
            with suppress(OSError):
                if isinstance(job, _Save | _Check):
                    self._disk.remove(job.temporary)
                elif isinstance(job, _Append):
                    self._disk.truncate(job.target, job.size)
            return error.with_traceback(None)
        return None


def _record_info(name: str, info: FileInfo) -> RecordInfo:
    return RecordInfo(name, info.mtime_ns, info.size, info.inode)


@asynccontextmanager
async def open_record_store(
    directory: Path, *, disk: Disk | None = None
) -> AsyncIterator[RecordStore]:
    """The records in `directory`, which is made if need be. Raises `StoreError`."""
    store = RecordStore(directory, disk or RealDisk())
    await store._open()
    async with (
        open_writer(store._load_all, store._disk, name="loader") as store._loader,
        open_writer(store._commit, store._disk) as store._writer,
    ):
        yield store
