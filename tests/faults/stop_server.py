"""The server of `python -m app`, with an agent that passes on tool calls too."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from actors.session.agent import AgentTurn, Emit, TextDelta, ToolCompleted, ToolStarted
from tests.app.client import Client
from tests.app.process import ServerProcess, running_server
from tests.faults.stop_plan import CALL

__all__ = ["server_on"]

TIMEOUT = 60  # against a hang


class PassesOnCalls:
    """The server's agent does not know tool calls: here they come as text with a mark."""

    def __init__(self, agent) -> None:
        self._agent = agent

    async def __call__(self, turn: AgentTurn, emit: Emit) -> None:
        async def passed_on(event) -> None:
            if isinstance(event, TextDelta) and event.text.startswith(CALL):
                kind, *fields = json.loads(event.text.removeprefix(CALL))
                event = {"started": ToolStarted, "completed": ToolCompleted}[kind](*fields)
            await emit(event)

        await self._agent(turn, passed_on)


def serve() -> int:
    """`python -m app`, but for the agent."""
    import app.house
    from app.cli import main

    open_agent = app.house.open_agent

    @asynccontextmanager
    async def opened(config):
        async with open_agent(config) as found:
            yield replace(found, agent=PassesOnCalls(found.agent))

    app.house.open_agent = opened
    return main([])


@asynccontextmanager
async def server_on(data_dir: Path, base_url: str) -> AsyncIterator[tuple[ServerProcess, Client]]:
    command = (sys.executable, "-m", "tests.faults.stop_server")
    settings = {"AGENT": "openai", "BASE_URL": base_url, "MODEL": "endless"}
    env = {f"GREENROOM_{name}": value for name, value in settings.items()}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        running_server(data_dir, env=env, command=command) as server,
        httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT, limits=limits) as http,
    ):
        yield server, Client(http)


if __name__ == "__main__":
    sys.exit(serve())
