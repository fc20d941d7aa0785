"""Endpoints for who runs the server."""

from collections.abc import AsyncIterator
from pathlib import Path

import trio
from quart import Blueprint, Response, request

from actors.greenroom import Greenroom

from .backup import File, link_all, remove_links, tar_of
from .idempotency import Answers

__all__ = ["routes"]


def routes(greenroom: Greenroom, answers: Answers, data_dir: Path) -> Blueprint:
    page = Blueprint("operations", __name__)

    @page.get("/api/backup")
    async def backup() -> Response:
        """All that was answered before, as a tar file."""
        if request.method == "HEAD":
            return Response(b"", content_type="application/x-tar")
        async with greenroom.held(), answers.held():
            links, files = await trio.to_thread.run_sync(link_all, data_dir)
        response = Response(_parts(links, files), content_type="application/x-tar")
        response.timeout = None
        return response

    return page


async def _parts(links: Path, files: list[File]) -> AsyncIterator[bytes]:
    try:
        parts = tar_of(files)
        while part := await trio.to_thread.run_sync(next, parts, b""):
            yield part
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(remove_links, links)
