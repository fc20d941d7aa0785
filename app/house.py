"""The house that the server runs: agent, sessions on disk and web application, composed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from actors.greenroom import open_greenroom
from actors.session.admission import Admission
from actors.session.allowance import Allowance

from .agents import open_agent
from .authority.gate import Gate
from .config import Config
from .idempotency import open_answers
from .limits import Limits
from .page import OUR_PAGE
from .run import House
from .web import create_app

__all__ = ["open_house"]


@asynccontextmanager
async def open_house(config: Config, stopping: trio.Event) -> AsyncIterator[House]:
    """Raises `DirectoryInUse` if another process owns the data directory."""
    gate = Gate(config.data_dir, always_closed=config.public)
    limits = Limits(config.limits, lambda: gate.closed)
    allowance = Allowance(lambda: limits["tokens"])
    admission = Admission(
        turns=lambda: limits["turns"], running=lambda: limits["running"], allowance=allowance
    )
    async with (
        open_agent(config) as opened,
        open_greenroom(
            config.data_dir,
            opened.agent,
            side_agent=opened.agent,
            model_titles=config.titles == "model",
            default_model=opened.model,
            context_tokens=config.context_tokens or opened.context_tokens,
            checkpoint_seconds=config.checkpoint_seconds,
            admission=admission,
        ) as greenroom,
        open_answers(config.data_dir / "answers") as answers,
        trio.open_nursery() as nursery,
    ):

        def agent_status() -> dict[str, Any]:
            return {"agent": opened.name, "model": opened.model, **opened.status()}

        nursery.start_soon(gate.watch)
        app = create_app(
            greenroom,
            answers,
            gate=gate,
            stopping=stopping,
            agent_status=agent_status,
            page_dir=config.page_dir or OUR_PAGE,
            host=config.host,
            allowed_hosts=config.allowed_hosts,
            behind_proxy=config.behind_proxy,
            limits=limits,
        )
        yield House(app, greenroom.settle, agent_status)
        nursery.cancel_scope.cancel()
