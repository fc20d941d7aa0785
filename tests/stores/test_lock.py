"""One process owns a data directory."""

import os
import subprocess
import sys

import pytest

from actors.stores import DirectoryInUse, own_directory

HOLD = """
import sys, time
from pathlib import Path
from actors.stores import own_directory
with own_directory(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_and_told_the_firsts_pid(tmp_path):
    with own_directory(tmp_path / "data"):
        with pytest.raises(DirectoryInUse) as refusal, own_directory(tmp_path / "data"):
            pass
        assert refusal.value.pid == os.getpid()
        with own_directory(tmp_path / "other"):
            pass
    with own_directory(tmp_path / "data"):
        pass


def test_the_lock_goes_with_its_process_however_that_ends(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as other:
        assert other.stdout.readline() == "owned\n"
        with pytest.raises(DirectoryInUse) as refusal, own_directory(tmp_path):
            pass
        assert refusal.value.pid == other.pid
        other.kill()
        other.wait()
    with own_directory(tmp_path):
        pass
