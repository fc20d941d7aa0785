"""The ids that clients are given, and what they lead to. Pure."""

import re
from typing import NamedTuple

__all__ = ["Named", "conversation_id", "response_id", "session_of", "turn_of"]

_RESPONSE = re.compile(r"resp_([0-9a-f]{32})_(.+)", re.DOTALL)


class Named(NamedTuple):
    """`session_id` is what the session was called when the turn began; it leads there for ever."""

    session_id: str
    turn_id: str


def response_id(session_id: str, turn_id: str) -> str:
    return f"resp_{turn_id}_{session_id}"


def turn_of(response_id: str) -> Named | None:
    """None for what is not an id of ours."""
    match = _RESPONSE.fullmatch(response_id)
    return Named(match[2], match[1]) if match else None


def conversation_id(session_id: str) -> str:
    return f"conv_{session_id}"


def session_of(conversation_id: str) -> str | None:
    name = conversation_id.removeprefix("conv_")
    return name if name and name != conversation_id else None
