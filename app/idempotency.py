"""`Idempotency-Key`: the first answer again, for 24 hours, also after a crash.

What is kept here is the answer. That the thing itself was done is kept where it was done, with the
key (`actors.session.messages.Once`): if the process dies between the two, the second request finds
it done and answers anew. An error changed nothing, so it is not kept: the key may be used again.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio
from quart import Quart, Response, g, request

from actors.session.refusals import KeyReused
from actors.stores import Journal, JournalStatistics, StoreError, open_journal

from .authority.principal import principal
from .bodies import BadRequest
from .body import read_bytes
from .http_errors import json_body

__all__ = ["Answers", "decode_answer", "open_answers", "register_idempotency"]

log = logging.getLogger("app")

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT_SECONDS = 24 * 3600.0
SEGMENT_BYTES = 1 << 20
KEY_LENGTH = 255

View = Callable[..., Any]


class _Answer(msgspec.Struct):
    fingerprint: str
    status: int
    body: bytes


decode_answer = msgspec.json.Decoder(_Answer).decode


class Answers:
    """The answers that were given, by key. Of two requests with one key the second waits."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._running: dict[str, trio.Event] = {}

    def statistics(self) -> JournalStatistics:
        return self._journal.statistics()

    def held(self) -> AbstractAsyncContextManager[None]:
        """Nothing is written inside the block; what would be waits."""
        return self._journal.held()

    async def give(
        self, key: str, fingerprint: str, work: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Raises `KeyReused` if the key was answered for something else."""
        name = hashlib.sha256(key.encode()).hexdigest()
        while name in self._running:
            await self._running[name].wait()
        done = self._running[name] = trio.Event()
        try:
            kept = await self._find(name)
            if kept is None:
                return await self._keep(name, fingerprint, await work())
            if kept.fingerprint != fingerprint:
                raise KeyReused
            response = json_body(kept.body, kept.status)
            response.headers[REPLAYED] = "true"
            return response
        finally:
            del self._running[name]
            done.set()

    async def _find(self, name: str) -> _Answer | None:
        entries = await self._journal.read(name)
        return decode_answer(entries[0][1]) if entries else None

    async def _keep(self, name: str, fingerprint: str, response: Response) -> Response:
        """Durable before it is given. If there is no room for it, what was done stands. A stream is
        not kept: whoever asks again reads what it was made from.
        """
        if response.status_code < 300 and response.mimetype != "text/event-stream":
            body = await response.get_data(as_text=False)
            assert isinstance(body, bytes)
            entry = msgspec.json.encode(_Answer(fingerprint, response.status_code, body))
            try:
                await self._journal.write(name, [(1, entry)])
                self._journal.settle(name)
            except StoreError as error:
                log.warning("an answer could not be kept for its key: %s", error)
        return response


@asynccontextmanager
async def open_answers(directory: Path) -> AsyncIterator[Answers]:
    async with open_journal(
        directory, segment_bytes=SEGMENT_BYTES, retain_seconds=KEPT_SECONDS
    ) as journal:
        for name, info in journal.streams().items():
            if not info.settled:
                journal.settle(name)  # the crash came between an answer and its mark
        yield Answers(journal)


def register_idempotency(app: Quart, answers: Answers) -> None:
    """For every endpoint that takes a POST. Register the endpoints before."""
    # An endpoint may have several rules, and must not wait for itself.
    for endpoint in {r.endpoint for r in app.url_map.iter_rules() if "POST" in (r.methods or ())}:
        app.view_functions[endpoint] = _once(app.view_functions[endpoint], answers)


def _once(view: View, answers: Answers) -> View:
    async def answered(**arguments: str) -> Response:
        key = request.headers.get(HEADER)
        if key is None or request.method != "POST":
            response: Response = await view(**arguments)
            return response
        if not (0 < len(key) <= KEY_LENGTH and key.isascii() and key.isprintable()):
            raise BadRequest(f"{HEADER} must be 1 to {KEY_LENGTH} printable ASCII characters")
        g.operation, g.fingerprint = _own(key), await _fingerprint()
        return await answers.give(g.operation, g.fingerprint, partial(view, **arguments))

    return answered


def _own(key: str) -> str:
    """Whoever uses the same key uses another one."""
    owner = principal().viewer.owner
    return key if owner is None else f"{owner} {key}"


async def _fingerprint() -> str:
    """The same for the same request, and for no other."""
    parts = (request.path.encode(), request.query_string, await read_bytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
