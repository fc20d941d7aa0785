"""The door to agents, who are other people's code: what they may raise and emit, and how much."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import trio

from .agent import Agent, AgentError, AgentEvent, AgentTurn, Emit, ReasoningDelta, TextDelta
from .entries import FeedEvent, decode, encode

__all__ = ["ANSWER_BYTES", "Emitted", "answer_of"]

# An answer may come to this before it is taken for one without end.
ANSWER_BYTES = 16 << 20

_TEXTS = (TextDelta, ReasoningDelta)
_NOT_CAUGHT = (trio.Cancelled, KeyboardInterrupt)


class Emitted:
    """What one agent has emitted in one turn: counted, and checked before anybody relies on it."""

    def __init__(self, most: int = ANSWER_BYTES) -> None:
        self._left = most

    def checked(self, event: AgentEvent) -> tuple[FeedEvent, int]:
        """The event, as it will be read from the disk, and its size. What cannot be kept is the
        agent's fault, and raised in the agent: `TypeError`, `ValueError` and their like.
        """
        if not isinstance(event, AgentEvent):
            raise TypeError(f"an agent emits events, not {type(event).__name__}")
        encoded = encode(event)
        size = len(encoded)
        self._left -= size
        if self._left < 0:
            raise AgentError(
                "error", "The answer was too long, as if without end, and was stopped."
            )
        if type(event) in _TEXTS:
            if type(event.text) is not str:  # type: ignore[union-attr]
                raise TypeError(f"{type(event).__name__} is made of text")
            return event, size
        return decode(encoded), size  # a copy: nobody changes it afterwards


async def answer_of(agent: Agent, turn: AgentTurn, emit: Emit) -> None:
    """Let the agent answer. It gets what it can change without harm, and what it raises is an
    `Exception`: one that means to end the program (`SystemExit`, another loop's cancellation) ends
    its turn. `KeyboardInterrupt` is the user's, and goes on.
    """
    messages = [_copy(row) for row in turn.messages]
    try:
        await agent(replace(turn, messages=messages), emit)
    except Exception:
        raise
    except _NOT_CAUGHT:
        raise
    except BaseExceptionGroup as group:
        passing, others = group.split(_NOT_CAUGHT)
        if others is None:
            raise
        failure = RuntimeError(_words(others))
        if passing is None:
            raise failure from group
        raise BaseExceptionGroup("", [passing, failure]) from group
    except BaseException as error:
        raise RuntimeError(_words(error)) from error


def _words(error: BaseException) -> str:
    return f"the agent raised {type(error).__name__}"


def _copy(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each if isinstance(each, str) else deepcopy(each) for key, each in row.items()}
