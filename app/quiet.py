"""What the browser client asks for besides sessions and chat, answered honestly: none, off, or
one default. Without these it works, but asks again and again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quart import Blueprint, Response, request

from . import __version__
from .http_errors import json_response

__all__ = ["routes"]

SETTINGS: dict[str, Any] = {
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
    "/api/clarify/pending": {"pending": None},
    "/api/git-info": {"git": None},
    "/api/onboarding/status": {"completed": True, "settings": {}, "system": {}, "setup": {}},
    "/api/profile/active": {"name": "default", "path": None, "is_default": True},
    "/api/profiles": {
        "profiles": [{"name": "default", "is_default": True, "is_active": True}],
        "active": "default",
        "single_profile_mode": True,
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


def routes(
    agent_status: Callable[[], Mapping[str, Any]], auth_enabled: Callable[[], bool]
) -> Blueprint:
    """`agent_status` says what answers, and with which model."""
    page = Blueprint("quiet", __name__)

    async def constant() -> Response:
        return json_response(CONSTANT[request.path])

    for path in CONSTANT:
        page.add_url_rule(path, path.strip("/").replace("/", "_"), constant)

    @page.get("/api/settings")
    async def settings() -> Response:
        return json_response(
            SETTINGS
            | {"auth_enabled": auth_enabled(), "webui_version": __version__, **_workspace()}
        )

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

    @page.post("/api/client-events/log")
    async def client_events() -> Response:
        return json_response({"ok": True})

    @page.post("/api/session/anchor-scene")
    async def anchor_scene() -> Response:
        return json_response({"ok": True, "kept": False})  # what is shown can be made again

    return page


def _workspace() -> dict[str, str]:
    return {"default_workspace": str(Path.cwd())}
