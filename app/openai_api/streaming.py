"""Event streams as the API has them."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from quart import Response

from actors.session.entries import FeedEvent

from ..sse import event_stream, kept_alive
from .turns import Turn, Turns

__all__ = ["data_frame", "stream_of"]

KEEPALIVE = b": keepalive\n\n"

Take = Callable[[FeedEvent], Iterable[bytes]]


def data_frame(data: Mapping[str, Any]) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(data)


async def stream_of(turns: Turns, turn: Turn, take: Take) -> Response:
    """A turn from its beginning to its end; `take` makes frames of what comes."""
    next_batch = await turns.reader(turn)
    if next_batch is None:
        told = [list(await turns.told(turn))]

        async def next_batch() -> Sequence[FeedEvent]:
            return told.pop() if told else ()

    async def render(events: Sequence[FeedEvent]) -> bytes:
        return b"".join(frame for event in events for frame in take(event))

    return event_stream(_left(turns, turn, kept_alive(next_batch, render, KEEPALIVE)))


async def _left(
    turns: Turns, turn: Turn, chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Tells when the reader leaves before the end."""
    ended = False
    try:
        async for chunk in chunks:
            yield chunk
        ended = True
    finally:
        if not ended:
            turns.leave(turn)
