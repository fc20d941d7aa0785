"""The house that the server runs: agent, sessions on disk and web application, composed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from actors.greenroom import open_greenroom
from actors.session.admission import Admission
from actors.session.allowance import Allowance
from actors.session.reports import TurnReport

from .agents import open_agent
from .authority.gate import Gate
from .authority.secrets import hash_of
from .backup import sweep_links
from .config import Config
from .idempotency import open_answers
from .limits import Limits
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

    gate = Gate(config.data_dir, always_closed=config.public)
    limits = Limits(config.limits, lambda: gate.closed)
    allowance = Allowance(lambda: limits["tokens"])
    admission = Admission(
        turns=lambda: limits["turns"], running=lambda: limits["running"], allowance=allowance
    )
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
            admission=admission,
            approval_seconds=config.approval_seconds,
        ) as greenroom,
        open_answers(config.data_dir / "answers") as answers,
        trio.open_nursery() as nursery,
    ):
        await trio.to_thread.run_sync(sweep_links, config.data_dir)

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
            counted=counted,
            requests=requests,
            offer=Offer(opened.model or opened.name, opened.options, opened.models),
            host=config.host,
            allowed_hosts=config.allowed_hosts,
            behind_proxy=config.behind_proxy,
            limits=limits,
        )
        house = House(app, greenroom.settle, agent_status)
        gate.admin_tokens.add(hash_of(house.token))
        yield house
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _closed_at_the_end(traces: Traces | None) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if traces is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + TRACES_SECONDS):
                await trio.to_thread.run_sync(traces.close, abandon_on_cancel=True)
