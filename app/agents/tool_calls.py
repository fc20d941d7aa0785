"""The tool calls that a model asks for: put together from a stream's pieces. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..tools.results import shortened
from .chunks import ToolCallDelta
from .provider_errors import endless

__all__ = ["Call", "Calls", "assistant_row", "tool_row", "with_short_results"]

LONGEST = 1_000_000  # characters of the calls of one answer
SHORT = 2000  # characters of a result, where not all of them fit
NOTE = 100  # with which a result that was shortened already is somewhat longer
DEEPEST = 50  # what is nested deeper is not meant for people who are to allow it


@dataclass(frozen=True, slots=True)
class Call:
    """`problem` says to the model what is wrong with its arguments, if something is."""

    id: str
    name: str
    arguments: dict[str, Any]
    problem: str | None = None


class Calls:
    """Those of one answer. Some providers name each piece's call by index, some send each call
    whole, some give no ids, and some the same ids again.
    """

    def __init__(self) -> None:
        self._pieces: list[_Pieces] = []
        self._at: dict[int | None, _Pieces] = {}
        self._size = 0

    def add(self, deltas: Iterable[ToolCallDelta]) -> None:
        """Raises `AgentError` for more than anybody means."""
        for delta in deltas:
            pieces = self._at.get(delta.index)
            if pieces is None or (delta.id and pieces.id not in ("", delta.id)):
                pieces = self._at[delta.index] = _Pieces()
                self._pieces.append(pieces)
            pieces.id = pieces.id or delta.id or ""
            if delta.function is not None:
                pieces.name += delta.function.name or ""
                pieces.arguments.append(delta.function.arguments or "")
                self._size += len(delta.function.name or "") + len(pieces.arguments[-1])
            self._size += 1
            if self._size > LONGEST:
                raise endless(f"tool calls of more than {LONGEST} characters")

    def complete(self, used: set[str]) -> list[Call]:
        """All of them. None gets an id that is `used`; the new ones are added to it."""
        calls = []
        for pieces in self._pieces:
            call_id = pieces.id
            while not call_id or call_id in used:
                call_id = f"{call_id or 'call'}_{len(used) + 1}"
            used.add(call_id)
            calls.append(_call(call_id, pieces.name, "".join(pieces.arguments)))
        return calls


class _Pieces:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


def _call(call_id: str, name: str, text: str) -> Call:
    try:
        arguments = msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return Call(call_id, name, {"arguments": text}, f"The arguments are no JSON: {error}.")
    if not isinstance(arguments, dict):
        return Call(call_id, name, {"arguments": text}, "The arguments must be a JSON object.")
    if _is_deeper(arguments, DEEPEST):
        return Call(call_id, name, {"arguments": text}, "The arguments are nested too deeply.")
    return Call(call_id, name, arguments)


def _is_deeper(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(one, depth - 1) for one in inner)


def assistant_row(text: str, calls: Sequence[Call]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": text,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": msgspec.json.encode(call.arguments).decode(),
                },
            }
            for call in calls
        ],
    }


def tool_row(call: Call, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": text}


def with_short_results(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, with no result of a tool longer than a page."""
    return [
        row | {"content": shortened(row["content"], SHORT)}
        if row.get("role") == "tool" and len(row.get("content") or "") > SHORT + NOTE
        else row
        for row in messages
    ]
