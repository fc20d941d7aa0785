"""Server-sent events: frames, cursors, and the loop that keeps a stream alive."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import trio
from quart import Response

from .direct import NOT_DIRECT, Direct

__all__ = ["KEEPALIVE_SECONDS", "cursor_of", "event_stream", "frame", "kept_alive"]

KEEPALIVE_SECONDS = 5.0

T = TypeVar("T")


def frame(name: str, data: Mapping[str, Any], event_id: str | None = None) -> bytes:
    """One event. JSON has no line breaks, so `data` is one line."""
    head = b"" if event_id is None else b"id: %s\n" % event_id.encode()
    return b"%sevent: %s\ndata: %s\n\n" % (head, name.encode(), msgspec.json.encode(data))


def cursor_of(query: Mapping[str, str], last_event_id: str | None, stream_id: str) -> int:
    """The number of the last event the client has: what it says in the query beats its header.

    0, the beginning, for anything that is not a number of this stream: never skip.
    """
    if "after_event_id" in query:
        return _seq_of(query["after_event_id"], stream_id)
    if "after_seq" in query:
        return _number(query["after_seq"])
    if "replay" in query or last_event_id is None:
        return 0
    return _seq_of(last_event_id, stream_id)


def _seq_of(event_id: str, stream_id: str) -> int:
    owner, _, seq = event_id.rpartition(":")
    return _number(seq) if owner == stream_id else 0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


async def kept_alive(
    next_batch: Callable[[], Awaitable[Sequence[T]]],
    render: Callable[[Sequence[T]], Awaitable[bytes]],
    comment: bytes,
    *,
    first: bytes | None = None,
    direct: Direct = NOT_DIRECT,
) -> AsyncGenerator[bytes, None]:
    """Batches, each in one write, until an empty one; a comment in long silences. `direct` is what
    `next_batch` shows without giving it.
    """
    yield first or comment  # the headers go out with it
    while True:
        batch, pushed = None, direct.pushed
        with trio.move_on_after(KEEPALIVE_SECONDS):  # covers the wait, never the rendering
            batch = await next_batch()
        if batch is None:
            if pushed == direct.pushed:
                yield comment
        elif batch:
            if data := await render(batch):
                yield data
        else:
            return


def event_stream(chunks: AsyncIterator[bytes], *, last: bool = False) -> Response:
    """The response. `last`: the connection ends with it."""
    response = Response(chunks, content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    if last:
        response.headers["Connection"] = "close"
    response.timeout = None
    return response
