"""The real server on a disk that stands still, or is full, for as long as the test says.

stage.start(COMMAND)
with stuck_disk(stage.directory):
    ...
with full_disk(stage.directory):
    ...
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import app.cli
import app.house  # what the command line imports late
from actors.stores import RealDisk, directory, journal
from actors.testing.faulty_disk import FaultyDisk

__all__ = ["COMMAND", "full_disk", "stuck_disk"]

COMMAND = (sys.executable, "-m", "tests.browser.stuck_disk_server")
READS = {"names", "scan", "read"}
GROWS = {"create", "append"}


def _lock(data_dir: Path) -> Path:
    return data_dir.with_name("stuck")


@contextmanager
def stuck_disk(data_dir: Path) -> Iterator[None]:
    """Whatever is written waits until the end of the block, or of this process."""
    with _lock(data_dir).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _full(data_dir: Path) -> Path:
    return data_dir.with_name("full")


@contextmanager
def full_disk(data_dir: Path) -> Iterator[None]:
    """Nothing more fits until the end of the block."""
    _full(data_dir).touch()
    try:
        yield
    finally:
        _full(data_dir).unlink()


def main() -> int:
    data_dir = Path(os.environ["GREENROOM_DATA_DIR"])
    lock, full = _lock(data_dir), _full(data_dir)

    def wait(_: int, name: str) -> bool:
        if name not in READS:
            with lock.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
        return name in GROWS and full.exists()

    directory.RealDisk = journal.RealDisk = lambda: FaultyDisk(RealDisk(), wait)  # type: ignore[assignment,misc]
    return app.cli.main([])


if __name__ == "__main__":
    sys.exit(main())
