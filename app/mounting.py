"""The web application for a program that has an HTTP server of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from quart_trio import QuartTrio

from actors.greenroom import open_greenroom
from actors.session import Agent

from .authority.gate import Gate
from .authority.hosts import ANY
from .idempotency import open_answers
from .web import create_app

__all__ = ["open_app"]

SETTLE_SECONDS = 5.0


@asynccontextmanager
async def open_app(
    data_dir: Path, agent: Agent, *, name: str = "agent", model: str | None = None, **options: Any
) -> AsyncIterator[QuartTrio]:
    """The page, its API and its streams, answered by `agent`: an ASGI app for any server that
    runs on Trio, mounted anywhere: the scope's `root_path` says where.

    At the end of the block the streams end and what runs is settled. `name` and `model` are what
    the page shows of the agent; `options` are `open_greenroom`'s. Without users in the directory
    there is no authentication: that is the host's, and so is by which name it is called. Raises
    `DirectoryInUse`.
    """
    stopping = trio.Event()
    status = {"agent": name, "model": model, "state": "ready", "progress": None, "detail": ""}
    async with (
        open_greenroom(data_dir, agent, side_agent=agent, default_model=model, **options) as room,
        open_answers(data_dir / "answers") as answers,
        trio.open_nursery() as nursery,
    ):
        gate = Gate(data_dir)
        nursery.start_soon(gate.watch)
        try:
            yield create_app(
                room,
                answers,
                gate=gate,
                allowed_hosts=(ANY,),
                stopping=stopping,
                agent_status=lambda: status,
            )
        finally:
            nursery.cancel_scope.cancel()
            stopping.set()
            with trio.move_on_after(SETTLE_SECONDS, shield=True):
                await room.settle()
