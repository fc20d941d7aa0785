"""Requests that change something must come from our own page, or from no page at all."""

from urllib.parse import urlsplit

from quart import Quart, Response, request

from .http_errors import error_response

__all__ = ["changes_something", "register_origin_check"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Each changes something, or costs a lot, and must stay a GET: results are given once.
UNSAFE_PATHS = frozenset({"/api/chat/cancel", "/api/background/status", "/api/backup"})


def changes_something(method: str, path: str) -> bool:
    return method not in SAFE or path in UNSAFE_PATHS


def register_origin_check(app: Quart) -> None:
    @app.before_request
    async def check_origin() -> Response | None:
        if not changes_something(request.method, request.path):
            return None
        origin = request.headers.get("Origin") or request.headers.get("Referer")
        if origin is not None:
            allowed = _host_of(origin) == request.host
        else:
            site = request.headers.get("Sec-Fetch-Site")
            allowed = site in (None, "same-origin", "none")
        if allowed:
            return None
        return error_response(403, "Cross-origin mismatch - check reverse proxy headers")


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
