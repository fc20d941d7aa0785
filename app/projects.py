"""Endpoints of projects: the folders that sessions are put in."""

from typing import Any

import msgspec
from quart import Blueprint, Response

from actors.projects.messages import (
    CreateProject,
    DeleteProject,
    ListProjects,
    Project,
    RenameProject,
)

from . import bodies
from .asking import named_by_key
from .bodies import BadRequest, require
from .body import read_body
from .http_errors import json_response
from .view import View

__all__ = ["routes"]


def routes(greenroom: View) -> Blueprint:
    """Parse, ask one actor, render."""
    page = Blueprint("projects", __name__)

    @page.get("/api/projects")
    async def list_projects() -> Response:
        projects = await greenroom.projects.ask(ListProjects())
        return json_response(
            {"projects": [_shown(project) for project in projects], "all_profiles": False}
            | {"active_profile": "default", "other_profile_count": 0}
        )

    @page.post("/api/projects/create")
    async def create() -> Response:
        body = await read_body(bodies.ProjectBody)
        require(body, "name")
        color = None if body.color is msgspec.UNSET else body.color
        command = CreateProject(body.name or "", color, body.profile, named_by_key())
        return _answer(await greenroom.projects.ask(command))

    @page.post("/api/projects/rename")
    async def rename() -> Response:
        body = await read_body(bodies.ProjectBody)
        require(body, "project_id", "name")
        command = RenameProject(body.project_id or "", body.name or "", body.color)
        return _answer(await greenroom.projects.ask(command))

    @page.post("/api/projects/delete")
    async def delete() -> Response:
        body = await read_body(bodies.ProjectBody)
        if not body.project_id:
            raise BadRequest("Missing required field(s): project_id")
        command = DeleteProject(body.project_id, again=named_by_key() is not None)
        moved = await greenroom.projects.ask(command)
        return json_response({"ok": True, "unassigned": moved})

    return page


def _shown(project: Project) -> dict[str, Any]:
    return {"color": None, "created_at": None, "name": "", "profile": "default"} | dict(project)


def _answer(project: Project) -> Response:
    return json_response({"ok": True, "project": _shown(project)})
