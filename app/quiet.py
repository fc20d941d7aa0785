"""What the browser client asks for besides sessions and chat, answered honestly: none, off, or
one default. Without these it works, but asks again and again.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import trio
from quart import Blueprint, Response, request

from . import __version__
from .http_errors import json_response
from .sse import KEEPALIVE_SECONDS, event_stream, frame
from .wire import BadRequest

__all__ = ["routes"]

SETTINGS: dict[str, Any] = {
    "auth_enabled": False,
    "bot_name": "Greenroom",
    "chat_activity_display_mode": "compact",
    "check_for_updates": False,
    "default_message_mode": "queue",
    "default_model": "",
    "default_model_provider": "",
    "font_size": "default",
    "language": "en",
    "onboarding_completed": True,
    "pinned_sessions_limit": 3,
    "send_key": "enter",
    "show_cli_sessions": False,
    "show_thinking": True,
    "show_token_usage": True,
    "show_tps": False,
    "sidebar_density": "comfortable",
    "skin": "default",
    "theme": "system",
}

CONSTANT: dict[str, dict[str, Any]] = {
    "/api/approval/pending": {"pending": None, "pending_count": 0},
    "/api/auth/status": {
        "auth_enabled": False,
        "logged_in": True,
        "password_auth_enabled": False,
        "passkeys_enabled": False,
        "oidc_enabled": False,
    },
    "/api/clarify/pending": {"pending": None},
    "/api/git-info": {"git": None},
    "/api/onboarding/status": {"completed": True, "settings": {}, "system": {}, "setup": {}},
    "/api/profile/active": {"name": "default", "path": None, "is_default": True},
    "/api/profiles": {
        "profiles": [{"name": "default", "is_default": True, "is_active": True}],
        "active": "default",
        "single_profile_mode": True,
    },
    "/api/projects": {
        "projects": [],
        "all_profiles": False,
        "active_profile": "default",
        "other_profile_count": 0,
    },
    "/api/reasoning": {
        "show_reasoning": True,
        "reasoning_effort": None,
        "supported_efforts": [],
        "supports_reasoning_effort": False,
        "supports_thinking_toggle": False,
    },
    "/api/session/yolo": {"yolo_enabled": False},
}


def routes(stopping: trio.Event, agent_status: Callable[[], Mapping[str, Any]]) -> Blueprint:
    """`stopping` ends the open streams."""
    page = Blueprint("quiet", __name__)

    async def constant() -> Response:
        return json_response(CONSTANT[request.path])

    for path in CONSTANT:
        page.add_url_rule(path, path.strip("/").replace("/", "_"), constant)

    @page.get("/api/settings")
    async def settings() -> Response:
        return json_response(SETTINGS | {"webui_version": __version__, **_workspace()})

    @page.get("/api/workspaces")
    async def workspaces() -> Response:
        here = str(Path.cwd())
        listed = [{"path": here, "name": Path(here).name}]
        return json_response({"workspaces": listed, "last": here})

    @page.get("/api/models")
    async def models() -> Response:
        status = agent_status()
        model = status.get("model")
        listed = [] if model is None else [{"id": model, "label": model}]
        group = {"provider": status["agent"], "provider_id": status["agent"], "models": listed}
        return json_response(
            {
                "active_provider": None,
                "default_model": model or "",
                "configured_model_badges": {},
                "groups": [group],
                "aliases": {},
            }
        )

    @page.get("/api/session/compress/status")
    async def compress_status() -> Response:
        session_id = request.args.get("session_id")
        return json_response({"ok": True, "status": "idle", "session_id": session_id})

    @page.post("/api/client-events/log")
    async def client_events() -> Response:
        return json_response({"ok": True})

    @page.get("/api/sessions/events")
    async def sessions_events() -> Response:
        return event_stream(_silence(stopping, b": keepalive\n\n"))

    @page.get("/api/session/stream")
    async def session_stream() -> Response:
        session_id = request.args.get("session_id")
        if not session_id:
            raise BadRequest("session_id is required")
        return event_stream(_silence(stopping, frame("initial", {"session_id": session_id})))

    return page


def _workspace() -> dict[str, str]:
    return {"default_workspace": str(Path.cwd())}


async def _silence(stopping: trio.Event, first: bytes) -> AsyncIterator[bytes]:
    """A stream on which nothing happens yet, until the server stops."""
    yield first
    while not stopping.is_set():
        with trio.move_on_after(KEEPALIVE_SECONDS):
            await stopping.wait()
        if not stopping.is_set():
            yield b": keepalive\n\n"
    yield frame("bye", {})
