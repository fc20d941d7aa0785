"""The door of the web application: no request goes past it unless it may."""

import hmac
import math
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import trio
from quart import Quart, Response, redirect, request
from quart.typing import ResponseReturnValue

from ..http_errors import error_response
from ..limits import Limits, Pace
from ..origin import changes_something
from .denied import Denied
from .gate import Gate
from .hosts import is_ours
from .principal import ANYBODY, OWNER_OF_THE_DIRECTORY, Principal, Visit, visiting
from .users import UserError

__all__ = ["COOKIE", "client_address", "register_door"]

COOKIE = "greenroom_session"
SHOWN = frozenset({b"host", b"authorization", b"cookie"})
STREAM_SECONDS = 5  # a stream that nobody reads any more is found out in as many
CSRF_HEADERS = ("X-Hermes-CSRF-Token", "X-CSRF-Token")

# What anybody gets: the way in, and files in which nothing was said. The rest is default deny.
PUBLIC = frozenset(
    {
        *(
            "health",
            "readiness.ready",
            "page.static",
            "page.service_worker",
            "page.beside_the_page",
        ),
        *("login.page", "login.static", "login.from_page"),
        *("login.log_in", "login.log_out", "login.status"),
    }
)
# Blueprints: what shows all that anybody said, and what shows how much.
OF_THE_DIRECTORY = frozenset({"operations"})
OF_ADMINS = frozenset({"metrics"})


def register_door(
    app: Quart,
    gate: Gate,
    limits: Limits,
    *,
    host: str,
    allowed_hosts: Collection[str],
    behind_proxy: bool,
) -> None:
    """Register it before what asks anything of the sessions. `host` is what the server is bound
    to.
    """
    pace, names = Pace(limits), tuple(allowed_hosts)
    inner = app.asgi_app

    async def visited(scope: Any, receive: Any, send: Any) -> None:
        # A look-up in Quart's headers goes through all of them, and each request needs these.
        shown = {name: value for name, value in scope.get("headers", ()) if name in SHOWN}
        with trio.CancelScope() as cancel_scope:
            visit = Visit(cancel_scope, shown)
            token = visiting.set(visit)
            try:
                await inner(scope, receive, send)
            finally:
                gate.stream_ends(visit)
                visiting.reset(token)

    app.asgi_app = visited  # type: ignore[method-assign]

    @app.before_request
    async def admit() -> ResponseReturnValue | None:
        visit = visiting.get()
        called = visit.shown.get(b"host", b"").decode("latin-1")
        if called and not is_ours(called, host, names):
            raise Denied(
                403, f"This server is not known as {called[:80]!r}: start it with --allowed-host"
            )
        try:
            cookie = request.cookies.get(COOKIE) if b"cookie" in visit.shown else None
            visit.principal = gate.identify(_bearer(visit), cookie)
        except UserError as error:
            raise Denied(503, str(error)) from error
        pace.check(visit.principal, lambda: client_address(behind_proxy))
        if visit.principal is not None:
            _check(visit.principal)
        elif request.endpoint not in PUBLIC:
            if _is_page():
                root = request.root_path
                there = root + request.full_path.removesuffix("?")
                return redirect(f"{root}/login?next={quote(there, safe='')}")
            raise Denied(401, "Authentication required")
        return None

    @app.after_request
    async def follow(response: Response) -> Response:
        if response.mimetype != "text/event-stream":
            return response
        visit = visiting.get()
        assert visit.principal is not None
        most = limits["streams"]
        if most and gate.streams_of(visit.principal) >= most:
            text = f"{most} tabs and streams are open, as many as may be; close one first"
            return await _denied(Denied(429, text, retry_after=STREAM_SECONDS))
        gate.stream_begins(visit)
        return response

    app.register_error_handler(Denied, _denied)


def _check(asked: Principal) -> None:
    blueprint = request.blueprint
    if blueprint in OF_THE_DIRECTORY and asked not in (ANYBODY, OWNER_OF_THE_DIRECTORY):
        raise Denied(403, "This is for who may read the data directory")
    if blueprint in OF_ADMINS and not asked.admin:
        raise Denied(403, "This is for an admin")
    if not changes_something(request.method, request.path):
        return
    if not asked.may_write:
        raise Denied(403, "This token is for reading only")
    from_a_page = request.headers.get("Origin") or request.headers.get("Referer")
    if asked.csrf is None or not from_a_page or request.endpoint in PUBLIC:
        return
    shown = next(filter(None, map(request.headers.get, CSRF_HEADERS)), "")
    if not hmac.compare_digest(shown.encode(), asked.csrf.encode()):
        raise Denied(403, "Session expired - reload the page")


def client_address(behind_proxy: bool) -> str:
    """Who is there; a proxy adds whom it speaks for to the end of a list."""
    named = request.headers.get("X-Forwarded-For", "") if behind_proxy else ""
    return named.rpartition(",")[2].strip() or request.remote_addr or ""


def _bearer(visit: Visit) -> str | None:
    shown = visit.shown.get(b"authorization", b"").decode("latin-1")
    kind, _, secret = shown.partition(" ")
    return secret.strip() if kind.lower() == "bearer" else None


def _is_page() -> bool:
    """It is to be looked at: whoever comes is shown the way in."""
    accepts = "text/html" in request.headers.get("Accept", "")
    return accepts and request.method in ("GET", "HEAD")


async def _denied(error: Exception) -> Response:
    assert isinstance(error, Denied)
    response = error_response(error.status, str(error))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response
