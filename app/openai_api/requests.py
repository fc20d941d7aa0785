"""What a request asks for, checked: as a session can be asked for it. Pure."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from actors.session.record import Row

from .errors import ApiError
from .items import rows_of_input, rows_of_messages
from .schemas import ChatBody, ConversationParam, ResponseBody

__all__ = ["Asked", "asked_by_chat", "asked_by_response", "decode"]

B = TypeVar("B", bound=msgspec.Struct)

_PATH = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")

# Extras of an answer that we have none of; asking for them does no harm.
VACUOUS = frozenset(
    {
        "reasoning.encrypted_content",
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
    }
)
TIERS = (None, "auto", "default")


@dataclass(frozen=True, slots=True)
class Asked:
    """One turn. `echo` is what its response object repeats of the request."""

    prompt: str
    before: tuple[Row, ...]
    model: str | None
    options: dict[str, Any]
    store: bool
    stream: bool
    background: bool = False
    previous: str | None = None
    conversation: str | None = None
    with_usage: bool = False  # in the stream of a chat completion
    echo: dict[str, Any] = field(default_factory=dict)


def decode(body: bytes, shape: type[B]) -> B:
    """Raises `ApiError`, which names the parameter at fault."""
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    except msgspec.ValidationError as error:
        text = str(error)
        if unknown := _UNKNOWN.search(text):
            name = unknown[1]
            raise ApiError(
                400, f"Unknown parameter: '{name}'.", name, "unknown_parameter"
            ) from None
        at = _PATH.search(text)
        param = at[1].split("[...]")[0] if at else None
        what = text[: at.start()] if at else text
        raise ApiError(
            400, f"Invalid value for '{param}': {what}.", param, "invalid_value"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"The body of the request is not valid JSON: {error}") from None


def asked_by_response(
    body: ResponseBody, honoured: Collection[str], now: float, new_id: Callable[[], str]
) -> Asked:
    """Raises `ApiError` for what we cannot do: nothing that would change an answer is ignored."""
    _check_common(body)
    _refuse(body, "access_programs", "context_management", "image", "prompt", "max_tool_calls")
    for extra in body.include or ():
        if extra not in VACUOUS:
            raise _unsupported("include", f"'{extra}' cannot be included.")
    text = body.text or {}
    _check_format(text.get("format"), "text.format")
    store, background = body.store is not False, bool(body.background)
    named = body.conversation
    conversation = named.id if isinstance(named, ConversationParam) else named
    if body.previous_response_id and conversation:
        raise _mutually("previous_response_id", "conversation")
    if not store and (background or conversation):
        what = "background" if background else "conversation"
        raise ApiError(400, f"'{what}' needs a response that is stored.", "store", "invalid_value")
    reasoning = body.reasoning
    options = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_output_tokens,
        "reasoning_effort": None if reasoning is None else reasoning.effort,
        "verbosity": text.get("verbosity"),
    }
    names = {"max_tokens": "max_output_tokens", "reasoning_effort": "reasoning.effort"}
    taken = _honoured(options, honoured, names)
    if body.instructions:
        taken["instructions"] = body.instructions
    if body.input is None:
        raise ApiError(400, "Missing required parameter: 'input'.", "input", "missing_parameter")
    *before, prompt = _with_prompt(rows_of_input(body.input, now, new_id), "input")
    echo: dict[str, Any] = {
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "previous_response_id": body.previous_response_id,
        "conversation": {"id": conversation} if conversation else None,
        "reasoning": {"effort": options["reasoning_effort"], "summary": None},
        "temperature": body.temperature,
        "top_p": body.top_p,
        "user": body.user,
        "safety_identifier": body.safety_identifier,
        "prompt_cache_key": body.prompt_cache_key,
        "background": background,
        "store": store,
    }
    return Asked(
        prompt=str(prompt["content"]),
        before=tuple(before),
        model=body.model,
        options=taken,
        store=store,
        stream=bool(body.stream),
        background=background,
        previous=body.previous_response_id,
        conversation=conversation,
        echo=echo,
    )


def asked_by_chat(
    body: ChatBody, honoured: Collection[str], now: float, new_id: Callable[[], str]
) -> Asked:
    """Raises `ApiError`, like the other."""
    _check_common(body)
    _refuse(body, "audio", "function_call", "functions", "web_search_options")
    _check_format(body.response_format, "response_format")
    if body.n not in (None, 1):
        raise _unsupported("n", "One answer is given to a request: 'n' must be 1.")
    if body.logprobs:
        raise _unsupported("logprobs", "Log probabilities are not supported.")
    if body.modalities not in (None, ["text"]):
        raise _unsupported("modalities", "Answers are text.")
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise _mutually("max_tokens", "max_completion_tokens")
    options = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "stop": body.stop,
        "seed": body.seed,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "logit_bias": body.logit_bias or None,
        "reasoning_effort": body.reasoning_effort,
        "verbosity": body.verbosity,
        "top_k": body.top_k,
        "min_p": body.min_p,
        "repeat_penalty": body.repeat_penalty,
    }
    taken = _honoured(options, honoured, {})
    *before, prompt = _with_prompt(rows_of_messages(body.messages, now, new_id), "messages")
    return Asked(
        prompt=str(prompt["content"]),
        before=tuple(before),
        model=body.model,
        options=taken,
        store=bool(body.store),
        stream=bool(body.stream),
        with_usage=bool(body.stream_options and body.stream_options.include_usage),
        echo={"metadata": body.metadata or {}, "user": body.user},
    )


def _check_common(body: ResponseBody | ChatBody) -> None:
    if body.tools:
        raise _unsupported(
            "tools", "Tools of the client's are not supported; those of the server are used."
        )
    if body.tool_choice not in (None, "auto"):
        raise _unsupported("tool_choice", "No tool can be chosen.")
    if body.top_logprobs:
        raise _unsupported("top_logprobs", "Log probabilities are not supported.")
    if body.service_tier not in TIERS:
        raise _unsupported("service_tier", "There is one tier: 'auto' or 'default'.")
    if body.stream_options is not None and not body.stream:
        message = "'stream_options' is only allowed with 'stream'."
        raise ApiError(400, message, "stream_options", "invalid_value")
    _refuse(body, "moderation")


def _check_format(wanted: Any, param: str) -> None:
    kind = wanted.get("type", "text") if isinstance(wanted, dict) else wanted
    if kind not in (None, "text"):
        raise _unsupported(param, "Structured output is not supported: answers are text.")


def _refuse(body: ResponseBody | ChatBody, *names: str) -> None:
    for name in names:
        if getattr(body, name):
            raise _unsupported(name, f"'{name}' is not supported.")


def _honoured(
    options: dict[str, Any], honoured: Collection[str], names: dict[str, str]
) -> dict[str, Any]:
    taken = {name: value for name, value in options.items() if value is not None}
    for name in taken:
        if name not in honoured:
            param = names.get(name, name)
            raise _unsupported(param, f"'{param}' is not supported by what answers here.")
    return taken


def _with_prompt(rows: list[Row], param: str) -> list[Row]:
    """The last of them is what is asked."""
    if not rows or rows[-1]["role"] != "user":
        raise _unsupported(param, "The last message must be the user's: it is what is answered.")
    if not str(rows[-1]["content"]).strip():
        raise ApiError(400, "The last message says nothing.", param, "invalid_value")
    return rows


def _unsupported(param: str, message: str) -> ApiError:
    return ApiError(400, message, param, "unsupported_parameter")


def _mutually(one: str, other: str) -> ApiError:
    return ApiError(
        400, f"Mutually exclusive parameters: '{one}', '{other}'.", one, "invalid_value"
    )
