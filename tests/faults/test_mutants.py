"""The patches of `tests.faults.mutants` fit today's code, and the command does what it says. That
all of them are caught it says itself: `python -m tests.faults.mutants`.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.test_bugs import BUGS
from tests.faults.mutants.__main__ import CAUGHT_BY, ROOT, Mutant, applies, mutants, try_out

ALL = {mutant.name: mutant for mutant in mutants()}
QUICKEST = ("63-renamed-before-it-is-flushed",)
INSERTED = """\
--- a/tests/faults/__init__.py
+++ b/tests/faults/__init__.py
@@ -1 +1,2 @@
 {}
+{}
"""
FIRST = (ROOT / "tests" / "faults" / "__init__.py").read_text().splitlines()[0]


def test_there_are_enough_of_them():
    assert len(ALL) >= 20
    assert len({mutant.number for mutant in ALL.values()}) >= 20


@pytest.mark.parametrize("name", ALL)
def test_each_says_what_it_is_and_fits(name):
    mutant = ALL[name]
    assert mutant.number in BUGS or mutant.number > 100  # of what came after the list
    assert 2 <= len(mutant.header) <= 3
    assert mutant.header[0].startswith(f"{mutant.number}: ")
    assert mutant.header[-1].startswith(CAUGHT_BY)
    suite = ROOT / mutant.suite[0].split("::")[0]
    assert suite.parent == ROOT / "tests" / "faults"
    assert suite.name.startswith("test_")
    assert suite.is_file()
    assert applies(mutant, ROOT, check=True) == ""


def put_down(folder: Path, line: str, after: str = FIRST) -> Mutant:
    path = folder / "00-of-a-test.patch"
    suite = "tests/faults/test_checker.py -k title"
    path.write_text(f"0: Nothing.\n{CAUGHT_BY}{suite}\n{INSERTED.format(after, line)}")
    return Mutant(path)


def test_a_survivor_is_told_apart_from_what_cannot_run(tmp_path):
    assert try_out(put_down(tmp_path, "# harmless")).word == "SURVIVED"
    assert try_out(put_down(tmp_path, "import nothing_at_all")).word == "BROKEN"
    unfit = try_out(put_down(tmp_path, "# harmless", after="# not there"))
    assert unfit.word == "BROKEN"
    assert "does not apply" in unfit.what


def test_a_hang_is_not_a_catch(tmp_path):
    verdict = try_out(put_down(tmp_path, "# harmless"), timeout=0.01)
    assert (verdict.word, verdict.what) == ("BROKEN", "no end after 0.01 s")


def command(*numbers: int) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.faults.mutants", *map(str, numbers)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_bug_that_comes_back_is_caught():
    done = command(*(ALL[name].number for name in QUICKEST))
    lines = [rf"{name} +\d+\.\d s  caught by test_\S+\n" for name in QUICKEST]
    assert re.fullmatch("".join(lines) + "1 of 1 caught\n", done.stdout), done
    assert done.returncode == 0


def test_there_is_nothing_to_say_of_a_bug_without_a_patch():
    assert command(999).returncode == 2
