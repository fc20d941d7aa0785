"""The disks that every store must work on."""

from pathlib import Path

import pytest

from actors.stores import MemoryDisk, RealDisk
from actors.testing.faulty_disk import FaultyDisk


@pytest.fixture(params=["memory", "real"])
def place(request, tmp_path):
    """A disk, with a trace of what was done to it, and a directory there."""
    if request.param == "real":
        return FaultyDisk(RealDisk()), tmp_path / "place"
    return FaultyDisk(MemoryDisk()), Path("/place")
