"""The projects' owner, and the only writer of their file."""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from actors import Actor, ActorError, Message
from actors.stores import RecordNotFound, RecordStore, StoreError, StoreFull
from actors.viewer import Viewer

from .messages import (
    BadProject,
    CreateProject,
    DeleteProject,
    ListProjects,
    MoveSession,
    Project,
    ProjectNotFound,
    ProjectsDamaged,
    ProjectsUnavailable,
    RenameProject,
)

__all__ = ["Projects", "dump_projects", "load_projects"]

log = logging.getLogger("actors.projects")

COLOR = re.compile(r"#[0-9a-fA-F]{3,8}")
NAME_LENGTH = 128
ID_LENGTH = 12


class Projects(Actor):
    """Decide, make durable, reply; what could not be saved was never so. Nothing is in memory but
    what the file says, so after a crash, or when the file was mended, it is simply read again.

    `members(project_id)` knows which sessions are in a project, `move(session_id, project_id,
    viewer)` tells one where it is now, on behalf of whom; when it returns, `members` must know.
    Both are awaited in mid-message: no move can fall between the removal of a project and the
    moving out.
    """

    def __init__(
        self,
        store: RecordStore,
        name: str,
        members: Callable[[str], Awaitable[Sequence[str]]],
        move: Callable[[str, str | None, Viewer], Awaitable[object]],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._name = name  # the file's, in the store
        self._members = members
        self._move = move
        self._clock = clock  # epoch seconds
        self._new_id = new_id  # 32 hex digits
        self._projects: tuple[Project, ...] = ()  # each is replaced, never changed

    async def on_start(self) -> None:
        """A refusal here goes to all who ask; whoever asks next has the file read again."""
        try:
            self._projects = load_projects(await self._store.load(self._name))
        except RecordNotFound:
            return
        except StoreError as error:
            raise _unavailable(error) from error

    async def receive(self, message: Message[Any]) -> object:
        match message:
            case ListProjects(viewer):
                seen = (each for each in self._projects if viewer.may_see(each.get("owner")))
                return tuple(seen)
            case CreateProject():
                return await self._create(message)
            case RenameProject():
                return await self._rename(message)
            case DeleteProject():
                return await self._delete(message)
            case MoveSession(session_id, project_id, viewer):
                if project_id is not None:
                    self._find(project_id, viewer)
                return await self._move(session_id, project_id, viewer)
        return await super().receive(message)

    def _find(self, project_id: str, viewer: Viewer) -> Project:
        for project in self._projects:
            if project["project_id"] == project_id and viewer.may_see(project.get("owner")):
                return project
        raise ProjectNotFound

    async def _create(self, command: CreateProject) -> Project:
        if command.project_id is not None:
            with suppress(ProjectNotFound):
                return self._find(command.project_id, command.viewer)
        project = {
            "project_id": command.project_id or self._new_id()[:ID_LENGTH],
            "name": _name(command.name),
            "color": _color(command.color),
            "created_at": self._clock(),
        }
        if command.profile is not None:
            project["profile"] = command.profile
        if command.viewer.owner is not None:
            project["owner"] = command.viewer.owner
        await self._commit((*self._projects, project))
        return project

    async def _rename(self, command: RenameProject) -> Project:
        changes: dict[str, Any] = {"name": _name(command.name)}
        if command.color is not msgspec.UNSET:
            changes["color"] = _color(command.color)
        old = self._find(command.project_id, command.viewer)
        new = {**old, **changes}
        await self._commit(tuple(new if each is old else each for each in self._projects))
        return new

    async def _delete(self, command: DeleteProject) -> int:
        try:
            gone = self._find(command.project_id, command.viewer)
        except ProjectNotFound:
            if not command.again:
                raise
        else:
            await self._commit(tuple(each for each in self._projects if each is not gone))
        return await self._move_out(command.project_id, command.viewer)

    async def _move_out(self, project_id: str, viewer: Viewer) -> int:
        """The project is gone, whatever its sessions say: what one of them answers, or that it
        crashed over it, keeps no other from leaving.
        """
        moved = 0
        try:
            members = await self._members(project_id)
        except ActorError as error:
            log.warning("project %s is gone, its sessions are not told: %r", project_id, error)
            return moved
        for session_id in members:
            try:
                await self._move(session_id, None, viewer)
                moved += 1
            except ActorError as error:
                log.warning("session %s still names project %s: %r", session_id, project_id, error)
        return moved

    async def _commit(self, projects: tuple[Project, ...]) -> None:
        """Make it durable, then true. Raises `ProjectsUnavailable`, and then nothing has changed.
        Only if the very last step failed, the flush of the directory, the file may say otherwise
        (see `RecordStore`), until the next change puts it right.
        """
        try:
            await self._store.save(self._name, dump_projects(projects))
        except StoreError as error:
            raise _unavailable(error) from error
        self._projects = projects


def _name(text: str) -> str:
    name = text.strip()[:NAME_LENGTH]
    if not name:
        raise BadProject("name required")
    return name


def _color(text: str | None) -> str | None:
    if text is not None and COLOR.fullmatch(text) is None:
        raise BadProject("Invalid color format")
    return text


def load_projects(data: bytes) -> tuple[Project, ...]:
    """Read the file, ours or one of the reference system. Raises `ProjectsDamaged`."""
    try:
        projects = msgspec.json.decode(data, type=list[dict[str, Any]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(str(error)) from error
    for n, project in enumerate(projects):
        if not isinstance(project.get("project_id"), str):
            raise _damaged(f"there is no project_id in entry {n}")
    return tuple(projects)


def dump_projects(projects: Sequence[Project]) -> bytes:
    """The file's bytes: UTF-8 JSON, indented by 2."""
    return msgspec.json.format(msgspec.json.encode(projects), indent=2)


def _damaged(reason: str) -> ProjectsDamaged:
    return ProjectsDamaged(f"The list of projects is damaged and was left as it is: {reason}")


def _unavailable(error: StoreError) -> ProjectsUnavailable:
    return ProjectsUnavailable(str(error), isinstance(error, StoreFull))
