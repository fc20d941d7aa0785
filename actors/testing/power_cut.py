"""A disk of which a killed process leaves no more than a power cut would."""

import os
import time
from itertools import count
from pathlib import Path
from random import Random

from actors.stores import FileInfo, MemoryDisk
from actors.stores.memory import File, common, torn

__all__ = ["PowerCutDisk"]

EARLY = 0.2  # how often an operation lets something of what is not flushed through


class PowerCutDisk(MemoryDisk):
    """What is written stays in memory, and dies with the process. A flush brings it to `directory`,
    which is what is left; and so does chance, now and then: a name without its neighbour, a part of
    a content, zeros where it should be.
    """

    def __init__(self, directory: Path, chance: Random) -> None:
        super().__init__()
        self._ticks = count(time.time_ns())
        self._chance = chance
        self._draft = directory / "not-yet-named"
        for path in directory.rglob("*"):
            if path.is_file():
                file = self._names[path] = self._flushed_names[path] = File(path.read_bytes())
                file.flushed, file.mtime_ns = file.content, path.stat().st_mtime_ns
                file.inode = file.mtime_ns

    def make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def create(self, path: Path, data: bytes) -> FileInfo:
        info = super().create(path, data)
        self._let_through()
        return info

    def append(self, path: Path, data: bytes) -> FileInfo:
        info = super().append(path, data)
        self._let_through()
        return info

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        self._let_through()

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self._let_through()

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._let_through()

    def flush(self, path: Path) -> None:
        super().flush(path)
        file = self._find(path)
        for name, named in self._flushed_names.items():
            if named is file:
                self._write_out(name, file, file.flushed)

    def flush_directory(self, path: Path) -> None:
        changed = [name for name in self._changed_names() if name.parent == path]
        self._chance.shuffle(changed)
        for name in changed:
            self._name(name)

    def write_back(self) -> None:
        """All of it: the process ends, and the power stays."""
        for path, file in self._names.items():
            if file.content != file.flushed:
                self.flush(path)
        for path in self._changed_names():
            self._name(path)

    def _let_through(self) -> None:
        if self._chance.random() > EARLY:
            return
        names = self._changed_names()
        files = [
            (path, file)
            for path, file in self._flushed_names.items()
            if file.content != file.flushed
        ]
        if names and (not files or self._chance.random() < 0.5):
            self._name(self._chance.choice(names))
        elif files:
            path, file = self._chance.choice(files)
            self._write_out(path, file, torn(file, self._chance))

    def _changed_names(self) -> list[Path]:
        both = self._names.keys() | self._flushed_names.keys()
        return sorted(
            path for path in both if self._names.get(path) is not self._flushed_names.get(path)
        )

    def _name(self, path: Path) -> None:
        """This name becomes what it is in memory: another file, or nobody's."""
        file = self._names.get(path)
        if file is None:
            del self._flushed_names[path]
            path.unlink()
            return
        self._flushed_names[path] = file
        self._draft.unlink(missing_ok=True)
        self._write_out(self._draft, file, torn(file, self._chance))
        self._draft.replace(path)

    def _write_out(self, path: Path, file: File, content: bytes) -> None:
        """What both have in common is not touched."""
        with path.open("r+b" if path.exists() else "w+b") as out:
            kept = common(out.read(), content)
            out.truncate(kept)
            out.seek(kept)
            out.write(content[kept:])
        os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
