"""The programs in the README run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("program", "printed"),
    [*zip(PROGRAMS, ("assistant hello from the wings", "3"), strict=True)],
    ids=("a greenroom of your own", "an actor of your own"),
)
def test_the_programs_in_the_readme_run(program, printed, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert printed in [line.strip() for line in finished.stdout.splitlines()]
