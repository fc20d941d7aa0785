"""What our own server knows of a request besides ASGI, and what that saves: for each request
Quart-Trio opens a nursery, with a task that waits for the client to leave. That costs more than all
else that it does.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from inspect import iscoroutinefunction
from typing import Any, Protocol

from quart.sessions import SecureCookieSessionInterface
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest

__all__ = ["EXTENSION", "App", "Exchange", "HTTPConnection", "exchange_of"]

EXTENSION = "greenroom.exchange"
"""Where our server puts it into the scope's extensions. An app that finds it there is cancelled
when its client leaves.
"""


class Exchange(Protocol):
    """One request and its answer."""

    def whole_body(self) -> bytes | None:
        """The request's, if all of it has come. To be asked before ASGI's `receive`."""

    def push(self, data: bytes) -> bool:
        """More of the answer's body, between two messages of its app: as much of it as there is
        room for. False: the rest is kept for `flush`.
        """

    async def flush(self) -> None:
        """Wait until the client has taken what was kept. Shielded: half of it is no use."""


def exchange_of(scope: Any) -> Exchange | None:
    """None on other servers."""
    exchange: Exchange | None = scope.get("extensions", {}).get(EXTENSION)
    return exchange


class HTTPConnection(TrioASGIHTTPConnection):
    """On other servers, and while a body is still to come, it is Quart-Trio's."""

    async def __call__(self, receive: Any, send: Any) -> None:
        exchange = exchange_of(self.scope)
        body = None if exchange is None else exchange.whole_body()
        if body is None:
            return await super().__call__(receive, send)
        request = self._create_request_from_scope(send)
        request.body.append(body)
        request.body.set_complete()
        await self._send_response(send, await self.app.handle_request(request))


class Request(TrioRequest):
    @cached_property
    def blueprints(self) -> list[str]:
        return super().blueprints


class NoSessions(SecureCookieSessionInterface):
    """Nothing of ours is in Quart's cookie."""

    nothing = SecureCookieSessionInterface.null_session_class()

    async def open_session(self, app: Any, request: Any) -> Any:
        return self.nothing


_is_async = lru_cache(maxsize=1024)(iscoroutinefunction)


class App(QuartTrio):
    """Quart-Trio, without some of what it works out anew for each request."""

    asgi_http_class = HTTPConnection
    request_class = Request
    session_interface = NoSessions()

    def ensure_async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func if _is_async(func) else super().ensure_async(func)
