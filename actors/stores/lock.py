"""One process owns a data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DirectoryInUse", "own_directory"]

LOCK_FILE = "greenroom.lock"


class DirectoryInUse(Exception):
    """Stop the process `pid`, or choose another directory. `pid` is None if it did not say."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"the data directory is in use by process {pid or 'unknown'}")
        self.pid = pid


@contextmanager
def own_directory(path: Path) -> Iterator[None]:
    """Hold the operating system's lock on the directory, which is made if need be. The lock goes
    with the process, however it ends. Raises `DirectoryInUse`, or `OSError`.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUse(_owner(handle)) from None
        os.truncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(handle)


def _owner(handle: int) -> int | None:
    text = os.pread(handle, 32, 0).strip()
    return int(text) if text.isdigit() else None
