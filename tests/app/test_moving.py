"""`greenroom export` and `import`: conversations out of one directory, and into another."""

import json
import os
import re
from functools import partial

import pytest
import trio

from app.cli import main
from tests.app.client import open_client
from tests.app.process import running_server

KEY = "sk-abcdefghijklmnopqrstuvwx123456"


@pytest.fixture(autouse=True)
def _umask():
    """The commands change it for the process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def exported(tmp_path):
    """What an export would have written, of two sessions."""
    file = tmp_path / "some.jsonl"
    rows = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": f"key {KEY}"}]
    said = [{"title": f"Of {name}", "messages": rows} for name in ("one", "two")]
    file.write_text("".join(json.dumps(session) + "\n" for session in said))
    return file


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


def lines(text):
    return {(s := json.loads(line))["title"]: s["messages"] for line in text.splitlines()}


def test_what_is_taken_in_comes_out_again_without_a_server(data, exported, tmp_path, capsys):
    assert main(["import", "--data-dir", str(data), str(exported)]) == 0
    out, err = capsys.readouterr()
    names = out.split()
    assert len(names) == 2
    assert err == "2 sessions\n"
    again = tmp_path / "again.jsonl"
    assert main(["export", str(data), "-o", str(again)]) == 0
    told = lines(again.read_text())
    assert set(told) == {"Of one", "Of two"}
    assert told["Of one"][0]["content"] == "hi"
    assert KEY not in again.read_text()
    assert "[secret]" in told["Of one"][1]["content"]
    assert main(["export", str(data), "-o", str(again)]) == 2, "nothing is overwritten"

    assert main(["export", str(data), "--format", "html", "-o", str(tmp_path / "pages")]) == 0
    pages = {path.name: path.read_text() for path in (tmp_path / "pages").iterdir()}
    assert set(pages) == {f"{name}.html" for name in names}
    assert all("<!doctype html>" in page.lower() for page in pages.values())
    one = [
        "export",
        str(data),
        "--format",
        "json",
        "--session",
        names[0],
        "-o",
        str(tmp_path / "j"),
    ]
    assert main(one) == 0
    (file,) = (tmp_path / "j").iterdir()
    assert main(["import", "--data-dir", str(data), str(file)]) == 0
    assert capsys.readouterr().err.endswith("1 sessions\n")


@pytest.mark.process
async def test_the_same_through_a_server_that_runs(data, exported, capfdbinary):
    run = partial(trio.to_thread.run_sync, main)
    async with running_server(data) as server, open_client(server.url) as client:
        assert await run(["import", "--data-dir", str(data), str(exported)]) == 0
        rows = (await client.get("/api/sessions"))["sessions"]
        assert {row["title"] for row in rows} == {"Of one", "Of two"}
        archived = rows[0]
        await client.post("/api/session/archive", session_id=archived["session_id"])
        capfdbinary.readouterr()
        assert await run(["export", str(data)]) == 0
        told = lines(capfdbinary.readouterr().out.decode())
        assert set(told) == {"Of one", "Of two"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "line 1, is not JSON"),
        ('{"messages": []}\n{"messages"', "line 2, is not JSON"),
        ("<html></html>", "is not JSON"),
        ('{"title": "none"}', 'JSON must contain a "messages" array'),
        ("[1]", "must be a JSON object"),
    ],
)
def test_what_is_no_export_is_refused_and_named(content, complaint, data, tmp_path, capsys):
    file = tmp_path / "odd"
    file.write_text(content)
    assert main(["import", "--data-dir", str(data), str(file)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert str(file) in said
    assert said.count("\n") == 1
    assert main(["export", str(data), "--session", "nobody"]) == 2
    assert re.search("session nobody: Session not found", capsys.readouterr().err)
