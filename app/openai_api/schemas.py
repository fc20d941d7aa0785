"""The bodies that the API takes. Pure.

Every parameter of the official API that we know is named, also those that we refuse: a client is
to be told of what it asks for in vain. One that is not named here is unknown, and refused too.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "ChatBody",
    "ConversationBody",
    "ConversationParam",
    "ConversationUpdateBody",
    "ItemsBody",
    "ReasoningParam",
    "ResponseBody",
    "StreamOptions",
]

Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Items = Annotated[list[dict[str, Any]], Meta(max_length=20)]


class ReasoningParam(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ConversationParam(msgspec.Struct):
    id: str


class _Common(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What both ways of asking have."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    service_tier: str | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    # Hints, or of no consequence where nothing calls tools or caches prompts.
    parallel_tool_calls: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    # Refused.
    moderation: Any = None


class ResponseBody(_Common, forbid_unknown_fields=True, kw_only=True):
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationParam | None = None
    max_output_tokens: AtLeastOne | None = None
    reasoning: ReasoningParam | None = None
    text: dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    # Refused.
    access_programs: Any = None
    context_management: Any = None
    image: Any = None
    max_tool_calls: int | None = None
    prompt: Any = None


class ChatBody(_Common, forbid_unknown_fields=True, kw_only=True):
    messages: list[dict[str, Any]] = []
    max_tokens: AtLeastOne | None = None
    max_completion_tokens: AtLeastOne | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    response_format: dict[str, Any] | None = None
    n: int | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    prediction: Any = None  # only makes it faster
    # Not in the official API, and known to llama.cpp, vLLM and others.
    top_k: int | None = None
    min_p: Share | None = None
    repeat_penalty: float | None = None
    # Refused.
    audio: Any = None
    function_call: Any = None
    functions: list[Any] | None = None
    web_search_options: Any = None


class ConversationBody(msgspec.Struct, forbid_unknown_fields=True):
    items: Items | None = None
    metadata: Metadata | None = None


class ConversationUpdateBody(msgspec.Struct, forbid_unknown_fields=True):
    metadata: Metadata


class ItemsBody(msgspec.Struct, forbid_unknown_fields=True):
    items: Items
