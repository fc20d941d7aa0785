"""Who a request is from."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import trio

from actors.viewer import EVERYBODY, Viewer

from .users import Scope

__all__ = ["ANYBODY", "OWNER_OF_THE_DIRECTORY", "Principal", "Visit", "principal", "visiting"]


@dataclass(frozen=True, slots=True)
class Principal:
    """`credential` is the hash of what let them in. `csrf` is what their page must show, if it was
    a cookie: a browser sends that along whoever wrote the page.
    """

    viewer: Viewer
    name: str | None = None
    scope: Scope = "admin"
    credential: str | None = None
    csrf: str | None = field(default=None, repr=False)

    @property
    def admin(self) -> bool:
        return self.viewer.may_see(None)

    @property
    def may_write(self) -> bool:
        return self.scope != "read"


ANYBODY = Principal(EVERYBODY)
"""Whoever reaches a server without users."""

OWNER_OF_THE_DIRECTORY = Principal(Viewer(None, frozenset({None})))
"""Whoever may read the data directory: an admin, and no user."""


@dataclass(slots=True, eq=False)
class Visit:
    """One request, from its beginning to the end of its answer. `scope` ends it. `shown` are those
    of its headers that say who it is from, and by what name we were called.
    """

    scope: trio.CancelScope
    shown: Mapping[bytes, bytes]
    principal: Principal | None = None


visiting: ContextVar[Visit] = ContextVar("visiting")
"""The request that this task answers, streams too. What is asked in its course is asked for its
principal; there is no other way to hand that to each of a hundred routes, and forget none."""


def principal() -> Principal:
    """Who asks. Raises `LookupError` where nobody was let in: what follows is not done."""
    found = visiting.get().principal
    if found is None:
        raise LookupError("nobody was let in")
    return found
