"""What is installed has everything that a checkout has."""

import shutil
import subprocess
import sys
import zipfile

from tests.app.process import ROOT


def test_a_wheel_has_every_file_of_the_page_and_the_templates(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("actors", "app"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = ("pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path))
    built = subprocess.run(
        [sys.executable, "-m", *command, str(source)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    app = ROOT / "app"
    wanted = [path for name in ("static", "templates") for path in (app / name).rglob("*.*")]
    assert len(wanted) > 30
    missing = [path for path in wanted if path.relative_to(ROOT).as_posix() not in packed]
    assert missing == []
