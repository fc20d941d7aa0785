"""What answers: a provider, a model on this machine, or a script."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from actors.session.agent import Agent

from ..config import Config
from ..tools.toolbox import OpenToolbox
from .demo import DemoAgent
from .local import CONTEXT, open_local_agent
from .openai import OPTIONS, OpenAIAgent, open_client

__all__ = ["OpenedAgent", "open_agent"]

SCRIPT = "The demo agent answers by a script"
NO_MATTER = OPTIONS - {"max_tokens", "stop"}  # to a script


@dataclass(frozen=True, slots=True)
class OpenedAgent:
    """`status` says whether it can answer: state (downloading, checking, loading, ready, failed),
    progress from 0 to 1 or None, and detail, a sentence. `model` is None if the provider chooses.
    """

    agent: Agent
    name: str
    model: str | None
    status: Callable[[], dict[str, object]]
    context_tokens: int | None = None  # what the model can see at once, if that is known
    models: Callable[[], Awaitable[Sequence[str]]] | None = None  # where there are more than one
    options: frozenset[str] = OPTIONS  # what of `AgentTurn.options` it honours


@asynccontextmanager
async def open_agent(config: Config) -> AsyncIterator[OpenedAgent]:
    """The agent that was chosen, for as long as the block lasts."""
    if config.agent == "demo":
        yield OpenedAgent(DemoAgent(), "demo", None, _ready(SCRIPT), options=NO_MATTER)
    elif config.agent == "openai":
        async with open_client(
            config.base_url, config.api_key, read_seconds=config.read_seconds
        ) as client:
            agent = OpenAIAgent(client, config.model, open_toolbox=_toolbox(config))
            where = f"Answers come from {client.base_url.host}"
            yield OpenedAgent(agent, "openai", config.model, _ready(where), models=agent.models)
    else:
        async with open_local_agent(
            config.data_dir, config.model, read_seconds=config.read_seconds
        ) as local:
            yield OpenedAgent(local, "local", local.model, local.status, CONTEXT)


def _toolbox(config: Config) -> OpenToolbox | None:
    if not config.tool_servers:
        return None
    from ..tools.server import open_toolbox  # of an extra that need not be installed

    return partial(open_toolbox, config.tool_servers)


def _ready(detail: str) -> Callable[[], dict[str, object]]:
    return lambda: {"state": "ready", "progress": None, "detail": detail}
