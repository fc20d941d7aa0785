"""The list of sessions as a command reads it: page by page, or by the beginning of an id."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import click

from .server import Refused, Server

__all__ = ["NoSession", "latest_id", "project_named", "resolved", "rows_of", "when"]

PAGE = 500
PINNED = 50  # stand before the latest ones

Row = dict[str, Any]
Get = Callable[..., Awaitable[Row]]


class NoSession(click.ClickException): ...


async def rows_of(
    get: Get, *, archived: bool = False, page: int = PAGE, start: int = 0
) -> AsyncGenerator[Row, None]:
    """What the list shows, in its order. Of what changes meanwhile something may come twice."""
    kind, other = ("archived_", "") if archived else ("", "archived_")
    more = True
    while more:
        part = {f"{kind}limit": page, f"{kind}offset": start, f"{other}limit": 0}
        rows = (await get("/api/sessions", include_archived=1, **part))["sessions"]
        for row in rows:
            yield row
        start, more = start + page, len(rows) == page


async def resolved(server: Server, name: str) -> str:
    """The id that `name` is, or that alone begins with it."""
    try:
        found = await server.get("/api/session", session_id=name, messages=0)
        return str(found["session"]["session_id"])
    except Refused as error:
        if error.status != 404:
            raise
    matching: set[str] = set()
    for archived in (False, True):
        async with aclosing(rows_of(server.get, archived=archived)) as rows:
            matching |= {row["session_id"] async for row in rows if _begins(row, name)}
    if len(matching) == 1:
        return matching.pop()
    if not matching:
        raise NoSession(f"there is no session '{name}'")
    some = ", ".join(sorted(matching)[:5])
    raise click.ClickException(f"'{name}' is the beginning of {len(matching)} sessions: {some}")


def _begins(row: Row, name: str) -> bool:
    return bool(name) and str(row["session_id"]).startswith(name.lower())


async def latest_id(server: Server) -> str:
    """The session in which something was said last."""
    rows = (await server.get("/api/sessions", limit=PINNED))["sessions"]
    if not rows:
        raise click.ClickException("there is no session yet")
    return str(max(rows, key=when)["session_id"])


def when(row: Mapping[str, Any]) -> float:
    return float(row.get("last_message_at") or row.get("updated_at") or 0)


async def project_named(server: Server, name: str) -> str:
    projects = (await server.get("/api/projects"))["projects"]
    matching = [p for p in projects if p["name"].casefold() == name.casefold()]
    if len(matching) != 1:
        known = ", ".join(sorted(project["name"] for project in projects)) or "none"
        what = "more than one project is" if matching else "no project is"
        raise click.ClickException(f"{what} called '{name}'; there are: {known}")
    return str(matching[0]["project_id"])
