"""Items of the API and rows of a transcript, each made from the other. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from actors.session.record import Row
from actors.session.transcript import text_of

from .errors import ApiError

__all__ = [
    "Placed",
    "call_item",
    "items_of_row",
    "message_item",
    "reasoning_item",
    "rows_of_input",
    "rows_of_messages",
    "user_item",
]

Item = dict[str, Any]
SERVER = "greenroom"  # whose tools they are
TEXTS = frozenset({"text", "input_text", "output_text", "summary_text"})
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class Placed(NamedTuple):
    """An item, and the row of the transcript that it is in."""

    item: Item
    row: int


# -- items ----------------------------------------------------------------------------------------


def message_item(item_id: str, text: str, status: str) -> Item:
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [text_part(text)],
    }


def text_part(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def reasoning_item(item_id: str, text: str, status: str) -> Item:
    content = [{"type": "reasoning_text", "text": text}]
    return {
        "id": item_id,
        "type": "reasoning",
        "summary": [],
        "content": content,
        "status": status,
    }


def call_item(item_id: str, name: str, arguments: str, status: str) -> Item:
    """A tool that was called on our side, in the words that the API has for that."""
    return {
        "id": item_id,
        "type": "mcp_call",
        "server_label": SERVER,
        "name": name,
        "arguments": arguments,
        "output": None,
        "error": None,
        "status": status,
    }


def user_item(item_id: str, text: str, role: str = "user") -> Item:
    content = [{"type": "input_text", "text": text}]
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": role,
        "content": content,
    }


def items_of_row(row: Row, name: str, results: Mapping[str, str]) -> Iterator[Item]:
    """What a row that no turn has made comes to. `results` are those of its tools, by call."""
    role, text = str(row.get("role")), text_of(row.get("content"))
    if role in ("user", "system"):
        yield user_item(f"msg_{name}", text, role)
    if role != "assistant" or row.get("_error"):
        return
    if thoughts := row.get("reasoning"):
        yield reasoning_item(f"rs_{name}", str(thoughts), "completed")
    if text:
        yield message_item(f"msg_{name}", text, "completed")
    for n, call in enumerate(row.get("tool_calls") or ()):
        function = call.get("function") or {}
        made = call_item(
            f"mcp_{name}_{n}",
            str(function.get("name")),
            str(function.get("arguments")),
            "completed",
        )
        yield made | {"output": results.get(str(call.get("id")))}


# -- rows -----------------------------------------------------------------------------------------


def rows_of_input(
    given: str | Sequence[Mapping[str, Any]],
    now: float,
    new_id: Callable[[], str],
    param: str = "input",
) -> list[Row]:
    """The rows of a response's input, or of what is put into a conversation. Raises `ApiError`."""
    if isinstance(given, str):
        return [_row("user", given, now, new_id())]
    rows: list[Row] = []
    thoughts = ""
    for n, item in enumerate(given):
        at, kind = f"{param}[{n}]", item.get("type", "message")
        if kind == "reasoning":
            parts = item.get("content") or item.get("summary") or ()
            thoughts += "".join(_texts(parts, f"{at}.content", TEXTS | {"reasoning_text"}))
        elif kind == "message":
            row = _message_row(item, at, now, new_id())
            if thoughts and row["role"] == "assistant":
                row["reasoning"], thoughts = thoughts, ""
            rows.append(row)
        elif kind == "mcp_call":
            rows.extend(_call_rows(item, now, new_id()))
        else:
            raise _unsupported(f"{at}.type", f"Items of type '{kind}' are not supported.")
    return rows


def rows_of_messages(
    messages: Iterable[Mapping[str, Any]], now: float, new_id: Callable[[], str]
) -> list[Row]:
    """The rows of what a chat completion is asked with. Raises `ApiError`."""
    rows = []
    for n, message in enumerate(messages):
        at = f"messages[{n}]"
        if message.get("function_call") is not None or message.get("audio") is not None:
            raise _unsupported(at, "Function calls and audio in a message are not supported.")
        rows.append(_message_row(message, at, now, new_id(), tools=True))
    return rows


def _message_row(
    message: Mapping[str, Any], at: str, now: float, name: str, *, tools: bool = False
) -> Row:
    role = message.get("role")
    content = message.get("content")
    if tools and role == "tool":
        row = _row("tool", _text(content, f"{at}.content"), now, name)
        return row | {"tool_call_id": message.get("tool_call_id")}
    if not isinstance(role, str) or role not in ROLES:
        raise ApiError(400, f"Invalid role: {role!r}.", f"{at}.role", "invalid_value")
    if role == "assistant" and tools and content is None:
        row = _row("assistant", message.get("refusal") or "", now, name)
    else:
        row = _row(ROLES[role], _text(content, f"{at}.content"), now, name)
    if tools and message.get("tool_calls"):
        row["tool_calls"] = message["tool_calls"]
    if isinstance(message.get("name"), str):
        row["name"] = message["name"]
    thoughts = message.get("reasoning_content")
    if tools and isinstance(thoughts, str) and thoughts:
        row["reasoning"] = thoughts
    return row


def _row(role: str, text: str, now: float, name: str) -> Row:
    return {"role": role, "content": text, "timestamp": now, "id": name}


def _call_rows(item: Mapping[str, Any], now: float, name: str) -> Iterator[Row]:
    """A call of ours that a client hands back, and what came of it."""
    call_id = str(item.get("id") or name)
    function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
    call = {"id": call_id, "type": "function", "function": function}
    yield _row("assistant", "", now, name) | {"tool_calls": [call]}
    result = str(item.get("output") or item.get("error") or "")
    yield _row("tool", result, now, f"{name}_result") | {"tool_call_id": call_id}


def _text(content: object, at: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_texts(content, at, TEXTS))


def _texts(parts: object, at: str, kinds: frozenset[str]) -> Iterator[str]:
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise ApiError(400, "Content must be text or a list of parts.", at, "invalid_type")
    for n, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "refusal" and isinstance(part.get("refusal"), str):
            yield part["refusal"]
        elif kind in kinds and isinstance(part.get("text"), str):
            yield part["text"]
        else:
            raise _unsupported(
                f"{at}[{n}]", f"Content of type '{kind}' is not supported: send text."
            )


def _unsupported(param: str, message: str) -> ApiError:
    return ApiError(400, message, param, "unsupported_value")


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
