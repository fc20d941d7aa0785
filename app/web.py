"""The web application: every route, put together."""

import gzip
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import trio
from quart import Response, request
from quart_trio import QuartTrio

from actors.greenroom import Greenroom

from . import (
    __version__,
    approvals,
    changes,
    chat,
    inspector,
    metrics,
    openapi,
    operations,
    page,
    projects,
    quiet,
    readiness,
    sessions,
    side_streams,
    tab,
)
from .asgi import App
from .authority import login
from .authority.door import register_door
from .authority.gate import Gate
from .authority.principal import visiting
from .http_errors import json_response, register_errors
from .idempotency import Answers, register_idempotency
from .limits import Limits
from .openai_api import routes as openai_api
from .openai_api.offer import Offer
from .origin import register_origin_check
from .requests import Requests
from .view import View

__all__ = ["create_app"]

COMPRESSED_FROM = 1024
GZIP_LEVEL = 1  # most of the gain at a fraction of the cost

NO_OFFER = Offer("greenroom")


def create_app(
    greenroom: Greenroom,
    answers: Answers,
    *,
    gate: Gate,
    stopping: trio.Event,
    agent_status: Callable[[], Mapping[str, Any]],
    page_dir: Path = page.OUR_PAGE,
    counted: metrics.Metrics | None = None,
    requests: Requests | None = None,
    offer: Offer = NO_OFFER,
    host: str = "127.0.0.1",
    allowed_hosts: Collection[str] = (),
    behind_proxy: bool = False,
    limits: Limits | None = None,
) -> QuartTrio:
    """The app of one greenroom, and who is let in by `gate`. Open streams end when `stopping` is
    set. `page_dir` holds the page.

    `agent_status` tells what answers: `agent`, `model`, `state`, `progress` and `detail`; `offer`
    says what clients of OpenAI's API may ask of it.
    """
    app = App(__name__, static_folder=None)
    limits = limits or Limits({}, lambda: gate.closed)
    app.config["MAX_CONTENT_LENGTH"] = limits["body"] or None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = True
    requests = requests or Requests()
    requests.register(app)
    register_errors(app)
    register_origin_check(app)
    register_door(
        app, gate, limits, host=host, allowed_hosts=allowed_hosts, behind_proxy=behind_proxy
    )
    view = View(greenroom, limits)

    for blueprint in (
        sessions.routes(view),
        changes.routes(view),
        projects.routes(view),
        chat.routes(view),
        approvals.routes(view),
        side_streams.routes(view, stopping),
        tab.routes(view, stopping),
        inspector.routes(view, stopping),
        quiet.routes(agent_status, lambda: gate.closed),
        metrics.routes(greenroom, answers, requests, counted or metrics.Metrics()),
        operations.routes(greenroom, answers),
        readiness.routes(greenroom, answers, agent_status, stopping),
        page.routes(page_dir, limits["body"]),
        openapi.routes(app),
        *openai_api.routes(view, offer),
    ):
        app.register_blueprint(blueprint)
    register_idempotency(app, answers)
    # Behind it: what lets somebody in is not kept to be given again.
    app.register_blueprint(login.routes(gate, behind_proxy=behind_proxy))
    started_at = time.time()

    @app.get("/health")
    async def health() -> Response:
        standing = {"status": "ok" if greenroom.accepting else "degraded"}
        code = 200 if greenroom.accepting else 503
        if visiting.get().principal is None:
            return json_response(standing, code)
        live = view.running()
        statistics = greenroom.statistics()
        journals = (greenroom.journal_statistics(), answers.statistics())
        writers = (greenroom.record_statistics(), *(journal.writer for journal in journals))
        return json_response(
            standing
            | {
                "version": __version__,
                "sessions": sum(cell.address.startswith("session/") for cell in statistics.cells),
                "active_streams": len(live),
                "active_runs": len(live),
                "runs": [{"stream_id": f.turn_id, "session_id": f.session_id} for f in live],
                "server_started_at": started_at,
                "uptime_seconds": round(time.time() - started_at, 3),
                "saving_seconds": round(max(writer.busy_seconds for writer in writers), 3),
                "agent": agent_status(),
            },
            code,
        )

    @app.after_request
    async def finish(response: Response) -> Response:
        await _compress(response)
        return response

    return app


async def _compress(response: Response) -> None:
    """A long answer goes out gzipped to who can read it. Event streams do not: they would wait."""
    if (response.content_length or 0) < COMPRESSED_FROM or response.mimetype != "application/json":
        return
    response.headers["Vary"] = "Accept-Encoding"
    if not request.accept_encodings["gzip"]:
        return
    data = await response.get_data(as_text=False)
    assert isinstance(data, bytes)
    response.set_data(await trio.to_thread.run_sync(gzip.compress, data, GZIP_LEVEL))
    response.headers["Content-Encoding"] = "gzip"
