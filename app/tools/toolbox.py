"""The tools of one session: what its MCP servers offer, under names that a model can say."""

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Protocol

import trio

from .config import ToolServer
from .results import Outcome

__all__ = ["OpenToolbox", "Tool", "ToolSource", "Toolbox"]

LONGEST_NAME = 64  # what providers take
_UNSAID = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Tool:
    name: str  # as the model says it
    server: str  # whose it is: two may come to the same name
    asks: bool  # somebody must allow each call
    definition: dict[str, Any]  # for the provider
    call: Callable[[dict[str, Any]], Awaitable[Outcome]]


class ToolSource(Protocol):
    """Where tools come from; `problem` says why none do."""

    server: ToolServer
    tools: list[Any]  # as MCP describes them
    problem: str | None

    async def ready(self) -> bool: ...
    async def call(self, tool: str, arguments: dict[str, Any]) -> Outcome: ...


class Toolbox:
    """What its sources offer, as `look` has last found it."""

    def __init__(self, sources: Sequence[ToolSource]) -> None:
        self._sources = sources
        self._tools: dict[str, Tool] = {}

    async def look(self) -> list[str]:
        """What is offered now; gives what is wrong with the servers that are not there."""
        async with trio.open_nursery() as nursery:
            for source in self._sources:
                nursery.start_soon(source.ready)
        self._tools = {}
        for source in self._sources:
            for tool in source.tools:
                self._add(source, tool)
        return [source.problem for source in self._sources if source.problem is not None]

    def _add(self, source: ToolSource, tool: Any) -> None:
        server = source.server
        said = _UNSAID.sub("_", f"{server.name}__{tool.name}")
        name = said[:LONGEST_NAME]
        for number in count(2):
            if name not in self._tools:
                break
            ending = f"_{number}"
            name = said[: LONGEST_NAME - len(ending)] + ending
        function: dict[str, Any] = {"name": name, "parameters": tool.input_schema}
        if tool.description:
            function["description"] = tool.description
        definition = {"type": "function", "function": function}
        call = partial(source.call, tool.name)
        self._tools[name] = Tool(name, server.name, server.asks(tool.name), definition, call)

    @property
    def definitions(self) -> list[dict[str, Any]]:
        return [tool.definition for tool in self._tools.values()]

    @property
    def names(self) -> list[str]:
        return list(self._tools)

    def find(self, name: str) -> Tool | None:
        return self._tools.get(name)


OpenToolbox = Callable[[], AbstractAsyncContextManager[Toolbox]]
