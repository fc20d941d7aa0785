"""The chunks of a streamed chat completion. Pure."""

from collections.abc import Iterator

import msgspec

from actors.session.agent import AgentEvent, ReasoningDelta, TextDelta, Usage, Warned

from .provider_errors import agent_error, malformed

__all__ = ["Chunk", "ToolCallDelta", "decode_chunk", "events_of"]


MOST_TOKENS = 10**9
MOST_COST = 10**6  # US dollars
NAME_LENGTH = 200


CUTS = {
    "length": "The answer was cut off at its limit of tokens.",
    "content_filter": "The provider cut the answer off: its filter objects to what came next.",
}


class FunctionDelta(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class Choice(msgspec.Struct):
    index: int | None = None
    delta: Delta | None = None
    finish_reason: str | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class UsageBlock(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    cost: float | None = None


class Chunk(msgspec.Struct):
    """What we read of a chunk; whatever else is in it is ignored."""

    choices: list[Choice] | None = None
    usage: UsageBlock | None = None
    model: str | None = None
    error: msgspec.Raw = msgspec.Raw(b"")

    @property
    def tool_calls(self) -> list[ToolCallDelta]:
        found: list[ToolCallDelta] = []
        for choice in self.choices or ():
            if not choice.index and choice.delta is not None and choice.delta.tool_calls:
                found += choice.delta.tool_calls
        return found

    @property
    def finished(self) -> bool:
        return any(choice.finish_reason for choice in self.choices or ())


def decode_chunk(data: str, secret: str | None = None) -> Chunk:
    """Raises `AgentError` for an error that is reported in the stream, and for nonsense."""
    try:
        chunk = msgspec.json.decode(data, type=Chunk)
        if chunk.error and bytes(chunk.error) != b"null":
            raise agent_error(None, msgspec.json.decode(chunk.error), secret)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise malformed(str(error)) from error
    return chunk


def events_of(chunk: Chunk) -> Iterator[AgentEvent]:
    for choice in chunk.choices or ():
        if choice.index:
            continue  # one answer was asked for
        delta = choice.delta or Delta()
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            yield ReasoningDelta(thought)
        if delta.content:
            yield TextDelta(delta.content)
        if choice.finish_reason in CUTS:
            yield Warned(choice.finish_reason, CUTS[choice.finish_reason])
    if chunk.usage is not None:
        details = chunk.usage.prompt_tokens_details or PromptDetails()
        cost = chunk.usage.cost
        yield Usage(
            input_tokens=_count(chunk.usage.prompt_tokens),
            output_tokens=_count(chunk.usage.completion_tokens),
            cache_read_tokens=_count(details.cached_tokens),
            cost=cost if cost is not None and 0 <= cost <= MOST_COST else None,
            model=chunk.model and chunk.model[:NAME_LENGTH],
        )


def _count(tokens: int | None) -> int:
    """What nobody can have counted was not said."""
    return tokens if tokens is not None and 0 <= tokens <= MOST_TOKENS else 0
