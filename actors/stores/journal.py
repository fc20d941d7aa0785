"""One append-only journal for all streams of the process: one flush for all that wait.

Our own file rather than SQLite: as fast for single entries, about twice as fast for many busy
streams (`python -m tests.benchmarks.bench_journal`), and a file that only grows fails in ways that
a test can walk through, byte by byte: damage costs the entries it hit, and no others.
"""

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from .disk import Disk, RealDisk
from .errors import StoreError, store_error
from .frames import SETTLED, Frame, encode_frame, read_frames
from .writer import (
    Done,
    Writer,
    WriterStatistics,
    background,
    open_writer,
    wait_durable,
)

__all__ = ["Journal", "JournalStatistics", "StreamInfo", "open_journal"]

log = logging.getLogger("actors.stores")

SEGMENT = re.compile(r"[0-9]{8}\.journal")
Entries = Sequence[tuple[int, bytes]]
T = TypeVar("T")


class StreamInfo(NamedTuple):
    """How far a stream has come."""

    last_seq: int  # of the newest durable entry
    settled: bool  # there will be no more


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """What the journal holds, and how busy its writer is."""

    segments: int
    bytes: int
    streams: int
    flushes: int  # since it was opened, like the entries
    entries: int
    writer: WriterStatistics


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

    data: bytes
    sizes: Mapping[str, int]  # how many of the bytes belong to which stream
    stream: str = ""
    first: int | None = None
    last: int = 0
    segment: int = 0  # where it went; the writer says


@dataclass(frozen=True, slots=True, eq=False)
class _Seal:
    """Begin a new segment with the next append."""


@dataclass(frozen=True, slots=True, eq=False)
class _Drop:
    """Remove a segment, and what is known of streams that ended with it."""

    segment: int
    streams: Sequence[str]


_Job = _Append | _Seal | _Drop


class Journal:
    """Entries of a stream are numbered from 1 without holes. What a reader gets is always a
    beginning of the stream, never a wrong entry, whatever happened to the disk.

    A settled stream is forgotten `retain_seconds` later, and its space given back, a segment at a
    time. A stream that runs on while the rest of its segment is garbage is copied forward.
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
        self._epoch = 1
        self._alarm = trio.CancelScope()
        self._writer: Writer[_Job]

    def __repr__(self) -> str:
        return f"<Journal {len(self._streams)} streams, {len(self._segments)} segments>"

    # -- writing ----------------------------------------------------------------------------

    def append(self, stream: str, entries: Entries, on_durable: Done) -> None:
        """Queue entries; never waits. `on_durable` is called in the Trio thread: with None when
        they are on disk, or with a `StoreError`, and then the stream ends where it ended before.
        """
        data = b"".join(encode_frame(stream, self._epoch, *entry) for entry in entries)
        job = _Append(data, {stream: len(data)}, stream, entries[0][0], entries[-1][0])

        def done(error: BaseException | None) -> None:
            if error is None:
                self._streams.setdefault(stream, _Stream()).last = job.last
                self._placed(job)
                self._entries += len(entries)
            else:
                # Some of it may be on the disk all the same. What comes next outranks it.
                self._epoch += 1
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
        data = encode_frame(stream, self._epoch, SETTLED, b"")
        mark = _Append(data, {stream: len(data)})
        self._writer.submit(mark, lambda error: None if error else self._placed(mark))
        self._alarm.deadline = min(self._alarm.deadline, known.expires)

    def _placed(self, job: _Append) -> None:
        segment = self._segments.setdefault(job.segment, _Segment())
        for stream, size in job.sizes.items():
            segment.add(stream, size)

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
            numbers = self._holding(stream)
            try:
                found = await self._call(self._collect, stream, numbers)
            except OSError as error:
                if numbers != self._holding(stream):
                    continue  # moved forward, or given back, meanwhile
                raise store_error(error) from error
            epochs = {seq: frame.epoch for seq, frame in found.items()}
            last = min(_unbroken(epochs), known.last)
            return [(seq, found[seq].payload) for seq in range(after + 1, last + 1)]
        return []

    def _holding(self, stream: str) -> list[int]:
        return sorted(n for n, segment in self._segments.items() if stream in segment.streams)

    def _collect(self, stream: str, numbers: Sequence[int]) -> dict[int, Frame]:
        """The frames of the stream; of two with the same number, that of the later epoch."""
        found: dict[int, Frame] = {}
        for number in numbers:
            for _, _, frame in read_frames(self._disk.read(self._tail.path(number))):
                if frame is not None and frame.stream == stream and frame.seq != SETTLED:
                    rival = found.get(frame.seq, frame)
                    found[frame.seq] = max(frame, rival, key=lambda frame: frame.epoch)
        return found

    async def _call(self, operation: Callable[..., T], *args: object) -> T:
        if self._disk.blocking:
            return await trio.to_thread.run_sync(operation, *args)
        return operation(*args)

    def statistics(self) -> JournalStatistics:
        """Costs nothing until it is called."""
        return JournalStatistics(
            segments=len(self._segments),
            bytes=sum(segment.size for segment in self._segments.values()),
            streams=len(self._streams),
            flushes=self._tail.flushes,
            entries=self._entries,
            writer=self._writer.statistics(),
        )

    def held(self) -> AbstractAsyncContextManager[None]:
        """Nothing is written inside the block; what would be waits."""
        return self._writer.held()

    # -- giving space back ------------------------------------------------------------------

    async def _reclaim_forever(self) -> None:
        """Asleep until the next stream expires; for ever while there is none."""
        while True:
            whole = await self._reclaim()
            times = [stream.expires for stream in self._streams.values()]
            again = inf if whole else trio.current_time() + self._retain_seconds
            with trio.CancelScope() as self._alarm:
                self._alarm.deadline = min((at for at in times if at is not None), default=again)
                await trio.sleep_forever()

    async def _reclaim(self) -> bool:
        """Forget what has expired, and give its space back; False if not all of it could be."""
        now = trio.current_time()
        for name, stream in list(self._streams.items()):
            if stream.expires is not None and stream.expires <= now:
                del self._streams[name]
        whole = True
        for number in sorted(self._segments):
            try:
                await self._give_back(number, self._segments[number])
            except (StoreError, OSError) as error:
                log.warning("journal space could not be given back yet: %s", store_error(error))
                whole = False
        return whole

    async def _give_back(self, number: int, segment: _Segment) -> None:
        """Nothing, while a live stream needs it."""
        if number == max(self._segments):
            if self._live(segment):
                return
            # An append may be on its way. When this is done the segment does not grow any more,
            # and all that it holds is known.
            await self._writer.do(_Seal())
        live = self._live(segment)
        if live and sum(segment.streams[name] for name in live) * 2 < segment.size:
            await self._copy_forward(number, live)
            for name in live:
                del segment.streams[name]
        if not self._live(segment):
            await self._drop(number, segment)

    def _live(self, segment: _Segment) -> set[str]:
        return self._streams.keys() & segment.streams.keys()

    async def _copy_forward(self, number: int, streams: set[str]) -> None:
        data = await self._call(self._disk.read, self._tail.path(number))
        copies: dict[str, list[bytes]] = {}
        for start, end, frame in read_frames(data):
            if frame is not None and frame.stream in streams:
                copies.setdefault(frame.stream, []).append(data[start:end])
        parts = {stream: b"".join(frames) for stream, frames in copies.items()}
        copy = _Append(b"".join(parts.values()), {name: len(part) for name, part in parts.items()})
        await self._writer.do(copy)
        self._placed(copy)

    async def _drop(self, number: int, segment: _Segment) -> None:
        gone = [name for name in segment.streams if name not in self._streams]
        del self._segments[number]  # before the file: a reader that misses it looks again
        try:
            await self._writer.do(_Drop(number, gone))
        except StoreError:
            self._segments[number] = segment
            raise

    # -- opening ----------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Learn what is there. A torn tail is what a power cut leaves, and is cut off."""
        found: dict[str, dict[int, int]] = {}  # of each stream, the epochs of its entries
        settled: set[str] = set()
        numbers = await self._call(self._tail.prepare)
        for number in numbers:
            data = await self._call(self._disk.read, self._tail.path(number))
            segment = self._segments[number] = _Segment()
            for start, end, frame in read_frames(data):
                if frame is None:
                    torn = number == numbers[-1] and end == len(data)
                    await self._damaged(number, start, end, torn)
                    continue
                self._epoch = max(self._epoch, frame.epoch + 1)
                segment.add(frame.stream, end - start)
                if frame.seq == SETTLED:
                    settled.add(frame.stream)
                else:
                    epochs = found.setdefault(frame.stream, {})
                    epochs[frame.seq] = max(frame.epoch, epochs.get(frame.seq, 0))
        expires = trio.current_time() + self._retain_seconds
        for name, epochs in found.items():
            if last := _unbroken(epochs):
                self._streams[name] = _Stream(last, expires if name in settled else None)
                self._tail.written[name] = last

    async def _damaged(self, number: int, start: int, end: int, torn: bool) -> None:
        if torn:
            path = self._tail.path(number)
            await self._call(self._disk.truncate, path, start)
            await self._call(self._disk.flush, path)
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
        return self._directory / f"{number:08d}.journal"

    def prepare(self) -> list[int]:
        """The segments that are there. What is written from now on goes to a new one."""
        self._disk.make_directory(self._directory)
        names = self._disk.names(self._directory)
        numbers = sorted(int(name[:8]) for name in names if SEGMENT.fullmatch(name))
        self._number = max(numbers, default=0)
        return numbers

    def commit(self, jobs: Sequence[_Job]) -> Sequence[BaseException | None]:
        """All appends with one flush; then the rest."""
        streams = {job.stream for job in jobs if isinstance(job, _Append)}
        written = {name: self.written.get(name, 0) for name in streams}
        outcomes = [_admit(job, written) for job in jobs]
        accepted = [
            job
            for job, outcome in zip(jobs, outcomes, strict=True)
            if isinstance(job, _Append) and outcome is None
        ]
        failure = self._write(b"".join(job.data for job in accepted)) if accepted else None
        if failure is None:
            self.written |= written
        for job in accepted:
            job.segment = self._number
        return [
            outcome or (failure if isinstance(job, _Append) else self._attempt(job))
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
            self._cut_back(path, fresh)
            return error
        self._size += len(data)
        self.flushes += 1
        return None

    def _cut_back(self, path: Path, fresh: bool) -> None:
        """Leave nothing of a failed write, and have the next one begin a new segment: after a
        failed flush nobody knows what this file will hold.
        """
        self._sealed = True
        with suppress(OSError):
            if fresh:
                self._disk.remove(path)
            else:
                self._disk.truncate(path, self._size)

    def _attempt(self, job: _Seal | _Drop) -> OSError | None:
        if isinstance(job, _Seal):
            self._sealed = True
            return None
        for name in job.streams:
            self.written.pop(name, None)
        try:
            self._disk.remove(self.path(job.segment))
            self._disk.flush_directory(self._directory)
        except OSError as error:
            return error
        return None


def _admit(job: _Job, written: dict[str, int]) -> BaseException | None:
    """No holes: what follows a failed append of the same stream fails too."""
    if not isinstance(job, _Append) or job.first is None:
        return None
    if job.first != written[job.stream] + 1:
        return ValueError(f"entry {job.first} cannot follow entry {written[job.stream]}")
    written[job.stream] = job.last
    return None


def _unbroken(epochs: Mapping[int, int]) -> int:
    """How far the numbers go from 1 without a hole. An entry of an earlier epoch than the one
    before it does not follow that: it is what a hole, since filled anew, had cut off.
    """
    last = epoch = 0
    while epochs.get(last + 1, -1) >= epoch:
        last += 1
        epoch = epochs[last]
    return last


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
    async with (
        open_writer(journal._tail.commit, journal._disk) as journal._writer,
        background(journal._reclaim_forever) as reclaiming,
    ):
        try:
            yield journal
        finally:
            reclaiming.cancel()
