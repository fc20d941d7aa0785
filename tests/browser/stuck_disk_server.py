"""The real server on a disk that stands still for as long as the test says.

stage.start(COMMAND)
with stuck_disk(stage.directory):
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

__all__ = ["COMMAND", "stuck_disk"]

COMMAND = (sys.executable, "-m", "tests.browser.stuck_disk_server")
READS = {"names", "scan", "read"}


def _lock(data_dir: Path) -> Path:
    return data_dir.with_name("stuck")


@contextmanager
def stuck_disk(data_dir: Path) -> Iterator[None]:
    """Whatever is written waits until the end of the block, or of this process."""
    with _lock(data_dir).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    lock = _lock(Path(os.environ["GREENROOM_DATA_DIR"]))

    def wait(_: int, name: str) -> bool:
        if name not in READS:
            with lock.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
        return False

    directory.RealDisk = journal.RealDisk = lambda: FaultyDisk(RealDisk(), wait)  # type: ignore[assignment,misc]
    return app.cli.main([])


if __name__ == "__main__":
    sys.exit(main())
