"""Projects: what each command does, what it refuses, and what cannot cross."""

import json
import string

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed, ActorStopped, Message, Rejected
from actors.projects.messages import (
    BadProject,
    CreateProject,
    DeleteProject,
    ListProjects,
    MoveSession,
    ProjectNotFound,
    ProjectsDamaged,
    RenameProject,
)
from actors.stores import MemoryDisk
from tests.projects.conftest import (
    FILE,
    HERE,
    KEPT,
    ODD,
    Sessions,
    disk_with,
    open_projects,
    reopened,
    written,
)

# -- what each command does ---------------------------------------------------------------------


async def test_a_new_project_is_on_disk_when_it_is_answered():
    disk = MemoryDisk()
    async with open_projects(disk) as room:
        assert await room.all() == []
        made = await room.ask(CreateProject("Work", "#abc", "mine"))
        assert made == {
            "project_id": "000000000001",
            "name": "Work",
            "color": "#abc",
            "created_at": 99.5,
            "profile": "mine",
        }
        assert written(disk.crash()) == [made]
        plain = await room.ask(CreateProject("Work"))
        assert plain["color"] is None
        assert "profile" not in plain
        assert await room.all() == [made, plain]
    assert await reopened(disk.crash()) == [made, plain]


async def test_a_project_is_renamed_and_keeps_its_color_unless_one_is_given():
    disk = disk_with(KEPT, ODD)
    async with open_projects(disk) as room:
        for change, color in (
            ({}, "#7cb9ff"),
            ({"color": "#0F0"}, "#0F0"),
            ({"color": None}, None),
        ):
            renamed = await room.ask(RenameProject(KEPT["project_id"], " New ", **change))
            assert renamed == KEPT | {"name": "New", "color": color}
            assert await room.all() == written(disk.crash()) == [renamed, ODD]


async def test_deleting_takes_the_sessions_out_and_no_others():
    disk = disk_with(KEPT, ODD)
    kept, odd = KEPT["project_id"], ODD["project_id"]
    sessions = Sessions(a=kept, b=odd, c=kept, d=None)
    async with open_projects(disk, sessions) as room:
        assert await room.ask(DeleteProject(kept)) == 2
        assert sessions.where == {"a": None, "b": odd, "c": None, "d": None}
        assert sessions.asked == ["a", "c"]
        assert await room.all() == written(disk.crash()) == [ODD]
        await room.refuses(ProjectNotFound, DeleteProject(kept))


async def test_a_session_is_moved_only_into_a_project_that_is_there():
    sessions = Sessions(s=None)
    async with open_projects(disk_with(KEPT), sessions) as room:
        assert await room.ask(MoveSession("s", KEPT["project_id"])) == "s has moved"
        assert sessions.where == {"s": KEPT["project_id"]}
        await room.refuses(ProjectNotFound, MoveSession("s", "cccccccccccc"), MoveSession("s", ""))
        assert sessions.where == {"s": KEPT["project_id"]}
        assert await room.ask(MoveSession("s", None)) == "s has moved"
        assert sessions.where == {"s": None}


async def test_what_the_session_refuses_the_mover_hears():
    sessions = Sessions(s=None)
    sessions.failures["s"] = refusal = Rejected("read only")
    async with open_projects(disk_with(KEPT), sessions) as room:
        assert await room.refuses(Rejected, MoveSession("s", KEPT["project_id"])) is refusal


async def test_a_crash_loses_no_project():
    sessions = Sessions()
    sessions.failures["s"] = ValueError("a bug")
    async with open_projects(disk_with(KEPT), sessions) as room:
        made = await room.ask(CreateProject("Work"))
        for crash in (MoveSession("s", None), Message()):
            with pytest.raises(ActorCrashed):
                await room.ask(crash)
            assert await room.all() == [KEPT, made]


# -- the file -----------------------------------------------------------------------------------


async def test_reading_leaves_the_file_as_it_is():
    content = b'[ {"project_id":"aaaaaaaaaaaa"} ]'
    disk = disk_with(content=content)
    async with open_projects(disk) as room:
        assert await room.all() == [{"project_id": "aaaaaaaaaaaa"}]
        await room.ask(MoveSession("s", "aaaaaaaaaaaa"))
    assert disk.read(FILE) == content


async def test_the_file_is_indented_text():
    disk = disk_with(KEPT)
    async with open_projects(disk) as room:
        renamed = await room.ask(RenameProject(KEPT["project_id"], "Ünd"))
    assert disk.read(FILE).decode() == json.dumps([renamed], indent=2, ensure_ascii=False)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=4))
async def test_what_we_do_not_know_of_a_project_is_written_back(extras):
    before = [extra | {"project_id": f"p{n}"} for n, extra in enumerate(extras)]
    disk = disk_with(*before)
    async with open_projects(disk) as room:
        made = await room.ask(CreateProject("new"))
        assert written(disk) == [*before, made]
        for project in before:
            await room.ask(RenameProject(project["project_id"], "n", "#fff"))
    assert written(disk) == [*(p | {"name": "n", "color": "#fff"} for p in before), made]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"not json", "malformed"),
        (b'[{"project_id": "aaaaaaaaaaaa", "na', "truncated"),
        (b"[]]", "malformed"),
        (b"\xff", "malformed"),
        (b'["\xed\xa0\x80"]', "object"),
        (b'[{"project_id": "\xed\xa0\x80"}]', "utf-8"),
        (b"[" * 100_000, "object"),
        (b'[{"x": ' + b"[" * 100_000, "recursion"),
        (b"{}", "array"),
        (b"null", "array"),
        (b'[{"project_id": "aaaaaaaaaaaa"}, 1]', "object"),
        (b'[{"project_id": "aaaaaaaaaaaa"}, {"name": "x"}]', "no project_id in entry 1"),
        (b'[{"project_id": null}]', "no project_id in entry 0"),
    ],
)
async def test_a_damaged_file_is_reported_kept_and_read_again(content, reason):
    disk = disk_with(content=content)
    sessions = Sessions(s="aaaaaaaaaaaa")
    async with open_projects(disk, sessions) as room:
        for command in (
            ListProjects(),
            CreateProject("x"),
            RenameProject("aaaaaaaaaaaa", "x"),
            DeleteProject("aaaaaaaaaaaa"),
            MoveSession("s", None),
        ):
            with pytest.raises(ProjectsDamaged, match=reason) as caught:
                await room.ask(command)
            assert "damaged and was left as it is" in str(caught.value)
        assert [info.name for info in disk.scan(HERE)] == [FILE.name]
        assert disk.read(FILE) == content
        assert sessions.asked == []
        disk.remove(FILE)
        disk.create(FILE, json.dumps([KEPT]).encode())  # somebody mended it
        assert await room.all() == [KEPT]
    assert disk.read(FILE) == json.dumps([KEPT]).encode()


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u3000"])
async def test_a_name_is_required(blank):
    disk = disk_with(KEPT)
    async with open_projects(disk) as room:
        commands = CreateProject(blank), RenameProject(KEPT["project_id"], blank, "#fff")
        assert str(await room.refuses(BadProject, *commands)) == "name required"
    assert written(disk) == [KEPT]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  a b ", "a b"),
        ("x" * 129, "x" * 128),
        (f"  {'y' * 128}z", "y" * 128),
        ("é" * 200, "é" * 128),
    ],
)
async def test_a_name_is_stripped_and_cut(given, kept):
    async with open_projects(disk_with(KEPT)) as room:
        assert (await room.ask(CreateProject(given)))["name"] == kept
        assert (await room.ask(RenameProject(KEPT["project_id"], given)))["name"] == kept


@given(st.text("#09afAFgG \n", max_size=10) | st.from_regex(r"#[0-9a-fA-F]{2,9}", fullmatch=True))
@example("")
@example("#fff\n")
@example("#٣٣٣")
async def test_a_color_is_a_hash_and_three_to_eight_hex_digits(color):
    digits = color.removeprefix("#")
    valid = len(color) == len(digits) + 1 and 3 <= len(digits) <= 8
    valid = valid and set(digits) <= set(string.hexdigits)
    async with open_projects(disk_with(KEPT)) as room:
        commands = CreateProject("x", color), RenameProject(KEPT["project_id"], "x", color)
        if valid:
            for command in commands:
                assert (await room.ask(command))["color"] == color
        else:
            assert str(await room.refuses(BadProject, *commands)) == "Invalid color format"


async def test_what_is_not_there_cannot_be_renamed_or_deleted():
    disk = disk_with(KEPT)
    sessions = Sessions(s="cccccccccccc")
    async with open_projects(disk, sessions) as room:
        commands = RenameProject("cccccccccccc", "x"), DeleteProject("cccccccccccc")
        await room.refuses(ProjectNotFound, *commands)
    assert written(disk) == [KEPT]
    assert sessions.asked == []


# -- at the same time ---------------------------------------------------------------------------


async def test_of_a_hundred_projects_made_at_once_none_is_lost():
    disk = MemoryDisk()
    made = []

    async def create(n):
        made.append(await room.ask(CreateProject(f"n{n}")))

    async with open_projects(disk) as room:
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(create, n)
        assert await room.all() == made
    assert {project["name"] for project in made} == {f"n{n}" for n in range(100)}
    assert len({project["project_id"] for project in made}) == 100
    assert await reopened(disk.crash()) == made


async def test_a_move_that_has_begun_is_over_before_its_project_can_go():
    disk = disk_with(KEPT)
    sessions = Sessions(s=None)
    sessions.gate = trio.Event()
    async with open_projects(disk, sessions) as room, trio.open_nursery() as nursery:
        nursery.start_soon(room.ask, MoveSession("s", KEPT["project_id"]))
        await wait_all_tasks_blocked()
        nursery.start_soon(room.ask, DeleteProject(KEPT["project_id"]))
        await wait_all_tasks_blocked()
        assert written(disk) == [KEPT]
        sessions.gate.set()
    assert written(disk) == []
    assert sessions.where == {"s": None}


async def test_nothing_moves_into_a_project_that_is_being_deleted():
    disk = disk_with(KEPT)
    sessions = Sessions(a=KEPT["project_id"], b=None)
    sessions.gate = trio.Event()

    async def move_too_late():
        with pytest.raises(ProjectNotFound):
            await room.ask(MoveSession("b", KEPT["project_id"]))

    async with open_projects(disk, sessions) as room, trio.open_nursery() as nursery:
        nursery.start_soon(room.ask, DeleteProject(KEPT["project_id"]))
        await wait_all_tasks_blocked()
        assert written(disk.crash()) == []  # it is gone before the first session is told
        nursery.start_soon(move_too_late)
        await wait_all_tasks_blocked()
        assert sessions.asked == ["a"]
        sessions.gate.set()
    assert sessions.where == {"a": None, "b": None}


async def test_a_member_that_refuses_or_is_gone_keeps_no_other_from_leaving(caplog):
    kept = KEPT["project_id"]
    sessions = Sessions(a=kept, b=kept, c=kept, d=kept, e=kept)
    sessions.failures |= {"a": Rejected(), "c": ActorStopped(), "d": ActorCrashed("a bug")}
    async with open_projects(disk_with(KEPT, ODD), sessions) as room:
        assert await room.ask(DeleteProject(kept)) == 2
        assert await room.all() == [ODD]
    assert sessions.where == {"a": kept, "b": None, "c": kept, "d": kept, "e": None}
    assert [record.args[0] for record in caplog.records] == ["a", "c", "d"]


async def test_a_project_whose_members_nobody_can_name_is_deleted_all_the_same(caplog):
    disk = disk_with(KEPT)
    sessions = Sessions(a=KEPT["project_id"])
    sessions.failures["members"] = Rejected("no list")
    async with open_projects(disk, sessions) as room:
        assert await room.ask(DeleteProject(KEPT["project_id"])) == 0
        assert await room.all() == []
    assert written(disk.crash()) == []
    assert len(caplog.records) == 1
