"""A bad network in front of a server: real TCP, whose connections the test cuts."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import repeat

import trio

__all__ = ["Proxy", "open_proxy"]


class Proxy:
    """`budgets` says of each connection for a stream how many bytes of its answer get through."""

    def __init__(self, port: int, behind: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.swallow: list[bytes] = []  # of a request with these words the answer is lost, once
        self.budgets: Iterator[int | None] = repeat(None)
        self.cuts = 0
        self._behind = behind
        self._open: set[trio.CancelScope] = set()

    def cut(self) -> None:
        for scope in self._open:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", self._behind)
        async with client, server:
            with trio.CancelScope() as scope:
                self._open.add(scope)
                try:
                    async with trio.open_nursery() as nursery:
                        connection = _Connection(self, client, server)
                        nursery.start_soon(connection.ask)
                        await connection.answer()
                        nursery.cancel_scope.cancel()
                except* trio.BrokenResourceError:
                    pass
                finally:
                    self._open.discard(scope)


class _Connection:
    def __init__(self, proxy: Proxy, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._budget: int | None = None

    async def ask(self) -> None:
        async for part in self._client:
            if b"/api/chat/stream" in part:
                self._budget = next(self._proxy.budgets)
            for words in self._proxy.swallow:
                if words in part:
                    self._proxy.swallow.remove(words)
                    self._budget = 0
                    break
            await self._server.send_all(part)

    async def answer(self) -> None:
        async for part in self._server:
            await self._client.send_all(part[: self._budget])
            if self._budget is not None:
                self._budget -= len(part)
                if self._budget <= 0:
                    self._proxy.cuts += 1
                    return


@asynccontextmanager
async def open_proxy(behind: int) -> AsyncIterator[Proxy]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = Proxy(listeners[0].socket.getsockname()[1], behind)
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        yield proxy
        nursery.cancel_scope.cancel()
