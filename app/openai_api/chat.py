"""/v1/chat/completions: a session for one turn, kept only if the client asks for that."""

import time
from collections.abc import Iterator
from uuid import uuid4

from quart import Blueprint, Response

from actors.session.entries import FeedEvent

from ..body import read_bytes
from ..http_errors import json_response
from .chunks import ChatChunks
from .errors import error_body
from .offer import Offer
from .requests import asked_by_chat, decode
from .schemas import ChatBody
from .streaming import data_frame, stream_of
from .turns import Turns

__all__ = ["routes"]

DONE = b"data: [DONE]\n\n"


def routes(offer: Offer, turns: Turns) -> Blueprint:
    page = Blueprint("openai_chat", __name__)

    @page.post("/v1/chat/completions")
    async def complete() -> Response:
        body = decode(await read_bytes(), ChatBody)
        offer.check(body.model)
        asked = asked_by_chat(body, offer.options, time.time(), lambda: uuid4().hex)
        turn = await turns.begin(asked, "chat")
        head = {
            "id": f"chatcmpl-{turn.turn_id}",
            "created": int(turn.created_at),
            "model": turn.note.get("model"),
            "service_tier": "default",
        }
        chunks = ChatChunks(head, with_usage=asked.with_usage)
        if asked.stream:
            return await stream_of(turns, turn, _Frames(chunks).take)
        await turns.follow(turn, chunks.take)
        return json_response(chunks.whole())

    return page


class _Frames:
    def __init__(self, chunks: ChatChunks) -> None:
        self._chunks = chunks

    def take(self, event: FeedEvent) -> Iterator[bytes]:
        if self._chunks.ended:
            return
        for chunk in self._chunks.take(event):
            yield data_frame(chunk)
        failure = self._chunks.failure
        if failure is not None:
            yield data_frame(error_body(failure.status, str(failure), code=failure.code))
        if self._chunks.ended:
            yield DONE
