"""`greenroom sessions`, as who scripts and who looks sees them."""

import json
import re

import pytest
import trio

from app.commands.terminal import Plain, cut, plain
from tests.app.client import open_client
from tests.app.process import COMMAND, environment, running_server
from tests.app.terminal import SIZE, on_terminal

KEY = "sk-abcdefghijklmnopqrstuvwx123456"
LOUD = "\x1b[31mred\x1b[0m"


@pytest.fixture
async def client(tmp_path):
    async with running_server(tmp_path / "data") as server, open_client(server.url) as opened:
        yield opened


@pytest.fixture
def told(tmp_path):
    """Run a command; gives its exit code, stdout and stderr."""

    async def run(*arguments):
        with trio.fail_after(60):
            done = await trio.run_process(
                [*COMMAND, "sessions", *arguments],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=environment(tmp_path / "data"),
            )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


async def taken_in(client, title, *said):
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    taken = await client.post("/api/session/import", title=title, messages=messages)
    return taken["session"]["session_id"]


@pytest.mark.process
async def test_the_list_for_scripts_and_its_parts(client, told):
    assert await told("list") == (0, "", "")
    names = [await taken_in(client, f"No. {n}\t{LOUD}", "hi", "yo") for n in range(5)]
    code, out, err = await told("list")
    rows = [line.split("\t") for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [row[0] for row in rows] == names[::-1]
    assert {row[2] for row in rows} == {"2"}
    assert rows[0][3] == "No. 4 red"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", row[1]) for row in rows)

    async def listed(*arguments):
        return [
            row["session_id"] for row in json.loads((await told("list", "--json", *arguments))[1])
        ]

    assert await listed("--limit", "2", "--offset", "1") == [names[3], names[2]]
    await client.post("/api/session/archive", session_id=names[0])
    assert await listed("--archived") == [names[0]]
    assert await listed() == names[:0:-1]
    made = await client.post("/api/projects/create", name="Ships")
    project_id = made["project"]["project_id"]
    for name in names[1:3]:
        await client.post("/api/session/move", session_id=name, project_id=project_id)
    assert sorted(await listed("--project", "ships")) == sorted(names[1:3])
    assert len(await listed("--project", "ships", "--limit", "1", "--offset", "1")) == 1
    code, out, err = await told("list", "--project", "none")
    assert (code, out) == (2, "")
    assert "no project is called 'none'; there are: Ships" in err


@pytest.mark.process
async def test_a_transcript_is_found_by_its_beginning_and_shown(client, told):
    name = await taken_in(client, "Of ships", "**What** sails?", f"- ships\n- {LOUD}", KEY)
    code, out, _ = await told("show", name[:6])
    assert code == 0
    head, *parts = out.split("── ")
    assert head.startswith(f"Of ships\n{name}")
    assert [part.partition("\n")[2].strip() for part in parts] == [
        "**What** sails?",
        f"- ships\n- {LOUD}",
        "[secret]",
    ]
    assert [part.splitlines()[0] for part in parts] == ["You", "Assistant", "You"]
    assert json.loads((await told("show", name, "--json"))[1])["title"] == "Of ships"
    assert await told("show", "zz") == (2, "", "greenroom: error: there is no session 'zz'\n")
    # Every id is hexadecimal: of 17 some two begin alike.
    names = [name, *[await taken_in(client, "more", "hi") for _ in range(16)]]
    first = next(n[0] for n in names if sum(other[0] == n[0] for other in names) > 1)
    code, out, err = await told("show", first)
    assert (code, out) == (2, "")
    assert f"'{first}' is the beginning of" in err


@pytest.mark.process
async def test_what_was_said_is_searched_and_exported(client, told, tmp_path):
    name = await taken_in(client, "Of ships", "what sails?", "The barquentine does.")
    for _ in range(100):
        code, out, err = await told("search", "barquentine")
        if code == 0:
            break
    assert out.startswith(f"{name}\t")
    assert out.endswith("Of ships: what sails? The barquentine does.\n")
    assert json.loads((await told("search", "barquentine", "--json"))[1])[0]["session_id"] == name
    assert (await told("search", "submarine"))[:2] == (1, "")
    assert json.loads((await told("export", name[:8]))[1])["session_id"] == name
    file = tmp_path / "ships.html"
    assert (await told("export", name, "--format", "html", "-o", str(file)))[:2] == (0, "")
    assert "barquentine" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    code, _, err = await told("export", name, "-o", str(file))
    assert code == 2
    assert f"cannot write '{file}'" in err


@pytest.mark.process
async def test_a_person_sees_a_table_as_wide_as_the_terminal(client, tmp_path):
    await taken_in(client, "長い題名" * 20, f"hi {LOUD}", "\x1b]8;;http://x\x07link\x1b]8;;\x07")
    async with on_terminal(tmp_path / "data", "sessions", "list") as seen:
        assert await seen.wait() == 0
    head, row = seen.shown.splitlines()
    assert head.split() == ["ID", "LAST", "ROWS", "TITLE"]
    assert row.endswith("…")
    wide = sum(2 if ord(c) > 0x3000 else 1 for c in row)
    assert SIZE[1] - 1 <= wide <= SIZE[1]
    name = row.split()[0]
    async with on_terminal(tmp_path / "data", "sessions", "show", name) as seen:
        assert await seen.wait() == 0
    assert "hi red" in seen.shown
    assert "link" in seen.shown
    assert "\x1b" not in seen.shown


ORDERS = [
    ("a\x1b[1;31mb\x1b[0mc", "abc"),
    ("a\x1b]8;;http://x\x1b\\b\x1b]0;t\x07c", "abc"),
    ("a\x9b2Jb\x1b(Bc\x1bcd\x1bMe", "abcde"),
    ("a\r\nb\rc\x08d\x7fe\x85f\tg", "a\nbcdef\tg"),
    ("a\x1b\nb\x1bPq\x1b\\c", "a\nbc"),
    ("ende\x1b[", "ende["),
    ("\x1b\x1b[31mred", "red"),
]


@pytest.mark.parametrize(("text", "seen"), ORDERS)
def test_what_steers_a_terminal_is_left_out_however_it_is_cut(text, seen):
    assert plain(text) == seen
    for at in range(len(text) + 1):
        parts = Plain()
        assert parts.feed(text[:at]) + parts.feed(text[at:]) + parts.end() == seen
    parts = Plain()
    assert "".join(map(parts.feed, text)) + parts.end() == seen


def test_an_order_that_never_ends_holds_nothing_up():
    parts = Plain()
    assert parts.feed("\x1b]" + "x" * 5000) == "]" + "x" * 5000


def test_a_text_is_cut_to_the_columns_it_takes():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
    assert cut("長い題名", 5) == "長い…"
    assert cut("e\u0301" * 3, 3) == "e\u0301" * 3
