"""The page: ours, or that of another client which speaks the same words."""

from html import escape
from pathlib import Path

import trio
from quart import Blueprint, Response, abort, request, send_from_directory

from . import __version__
from .authority.principal import ANYBODY, visiting

__all__ = ["ASK", "OUR_PAGE", "POLICY", "file_of", "mounted", "routes"]

OUR_PAGE = Path(__file__).parent / "static"

FOR_EVER = "public, max-age=31536000, immutable"  # what is asked for by version never changes
A_WHILE = "max-age=300"
ASK = "no-cache"  # use it after asking whether it has changed
# Ours alone: another client's page may need scripts inside it, or hosts of its own.
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"),
        *("img-src 'self' data: blob:", "base-uri 'none'", "form-action 'none'"),
        "frame-ancestors 'none'",
    )
)
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


async def file_of(directory: Path, name: str) -> Response:
    """404 also for what cannot be the name of a file."""
    try:
        return await send_from_directory(directory, name)
    except (OSError, ValueError):
        abort(404)


def mounted(text: str) -> str:
    """A page of ours, with the path under which another app has mounted this one, if one has."""
    root = escape(request.root_path.rstrip("/"), quote=True)
    return text.replace('="/', f'="{root}/').replace('data-root=""', f'data-root="{root}"')


def routes(directory: Path, max_body: int) -> Blueprint:
    """Files of `directory`, which holds an `index.html`. In it, and in `sw.js`, these marks are
    filled in: `__WEBUI_VERSION__`, `__MAX_UPLOAD_BYTES__`, `__CSRF_TOKEN_JSON__`, `__USER_JSON__`.
    """
    page = Blueprint("page", __name__)
    ours = directory == OUR_PAGE
    marks = {
        "__WEBUI_VERSION__": __version__,
        "__MAX_UPLOAD_BYTES__": str(max_body),
    }

    async def filled_in(name: str) -> Response:
        path = trio.Path(directory) / name
        if not await path.is_file():
            abort(404)
        text = await path.read_text(encoding="utf-8")
        asked = visiting.get().principal or ANYBODY
        own = {
            "__CSRF_TOKEN_JSON__": f'"{asked.csrf or ""}"',
            "__USER_JSON__": f'"{escape(asked.name or "", quote=True)}"',
        }
        for mark, value in (marks | own).items():
            text = text.replace(mark, value)
        if ours:
            text = mounted(text)
        response = Response(text, content_type=KINDS[path.suffix])
        response.headers["Cache-Control"] = ASK
        return response

    @page.after_request
    async def guarded(response: Response) -> Response:
        if ours:
            response.headers["Content-Security-Policy"] = POLICY
        return response

    @page.get("/")
    @page.get("/index.html")
    @page.get("/session/<path:_>")
    async def index(_: str = "") -> Response:
        return await filled_in("index.html")

    @page.get("/sw.js")
    async def service_worker() -> Response:
        return await filled_in("sw.js")

    @page.get("/static/<path:name>")
    @page.get("/session/static/<path:name>")
    async def static(name: str) -> Response:
        response = await file_of(directory, name)
        # Our modules name each other without a version, and must all be of the same one.
        kept = FOR_EVER if "v" in request.args else A_WHILE
        response.headers["Cache-Control"] = ASK if ours else kept
        return response

    @page.get("/<any('manifest.json', 'manifest.webmanifest', 'favicon.ico'):name>")
    @page.get("/session/<any('manifest.json', 'manifest.webmanifest'):name>")
    async def beside_the_page(name: str) -> Response:
        return await file_of(directory, name)

    return page
