"""The few blocking operations that everything durable is made of: each may fail on its own."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

__all__ = ["Disk", "FileInfo", "RealDisk", "replace_file"]

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class FileInfo(NamedTuple):
    """One file as `scan` saw it. `inode` tells it from another of the same name."""

    name: str
    mtime_ns: int
    size: int
    inode: int


class Disk(Protocol):
    """All raise `OSError`. What was written survives a power cut only when it was flushed: the
    content by `flush`, the name (made, replaced or removed) by `flush_directory`.
    """

    blocking: bool
    """Whether the operations may block, and so belong in a thread."""
    latency: float
    """If they do not: the seconds of Trio's clock that a batch of them takes."""

    def make_directory(self, path: Path) -> None:
        """With those above it; one that is there is no error."""

    def names(self, path: Path) -> Iterable[str]:
        """Of the files in a directory, in no order."""

    def scan(self, path: Path) -> Iterable[FileInfo]:
        """The same with what is known of each, without those that go meanwhile."""

    def read(self, path: Path) -> bytes:
        """The whole file; `FileNotFoundError`."""

    def create(self, path: Path, data: bytes) -> FileInfo:
        """A new file with this content; `FileExistsError` if the name is taken."""

    def append(self, path: Path, data: bytes) -> FileInfo:
        """To the end of a file, which is made if there is none."""

    def truncate(self, path: Path, size: int) -> None:
        """Keep the first `size` bytes."""

    def flush(self, path: Path) -> None:
        """The file's content survives a power cut when this returns; its name may not."""

    def replace(self, source: Path, target: Path) -> None:
        """Rename in one step; what was at `target` is gone."""

    def remove(self, path: Path) -> None:
        """The file's name."""

    def flush_directory(self, path: Path) -> None:
        """The names in it survive a power cut when this returns."""


class RealDisk:
    """The operating system's. Files are for their owner only."""

    blocking = True
    latency = 0.0

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def names(self, path: Path) -> Iterable[str]:
        return os.listdir(path)

    def scan(self, path: Path) -> Iterable[FileInfo]:
        found = []
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # removed meanwhile
                if entry.is_file():
                    found.append(_info(entry.name, status))
        return found

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def create(self, path: Path, data: bytes) -> FileInfo:
        return _info(path.name, self._write(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, data))

    def append(self, path: Path, data: bytes) -> FileInfo:
        return _info(path.name, self._write(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, data))

    def _write(self, path: Path, flags: int, data: bytes) -> os.stat_result:
        handle = os.open(path, flags, FILE_MODE)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            return os.fstat(handle)
        finally:
            os.close(handle)

    def truncate(self, path: Path, size: int) -> None:
        os.truncate(path, size)

    def flush(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR)
        try:
            os.fdatasync(handle) if hasattr(os, "fdatasync") else os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def flush_directory(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_file(path: Path, data: bytes) -> None:
    """For one writer at a time. Whoever reads `path`, also after a power cut, finds the old or the
    new, whole. Raises `OSError`: it is the old then, unless only the names could not be flushed.
    """
    disk, new = RealDisk(), path.with_suffix(".tmp.new")
    disk.remove(new)  # of a writer that died
    try:
        disk.create(new, data)
        disk.flush(new)
        disk.replace(new, path)
    finally:
        disk.remove(new)
    disk.flush_directory(path.parent)


def _info(name: str, status: os.stat_result) -> FileInfo:
    return FileInfo(name, status.st_mtime_ns, status.st_size, status.st_ino)
