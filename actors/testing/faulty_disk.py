"""A disk that fails where the test says."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from actors.stores import Disk, FileInfo

__all__ = ["FaultyDisk", "nth"]


def nth(number: int, *, lasting: bool = False) -> Callable[[int, str], bool]:
    """For `FaultyDisk`: the operation of this number fails; if `lasting`, all after it too."""
    return lambda now, name: now == number or (lasting and now > number)


class FaultyDisk:
    """Wraps a disk, and counts its operations from 1 in `trace`. `fail` decides about each, by
    its number and name; what fails raises `code` and does nothing. With `torn` a `create` or
    `append` that fails has written half of its bytes.
    """

    def __init__(
        self,
        disk: Disk,
        fail: Callable[[int, str], bool] = lambda number, name: False,
        code: int = errno.ENOSPC,
        *,
        torn: bool = False,
    ) -> None:
        self.disk = disk
        self.fail = fail
        self.code = code
        self.torn = torn
        self.trace: list[str] = []
        self.blocking = disk.blocking
        self.latency = disk.latency

    def _pass(self, name: str, begin: Callable[[], object] = lambda: None) -> None:
        self.trace.append(name)
        if self.fail(len(self.trace), name):
            if self.torn:
                begin()
            raise OSError(self.code, os.strerror(self.code))

    def make_directory(self, path: Path) -> None:
        self._pass("make_directory")
        self.disk.make_directory(path)

    def names(self, path: Path) -> Iterable[str]:
        self._pass("names")
        return self.disk.names(path)

    def scan(self, path: Path) -> Iterable[FileInfo]:
        self._pass("scan")
        return self.disk.scan(path)

    def read(self, path: Path) -> bytes:
        self._pass("read")
        return self.disk.read(path)

    def create(self, path: Path, data: bytes) -> FileInfo:
        self._pass("create", lambda: self.disk.create(path, data[: len(data) // 2]))
        return self.disk.create(path, data)

    def append(self, path: Path, data: bytes) -> FileInfo:
        self._pass("append", lambda: self.disk.append(path, data[: len(data) // 2]))
        return self.disk.append(path, data)

    def truncate(self, path: Path, size: int) -> None:
        self._pass("truncate")
        self.disk.truncate(path, size)

    def flush(self, path: Path) -> None:
        self._pass("flush")
        self.disk.flush(path)

    def replace(self, source: Path, target: Path) -> None:
        self._pass("replace")
        self.disk.replace(source, target)

    def remove(self, path: Path) -> None:
        self._pass("remove")
        self.disk.remove(path)

    def flush_directory(self, path: Path) -> None:
        self._pass("flush_directory")
        self.disk.flush_directory(path)
