"""A turn's feed as a chat completion, whole or in chunks. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from actors.session.agent import ReasoningDelta, TextDelta, Warned
from actors.session.answer import CUTS
from actors.session.entries import FeedEvent, TurnBegan, TurnCancelled, TurnDone, TurnFailed

from .errors import ApiError

__all__ = ["ChatChunks", "failure_of"]

STATUS = {
    "rate_limit": 429,
    "quota_exhausted": 429,
    "model_not_found": 404,
    "context_length": 400,
    "timeout": 504,
    "connection": 502,
    "auth_mismatch": 502,  # the key that the provider refused is ours
    "interrupted": 503,
    "storage": 507,
}
CODES = {"context_length": "context_length_exceeded", "quota_exhausted": "insufficient_quota"}


class ChatChunks:
    """Folds a feed from its first entry."""

    def __init__(self, head: Mapping[str, Any], *, with_usage: bool = False) -> None:
        self._head = head  # id, created, model
        self._with_usage = with_usage
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._finish = "stop"
        self._usage: dict[str, Any] | None = None
        self.failure: ApiError | None = None
        self.ended = False

    def take(self, event: FeedEvent) -> Iterator[dict[str, Any]]:
        """The chunks that the event comes to. A failure is in `failure`, and comes to none."""
        if self.ended:
            return
        match event:
            case TextDelta(text):
                self._text.append(text)
                yield self._chunk({"content": text})
            case ReasoningDelta(text):
                self._thoughts.append(text)
                yield self._chunk({"reasoning_content": text})
            case TurnBegan():
                yield self._chunk({"role": "assistant", "content": ""})
            case Warned(kind) if kind in CUTS:
                self._finish = kind
            case TurnDone(usage):
                self.ended = True
                self._usage = _usage(usage)
                yield self._chunk({}, self._finish)
                if self._with_usage:
                    yield {**self._kind("chat.completion.chunk"), "choices": []} | {
                        "usage": self._usage
                    }
            case TurnFailed():
                self.ended, self.failure = True, failure_of(event)
            case TurnCancelled():
                self.ended = True
                self.failure = ApiError(409, "The completion was cancelled.", None, "cancelled")

    def whole(self) -> dict[str, Any]:
        """The completion. Raises `ApiError` if it failed."""
        if self.failure is not None:
            raise self.failure
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._text),
            "refusal": None,
        }
        if self._thoughts:
            message["reasoning_content"] = "".join(self._thoughts)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        return {**self._kind("chat.completion"), "choices": [choice], "usage": self._usage}

    def _kind(self, name: str) -> dict[str, Any]:
        return {**self._head, "object": name}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**self._kind("chat.completion.chunk"), "choices": [choice]}
        return chunk | {"usage": None} if self._with_usage else chunk


def failure_of(event: TurnFailed) -> ApiError:
    said = " ".join(filter(None, (f"{event.label}: {event.message}", event.hint)))
    status = STATUS.get(event.kind, 500)
    return ApiError(status, said, None, CODES.get(event.kind, event.kind))


def _usage(said: Mapping[str, Any]) -> dict[str, Any]:
    tokens_in, tokens_out = said.get("input_tokens", 0), said.get("output_tokens", 0)
    usage: dict[str, Any] = {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": said.get("cache_read_tokens", 0)},
    }
    return usage | {"estimated": True} if said.get("estimated") else usage
