"""What the README and the library's guide say is so: programs, and the table of options."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from app.cli import greenroom
from app.tools.config import servers_in
from tests.app.process import running_server

ROOT = Path(__file__).parents[1]
PROGRAM = r"```python\n(.*?)```"
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(PROGRAM, README, re.DOTALL)
GUIDE = (ROOT / "actors/README.md").read_text()
SHOWN = re.findall(PROGRAM + r"\n\n```text\n(.*?)```", GUIDE, re.DOTALL)
TEST_MODULE = re.compile(r"# (test_\w+\.py)\n")


def run(directory, *arguments):
    finished = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Exception ignored" not in finished.stderr, finished.stderr
    return finished.stdout


@pytest.mark.parametrize(
    ("program", "printed"),
    [*zip(PROGRAMS, ("assistant hello from the wings", "3"), strict=True)],
    ids=("a greenroom of your own", "an actor of your own"),
)
def test_the_programs_in_the_readme_run(program, printed, tmp_path):
    said = run(tmp_path, "-W", "error", "-c", program)
    assert printed in [line.strip() for line in said.splitlines()]


@pytest.mark.parametrize(("program", "printed"), SHOWN)
def test_the_programs_in_the_guide_print_what_is_below_them(program, printed, tmp_path):
    module = TEST_MODULE.match(program)
    if module is None:
        assert run(tmp_path, "-W", "error", "-c", program) == printed
        return
    (tmp_path / module[1]).write_text(program)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["actors.testing.plugin"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    assert printed.strip() in run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")


OF_COMMANDS = {"--format", "--help", "--json", "--last", "--path", "--repair", "--scope"}
OF_COMMANDS |= {"--session", "--url"}
SEVERAL = {"--limit": "GREENROOM_LIMITS", "--allowed-host": "GREENROOM_ALLOWED_HOSTS"}


def test_options_are_named_as_the_readme_says():
    options = {each.opts[0]: each.envvar for each in greenroom.params if each.name != "version"}
    assert {*re.findall(r"`(--[a-z-]+)", README)} <= options.keys() | OF_COMMANDS
    for option, variable in options.items():
        name = option.removeprefix("--").replace("-", "_").upper()
        assert variable == SEVERAL.get(option, f"GREENROOM_{name}")


@pytest.mark.process
async def test_the_program_for_openais_client_runs(tmp_path):
    (program,) = re.findall(r"<<'END'\n(.*?)\nEND", README, re.DOTALL)
    async with running_server(tmp_path / "data") as server:
        here = program.replace("http://localhost:8700", server.url)
        assert here != program
        said = await trio.to_thread.run_sync(run, tmp_path, "-W", "error", "-c", here)
    assert said.count("demo agent") == 2, "the story that was cut off, and the shorter one"


def test_the_file_of_tool_servers_in_the_readme_is_taken():
    (file,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    time, notes = servers_in(file.encode(), {"NOTES_TOKEN": "hush"})
    assert (time.command, time.asks("convert_time")) == ("uvx", False)
    assert notes.headers == {"Authorization": "Bearer hush"}
    assert (notes.asks("search"), notes.asks("write")) == (False, True)


def test_every_program_of_the_guide_is_run():
    assert len(SHOWN) == GUIDE.count("```python") == 6
