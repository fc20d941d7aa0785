"""A turn's feed as the events of a response. Pure.

The same entries always come to the same events with the same numbers, however often they are read:
that is how a stream can be resumed at any number, after a restart too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from actors.session.agent import (
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
    Warned,
)
from actors.session.answer import CUTS
from actors.session.entries import FeedEvent, TurnBegan, TurnCancelled, TurnDone, TurnFailed

from .items import Item, call_item, json_text, message_item, reasoning_item, text_part

__all__ = ["ENDS", "ResponseEvents", "usage_of"]

ENDS = (TurnDone, TurnCancelled, TurnFailed)
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
CODES = {"rate_limit": "rate_limit_exceeded", "quota_exhausted": "rate_limit_exceeded"}


class ResponseEvents:
    """Folds a feed from its first entry. `response` is the response as far as it has come."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self._response: dict[str, Any] = {**base, "status": "in_progress", "output": []}
        self._key = str(base["id"]).split("_")[1]
        self._number = 0
        self._chunks: list[str] = []  # of the text that is open
        self._open: Item | None = None  # the message or reasoning that it belongs to
        self._calls: dict[str, int] = {}  # the place of each call that has not ended
        self._usage: Mapping[str, Any] | None = None
        self._cut_by: str | None = None
        self.ended = False

    @property
    def response(self) -> dict[str, Any]:
        """A copy: what comes later leaves it alone."""
        output = [dict(item) for item in self._response["output"]]
        if self._open is not None:
            output[-1] = self._written(self._open["status"])
        return {**self._response, "output": output}

    def take(self, event: FeedEvent) -> Iterator[dict[str, Any]]:
        """What the event comes to. Nothing comes after the end."""
        if self.ended:
            return
        match event:
            case TextDelta(text):
                yield from self._say("message", text)
            case ReasoningDelta(text):
                yield from self._say("reasoning", text)
            case TurnBegan():
                yield self._event("response.created", response=self.response)
                yield self._event("response.in_progress", response=self.response)
            case ToolStarted():
                yield from self._call(event)
            case ToolCompleted():
                yield from self._called(event)
            case Usage():
                self._usage = {
                    "input_tokens": event.input_tokens,
                    "output_tokens": event.output_tokens,
                    "cache_read_tokens": event.cache_read_tokens,
                    "cache_write_tokens": event.cache_write_tokens,
                    "estimated": event.estimated,
                }
            case Warned(kind) if kind in CUTS:
                self._cut_by = kind
            case TurnDone() | TurnCancelled() | TurnFailed():
                yield from self._end(event)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        number, self._number = self._number, self._number + 1
        return {"type": kind, "sequence_number": number, **fields}

    # -- text and thoughts --------------------------------------------------------------------

    def _say(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        if self._open is None or self._open["type"] != kind:
            yield from self._close("completed")
            yield from self._begin(kind)
        self._chunks.append(text)
        assert self._open is not None
        place = self._place(self._open)
        if kind == "message":
            yield self._event("response.output_text.delta", **place, delta=text, logprobs=[])
        else:
            yield self._event("response.reasoning_text.delta", **place, delta=text)

    def _begin(self, kind: str) -> Iterator[dict[str, Any]]:
        place = len(self._response["output"])
        if kind == "message":
            item = message_item(f"msg_{self._key}_{place}", "", "in_progress")
        else:
            item = reasoning_item(f"rs_{self._key}_{place}", "", "in_progress")
        (part,) = item["content"]
        self._response["output"].append(item)
        self._open = item
        bare = {**item, "content": []}
        yield self._event("response.output_item.added", output_index=place, item=bare)
        yield self._event("response.content_part.added", **self._place(item), part=part)

    def _close(self, status: str) -> Iterator[dict[str, Any]]:
        if self._open is None:
            return
        item = self._written(status)
        text = "".join(self._chunks)
        place = self._place(item)
        if item["type"] == "message":
            yield self._event("response.output_text.done", **place, text=text, logprobs=[])
        else:
            yield self._event("response.reasoning_text.done", **place, text=text)
        (part,) = item["content"]
        yield self._event("response.content_part.done", **place, part=part)
        self._response["output"][-1] = item
        self._open, self._chunks = None, []
        index = place["output_index"]
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _written(self, status: str) -> Item:
        """What is open, with its text."""
        assert self._open is not None
        text = "".join(self._chunks)
        message = self._open["type"] == "message"
        part = text_part(text) if message else {"type": "reasoning_text", "text": text}
        return {**self._open, "status": status, "content": [part]}

    def _place(self, item: Item) -> dict[str, Any]:
        index = len(self._response["output"]) - 1
        return {"item_id": item["id"], "output_index": index, "content_index": 0}

    # -- tools, which are ours ------------------------------------------------------------------

    def _call(self, event: ToolStarted) -> Iterator[dict[str, Any]]:
        yield from self._close("completed")
        index = len(self._response["output"])
        arguments = json_text(event.arguments)
        item = call_item(f"mcp_{self._key}_{index}", event.name, arguments, "in_progress")
        self._response["output"].append(item)
        self._calls[event.call_id] = index
        place = {"item_id": item["id"], "output_index": index}
        bare = {**item, "arguments": ""}
        yield self._event("response.output_item.added", output_index=index, item=bare)
        yield self._event("response.mcp_call.in_progress", **place)
        yield self._event("response.mcp_call_arguments.done", **place, arguments=arguments)

    def _called(self, event: ToolCompleted) -> Iterator[dict[str, Any]]:
        index = self._calls.pop(event.call_id, None)
        if index is None:
            return
        item = dict(self._response["output"][index])
        if event.is_error:
            content = [{"type": "text", "text": event.result}]
            error = {"type": "mcp_tool_execution_error", "content": content}
            item |= {"status": "failed", "error": error}
        else:
            item |= {"status": "completed", "output": event.result}
        self._response["output"][index] = item
        place = {"item_id": item["id"], "output_index": index}
        kind = "failed" if event.is_error else "completed"
        yield self._event(f"response.mcp_call.{kind}", **place)
        yield self._event("response.output_item.done", output_index=index, item=item)

    # -- the end ----------------------------------------------------------------------------------

    def _end(self, event: TurnDone | TurnCancelled | TurnFailed) -> Iterator[dict[str, Any]]:
        whole = isinstance(event, TurnDone) and self._cut_by is None
        yield from self._close("completed" if whole else "incomplete")
        for index in self._calls.values():
            item = {**self._response["output"][index], "status": "incomplete"}
            self._response["output"][index] = item
            yield self._event("response.output_item.done", output_index=index, item=item)
        if isinstance(event, TurnDone):
            self._usage = event.usage or self._usage
        self._response["usage"] = usage_of(self._usage)
        name = self._set_status(event)
        self.ended = True
        yield self._event(name, response=self.response)

    def _set_status(self, event: TurnDone | TurnCancelled | TurnFailed) -> str:
        """The name of the last event. The API has none for a response that was cancelled."""
        response = self._response
        if isinstance(event, TurnCancelled):
            response["status"] = "cancelled"
            return "response.incomplete"
        if isinstance(event, TurnFailed):
            said = " ".join(filter(None, (f"{event.label}: {event.message}", event.hint)))
            code = CODES.get(event.kind, "server_error")
            response["status"] = "failed"
            response["error"] = {"code": code, "message": said, "type": event.kind}
            return "response.failed"
        if self._cut_by is not None:
            response["status"] = "incomplete"
            response["incomplete_details"] = {"reason": INCOMPLETE[self._cut_by]}
            return "response.incomplete"
        response["status"] = "completed"
        return "response.completed"


def usage_of(said: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None if nothing is known. What no provider has counted is marked."""
    if not said:
        return None
    tokens_in, tokens_out = said.get("input_tokens", 0), said.get("output_tokens", 0)
    usage: dict[str, Any] = {
        "input_tokens": tokens_in,
        "input_tokens_details": {
            "cached_tokens": said.get("cache_read_tokens", 0),
            "cache_write_tokens": said.get("cache_write_tokens", 0),
        },
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens_in + tokens_out,
    }
    return usage | {"estimated": True} if said.get("estimated") else usage
