"""What `/openapi.json` says of the routes below /v1. OpenAI's document says more of the shapes."""

from typing import Any

import msgspec

from ..openapi_table import Operation, Shape
from .schemas import (
    ChatBody,
    ConversationBody,
    ConversationUpdateBody,
    ItemsBody,
    ResponseBody,
)

__all__ = ["COMPONENTS", "OPERATIONS"]

ERROR = "ApiError"
COMPONENTS: dict[str, Shape] = {
    ERROR: {"error": {"message": str, "type": str, "param": str | None, "code": str | None}}
}
OBJECT = {"id": str, "object": str}
LIST = {"object": str, "data": list[Any]}
DELETED = OBJECT | {"deleted": bool}
ITEMS = LIST | {"first_id": str | None, "last_id": str | None, "has_more": bool}
RESPONSE = OBJECT | {"status": str, "model": str, "output": list[Any]}
PAGES = {
    "order": {"enum": ["asc", "desc"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "after": {"type": "string"},
}
READS = frozenset({400, 404, 502, 503})
CHANGES = READS | {403, 409, 429, 504, 507}
BOTH = ("application/json", "text/event-stream")
EVENT = {"type": str, "sequence_number": int}


def _reads(summary: str, answer: Shape, **more: Any) -> Operation:
    return Operation(summary, answer=answer, refuses=READS, error=ERROR, **more)


def _changes(
    summary: str, answer: Shape, body: type[msgspec.Struct] | None = None, **more: Any
) -> Operation:
    return Operation(summary, answer=answer, body=body, refuses=CHANGES, error=ERROR, **more)


CONVERSATION, ITEM = "/v1/conversations/{name}", "/v1/conversations/{name}/items/{item_id}"
OPERATIONS: dict[str, Operation] = {
    "GET /v1/models": _reads("The models that can be named", LIST),
    "GET /v1/models/{name}": _reads("One of them", OBJECT),
    "POST /v1/chat/completions": _changes(
        "Answer messages, and keep nothing unless `store` asks for it",
        OBJECT | {"choices": list[Any]},
        ChatBody,
        kinds=BOTH,
    ),
    "POST /v1/responses": _changes(
        "Answer an input, as a turn of a session", RESPONSE, ResponseBody, kinds=BOTH,
        events={"response.*": EVENT},
    ),
    "GET /v1/responses/{name}": _reads(
        "A response, or its stream from behind an event on",
        RESPONSE,
        query={
            "stream": {"enum": ["true", "false"]},
            "starting_after": {"type": "integer", "minimum": 0},
        },
        kinds=BOTH,
        events={"response.*": EVENT},
    ),
    "DELETE /v1/responses/{name}": _changes("Delete it", DELETED),
    "POST /v1/responses/{name}/cancel": _changes("Stop it, and keep what was shown", RESPONSE),
    "GET /v1/responses/{name}/input_items": _reads("What it answers", ITEMS, query=PAGES),
    "POST /v1/conversations": _changes(
        "Begin a session", OBJECT | {"metadata": dict[str, str]}, ConversationBody
    ),
    f"GET {CONVERSATION}": _reads("A session", OBJECT),
    f"POST {CONVERSATION}": _changes("Its metadata", OBJECT, ConversationUpdateBody),
    f"DELETE {CONVERSATION}": _changes("Delete it", DELETED),
    f"GET {CONVERSATION}/items": _reads("What was said in it", ITEMS, query=PAGES),
    f"POST {CONVERSATION}/items": _changes("Add to what was said", ITEMS, ItemsBody),
    f"GET {ITEM}": _reads("One item", OBJECT | {"type": str}),
    f"DELETE {ITEM}": _changes("Delete the last one", OBJECT),
}  # fmt: skip
