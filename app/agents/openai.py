"""Any endpoint that speaks OpenAI's chat completions."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from math import ceil, isfinite
from typing import Any

import httpx
import msgspec
import trio
from httpx_sse import EventSource, aconnect_sse

from actors.session.agent import (
    AgentError,
    AgentEvent,
    AgentTurn,
    Emit,
    TextDelta,
    Usage,
    Warned,
)

from ..tools.toolbox import OpenToolbox, Toolbox
from .bounded import EVENT_BYTES, Bounded, TooLarge
from .chunks import Chunk, decode_chunk, events_of
from .provider_errors import agent_error, cut_off, endless, malformed, timed_out, unreachable
from .tool_calls import Calls, assistant_row, with_short_results
from .tool_round import run_calls

__all__ = ["OPTIONS", "OpenAIAgent", "open_client"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 15.0
ERROR_BODY = 16 * 1024
MODELS_BODY = 4 << 20
RETRIES = 2
RETRIED = frozenset({408, 429, 502, 503, 504, 529})
LONGEST_WAIT = 10.0  # who asks for more is not asked again
ROUNDS = 25  # of tool calls in one turn
SHORTENED = "What the tools gave was too long for the model: it sees the beginnings and the ends."
FULL = (
    "What the tools gave does not fit. Ask for less at once, start a new chat, or undo some turns."
)
LIMIT = f"The model has called tools {ROUNDS} times in a row."

OPTIONS = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed", "logit_bias"),
        *("frequency_penalty", "presence_penalty", "repeat_penalty"),
        *("reasoning_effort", "verbosity"),
    }
)

Sleep = Callable[[float], Awaitable[None]]


@asynccontextmanager
async def open_client(
    base_url: str | None, api_key: str | None, *, read_seconds: float = 300.0
) -> AsyncIterator[httpx.AsyncClient]:
    """One client for all turns: no limit but the provider's own, and `read_seconds` between two
    chunks; a large prompt takes its time. The key is in no other place than the header that
    carries it.
    """
    headers = {"Accept-Encoding": "identity"}  # a few bytes may unpack to anything
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    async with httpx.AsyncClient(
        base_url=base_url or DEFAULT_BASE_URL,
        headers=headers,
        timeout=httpx.Timeout(read_seconds, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
    ) as client:
        yield client


class OpenAIAgent:
    """Streams the chat completions of a turn: one, and one more after each round of tool calls.
    Cancelling the turn closes its connection, and cancels its tools.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        model: str | None,
        *,
        options: Mapping[str, Any] | None = None,
        open_toolbox: OpenToolbox | None = None,
        sleep: Sleep = trio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._model = model
        self._options = dict(options or {})
        self._open_toolbox = open_toolbox
        self._sleep = sleep
        self._jitter = jitter
        self._with_usage = True  # until the endpoint refuses the option

    async def __call__(self, turn: AgentTurn, emit: Emit) -> None:
        body, toolbox = await self._body(turn), await self._toolbox(turn, emit)
        spent, used = Spent(), set[str]()
        if toolbox is not None and toolbox.definitions:
            body["tools"] = toolbox.definitions
        for number in range(1, ROUNDS + 2):
            if number > ROUNDS:
                body["tool_choice"] = "none"
                await emit(Warned("tool_limit_reached", f"{LIMIT} The model answers without more."))
            reply = Reply(spent)
            await self._ask_what_fits(body, reply, emit, number)
            calls = reply.calls.complete(used)
            if not calls or toolbox is None:
                return
            if number > ROUNDS:
                break
            body["messages"].append(assistant_row("".join(reply.texts), calls))
            body["messages"] += await run_calls(calls, turn, emit, toolbox, number)
        hint = "What they gave is kept. Ask for less at once, or say how to go on."
        raise AgentError("tool_limit_reached", LIMIT, hint=hint)

    async def _toolbox(self, turn: AgentTurn, emit: Emit) -> Toolbox | None:
        if self._open_toolbox is None or turn.purpose != "answer":
            return None
        toolbox: Toolbox = await turn.keep("tools", self._open_toolbox)
        for problem in await toolbox.look():
            await emit(Warned("tool_server", f"{problem} Its tools are missing in this answer."))
        return toolbox

    async def _ask_what_fits(
        self, body: dict[str, Any], reply: "Reply", emit: Emit, number: int
    ) -> None:
        """Nobody knows how long the results of tools may be until the provider says that they are
        too long: then they are shortened for the model, once.
        """
        try:
            try:
                await self._ask(body, reply, emit)
            except AgentError as error:
                shorter = with_short_results(body["messages"])
                if error.type != "context_length" or reply.begun or shorter == body["messages"]:
                    raise
                body["messages"] = shorter
                await emit(Warned("context_length", SHORTENED))
                await self._ask(body, reply, emit)
        except AgentError as error:
            if error.type != "context_length" or number == 1:
                raise
            raise AgentError(error.type, error.message, hint=FULL, details=error.details) from error

    async def _ask(self, body: dict[str, Any], reply: "Reply", emit: Emit) -> None:
        """One completion; asked for again if that may go better, and nothing was shown of it."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._stream(body, reply, emit)
                return
            except _TryAgain as failure:
                if failure.at_once:
                    body.pop("stream_options", None)
                    continue
                pause = self._pause(attempt) if failure.after is None else failure.after
                if attempt > RETRIES or pause > LONGEST_WAIT:
                    raise failure.error from None
                await self._sleep(pause)

    def _pause(self, attempt: int) -> float:
        return 0.5 * 2.0 ** (attempt - 1) * (1 + self._jitter())

    async def _body(self, turn: AgentTurn) -> dict[str, Any]:
        model = turn.model or self._model
        if model is None:
            model = self._model = await self._first_model()
        body = {"model": model, "messages": list(turn.messages), "stream": True, **self._options}
        body |= self._asked(turn.options)
        if self._with_usage:
            body["stream_options"] = {"include_usage": True}
        return body

    def _asked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the turn asks for. OpenAI has another name for one of them, and others do not."""
        asked = {name: value for name, value in options.items() if name in OPTIONS}
        if "max_tokens" in asked and self._client.base_url.host == "api.openai.com":
            asked["max_completion_tokens"] = asked.pop("max_tokens")
        return asked

    async def models(self) -> Sequence[str]:
        """The names of the models that the endpoint has. Raises `AgentError`."""
        try:
            async with self._client.stream("GET", "models") as response:
                said = await _read_some(response, MODELS_BODY)
            if response.status_code != 200:
                raise agent_error(response.status_code, _decoded(said[:ERROR_BODY]), self._secret)
            return [str(model["id"]) for model in msgspec.json.decode(said)["data"]]
        except httpx.TimeoutException as error:
            raise timed_out() from error
        except httpx.HTTPError as error:
            raise unreachable(str(error)) from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise no_model() from error

    async def _first_model(self) -> str:
        """Nobody named a model: take the endpoint's first."""
        models = await self.models()
        if not models:
            raise no_model()
        return models[0]

    async def _stream(self, body: dict[str, Any], reply: "Reply", emit: Emit) -> None:
        answering = False
        try:
            async with aconnect_sse(self._client, "POST", "chat/completions", json=body) as source:
                await self._check(source.response)
                answering = True
                async with aclosing(self._chunks(source)) as chunks:
                    async for chunk in chunks:
                        reply.begun = True
                        for event in events_of(chunk):
                            await emit(reply.add(event))
                        if calls := chunk.tool_calls:
                            reply.calls.add(calls)
        except httpx.ConnectError as error:
            raise _TryAgain(unreachable(str(error))) from error
        except httpx.TimeoutException as error:
            raise timed_out() from error
        except httpx.TransportError as error:
            raise cut_off() if answering else unreachable(str(error)) from error
        except TooLarge as error:
            raise endless(f"an event of more than {EVENT_BYTES >> 20} MB") from error

    async def _chunks(self, source: EventSource) -> AsyncGenerator[Chunk, None]:
        """All chunks up to the last one. An end without a finish is a cut."""
        finished = False
        async with aclosing(source.aiter_sse()) as events:
            async for event in events:
                if event.data == "[DONE]":
                    return
                if event.data:
                    chunk = decode_chunk(event.data, self._secret)
                    finished = finished or chunk.finished
                    yield chunk
        if not finished:
            raise cut_off()

    async def _check(self, response: httpx.Response) -> None:
        """Raise what an answer that is an error means."""
        if response.status_code == 200:
            if "text/event-stream" not in response.headers.get("Content-Type", ""):
                raise malformed("not an event stream")
            if _is_packed(response):
                raise malformed("compressed, though it was asked not to")
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = Bounded(response.stream)
            return
        said = await _read_some(response, ERROR_BODY)
        if response.status_code == 400 and self._with_usage and b"stream_options" in said:
            self._with_usage = False
            raise _TryAgain(malformed("no usage"), at_once=True)
        error = agent_error(response.status_code, _decoded(said), self._secret)
        if response.status_code in RETRIED and error.type != "quota_exhausted":
            after = _seconds(response.headers.get("Retry-After"))
            if after:
                error.hint = f"It asks to be left alone for {ceil(after)} s. Then try again."
            raise _TryAgain(error, after=after)
        raise error

    @property
    def _secret(self) -> str | None:
        header: str = self._client.headers.get("Authorization", "")
        return header.removeprefix("Bearer ") or None


def no_model() -> AgentError:
    hint = "Name one with --model."
    return AgentError("model_not_found", "No model was chosen.", hint=hint)


class Spent:
    """Tokens of all the completions of a turn."""

    def __init__(self) -> None:
        self._before = Usage()
        self._now = Usage()

    def begin(self) -> None:
        """Another completion: what the last one took is taken."""
        self._before, self._now = self._together(self._now), Usage()

    def add(self, usage: Usage) -> Usage:
        self._now = usage
        return self._together(usage)

    def _together(self, usage: Usage) -> Usage:
        before = self._before
        if before == Usage():
            return usage
        costs = [cost for cost in (before.cost, usage.cost) if cost is not None]
        return Usage(
            input_tokens=before.input_tokens + usage.input_tokens,
            output_tokens=before.output_tokens + usage.output_tokens,
            cache_read_tokens=before.cache_read_tokens + usage.cache_read_tokens,
            cache_write_tokens=before.cache_write_tokens + usage.cache_write_tokens,
            cost=sum(costs) if costs else None,
            model=usage.model or before.model,
            last_prompt_tokens=usage.input_tokens or before.last_prompt_tokens,
        )


class Reply:
    """What one completion gave."""

    def __init__(self, spent: Spent) -> None:
        self.calls = Calls()
        self.texts: list[str] = []
        self.begun = False
        self._spent = spent
        spent.begin()

    def add(self, event: AgentEvent) -> AgentEvent:
        if isinstance(event, TextDelta):
            self.texts.append(event.text)
        elif isinstance(event, Usage):
            return self._spent.add(event)
        return event


class _TryAgain(Exception):
    """Nothing was shown yet, and it may go better next time."""

    def __init__(
        self, error: AgentError, *, after: float | None = None, at_once: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after
        self.at_once = at_once


async def _read_some(response: httpx.Response, most: int) -> bytes:
    said = bytearray()
    if _is_packed(response):
        return b""
    async with aclosing(response.aiter_bytes()) as parts:  # type: ignore[type-var]
        async for part in parts:
            said += part
            if len(said) >= most:
                break
    return bytes(said[:most])


def _is_packed(response: httpx.Response) -> bool:
    """It was asked not to, and unpacking it might give anything."""
    return bool(response.headers.get("Content-Encoding", "identity") != "identity")


def _decoded(said: bytes) -> object:
    try:
        return msgspec.json.decode(said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return said.decode(errors="replace")


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return max(0.0, seconds) if isfinite(seconds) else None
