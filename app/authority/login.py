"""Logging in and out: for the page without a script, and as a browser client speaks it."""

from html import escape

import msgspec
import trio
from quart import Blueprint, Response, redirect, request, send_from_directory
from quart.typing import ResponseReturnValue

from ..body import read_body
from ..http_errors import json_response
from ..page import ASK, OUR_PAGE, POLICY, mounted
from .denied import Denied
from .door import COOKIE, client_address
from .gate import LOGIN_SECONDS, Gate
from .principal import visiting
from .secrets import TooBusy
from .throttle import Attempts, network_of
from .users import UserError

__all__ = ["routes"]

PAGE_POLICY = POLICY.replace("form-action 'none'", "form-action 'self'")
FROM_ONE_PLACE = 5  # wrong passwords a minute
FOR_ONE_USER = 20  # more, so that nobody is kept out by a few who guess
MINUTE = 60.0
ENDED = "Your login has ended. Log in again, and go on where you were."
WRONG = "This is not the password of that user."


class LoginBody(msgspec.Struct):
    username: str | None = None
    password: str = ""


def routes(gate: Gate, *, behind_proxy: bool) -> Blueprint:
    """`behind_proxy`: what that says of who is there, and of TLS, is believed."""
    page = Blueprint("login", __name__)
    places = Attempts(FROM_ONE_PLACE, MINUTE, trio.current_time)
    names = Attempts(FOR_ONE_USER, MINUTE, trio.current_time)

    async def enter(name: str | None, password: str) -> str | None:
        """The cookie of a new login; None if nothing of it is right. Raises `Denied`."""
        place, who = network_of(client_address(behind_proxy)), (name or "").casefold()
        if wait := max(places.wait(place), names.wait(who)):
            text = "Too many attempts. Try again in a minute."
            raise Denied(429, text, retry_after=wait)
        # Before the password is looked at, or many could be tried at once.
        places.note(place)
        names.note(who)
        try:
            secret = await gate.log_in(name, password)
        except TooBusy as error:
            raise Denied(503, "Too many log in at once", retry_after=1) from error
        except (UserError, OSError) as error:
            raise Denied(503, f"Nobody can log in: {error}") from error
        if secret is not None:
            places.forget(place)
            names.forget(who)
        return secret

    def let_in(response: Response, secret: str) -> Response:
        response.set_cookie(
            COOKIE,
            secret,
            path=f"{request.root_path}/",
            max_age=LOGIN_SECONDS,
            httponly=True,
            secure=_is_secure(behind_proxy),
            samesite="Lax",
        )
        return response

    @page.get("/login", endpoint="page")
    async def show() -> ResponseReturnValue:
        there = _safe(request.args.get("next", ""))
        if visiting.get().principal is not None:
            return redirect(there)
        return await _page(there, note=ENDED if "ended" in request.args else "")

    @page.get("/login/static/<path:name>")
    async def static(name: str) -> Response:
        """Of our own page, whichever is served behind it."""
        response = await send_from_directory(OUR_PAGE, name)
        response.headers["Cache-Control"] = ASK
        return response

    @page.post("/login", endpoint="from_page")
    async def from_page() -> ResponseReturnValue:
        form = await request.form
        there, name = _safe(form.get("next", "")), form.get("username", "").strip()
        if not gate.closed:
            return redirect(there, 303)
        try:
            secret = await enter(name, form.get("password", ""))
        except Denied as error:
            answer = await _page(there, name, str(error), error.status)
            if error.retry_after is not None:
                answer.headers["Retry-After"] = str(int(error.retry_after) + 1)
            return answer
        if secret is None:
            return await _page(there, name, WRONG, 401)
        answer = Response("", 303, {"Location": there})
        return let_in(answer, secret)

    @page.post("/api/auth/login")
    async def log_in() -> Response:
        body = await read_body(LoginBody)
        if not gate.closed:
            return json_response({"ok": True, "message": "Auth not enabled"})
        secret = await enter(body.username, body.password)
        if secret is None:
            raise Denied(401, "Invalid password")
        return let_in(json_response({"ok": True}), secret)

    @page.post("/api/auth/logout")
    async def log_out() -> Response:
        asked = visiting.get().principal
        if asked is not None and asked.csrf is not None and asked.credential is not None:
            await gate.log_out(asked.credential)
        response = json_response({"ok": True})
        response.delete_cookie(COOKIE, f"{request.root_path}/", httponly=True, samesite="Lax")
        return response

    @page.get("/api/auth/status")
    async def status() -> Response:
        asked, closed = visiting.get().principal, gate.closed
        user = None
        if asked is not None and asked.name is not None:
            user = {"name": asked.name, "admin": asked.admin}
        return json_response(
            {
                "auth_enabled": closed,
                "logged_in": asked is not None,
                "password_auth_enabled": closed,
                "passkeys_enabled": False,
                "oidc_enabled": False,
                "user": user,
            }
        )

    return page


async def _page(
    there: str, name: str = "", problem: str = "", status: int = 200, note: str = ""
) -> Response:
    text = await (trio.Path(OUR_PAGE) / "login.html").read_text(encoding="utf-8")
    marks = {"__NEXT__": there, "__NAME__": name, "__PROBLEM__": problem, "__NOTE__": note}
    marks["__ON_PASSWORD__" if name else "__ON_NAME__"] = "autofocus"
    marks = {"__ON_PASSWORD__": "", "__ON_NAME__": ""} | marks
    for mark, value in marks.items():
        text = text.replace(mark, escape(value))
    response = Response(mounted(text), status, content_type="text/html; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


def _safe(there: str) -> str:
    """A path of ours. `//host` and `/\\host` are somebody else's to a browser."""
    ours = there.startswith("/") and there[1:2] not in ("/", "\\") and there.isprintable()
    return there if ours else f"{request.root_path}/"


def _is_secure(behind_proxy: bool) -> bool:
    told = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip()
    return request.is_secure or (behind_proxy and told.lower() == "https")
