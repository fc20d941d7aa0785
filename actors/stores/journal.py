"""One append-only journal for all streams of the process: one flush for all that wait.

Our own file rather than SQLite: as fast for single entries, about twice as fast for many busy
streams (`python -m tests.benchmarks.bench_journal`), and a file that only grows fails in ways that
a test can walk through, byte by byte: damage costs the entries it hit, and no others.
"""

import logging
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from .disk import Disk, RealDisk
from .errors import StoreError, store_error
from .frames import SETTLED, encode_frame, read_frames
from .writer import Done, Writer, open_writer, wait_durable

__all__ = ["Journal", "JournalStatistics", "StreamInfo", "open_journal"]

log = logging.getLogger("actors.stores")

SUFFIX = ".journal"
Entries = Sequence[tuple[int, bytes]]
T = TypeVar("T")


class StreamInfo(NamedTuple):
    last_seq: int  # of the newest durable entry
    settled: bool  # there will be no more


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    segments: int
    bytes: int
    streams: int
    flushes: int  # since it was opened, like the entries
    entries: int


@dataclass(slots=True)
class _Segment:
    """One file: how many of its bytes belong to which stream."""

    size: int = 0
    streams: dict[str, int] = field(default_factory=dict)

    def add(self, stream: str, size: int) -> None:
        self.size += size
        self.streams[stream] = self.streams.get(stream, 0) + size


@dataclass(slots=True)
class _Stream:
    last: int = 0
    expires: float | None = None  # when its space may be given back; None while it runs


@dataclass(slots=True, eq=False)
class _Append:
    """`first` is None for what needs no place in the order: marks, and entries copied forward."""

    stream: str
    data: bytes
    first: int | None = None
    last: int = 0
    segment: int = 0  # where it went; the writer says


@dataclass(frozen=True, slots=True, eq=False)
class _Drop:
    """Remove a segment, and what is known of streams that ended with it."""

    segment: int
    streams: Sequence[str]


class Journal:
    """Entries of a stream are numbered from 1 without holes. What a reader gets is always a
    beginning of the stream, never a wrong entry, whatever happened to the disk.

    The space of settled streams is given back, a segment at a time, `retain_seconds` after they
    were settled. A stream that runs on while the rest of its segment is garbage is copied forward.
    """

    def __init__(
        self, directory: Path, disk: Disk, segment_bytes: int, retain_seconds: float
    ) -> None:
        self.damage: list[str] = []
        self._tail = _Tail(directory, disk, segment_bytes)
        self._directory = directory
        self._disk = disk
        self._retain_seconds = retain_seconds
        self._segments: dict[int, _Segment] = {}
        self._streams: dict[str, _Stream] = {}
        self._entries = 0
        self._alarm = trio.CancelScope()
        self._writer: Writer[_Append | _Drop]

    def __repr__(self) -> str:
        return f"<Journal {len(self._streams)} streams, {len(self._segments)} segments>"

    # -- writing ----------------------------------------------------------------------------

    def append(self, stream: str, entries: Entries, on_durable: Done) -> None:
        """Queue entries; never waits. `on_durable` is called in the Trio thread: with None when
        they are on disk, or with a `StoreError`, and then the stream ends where it ended before.
        """
        data = b"".join(encode_frame(stream, seq, payload) for seq, payload in entries)
        job = _Append(stream, data, entries[0][0], entries[-1][0])

        def done(error: BaseException | None) -> None:
            if error is None:
                self._streams.setdefault(stream, _Stream()).last = job.last
                self._placed(job)
                self._entries += len(entries)
            on_durable(None if error is None else store_error(error))

        self._writer.submit(job, done)

    async def write(self, stream: str, entries: Entries) -> None:
        """Append, and wait until it is durable; see `wait_durable`."""
        await wait_durable(partial(self.append, stream, entries))

    def settle(self, stream: str) -> None:
        """There will be no more entries. Losing this in a crash is harmless: say it again."""
        known = self._streams.get(stream)
        if known is None or known.expires is not None:
            return
        known.expires = trio.current_time() + self._retain_seconds
        mark = _Append(stream, encode_frame(stream, SETTLED, b"%d" % known.last))
        self._writer.submit(mark, lambda error: None if error else self._placed(mark))
        self._set_alarm()

    def _placed(self, job: _Append) -> None:
        self._segments.setdefault(job.segment, _Segment()).add(job.stream, len(job.data))

    # -- reading ----------------------------------------------------------------------------

    def streams(self) -> Mapping[str, StreamInfo]:
        """Every stream whose entries are still here."""
        return {
            name: StreamInfo(stream.last, stream.expires is not None)
            for name, stream in self._streams.items()
        }

    def info(self, stream: str) -> StreamInfo | None:
        """The same of one stream; None if it is unknown, or its space was given back."""
        known = self._streams.get(stream)
        return None if known is None else StreamInfo(known.last, known.expires is not None)

    async def read(self, stream: str, after: int = 0) -> list[tuple[int, bytes]]:
        """The durable entries behind `after`. Reads the segments that hold the stream."""
        await trio.lowlevel.checkpoint()
        while (known := self._streams.get(stream)) is not None:
            numbers = [n for n, segment in self._segments.items() if stream in segment.streams]
            try:
                found = await self._call(self._collect, stream, sorted(numbers))
            except FileNotFoundError:
                continue  # moved forward, or given back, meanwhile
            except OSError as error:
                raise store_error(error) from error
            last = _unbroken(found, known.last)
            return [(seq, found[seq]) for seq in range(after + 1, last + 1)]
        return []

    def _collect(self, stream: str, numbers: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for number in numbers:
            for _, _, frame in read_frames(self._disk.read(self._tail.path(number))):
                if frame is not None and frame.stream == stream and frame.seq != SETTLED:
                    found[frame.seq] = frame.payload
        return found

    async def _call(self, operation: Callable[..., T], *args: object) -> T:
        if self._disk.blocking:
            return await trio.to_thread.run_sync(operation, *args)
        return operation(*args)

    def statistics(self) -> JournalStatistics:
        return JournalStatistics(
            segments=len(self._segments),
            bytes=sum(segment.size for segment in self._segments.values()),
            streams=len(self._streams),
            flushes=self._tail.flushes,
            entries=self._entries,
        )

    # -- giving space back ------------------------------------------------------------------

    def _set_alarm(self) -> None:
        now = trio.current_time()
        times = (stream.expires for stream in self._streams.values())
        self._alarm.deadline = min((at for at in times if at is not None and at > now), default=inf)

    async def _reclaim_forever(self) -> None:
        """Asleep until the next stream expires; for ever while there is none."""
        while True:
            with trio.CancelScope() as self._alarm:
                self._set_alarm()
                await trio.sleep_forever()
            try:
                await self._reclaim()
            except (StoreError, OSError) as error:
                log.warning("journal space could not be given back yet: %s", error)

    async def _reclaim(self) -> None:
        now = trio.current_time()
        live = {
            name
            for name, stream in self._streams.items()
            if stream.expires is None or stream.expires > now
        }
        newest = max(self._segments, default=0)
        for number, segment in sorted(self._segments.items()):
            kept = live & segment.streams.keys()
            if kept and number != newest and _mostly_garbage(segment, kept):
                await self._copy_forward(number, kept)
                kept = set()
            if not kept:
                await self._drop(number, live)

    async def _copy_forward(self, number: int, streams: set[str]) -> None:
        data = await self._call(self._disk.read, self._tail.path(number))
        for _, _, frame in read_frames(data):
            if frame is not None and frame.stream in streams:
                copy = _Append(frame.stream, encode_frame(*frame))
                await self._writer.do(copy)
                self._placed(copy)

    async def _drop(self, number: int, live: set[str]) -> None:
        segment = self._segments.pop(number)
        elsewhere = set().union(*(other.streams for other in self._segments.values()))
        gone = [name for name in segment.streams if name not in live and name not in elsewhere]
        for name in gone:
            self._streams.pop(name, None)
        await self._writer.do(_Drop(number, gone))

    # -- opening ----------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Learn what is there. A torn tail is what a power cut leaves, and is cut off."""
        found: dict[str, set[int]] = {}
        settled: dict[str, int] = {}
        numbers = await self._call(self._tail.prepare)
        for number in numbers:
            data = await self._call(self._disk.read, self._tail.path(number))
            segment = self._segments[number] = _Segment()
            for start, end, frame in read_frames(data):
                if frame is None:
                    torn = number == numbers[-1] and end == len(data)
                    await self._damaged(number, start, end, torn)
                    continue
                segment.add(frame.stream, end - start)
                if frame.seq == SETTLED:
                    settled[frame.stream] = int(frame.payload)
                else:
                    found.setdefault(frame.stream, set()).add(frame.seq)
        expires = trio.current_time() + self._retain_seconds
        for name, seqs in found.items():
            last = _unbroken(seqs, settled.get(name, len(seqs)))
            self._streams[name] = _Stream(last, expires if name in settled else None)
            self._tail.written[name] = last

    async def _damaged(self, number: int, start: int, end: int, torn: bool) -> None:
        if torn:
            await self._call(self._disk.truncate, self._tail.path(number), start)
            return
        self.damage.append(f"segment {number}: bytes {start} to {end} cannot be read")
        log.warning("journal %s", self.damage[-1])


class _Tail:
    """The end of the journal, where it grows: the writer's side, and touched by nobody else."""

    def __init__(self, directory: Path, disk: Disk, segment_bytes: int) -> None:
        self.written: dict[str, int] = {}
        self.flushes = 0
        self._directory = directory
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._number = 0
        self._size = 0
        self._sealed = True  # begin a new segment with the next write

    def path(self, number: int) -> Path:
        return self._directory / f"{number:08d}{SUFFIX}"

    def prepare(self) -> list[int]:
        """The segments that are there. What is written from now on goes to a new one."""
        self._disk.make_directory(self._directory)
        names = [info.name for info in self._disk.scan(self._directory)]
        numbers = sorted(int(Path(name).stem) for name in names if name.endswith(SUFFIX))
        self._number = max(numbers, default=0)
        return numbers

    def commit(self, jobs: Sequence[_Append | _Drop]) -> Sequence[BaseException | None]:
        """All appends with one flush; then the drops."""
        written = dict.fromkeys((job.stream for job in jobs if isinstance(job, _Append)), 0)
        written = {name: self.written.get(name, 0) for name in written}
        outcomes = [_admit(job, written) for job in jobs]
        accepted = [
            job
            for job, outcome in zip(jobs, outcomes, strict=True)
            if isinstance(job, _Append) and outcome is None
        ]
        failure = self._write(b"".join(job.data for job in accepted)) if accepted else None
        if failure is not None:
            return [
                outcome or (failure if isinstance(job, _Append) else self._drop(job))
                for job, outcome in zip(jobs, outcomes, strict=True)
            ]
        self.written |= written
        for job in accepted:
            job.segment = self._number
        return [
            outcome or (self._drop(job) if isinstance(job, _Drop) else None)
            for job, outcome in zip(jobs, outcomes, strict=True)
        ]

    def _write(self, data: bytes) -> OSError | None:
        fresh = self._sealed or self._size >= self._segment_bytes
        if fresh:
            self._number, self._size, self._sealed = self._number + 1, 0, False
        path = self.path(self._number)
        try:
            self._disk.append(path, data)
            self._disk.flush(path)
            if fresh:
                self._disk.flush_directory(self._directory)
        except OSError as error:
            self._cut_back(path)
            return error
        self._size += len(data)
        self.flushes += 1
        return None

    def _cut_back(self, path: Path) -> None:
        """Leave nothing of a failed write, and have the next one begin a new segment: after a
        failed flush nobody knows what this file will hold.
        """
        self._sealed = True
        with suppress(OSError):
            self._disk.truncate(path, self._size)

    def _drop(self, job: _Drop) -> OSError | None:
        if job.segment == self._number:
            self._sealed = True
        for name in job.streams:
            self.written.pop(name, None)
        try:
            self._disk.remove(self.path(job.segment))
            self._disk.flush_directory(self._directory)
        except OSError as error:
            return error
        return None


def _admit(job: _Append | _Drop, written: dict[str, int]) -> BaseException | None:
    """No holes: what follows a failed append of the same stream fails too."""
    if isinstance(job, _Drop) or job.first is None:
        return None
    if job.first != written[job.stream] + 1:
        return ValueError(f"entry {job.first} cannot follow entry {written[job.stream]}")
    written[job.stream] = job.last
    return None


def _unbroken(seqs: Container[int], limit: int) -> int:
    """How far the numbers go from 1 without a hole, at most to `limit`."""
    last = 0
    while last < limit and last + 1 in seqs:
        last += 1
    return last


def _mostly_garbage(segment: _Segment, kept: set[str]) -> bool:
    return sum(segment.streams[name] for name in kept) * 2 < segment.size


@asynccontextmanager
async def open_journal(
    directory: Path,
    *,
    disk: Disk | None = None,
    segment_bytes: int = 8 << 20,
    retain_seconds: float = 120.0,
) -> AsyncIterator[Journal]:
    """The journal in `directory`, which is made if need be. Raises `StoreError`."""
    journal = Journal(directory, disk or RealDisk(), segment_bytes, retain_seconds)
    try:
        await journal._recover()
    except OSError as error:
        raise store_error(error) from error
    failure: Exception | None = None
    async with (
        open_writer(journal._tail.commit, blocking=journal._disk.blocking) as journal._writer,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(journal._reclaim_forever)
        try:
            yield journal
        except Exception as error:  # noqa: BLE001 - raised again below, not wrapped in a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
