"""The file that names the MCP servers, in the form that other MCP hosts use. Pure.

{"mcpServers": {
    "time":  {"command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "UTC"}},
    "issues": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}
}}

Ours besides: `approval` ("ask", or "allow" for what needs no question), `tools` with the same for
single tools, and `timeout` in seconds. What else is in it is another host's, and ignored.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

__all__ = ["ToolServer", "ToolsError", "servers_in"]

Approval = Literal["ask", "allow"]
T = TypeVar("T")

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class ToolsError(Exception):
    """The file cannot be used: one line for the person who wrote it, without anything secret."""


class ToolServer(msgspec.Struct, frozen=True):
    """One MCP server: a `command` to run, or the `url` of one that runs. Its `repr` is its name."""

    name: str = ""
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    type: str | None = None
    disabled: bool = False
    approval: Approval = "ask"
    tools: dict[str, Approval] = {}
    timeout: float = 120.0

    def __repr__(self) -> str:
        return f"<ToolServer {self.name}>"

    def asks(self, tool: str) -> bool:
        """Must somebody allow a call of this tool?"""
        return self.tools.get(tool, self.approval) == "ask"


class _File(msgspec.Struct):
    mcpServers: dict[str, msgspec.Raw]


def servers_in(data: bytes, environment: Mapping[str, str]) -> tuple[ToolServer, ...]:
    """The servers, without those that are switched off. `${NAME}` stands for a variable of the
    environment. Raises `ToolsError`.
    """
    servers = _decoded(data, _File, "it").mcpServers
    found = (_checked(name, raw, environment) for name, raw in servers.items())
    return tuple(server for server in found if not server.disabled)


def _checked(name: str, raw: msgspec.Raw, environment: Mapping[str, str]) -> ToolServer:
    what = f"the server {name!r}"
    server = _decoded(bytes(raw), ToolServer, what)
    if not name.strip():
        raise ToolsError("a server has no name")
    if server.type == "sse":
        raise ToolsError(f"{what} has the type 'sse': only stdio and streamable HTTP are spoken")
    if (server.command is None) == (server.url is None):
        raise ToolsError(f"{what} needs either a command or a url")
    if not 0 < server.timeout <= 86_400:
        raise ToolsError(f"{what} has a timeout of {server.timeout:g} s: choose up to 86400")
    filled = _filled(msgspec.structs.asdict(server), what, environment)
    server = ToolServer(**{**filled, "name": name})
    if server.url is not None and not _is_web(server.url):
        raise ToolsError(f"{what} has a url that is not http:// or https:// and a host")
    return server


def _decoded(data: bytes, shape: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise ToolsError(f"{what} does not fit: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ToolsError(f"{what} is not valid JSON: {error}") from None


def _filled(value: Any, what: str, environment: Mapping[str, str]) -> Any:
    def variable(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise ToolsError(f"{what} needs the environment variable {match[1]}, which is not set")
        return environment[match[1]]

    if isinstance(value, str):
        return _VARIABLE.sub(variable, value)
    if isinstance(value, list):
        return [_filled(one, what, environment) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, what, environment) for name, one in value.items()}
    return value


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
