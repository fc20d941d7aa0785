"""One MCP server of one session: started, asked, started again when it dies."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import httpx2
import trio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED

from .config import ToolServer
from .results import Outcome, text_of_result
from .toolbox import Toolbox

__all__ = ["Connection", "open_toolbox"]

log = logging.getLogger("app.tools")

START_SECONDS = 30.0
GIVEN_UP_SECONDS = 60.0  # so long a server that cannot be started delays no turn
STABLE_SECONDS = 60.0  # one that lived so long may die again
RESTARTS = 3
PAUSE_SECONDS = 0.5
MOST_TOOLS = 256
LINE = 1000  # characters of a line on its stderr
ENDS = (
    OSError,
    httpx2.TransportError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
NOT_RUN = "The tool was not run."
FORGOTTEN = "Session terminated"  # what the SDK makes of a 404 to a session over HTTP


class Connection:
    """Alive while `run` runs. `problem` says why there is none, in a sentence."""

    def __init__(self, server: ToolServer) -> None:
        self.server = server
        self.tools: list[Any] = []
        self.problem: str | None = None
        self._client: Client | None = None
        self._lost = trio.Event()
        self._settled = trio.Event()  # connected, or given up
        self._wanted = trio.Event()
        self._gave_up_at = 0.0

    async def ready(self) -> bool:
        """Wait until it is connected, or cannot be. One given up is tried again in a while."""
        rested = trio.current_time() - self._gave_up_at >= GIVEN_UP_SECONDS
        if self._settled.is_set() and self._client is None and rested:
            self._settled = trio.Event()
            self._wanted.set()
        await self._settled.wait()
        return self._client is not None

    async def call(self, tool: str, arguments: dict[str, Any]) -> Outcome:
        """One call, never repeated: nobody knows what one that was cut off has done."""
        await self._settled.wait()
        client, lost, name = self._client, self._lost, self.server.name
        if client is None:
            return Outcome(f"{self.problem} {NOT_RUN}", is_error=True)
        with trio.move_on_after(self.server.timeout):
            try:
                result = await client.call_tool(tool, arguments)
            except Exception as error:  # noqa: BLE001 - the door: servers answer anything
                if isinstance(error, MCPError) and error.message == FORGOTTEN:
                    self._lose(lost)
                    anew = f"The tool server {name!r} was started anew. {NOT_RUN} Call it again."
                    return Outcome(anew, is_error=True)
                if not (lost.is_set() or _is_end(error)):
                    return Outcome(f"The tool failed: {_words(error)}.", is_error=True)
                self._lose(lost)
                died = f"The tool server {name!r} ended in the middle of the call."
                return Outcome(f"{died} Whether the tool did its work is not known.", is_error=True)
            text = text_of_result(result.content, result.structured_content)
            return Outcome(text, is_error=bool(result.is_error))
        seconds = f"{self.server.timeout:g} s"
        return Outcome(f"The tool did not answer within {seconds} and was cancelled.", True)

    # -- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep it connected, as far as that goes well."""
        failures = 0
        while True:
            began, retry = trio.current_time(), True
            try:
                await self._live()
                self.problem = f"The tool server {self.server.name!r} has ended."
            except Exception as error:  # noqa: BLE001 - the door: a server may be anything
                self.problem = f"The tool server {self.server.name!r} cannot be started: "
                self.problem += f"{_words(error)}."
                retry = not isinstance(_leaf(error), OSError | trio.TooSlowError)
            lived = trio.current_time() - began
            failures = 1 if lived > STABLE_SECONDS else failures + 1
            log.warning("%s", self.problem)
            if retry and failures <= RESTARTS:
                await trio.sleep(PAUSE_SECONDS * 2 ** (failures - 1))
            else:
                self._gave_up_at = trio.current_time()
                self._settled.set()
                await self._wanted.wait()
                self._wanted = trio.Event()
                failures = RESTARTS  # one try

    async def _live(self) -> None:
        """One life of it. Returns when it is lost, raises if it never came to be."""
        lost = self._lost = trio.Event()
        came = False
        try:
            async with self._transport(lost) as transport:
                with trio.fail_after(START_SECONDS) as starting:
                    async with Client(transport, cache=None) as client:
                        self.tools = await _tools_of(client)
                        starting.deadline = float("inf")
                        self._client, self.problem, came = client, None, not lost.is_set()
                        self._settled.set()
                        await lost.wait()
        except* Exception:
            if not came:
                raise  # else its end may be as untidy as it likes
        finally:
            self._lose(lost)

    def _lose(self, lost: trio.Event) -> None:
        """That life of it is over. Who calls from now on waits for the next."""
        lost.set()
        if self._client is not None and lost is self._lost:
            self._client, self._settled = None, trio.Event()

    @asynccontextmanager
    async def _transport(self, lost: trio.Event) -> AsyncIterator[Any]:
        if self.server.url is not None:
            async with httpx2.AsyncClient(
                headers=self.server.headers, timeout=httpx2.Timeout(START_SECONDS, read=None)
            ) as http:
                yield streamable_http_client(self.server.url, http_client=http)
            return
        assert self.server.command is not None
        parameters = StdioServerParameters(
            command=self.server.command,
            args=self.server.args,
            env=self.server.env,
            cwd=self.server.cwd,
        )
        reads, writes = os.pipe()
        with os.fdopen(writes, "w") as errlog:
            async with trio.lowlevel.FdStream(reads) as said, trio.open_nursery() as nursery:
                nursery.start_soon(self._log_stderr, said)
                yield _watched(stdio_client(parameters, errlog), partial(self._lose, lost))
                nursery.cancel_scope.cancel()

    async def _log_stderr(self, said: trio.lowlevel.FdStream) -> None:
        rest = b""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for part in said:
                *lines, rest = (rest + part).split(b"\n")
                rest = rest[-LINE:]
                for line in lines:
                    text = line[:LINE].decode(errors="replace")
                    log.debug("tool server %s: %s", self.server.name, text)


@asynccontextmanager
async def _watched(transport: Any, lose: Callable[[], None]) -> AsyncIterator[Any]:
    """The same transport; `lose` is called when the server closes its end, also while idle."""
    async with transport as (read, write), anyio.create_task_group() as tasks:
        send, receive = anyio.create_memory_object_stream[Any](0)

        async def pass_on() -> None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async with send:
                    async for message in read:
                        await send.send(message)
            lose()

        tasks.start_soon(pass_on)
        async with receive:
            yield receive, write
        tasks.cancel_scope.cancel()


async def _tools_of(client: Client) -> list[Any]:
    tools: list[Any] = []
    cursor: str | None = None
    while len(tools) < MOST_TOOLS:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return tools[:MOST_TOOLS]


def _is_end(error: BaseException) -> bool:
    if isinstance(error, MCPError):
        return bool(error.code == CONNECTION_CLOSED)
    return isinstance(error, ENDS)


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _words(error: BaseException) -> str:
    """For people; nothing of its environment or headers is in it."""
    error = _leaf(error)
    match error:
        case FileNotFoundError():
            return "its command, or its directory, is not there"
        case PermissionError():
            return "its command may not be run"
        case trio.TooSlowError():
            return f"it did not answer within {START_SECONDS:g} s"
        case httpx2.ConnectError():
            return "it cannot be reached"
        case httpx2.HTTPStatusError():
            return f"it answered with status {error.response.status_code}"
    return (str(error) or type(error).__name__).splitlines()[0][:200].rstrip(".")


@asynccontextmanager
async def open_toolbox(servers: Sequence[ToolServer]) -> AsyncIterator[Toolbox]:
    """Its servers start at once; they end with the block."""
    connections = [Connection(server) for server in servers]
    async with trio.open_nursery() as nursery:
        for connection in connections:
            nursery.start_soon(connection.run)
        yield Toolbox(connections)
        nursery.cancel_scope.cancel()
