"""Projects when the disk fails, or the power, at every place."""

import errno

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.projects.messages import (
    CreateProject,
    DeleteProject,
    ListProjects,
    MoveSession,
    ProjectNotFound,
    ProjectsUnavailable,
    RenameProject,
)
from actors.testing.faulty_disk import FaultyDisk, nth
from tests.projects.conftest import KEPT, ODD, Sessions, disk_with, open_projects, reopened, written

COMMANDS = (
    CreateProject("New", "#123"),
    RenameProject(KEPT["project_id"], "Changed"),
    DeleteProject(KEPT["project_id"]),
)


def after(command, answer):
    """What there is when a command was answered, and there were these two before."""
    match command:
        case CreateProject():
            return [KEPT, ODD, answer]
        case RenameProject():
            return [answer, ODD]
    return [ODD]


async def operations_of(command):
    """The numbers of the disk operations that a command makes."""
    disk = FaultyDisk(disk_with(KEPT, ODD))
    async with open_projects(disk) as room:
        await room.all()
        first = len(disk.trace) + 1
        await room.ask(command)
    assert disk.trace[first - 1 :] == ["create", "flush", "replace", "flush_directory"]
    return range(first, len(disk.trace) + 1)


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_fault_at_any_operation_is_a_refusal_and_the_next_attempt_works(
    command, code, lasting
):
    for n in await operations_of(command):
        memory = disk_with(KEPT, ODD)
        disk = FaultyDisk(memory, nth(n, lasting=lasting), code)
        sessions = Sessions(s=KEPT["project_id"])
        async with open_projects(disk, sessions) as room:
            refusal = await room.refuses(ProjectsUnavailable, command)
            assert refusal.full is (code == errno.ENOSPC)
            assert sessions.where == {"s": KEPT["project_id"]}
            assert await reopened(memory.crash()) == [KEPT, ODD]
            if disk.trace[n - 1] != "flush_directory":  # see RecordStore: then it may be the new
                assert written(memory) == [KEPT, ODD]
            disk.fail = lambda i, name: False
            answer = await room.ask(command)
            expected = after(command, answer)
            assert await room.all() == expected
        assert await reopened(memory.crash()) == await reopened(memory) == expected


async def test_a_file_that_cannot_be_read_is_never_taken_for_an_empty_one():
    memory = disk_with(KEPT, ODD)
    disk = FaultyDisk(memory, lambda i, name: name == "read", errno.EIO)
    async with open_projects(disk) as room:
        for command in (ListProjects(), *COMMANDS, MoveSession("s", None)):
            with pytest.raises(ProjectsUnavailable, match="cannot be used") as caught:
                await room.ask(command)
            assert not caught.value.full
        disk.fail = lambda i, name: False
        assert await room.all() == [KEPT, ODD]
    assert written(memory) == [KEPT, ODD]


async def test_after_a_power_cut_at_any_operation_all_that_was_acknowledged_is_there():
    memory, sessions = disk_with(KEPT, ODD), Sessions(s=ODD["project_id"])
    states, cuts = [[KEPT, ODD]], []

    def cut(number, name):
        cuts.append((name, memory.crash(), len(states)))
        return False

    async with open_projects(FaultyDisk(memory, cut), sessions) as room:
        for command in (
            CreateProject("one"),
            CreateProject("two", "#222"),
            RenameProject("000000000001", "uno", "#111"),
            MoveSession("s", "000000000002"),
            DeleteProject("000000000002"),
            DeleteProject(KEPT["project_id"]),
        ):
            await room.ask(command)
            states.append(await room.all())
        cut(0, "end")
    assert len(cuts) > 4 * 5
    for name, survivor, acknowledged in cuts:
        found = await reopened(survivor)
        assert found in states[acknowledged - 1 : acknowledged + 1], (name, acknowledged)


async def test_what_a_power_cut_leaves_of_a_deletion_is_a_project_that_is_not_there():
    disk, kept = disk_with(KEPT, ODD), KEPT["project_id"]
    sessions = Sessions(a=kept, b=kept)
    sessions.gate = trio.Event()
    async with open_projects(disk, sessions) as room, trio.open_nursery() as nursery:
        nursery.start_soon(room.ask, DeleteProject(kept))
        await wait_all_tasks_blocked()
        survivor, left = disk.crash(), Sessions(**sessions.where)
        sessions.gate.set()
    async with open_projects(survivor, left) as room:
        assert await room.all() == [ODD]
        await room.refuses(ProjectNotFound, DeleteProject(kept), MoveSession("a", kept))
        await room.ask(MoveSession("a", ODD["project_id"]))
        await room.ask(MoveSession("b", None))
    assert left.where == {"a": ODD["project_id"], "b": None}
