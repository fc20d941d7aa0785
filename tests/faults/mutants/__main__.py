"""Does anything notice when a bug comes back? Each is a patch, `NN-name.patch` with NN its number
in `tests/contract/test_bugs.py`, or above 100 if it is none of that list. It puts the bug into a
copy of the code; the suite that the patch names must fail there.

    python -m tests.faults.mutants          all of them
    python -m tests.faults.mutants 40 62    these
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["ROOT", "Mutant", "Verdict", "applies", "mutants", "try_out"]

ROOT = Path(__file__).parents[3]
PARTS = ("actors", "app", "tests", "pyproject.toml")
CAUGHT_BY = "Caught by: "
TIMEOUT = 600.0
# Not the bug, but a patch that is none: the code does not run at all.
NO_CODE = re.compile(
    r"^(?:E  |FAILED ).*\b(ImportError|ModuleNotFoundError|SyntaxError|NameError)\b",
    re.MULTILINE,
)
FAILED = re.compile(r"^FAILED \S+?::(.+?)(?: - |$)", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    path: Path

    @property
    def number(self) -> int:
        return int(self.path.name.split("-")[0])

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def header(self) -> list[str]:
        """What the bug is, and the suite that is to catch it."""
        lines = self.path.read_text().splitlines()
        return lines[: next(i for i, line in enumerate(lines) if line.startswith("--- "))]

    @property
    def suite(self) -> list[str]:
        """As pytest's arguments."""
        found = [line for line in self.header if line.startswith(CAUGHT_BY)]
        return shlex.split(found[0].removeprefix(CAUGHT_BY))


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    word: str  # caught, SURVIVED, BROKEN
    seconds: float
    what: str = ""

    def __str__(self) -> str:
        return f"{self.mutant.name:<50} {self.seconds:6.1f} s  {self.word} {self.what}".rstrip()


def mutants() -> list[Mutant]:
    return [Mutant(path) for path in sorted(Path(__file__).parent.glob("*.patch"))]


def applies(mutant: Mutant, tree: Path, *, check: bool = False) -> str:
    """Why not, if it does not."""
    command = ["git", "apply", *(["--check"] if check else []), str(mutant.path)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    return done.stderr.strip()


def copy(tree: Path) -> None:
    unwanted = shutil.ignore_patterns("__pycache__")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tree / part, ignore=unwanted)
        else:
            shutil.copy(ROOT / part, tree / part)


def try_out(mutant: Mutant, timeout: float = TIMEOUT) -> Verdict:
    began = time.perf_counter()
    with TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder)
        copy(tree)
        error = applies(mutant, tree)
        code, said = (None, error) if error else suite_in(tree, mutant.suite, timeout)
    word, what = judged(code, said)
    return Verdict(mutant, word, time.perf_counter() - began, what)


def suite_in(tree: Path, suite: list[str], timeout: float) -> tuple[int | None, str]:
    """Exit code and output; no code if there was no end to it."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command = [*pytest, "-x", "-q", "-rf", "--tb=short", *suite]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "300"}
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"no end after {timeout:g} s"
    return done.returncode, done.stdout


def judged(code: int | None, said: str) -> tuple[str, str]:
    """A test that failed has caught it, unless all that failed is the patch."""
    if code == 0:
        return "SURVIVED", ""
    failed = FAILED.search(said)
    if code != 1 or failed is None:
        return "BROKEN", said[-2000:]
    nothing_ran = NO_CODE.search(said)
    return ("BROKEN", nothing_ran[1]) if nothing_ran else ("caught", f"by {failed[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("numbers", nargs="*", type=int, metavar="NN", help="only these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time")
    arguments = parser.parse_args()
    chosen = [m for m in mutants() if not arguments.numbers or m.number in arguments.numbers]
    if not chosen:
        parser.error("there is no such patch")
    bad = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for verdict in pool.map(try_out, chosen):
            print(verdict, flush=True)
            bad += verdict.word != "caught"
    print(f"{len(chosen) - bad} of {len(chosen)} caught")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
