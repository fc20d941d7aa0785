"""HTTP/1.1 for an ASGI app, in two tasks a connection, and one write for what is ready together.

h11 reads and frames; Hypercorn's way around it costs a task group, three more tasks and four writes
a request, which is most of what a short answer costs. What is not HTTP/1.1 goes to Hypercorn as it
came: HTTP/2 with prior knowledge, and every upgrade.

One task answers; the other reads, also meanwhile, and so knows when the client leaves. Then it
cancels the answer: no app has to wait for that beside its work (see `app.asgi`).
"""

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from time import time
from typing import Any
from urllib.parse import unquote
from wsgiref.handlers import format_date_time

import h11
import trio
from hypercorn.typing import ASGIFramework, ASGISendEvent, HTTPScope, LifespanState

from .asgi import EXTENSION
from .idle import Idle
from .writes import Writes

__all__ = ["Http1Connection"]

logger = logging.getLogger(__name__)

MOST_READ = 64 * 1024
HEAD_BYTES = 16 * 1024  # of a request
AHEAD_BYTES = 64 * 1024  # of requests that a client sends while another is answered
LAST_ANSWER_SECONDS = 5.0
LINGER_SECONDS = 1.0
LINGER_BYTES = 32 << 20
BODILESS = frozenset({204, 304})

Headers = list[tuple[bytes, bytes]]


class Http1Connection:
    def __init__(
        self,
        app: ASGIFramework,
        state: LifespanState,
        stream: trio.SocketStream,
        writes: Writes,
        idle: Idle,
    ) -> None:
        self._app = app
        self._state = state
        self._stream = stream
        self._writes = writes
        self._idle = idle
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._seen: bytearray | None = bytearray()  # until the first request is known
        self._client = _address(stream.socket.getpeername())
        self._server = _address(stream.socket.getsockname())
        self._ended = False  # the client has sent all it will
        self._streaming = False  # its answer, perhaps for ever
        self._ahead = 0  # bytes that have come and are not used yet, or a few more
        self._came, self._room = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._unsent = b""  # of what was written: the client takes it slowly
        self._life: trio.CancelScope  # from `run` on
        self.over = False  # nobody listens, or nothing can be said any more

    def end(self) -> None:
        """The answer that is under way is cancelled."""
        self.over = True
        self._life.cancel()

    async def run(self) -> bytes | None:
        """Serve until the connection is done for, and close it. Gives all that the client has sent,
        if that is for somebody else; then it stays open.
        """
        for_another = False
        async with trio.open_nursery() as nursery:
            self._life = nursery.cancel_scope
            nursery.start_soon(self._read_on)
            for_another = await self._serve()
            nursery.cancel_scope.cancel()
        if for_another and self._seen is not None:
            return bytes(self._seen)
        await self._close()
        return None

    async def _serve(self) -> bool:
        """Whether it is for somebody else."""
        try:
            while (request := await self._request()) is not None:
                if self._seen is not None:
                    if _for_another(request):
                        return True
                    self._seen = None
                if not await self._answer(request):
                    break
                self._parser.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self.refuse(error)
        return False

    async def _request(self) -> h11.Request | None:
        self._idle.add(self._life)
        try:
            event = await self.next_event()
        finally:
            self._idle.remove(self._life)
        if not isinstance(event, h11.Request) or self._life.cancel_called:
            return None  # begun now, its answer would be cut
        headers = event.headers.raw_items()
        if len(event.target) + sum(len(name) + len(value) for name, value in headers) > HEAD_BYTES:
            raise h11.RemoteProtocolError("the head is too long", error_status_hint=431)
        return event

    async def _answer(self, request: h11.Request) -> bool:
        """Whether the connection can be used for another request."""
        exchange = Exchange(self, request)
        self._allow_for_end()
        try:
            await self._app(self._scope(request, exchange), exchange.receive, exchange.send)
        except Exception:
            # The door: an app that lets an error out has nothing better to say of it.
            logger.exception("Error in the application")
        if not exchange.started:
            await self.send_whole(500)
        self._skip_body()
        return self._parser.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE} and not self.over

    def _skip_body(self) -> None:
        """What has come of it, and the app did not want."""
        with suppress(h11.RemoteProtocolError):
            while isinstance(self._parser.next_event(), h11.Data):
                pass

    def _scope(self, request: h11.Request, exchange: "Exchange") -> HTTPScope:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode().upper(),
            "scheme": "http",
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            # h11's headers are iterated by index, at ten times the cost.
            "headers": [(name.lower(), value) for name, value in request.headers.raw_items()],
            "client": self._client,
            "server": self._server,
            "state": self._state.copy(),  # type: ignore[typeddict-item]
            "extensions": {EXTENSION: exchange},  # type: ignore[dict-item]
        }

    # -- reading ----------------------------------------------------------------------------

    async def next_event(self) -> Any:
        """Raises `h11.RemoteProtocolError`."""
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            self._ahead = 0
            self._room.unpark_all()
            if self._parser.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self.write(self._parser.send(go_on) or b"")
            else:
                await self._came.park()
        if isinstance(event, h11.EndOfMessage):
            self._has_come_whole()
        return event

    def whole_body(self) -> tuple[bytes, bool]:
        """What has come of the request's body, and whether that is all of it."""
        data, whole = [], False
        with suppress(h11.RemoteProtocolError):  # it is raised again for who waits for the rest
            while isinstance(event := self._parser.next_event(), h11.Data):
                data.append(bytes(event.data))
            whole = isinstance(event, h11.EndOfMessage)
        if whole:
            self._has_come_whole()
        return b"".join(data), whole

    def _has_come_whole(self) -> None:
        """The request: what is left is ahead of its answer, and no more."""
        self._ahead = len(self._parser.trailing_data[0])
        if self._ahead <= AHEAD_BYTES:
            self._room.unpark_all()

    async def _read_on(self) -> None:
        """What the client sends, also while it is answered: so it is known when it leaves."""
        while not (self._ended or self.over):
            if self._ahead > AHEAD_BYTES:
                await self._room.park()
                continue
            self._take(await self._read())
            self._came.unpark_all()

    async def _read(self) -> bytes:
        """What the stream would give, without asking for it before it is there."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._stream.socket)
                with suppress(BlockingIOError):
                    return os.read(self._stream.socket.fileno(), MOST_READ)
        except (OSError, trio.ClosedResourceError):
            self.end()
            return b""

    def _take(self, data: bytes) -> None:
        if not data:
            self._ended = True
            self._allow_for_end()
        self._ahead += len(data)
        if self._seen is not None:
            self._seen += data
        self._parser.receive_data(data)

    def streams(self, streaming: bool) -> None:
        """Whether what it answers now is told bit by bit."""
        self._streaming = streaming
        self._allow_for_end()

    def _allow_for_end(self) -> None:
        """A client that has sent its last may still wait for the answers, and nobody can tell it
        from one that left: it gets a while for each, and no stream.
        """
        if self._ended and self._streaming:
            self.end()
        elif self._ended:
            self._life.deadline = trio.current_time() + LAST_ANSWER_SECONDS

    # -- writing ----------------------------------------------------------------------------

    def head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Begin an answer. Raises `h11.LocalProtocolError`."""
        response = h11.Response(status_code=status, headers=[*headers, (b"date", _date())])
        return self._parser.send(response) or b""

    def framed(self, data: bytes) -> bytes:
        return self._parser.send(h11.Data(data=data)) or b""

    def last(self) -> bytes:
        return self._parser.send(h11.EndOfMessage()) or b""

    async def write(self, data: bytes) -> None:
        """All of it, or it is over. Not a checkpoint if there is room for it."""
        if not self.write_some(data):
            await self.flush()

    def write_some(self, data: bytes) -> bool:
        """What there is room for now. False: the rest is for `flush`."""
        if self.over:
            return True
        if self._unsent:
            self._unsent += data
            return False
        try:
            sent = os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.end()
            return True
        self._unsent = data[sent:]
        return not self._unsent

    async def flush(self) -> None:
        """Until the client has taken it, or it is over."""
        data, self._unsent = self._unsent, b""
        if not data:
            return
        try:
            if await self._writes.send(self._stream, data):
                return
            self._writes.drop(self._stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.end()

    async def send_whole(self, status: int) -> None:
        with suppress(h11.LocalProtocolError):
            head = self.head(status, [(b"content-length", b"0"), (b"connection", b"close")])
            await self.write(head + self.last())

    async def refuse(self, error: h11.RemoteProtocolError) -> None:
        """Say what is wrong with what the client sent, if nothing was said yet."""
        if self._parser.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.send_whole(error.error_status_hint)

    async def _close(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await self._stream.send_eof()
            if self._parser.their_state in (h11.SEND_BODY, h11.ERROR) and not self._ended:
                await self._linger()
        await self._stream.aclose()

    async def _linger(self) -> None:
        """A client that still sends would be answered with a reset, which may reach it before the
        answer does.
        """
        read = 0
        with trio.move_on_after(LINGER_SECONDS):
            while read < LINGER_BYTES and (data := await self._stream.receive_some(MOST_READ)):
                read += len(data)


class Exchange:
    """One request and its answer, for the app."""

    def __init__(self, connection: Http1Connection, request: h11.Request) -> None:
        self.started = False
        self._connection = connection
        self._head: tuple[int, Headers] | None = None  # held back for the first of the body
        self._asked_for_head = request.method == b"HEAD"
        self._may_chunk = request.http_version >= b"1.1"
        self._come = b""  # of its body, and not yet received
        self._whole = False  # all of it has come
        self._bodiless = self._chunked = False

    async def receive(self) -> Any:
        """Never tells of a client that has gone: its app is cancelled."""
        if self._come or not self._whole:
            try:
                return await self._body()
            except h11.RemoteProtocolError as error:
                await self._connection.refuse(error)
                self.started = True
                self._connection.end()
        await trio.sleep_forever()

    async def _body(self) -> Any:
        data, self._come = self._come, b""
        if not data:
            event = await self._connection.next_event()
            self._whole = not isinstance(event, h11.Data)
            data = b"" if self._whole else bytes(event.data)
        return {"type": "http.request", "body": data, "more_body": not self._whole}

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self._start(message["status"], list(message["headers"]))
        elif message["type"] == "http.response.body":
            await self._send_body(message.get("body", b""), message.get("more_body", False))

    def _start(self, status: int, headers: Headers) -> None:
        self._bodiless = self._asked_for_head or status in BODILESS
        sized = any(name.lower() == b"content-length" for name, _ in headers)
        self._chunked = self._may_chunk and not sized and not self._bodiless
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        self._head = (status, headers)
        self._connection.streams(not sized and not self._bodiless)

    async def _send_body(self, body: bytes, more: bool) -> None:
        connection, data = self._connection, b""
        if connection.over:
            await trio.lowlevel.checkpoint()  # or an app that never waits would not be told
            return
        if self._head is not None:
            data, self._head, self.started = connection.head(*self._head), None, True
        if body and not self._bodiless:
            data += self._framed(body)
        if not more:
            data += connection.last()
            connection.streams(False)
        if data or not more:  # what was pushed may be left to send
            await connection.write(data)
        if more:
            await trio.lowlevel.checkpoint()

    def whole_body(self) -> bytes | None:
        """The request's, if all of it has come; to be asked before `receive`."""
        self._come, self._whole = self._connection.whole_body()
        return self._come if self._whole else None

    def push(self, data: bytes) -> bool:
        """More of the body, while the app waits; see `app.asgi`."""
        return self._bodiless or self._connection.write_some(self._framed(data))

    async def flush(self) -> None:
        await self._connection.flush()

    def _framed(self, data: bytes) -> bytes:
        """h11 would do the same, at ten times the cost."""
        return (
            b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else self._connection.framed(data)
        )


def _for_another(request: h11.Request) -> bool:
    return request.method == b"PRI" or any(name == b"upgrade" for name, _ in request.headers)


def _address(name: Any) -> tuple[str, int]:
    return name[0], name[1]


def _date() -> bytes:
    return _date_at(int(time()))


@lru_cache(maxsize=1)
def _date_at(second: int) -> bytes:
    return format_date_time(second).encode()
