"""What the projects can be asked, and how they say no."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, UnsetType

from actors import Message, Rejected
from actors.viewer import EVERYBODY, Viewer

__all__ = [
    "BadProject",
    "CreateProject",
    "DeleteProject",
    "ListProjects",
    "MoveSession",
    "Project",
    "ProjectNotFound",
    "ProjectsDamaged",
    "ProjectsUnavailable",
    "RenameProject",
]

Project = Mapping[str, Any]
"""`project_id`, `name`, `color` (null for none), `created_at` in epoch seconds, perhaps `profile`,
`owner` if it is a user's, and what we know nothing of. One read from an older file may lack all but
the id."""


# -- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListProjects(Message[Sequence[Project]]):
    """All of them, in the order in which they were made."""

    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class CreateProject(Message[Project]):
    """The name is stripped, and cut to 128 characters. Two may have the same. Who may ask twice
    gives the id: the second time the answer is what is there.
    """

    name: str
    color: str | None = None
    profile: str | None = None
    project_id: str | None = None
    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class RenameProject(Message[Project]):
    """A color that is not given stays as it is; None takes it away."""

    project_id: str
    name: str
    color: str | UnsetType | None = UNSET
    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class DeleteProject(Message[int]):
    """The project goes first, then each session is taken out; the answer is how many were.

    A session that refuses, and all that are left if the process dies in between, go on naming a
    project that is not there. Whoever reads a session takes an unknown `project_id` for none.

    With `again` a project that is not there is no error: this may be the second request of one
    that was deleted. Its sessions are taken out as before.
    """

    project_id: str
    again: bool = False
    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class MoveSession(Message[object]):
    """Put a session into a project, or into none; answered with what the session answers.

    Only on this way: a session that is told by somebody else may end up in a project that is just
    being deleted.
    """

    session_id: str
    project_id: str | None
    viewer: Viewer = EVERYBODY


# -- refusals -----------------------------------------------------------------------------------


class ProjectNotFound(Rejected):
    """There is none of that id, or no more."""


class BadProject(Rejected):
    """No project can be like that. The text is for the user."""


class ProjectsDamaged(Rejected):
    """The file is there and cannot be read. It is left as it is until somebody mends it."""


class ProjectsUnavailable(Rejected):
    """The disk could not be read or written, and nothing was changed. `full`: for want of room."""

    def __init__(self, reason: str, full: bool) -> None:
        super().__init__(reason)
        self.full = full
