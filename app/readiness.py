"""Whether new turns should be sent here: `/ready`, beside the `/health` that says we live."""

from collections.abc import Callable, Mapping
from typing import Any

import trio
from quart import Blueprint, Response

from actors.greenroom import Greenroom
from actors.stores import StoreError

from .http_errors import json_response
from .idempotency import Answers

__all__ = ["routes"]

STUCK_SECONDS = 5.0  # of a write that has not come back


def routes(
    greenroom: Greenroom,
    answers: Answers,
    agent_status: Callable[[], Mapping[str, Any]],
    stopping: trio.Event,
) -> Blueprint:
    """503 says why not. `/health` goes on saying 200 as long as it makes sense to wait."""
    page = Blueprint("readiness", __name__)
    forgiven = 0  # failures of the disk, after which it was found to work

    @page.get("/ready")
    async def ready() -> Response:
        reason = await why_not()
        if reason is None:
            return json_response({"ready": True})
        response = json_response({"ready": False, "reason": reason}, 503)
        response.headers["Retry-After"] = "1"
        return response

    async def why_not() -> str | None:
        if stopping.is_set() or not greenroom.accepting:
            return "draining: the server is about to stop"
        return await of_the_disk() or of_the_agent()

    async def of_the_disk() -> str | None:
        nonlocal forgiven
        writers = (
            greenroom.record_statistics(),
            greenroom.journal_statistics().writer,
            answers.statistics().writer,
        )
        stuck = max(writer.busy_seconds for writer in writers)
        if stuck > STUCK_SECONDS:
            return f"disk: a write has not come back for {stuck:.0f} s"
        failures = sum(writer.failures for writer in writers)
        if failures != forgiven:
            try:
                with trio.fail_after(STUCK_SECONDS):
                    await greenroom.check_disk()
            except StoreError as error:
                return f"disk: {error}"
            except trio.TooSlowError:
                return "disk: it does not answer"
            forgiven = failures
        return None

    def of_the_agent() -> str | None:
        status = agent_status()
        match status.get("state", "ready"):
            case "ready":
                return None
            case "failed":
                return f"the model cannot be used: {status.get('detail')}"
            case state:
                return f"starting: the model is {state}"

    return page
