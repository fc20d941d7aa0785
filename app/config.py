"""The server's settings: checked once, at the door, and true from then on."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Literal
from urllib.parse import urlsplit

from .tools.config import ToolsError, ToolServer, servers_in

__all__ = [
    "AGENTS",
    "HTTP",
    "LOG_FORMATS",
    "LOG_LEVELS",
    "TITLES",
    "AgentName",
    "Config",
    "ConfigError",
    "api_key_from",
    "local_extra_installed",
    "make_config",
    "tools_extra_installed",
]

AgentName = Literal["openai", "local", "demo"]
AGENTS = ("auto", "openai", "local", "demo")
TITLES = ("model", "local")
HTTP = ("own", "stock")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
LEAST_CONTEXT = 512
GGUF_HEAD = Struct("<4sIQQ")  # magic, version, and how many tensors and values are described
LEAST_TENSOR, LEAST_VALUE = 24, 13  # bytes of each description
KEY_VARIABLES = ("GREENROOM_API_KEY", "OPENAI_API_KEY")


class ConfigError(Exception):
    """A setting that cannot be used: the text is one line for the person who started the server."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the server was asked to be. Its `repr` never holds the key.

    `agent` is the one that was chosen, so never "auto". `model` is the name of a model, or for
    the local agent the absolute path of a GGUF file that exists; None is the agent's own default.
    `public`, that other machines can reach it, is known when it is bound.
    """

    host: str
    port: int
    data_dir: Path
    agent: AgentName
    base_url: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    log_level: str = "warning"
    log_format: str = "text"
    titles: str = "model"
    context_tokens: int | None = None
    checkpoint_seconds: float = 15.0
    page_dir: Path | None = None
    http: str = "own"
    allowed_hosts: tuple[str, ...] = ()
    behind_proxy: bool = False
    public: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    tool_servers: tuple[ToolServer, ...] = ()
    approval_seconds: float = 600.0
    read_seconds: float = 300.0


def make_config(
    *,
    host: str = "127.0.0.1",
    port: int = 8700,
    data_dir: Path,
    agent: str = "auto",
    base_url: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    log_level: str = "warning",
    log_format: str = "text",
    titles: str = "model",
    context_tokens: int | None = None,
    checkpoint_seconds: float = 15.0,
    page_dir: Path | None = None,
    http: str = "own",
    allowed_hosts: Sequence[str] = (),
    behind_proxy: bool = False,
    limits: Mapping[str, int] | None = None,
    mcp_config: Path | None = None,
    approval_seconds: float = 600.0,
    read_seconds: float = 300.0,
    environment: Mapping[str, str] | None = None,
    local_installed: bool = False,
    tools_installed: bool = False,
) -> Config:
    """Check the settings and choose the agent, or raise `ConfigError`. `environment` is for the
    variables that the file of the tools names.
    """
    base_url = _checked_base_url(base_url)
    model = (model or "").strip() or None
    chosen = _choose_agent(agent, base_url, api_key, model, local_installed)
    return Config(
        host=_checked_host(host),
        port=_checked_port(port),
        data_dir=data_dir.expanduser().absolute(),
        agent=chosen,
        base_url=base_url,
        model=_checked_model_file(model) if chosen == "local" and model else model,
        api_key=_checked_key(api_key),
        log_level=_one_of("log level", log_level.lower(), LOG_LEVELS),
        log_format=_one_of("log format", log_format, LOG_FORMATS),
        titles=_one_of("kind of titles", titles, TITLES),
        context_tokens=_checked_context(context_tokens),
        checkpoint_seconds=_checked_checkpoint(checkpoint_seconds),
        page_dir=_checked_page(page_dir),
        http=_one_of("HTTP", http, HTTP),
        allowed_hosts=tuple(_checked_allowed_host(name) for name in allowed_hosts),
        behind_proxy=behind_proxy,
        limits=dict(limits or {}),
        tool_servers=_checked_tools(mcp_config, chosen, environment or {}, tools_installed),
        approval_seconds=_checked_approval(approval_seconds),
        read_seconds=_checked_read(read_seconds),
    )


def api_key_from(environment: Mapping[str, str]) -> str | None:
    """The key, from the only place it may come from."""
    for name in KEY_VARIABLES:
        if key := environment.get(name, "").strip():
            return key
    return None


def local_extra_installed() -> bool:
    """Whether the `local` extra is there, without paying for its import."""
    return importlib.util.find_spec("xllamacpp") is not None


def tools_extra_installed() -> bool:
    """Whether the `tools` extra is there."""
    return importlib.util.find_spec("mcp") is not None


def _choose_agent(
    agent: str, base_url: str | None, api_key: str | None, model: str | None, local_installed: bool
) -> AgentName:
    _one_of("agent", agent, AGENTS)
    if agent == "demo":
        return "demo"
    if agent == "openai":
        if not (base_url or api_key):
            raise ConfigError("the openai agent needs GREENROOM_API_KEY, or --base-url, or both")
        return "openai"
    # A model file says "local" as clearly as the option does, also when a key lies around in the
    # environment; with a base URL it is that server's name for a model.
    wants_file = model is not None and model.endswith(".gguf") and base_url is None
    if agent == "auto" and not wants_file and (base_url or api_key):
        return "openai"
    if local_installed:
        return "local"
    if agent == "local" or wants_file:
        raise ConfigError(
            "the local agent is not installed; install it with: pip install 'greenroom[local]'"
        )
    return "demo"


def _one_of(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ConfigError(f"unknown {what} {value!r}: choose one of {', '.join(known)}")
    return value


def _checked_host(host: str) -> str:
    host = host.strip().removeprefix("[").removesuffix("]")
    if not host:
        raise ConfigError("the host is empty")
    return host


def _checked_allowed_host(name: str) -> str:
    name = name.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")
    if not name or any(character in "/ ?#@" for character in name):
        raise ConfigError(f"an allowed host is a name like chat.example.org, not {name!r}")
    return name


def _checked_port(port: int) -> int:
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port} is not between 0 and 65535")
    return port


def _checked_context(tokens: int | None) -> int | None:
    if tokens is not None and tokens < LEAST_CONTEXT:
        raise ConfigError(
            f"a context of {tokens} tokens is too small; {LEAST_CONTEXT} is the least"
        )
    return tokens


def _checked_checkpoint(seconds: float) -> float:
    if not 0.1 <= seconds <= 3600:
        raise ConfigError(f"checkpoints every {seconds:g} s: choose between 0.1 and 3600")
    return seconds


def _checked_tools(
    file: Path | None, agent: str, environment: Mapping[str, str], installed: bool
) -> tuple[ToolServer, ...]:
    if file is None:
        return ()
    try:
        servers = servers_in(file.expanduser().read_bytes(), environment)
    except OSError as error:
        raise ConfigError(f"cannot read {str(file)!r}: {error.strerror}") from error
    except ToolsError as error:
        raise ConfigError(f"the tools in {str(file)!r} cannot be used: {error}") from error
    if servers and agent != "openai":
        raise ConfigError(f"tools need the openai agent, and the {agent} agent was chosen")
    if servers and not installed:
        raise ConfigError(
            "tools are not installed; install them with: pip install 'greenroom[tools]'"
        )
    return servers


def _checked_approval(seconds: float) -> float:
    if not 1 <= seconds <= 7 * 86_400:
        raise ConfigError(f"approvals expire after {seconds:g} s: choose between 1 and 604800")
    return seconds


def _checked_read(seconds: float) -> float:
    if not 0.1 <= seconds <= 86_400:
        raise ConfigError(
            f"a model that may say nothing for {seconds:g} s: choose between 0.1 and 86400"
        )
    return seconds


def _checked_page(directory: Path | None) -> Path | None:
    if directory is None:
        return None
    directory = directory.expanduser().absolute()
    if not (directory / "index.html").is_file():
        raise ConfigError(f"there is no index.html in {str(directory)!r}")
    return directory


def _checked_base_url(base_url: str | None) -> str | None:
    base_url = (base_url or "").strip()
    if not base_url:
        return None
    try:
        parts = urlsplit(base_url)
        bad_port = parts.port == 0
    except ValueError:
        raise ConfigError("the base URL is not a valid URL") from None
    if parts.username is not None or parts.password is not None:
        # Not shown: it holds a password.
        raise ConfigError("the base URL must not hold a password; set GREENROOM_API_KEY instead")
    if parts.scheme not in ("http", "https") or not parts.hostname or bad_port:
        raise ConfigError(f"the base URL must be http:// or https:// and a host, not {base_url!r}")
    if parts.query or parts.fragment:
        raise ConfigError("the base URL must not have a query or a fragment")
    return base_url.rstrip("/")


def _checked_model_file(model: str) -> str:
    try:
        path = Path(model).expanduser().absolute()
    except (RuntimeError, ValueError):  # of nobody's home, or with a NUL in it
        raise ConfigError(f"there is no model file {model!r}") from None
    if path.suffix != ".gguf":
        raise ConfigError(f"the local agent's model must be a .gguf file, not {model!r}")
    if not path.is_file():
        raise ConfigError(f"there is no model file {str(path)!r}")
    _check_gguf(path)
    return str(path)


def _check_gguf(path: Path) -> None:
    """Only its beginning: llama.cpp looks at the rest, in a process of its own."""
    try:
        with path.open("rb") as file:
            head, size = file.read(GGUF_HEAD.size), path.stat().st_size
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if not head.startswith(b"GGUF"):
        raise ConfigError(f"{str(path)!r} is no GGUF file")
    _, _, tensors, values = GGUF_HEAD.unpack(head.ljust(GGUF_HEAD.size, b"\xff"))
    if tensors * LEAST_TENSOR + values * LEAST_VALUE > size:
        raise ConfigError(f"{str(path)!r} is damaged, or not all of it is there")


def _checked_key(api_key: str | None) -> str | None:
    # A client library would quote the key in its complaint about the header: refuse it here.
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise ConfigError("the API key holds characters that no key has (a line break?)")
    return api_key or None
