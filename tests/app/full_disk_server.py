"""The real server on a disk that has no room as long as there is a file `full` beside it."""

import os
import sys
from pathlib import Path

import app.cli
import app.house  # what the command line imports late
from actors.stores import RealDisk, directory, journal
from actors.testing.faulty_disk import FaultyDisk


def main() -> int:
    full = Path(os.environ["GREENROOM_DATA_DIR"]).with_name("full")

    def refuse(_: int, name: str) -> bool:
        return name in ("create", "append", "flush") and full.exists()

    directory.RealDisk = journal.RealDisk = lambda: FaultyDisk(RealDisk(), refuse)  # type: ignore[assignment,misc]
    return app.cli.main([])


if __name__ == "__main__":
    sys.exit(main())
