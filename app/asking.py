"""How endpoints ask a session: by the name in the request, and once for each of its keys."""

import hashlib
from collections.abc import Collection
from typing import Any, TypeVar

from quart import g, request

from actors import Message, Rejected
from actors.projects.messages import ListProjects
from actors.session.messages import CreateSession, GetSession, Once, Snapshot

from .bodies import BadRequest
from .view import View

__all__ = ["ask", "ask_named", "create", "in_its_project", "named_by_key", "project_ids"]

R = TypeVar("R")


async def ask(greenroom: View, session_id: str | None, command: Message[R]) -> R:
    """The session's answer. With an `Idempotency-Key` it is done once, also across a crash."""
    return await greenroom.session(session_id or "").ask(_once(command))


async def create(greenroom: View, command: CreateSession) -> Snapshot:
    """A new session. The caller's key gives it its address, so a second one finds the first."""
    session = greenroom.new_session(named_by_key())
    answer: Snapshot = await session.ask(_once(command))
    return answer


def named_by_key() -> str | None:
    """A name for what this request makes: the same for the same request with the same key."""
    key = g.get("operation")
    if key is None:
        return None
    return hashlib.sha256(f"{key}:{g.fingerprint}".encode()).hexdigest()[:12]


def _once(command: Message[Any]) -> Message[Any]:
    key = g.get("operation")
    return command if key is None else Once(key, g.fingerprint, command)


async def project_ids(greenroom: View) -> Collection[str | None]:
    """Those that are there: whoever names another is in none. If nobody can say, all are."""
    try:
        return {None, *(p["project_id"] for p in await greenroom.projects.ask(ListProjects()))}
    except Rejected:
        return _Everything()


class _Everything(frozenset[str | None]):
    def __contains__(self, _: object) -> bool:
        return True


async def in_its_project(greenroom: View, session: dict[str, Any]) -> dict[str, Any]:
    """The view of a session; one whose project was deleted is in none."""
    project_id = session["project_id"]
    if project_id is not None and project_id not in await project_ids(greenroom):
        session["project_id"] = None
    return session


async def ask_named(greenroom: View, missing: str = "session_id is required") -> Snapshot:
    """The session that the query names."""
    session_id = request.args.get("session_id")
    if not session_id:
        raise BadRequest(missing)
    return await greenroom.session(session_id).ask(GetSession())
