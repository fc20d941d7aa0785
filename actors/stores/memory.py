"""A disk in memory, which knows what a power cut would leave."""

import errno
import os
from collections.abc import Iterable
from itertools import count, takewhile
from pathlib import Path
from random import Random

from .disk import FileInfo

__all__ = ["MemoryDisk"]


class File:
    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.flushed = b""
        self.mtime_ns = 0
        self.inode = 0

    def info(self, name: str) -> FileInfo:
        return FileInfo(name, self.mtime_ns, len(self.content), self.inode)


class MemoryDisk:
    """Never blocks, so it runs on Trio's mock clock. A file's content survives a power cut only up
    to its last flush, its name only if the directory was flushed since.
    """

    blocking = False

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self._names: dict[Path, File] = {}
        self._flushed_names: dict[Path, File] = {}
        self._ticks = count(1)

    def crash(self, chance: Random | None = None) -> "MemoryDisk":
        """What is on the disk after a power cut now: nothing that was not flushed. With `chance`
        any part of that may be there, in any order.
        """
        names = self._flushed_names
        if chance is not None:
            names = {
                path: file
                for path in sorted(self._names.keys() | names.keys())
                if (file := chance.choice((self._names.get(path), names.get(path)))) is not None
            }
        contents = {
            file: file.flushed if chance is None else torn(file, chance)
            for file in dict.fromkeys(names.values())
        }
        return self._left(names, contents)

    def kill(self) -> "MemoryDisk":
        """What is on the disk when the process dies now, and the machine does not."""
        return self._left(self._names, {file: file.content for file in self._names.values()})

    def _left(self, names: dict[Path, File], contents: dict[File, bytes]) -> "MemoryDisk":
        survivor = MemoryDisk(self.latency)
        for path, file in names.items():
            kept = File(contents[file])
            kept.flushed, kept.mtime_ns, kept.inode = kept.content, file.mtime_ns, file.inode
            survivor._names[path] = survivor._flushed_names[path] = kept
        survivor._ticks = self._ticks
        return survivor

    def _find(self, path: Path) -> File:
        try:
            return self._names[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def _write(self, file: File, content: bytes) -> None:
        file.content = content
        file.mtime_ns = next(self._ticks)

    def make_directory(self, path: Path) -> None:
        pass

    def names(self, path: Path) -> Iterable[str]:
        return [name.name for name in self._names if name.parent == path]

    def scan(self, path: Path) -> Iterable[FileInfo]:
        return [file.info(name.name) for name, file in self._names.items() if name.parent == path]

    def read(self, path: Path) -> bytes:
        return self._find(path).content

    def create(self, path: Path, data: bytes) -> FileInfo:
        if path in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        file = self._names[path] = File()
        self._write(file, data)
        file.inode = file.mtime_ns
        return file.info(path.name)

    def append(self, path: Path, data: bytes) -> FileInfo:
        file = self._names.setdefault(path, File())
        self._write(file, file.content + data)
        return file.info(path.name)

    def truncate(self, path: Path, size: int) -> None:
        file = self._find(path)
        self._write(file, file.content[:size])

    def flush(self, path: Path) -> None:
        file = self._find(path)
        file.flushed = file.content

    def replace(self, source: Path, target: Path) -> None:
        self._names[target] = self._find(source)
        del self._names[source]

    def remove(self, path: Path) -> None:
        self._names.pop(path, None)

    def flush_directory(self, path: Path) -> None:
        names = {name: file for name, file in self._names.items() if name.parent == path}
        others = {name: f for name, f in self._flushed_names.items() if name.parent != path}
        self._flushed_names = others | names


def torn(file: File, chance: Random) -> bytes:
    """Flushed, or as it was written, or half of it, or with zeros where it was to be written."""
    same = common(file.flushed, file.content)
    cut = file.content[: chance.randint(same, len(file.content))]
    zeros = bytes(len(file.content) - len(cut))
    return chance.choice((file.flushed, file.content, cut, cut + zeros))


def common(one: bytes, other: bytes) -> int:
    """How many bytes they begin with together."""
    if other.startswith(one):
        return len(one)
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
