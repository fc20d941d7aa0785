"""Endpoints for who runs the server."""

from collections.abc import AsyncIterator
from functools import partial

import trio
from quart import Blueprint, Response, request

from actors.greenroom import Greenroom

from .backup import Snapshot, remove_links, tar_of
from .http_errors import json_response
from .idempotency import Answers

__all__ = ["routes"]


def routes(greenroom: Greenroom, answers: Answers) -> Blueprint:
    page = Blueprint("operations", __name__)
    linking = False

    @page.get("/api/backup")
    async def backup() -> Response:
        """All that was answered before, as a tar file."""
        nonlocal linking
        if request.method == "HEAD":
            return Response(b"", content_type="application/x-tar")
        if linking:
            response = json_response({"error": "Another backup is being made; try again"}, 503)
            response.headers["Retry-After"] = "5"
            return response
        linking = True
        try:
            snapshot = await _snapshot(greenroom, answers)
        finally:
            linking = False
        response = Response(_parts(snapshot), content_type="application/x-tar")
        response.timeout = None
        return response

    return page


async def _snapshot(greenroom: Greenroom, answers: Answers) -> Snapshot:
    records = greenroom.records
    async with greenroom.held(), answers.held():
        snapshot = await trio.to_thread.run_sync(Snapshot, greenroom.data_dir)
        records.before_change(snapshot.keep)
    try:
        while not snapshot.complete:
            await records.between_writes(snapshot.keep_some)
        if snapshot.failure is not None:
            raise snapshot.failure
    except BaseException:
        remove_links(snapshot.links)
        raise
    finally:
        records.before_change(None)
    return snapshot


async def _parts(snapshot: Snapshot) -> AsyncIterator[bytes]:
    try:
        parts = tar_of(snapshot.files)
        while part := await trio.to_thread.run_sync(partial(next, parts, b"")):
            yield part
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(remove_links, snapshot.links)
