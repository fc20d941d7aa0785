"""The house that the server runs: agent, sessions on disk and web application, composed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from actors.greenroom import open_greenroom
from actors.session.reports import TurnReport

from .agents import open_agent
from .backup import sweep_links
from .config import Config
from .idempotency import open_answers
from .metrics import Metrics
from .openai_api.offer import Offer
from .page import OUR_PAGE
from .requests import Requests
from .run import House
from .traces import Traces, open_traces
from .web import create_app

__all__ = ["open_house"]

TRACES_SECONDS = 2.0  # for what has not been sent


@asynccontextmanager
async def open_house(config: Config, stopping: trio.Event) -> AsyncIterator[House]:
    """Raises `DirectoryInUse` if another process owns the data directory."""
    counted = Metrics(config.agent)
    traces = open_traces(os.environ, config.agent)
    requests = Requests() if traces is None else Requests(traces.began)

    def turn_ended(report: TurnReport) -> None:
        counted.turn_ended(report)
        if traces is not None:
            traces.ended(report)

    async with (
        _closed_at_the_end(traces),
        open_agent(config) as opened,
        open_greenroom(
            config.data_dir,
            opened.agent,
            side_agent=opened.agent,
            model_titles=config.titles == "model",
            default_model=opened.model,
            context_tokens=config.context_tokens or opened.context_tokens,
            checkpoint_seconds=config.checkpoint_seconds,
            on_turn_ended=turn_ended,
            approval_seconds=config.approval_seconds,
        ) as greenroom,
        open_answers(config.data_dir / "answers") as answers,
    ):
        await trio.to_thread.run_sync(sweep_links, config.data_dir)

        def agent_status() -> dict[str, Any]:
            return {"agent": opened.name, "model": opened.model, **opened.status()}

        app = create_app(
            greenroom,
            answers,
            stopping=stopping,
            agent_status=agent_status,
            page_dir=config.page_dir or OUR_PAGE,
            counted=counted,
            requests=requests,
            offer=Offer(opened.model or opened.name, opened.options, opened.models),
        )
        yield House(app, greenroom.settle, agent_status)


@asynccontextmanager
async def _closed_at_the_end(traces: Traces | None) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if traces is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + TRACES_SECONDS):
                await trio.to_thread.run_sync(traces.close, abandon_on_cancel=True)
