"""The HTTP server: an app on Hypercorn's Trio worker, with what the worker gets wrong made right.

This is the one place that leans on the internals of Hypercorn (hence the pin, >=0.18,<0.19):
`TCPServer`, `WorkerContext`, `Lifespan` and `ASGIWrapper`. `serve` does what
`hypercorn.trio.run.worker_serve` does; nothing is patched. What is made right, and where:

  | stock Hypercorn                                                | here                      |
  |----------------------------------------------------------------|---------------------------|
  | idle connections stay open for ever after a Quart-Trio answer  | `Connection._bookkeeping` |
  | the connection of a client that left is kept for the idle time | `Connection._read_data`   |
  | one reader that stalls blocks the shutdown for ever            | `Writes`                  |
  | streams are not told of the shutdown                           | `stopping`, in `serve`    |
  | a connection that makes the protocol code crash ends the server| `serve_connection`        |
  | a request target that is no path is logged with a traceback    | `refuse_bad_targets`      |

HTTP/1.1 does not come here, but with `stock`: `app.http1` has less to do for each request. Of
Hypercorn, that uses the names of ASGI's types. HTTP/2 always does.

Not mended: a client that sends bytes after its request is not seen to go, because Hypercorn stops
reading. Whatever streams must write now and then (the SSE keepalive): the write finds out.
"""

import logging
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ConnectionState,
    LifespanState,
    Scope,
)
from hypercorn.utils import LifespanTimeoutError
from quart_trio import QuartTrio

from .http1 import Http1Connection
from .idle import KEEP_ALIVE, Idle
from .writes import Writes

__all__ = ["Address", "address_of", "bind", "serve"]

Address = tuple[str, int]

logger = logging.getLogger(__name__)

BACKLOG = 2048
FILES_FOR_OTHERS = 256
# What a shutdown leaves to the requests and streams that are open, and to writes that are stuck.
GRACE = 1.5
WRITE_GRACE = 1.0


async def bind(host: str, port: int) -> trio.SocketListener:
    """Take the port (0 is any free one) and queue connections; `OSError` says why it cannot be."""
    found = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # IPv4 first: "localhost" is 127.0.0.1 to more clients than it is ::1.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    sock = trio.socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await sock.bind(address)
        sock.listen(BACKLOG)
        return trio.SocketListener(sock)
    except BaseException:
        sock.close()
        raise


def address_of(listener: trio.SocketListener) -> Address:
    """Where it listens, with the actual port."""
    host, port = listener.socket.getsockname()[:2]
    return host, port


async def _nothing_to_settle() -> None: ...


async def serve(
    app: QuartTrio,
    listener: trio.SocketListener,
    *,
    stopping: trio.Event,
    settle: Callable[[], Awaitable[object]] = _nothing_to_settle,
    max_connections: int | None = None,
    stock: bool = False,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `stopping` is set, in the caller's nursery.

    Who streams waits for `stopping` too, sends its last event and returns. `settle` runs while
    requests are still answered. After it nothing more is accepted, idle connections are closed,
    and what is still open is cut after a short grace.

    A connection beyond `max_connections` is closed at once; the default leaves some of the files
    that the process may open to the rest of it, so that no crowd keeps a record from being saved.

    HTTP/1.1 has a way of its own (`app.http1`); with `stock` it goes through Hypercorn too.

    Being cancelled instead cuts everything at once. Closes `listener` in any case.
    """
    # Quart would cut every answer after 60 s; the write timeout is for the clients that are gone.
    app.config["RESPONSE_TIMEOUT"] = None
    checked = refuse_bad_targets(app)
    wrapped: AppWrapper = ASGIWrapper(checked)
    config = _hypercorn_config()
    context = WorkerContext(None)
    state = LifespanState()
    lifespan = Lifespan(wrapped, config, state)
    writes, idle = Writes(), Idle()
    room = _room_for_connections() if max_connections is None else max_connections

    async def serve_connection(stream: trio.SocketStream) -> None:
        nonlocal room
        if room == 0:
            return  # It is closed by who called us.
        room -= 1
        if room == 0:
            logger.warning("There is no room for more connections")
        try:
            rest: bytes | None = b""
            if not stock:
                rest = await Http1Connection(checked, state, stream, writes, idle).run()
            if rest is not None:
                again = Replayed(stream, rest)
                connection_state = ConnectionState(state)
                await Connection(wrapped, config, context, connection_state, again, writes).run()
        except* OSError:
            pass  # The client went.
        except* Exception as crash:
            # Broad: whatever one client sent must not end the server for the others.
            logger.warning("A connection was dropped: %s", crash, exc_info=_debugging())
        finally:
            room += 1

    async with listener, trio.open_nursery() as lifespan_nursery:
        await lifespan_nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            write_grace = 0.0
            try:
                async with trio.open_nursery() as accepting:
                    await accepting.start(
                        partial(
                            trio.serve_listeners,
                            serve_connection,
                            [listener],
                            handler_nursery=connections,
                        )
                    )
                    task_status.started(address_of(listener))
                    await stopping.wait()
                    await settle()
                    write_grace = WRITE_GRACE
                    accepting.cancel_scope.cancel()
            finally:
                await context.terminated.set()  # Has no yield point.
                idle.end()
                writes.end_within(write_grace)
                connections.cancel_scope.deadline = trio.current_time() + GRACE
        try:
            await lifespan.wait_for_shutdown()
        except LifespanTimeoutError:
            logger.warning("The app did not finish its shutdown in time")
        lifespan_nursery.cancel_scope.cancel()


def _room_for_connections() -> int:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(allowed - FILES_FOR_OTHERS, 1) if allowed != resource.RLIM_INFINITY else sys.maxsize


def _debugging() -> bool:
    return logger.isEnabledFor(logging.DEBUG)


def _hypercorn_config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE
    config.shutdown_timeout = 1.0
    config.keep_alive_max_requests = sys.maxsize
    return config


class Replayed(trio.abc.Stream):
    """A stream of which some was read already."""

    def __init__(self, stream: trio.SocketStream, read: bytes) -> None:
        self.socket = stream.socket
        self._stream = stream
        self._read = read

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._read:
            await trio.lowlevel.checkpoint()
            read, self._read = self._read, b""
            return read
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Connection(TCPServer):
    """One client's connection."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
        stream: Replayed,
        writes: Writes,
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self._client = stream
        self._writes = writes
        self._client_left = False

    async def _read_data(self) -> None:
        await super()._read_data()
        self._client_left = True
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            return await self._bookkeeping(event)
        async with self.send_lock:
            try:
                if await self._writes.send(self._client, event.data):
                    return
                self._writes.drop(self._client)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            except trio.BusyResourceError:
                pass  # It is being closed: nobody else sends while we hold the lock.
        await self.protocol.handle(Closed())

    async def _bookkeeping(self, event: Event) -> None:
        """Note that the connection became busy, idle or closed, also when that is cancelled.

        Hypercorn tells the app `http.disconnect` while the app still sends its last message.
        Quart-Trio cancels the request at that, and with it, in the stock server, the start of the
        idle timeout, or the close. Nothing that is shielded here waits for the client or the app.
        """
        with trio.CancelScope(shield=True):
            if isinstance(event, Closed):
                await self._close()
            elif not self._client_left:
                await super().protocol_send(event)
        if isinstance(event, Closed):
            await self.protocol.handle(event)


def refuse_bad_targets(app: ASGIFramework) -> ASGIFramework:
    """Answer 400 to a request for `?` or `http://[`: Quart crashes on what is not a path."""

    async def checked(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan" or _is_path_or_url(scope["path"]):
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return checked


def _is_path_or_url(target: str) -> bool:
    if target.startswith("/"):
        return True
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.path.startswith("/")
