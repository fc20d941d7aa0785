"""The answer of one turn, built up from what the agent emitted."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .agent import (
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
    Warned,
)
from .context import estimated_tokens
from .entries import FeedEvent, Steered
from .record import Row
from .transcript import user_row

__all__ = ["Answer"]

SNIPPET = 4000
ARGUMENTS = 6
ARGUMENT = 120
CUTS = frozenset({"length", "content_filter"})  # warnings that say why the model said no more

NOT_RUN = {
    "": "It was not run: nobody had allowed it when the turn ended.",
    "once": "It was allowed, but not run: the turn ended before it began.",
    "deny": "It was denied, and not run.",
    "expired": "It was not run: nobody allowed it in time.",
}


class Answer:
    """Belongs to one running turn. Built again from the journal after a crash, it is the same.

    An answer is a list of steps. Each step is some text and the tools called after it; text that
    comes after a tool call begins the next step, and so does what the user said meanwhile.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.cut_by: str | None = None  # a limit, before the model was done
        self.tools_completed = 0
        self._steps: list[_Step] = [_Step()]
        self._calls: dict[str, _Call] = {}

    @property
    def text(self) -> str:
        """All visible text, as it was shown."""
        return "".join(step.text for step in self._steps)

    @property
    def reasoning(self) -> str:
        return "".join(step.reasoning for step in self._steps)

    @property
    def silent(self) -> bool:
        """Nothing a reader would call a reply."""
        return not self.text.strip()

    @property
    def empty(self) -> bool:
        """Nothing was shown at all."""
        return not (self.text or self.reasoning or self._calls)

    def add(self, event: FeedEvent) -> FeedEvent:
        """Take it in; gives it back with what the reader needs to understand it by itself."""
        match event:
            case TextDelta(text):
                self._open_step().chunks.append(text)
            case ReasoningDelta(text):
                self._open_step().thoughts.append(text)
            case ToolStarted():
                call = self._calls[event.call_id] = _Call(event)
                self._step_of(event).calls.append(call)
            case ToolCompleted():
                return self._complete(event)
            case Usage():
                self.usage = event
            case Warned(kind) if kind in CUTS:
                self.cut_by = kind
            case Steered():
                self._steps.append(_Step(event))
            case _:
                pass  # shown, and no part of the answer
        return event

    def _open_step(self) -> "_Step":
        if self._steps[-1].calls:
            self._steps.append(_Step())
        return self._steps[-1]

    def _step_of(self, started: ToolStarted) -> "_Step":
        calls = self._steps[-1].calls
        if calls and calls[-1].started.round != started.round:
            self._steps.append(_Step())
        return self._steps[-1]

    def _complete(self, event: ToolCompleted) -> ToolCompleted:
        call = self._calls.get(event.call_id)
        if call is None or call.completed is not None:
            return event
        call.completed = event
        self.tools_completed += 1
        return msgspec.structs.replace(event, name=call.started.name)

    @property
    def steered(self) -> frozenset[str]:
        """The remarks that were taken up."""
        return frozenset(step.remark.remark_id for step in self._steps if step.remark is not None)

    def _remarks(self) -> list[Row]:
        return [step.remark_row() for step in self._steps if step.remark is not None]

    def usage_of(self, seen: Sequence[Mapping[str, Any]]) -> Usage:
        """The provider's figures, if it gave any. Else estimates, marked as such: of the messages
        that the model was shown, and of the text, the thoughts and the calls that came of them.
        """
        said = self.usage or Usage()
        if said.input_tokens or said.output_tokens:
            return said
        sent = [step.sent() for step in self._steps if not step.empty]
        return msgspec.structs.replace(
            said,
            input_tokens=estimated_tokens(seen),
            output_tokens=estimated_tokens(sent),
            estimated=True,
        )

    def rows(self, at: float) -> tuple[Row, ...]:
        """What the transcript keeps of a complete answer."""
        rows: list[Row] = []
        for step in self._steps:
            if step.remark is not None:
                rows.append(step.remark_row())
            if step.empty:
                continue
            row: Row = {"role": "assistant", "content": step.text, "timestamp": at}
            if step.reasoning:
                row["reasoning"] = step.reasoning
            if step.calls:
                row["tool_calls"] = [call.request() for call in step.calls]
            rows.append(row)
            rows.extend(call.result(at) for call in step.calls)
        return tuple(rows)

    def partial_rows(self, at: float, asked: Sequence[Row] = ()) -> tuple[Row, ...]:
        """What is kept of an answer that was cut short; nothing if nothing was shown. `asked` are
        the calls that had to be allowed: those that never began are told as not run.

        Tool calls stay out of `tool_calls`: an unanswered one makes providers refuse the next
        turn.
        """
        not_run = {row["call_id"]: _not_run(row) for row in asked if self._was_not_run(row)}
        if self.empty and not not_run:
            return tuple(self._remarks())
        row: Row = {"role": "assistant", "content": self.text, "timestamp": at, "_partial": True}
        if self.reasoning:
            row["reasoning"] = self.reasoning
        if self._calls or not_run:
            called = {call_id: call.summary() for call_id, call in self._calls.items()}
            row["_partial_tool_calls"] = list((called | not_run).values())
        return (*self._remarks(), row)

    def _was_not_run(self, asked: Row) -> bool:
        call = self._calls.get(asked["call_id"])
        if call is None:
            return True
        return call.completed is None and asked.get("choice") in ("deny", "expired")

    def tool_summaries(self, first_row: int) -> tuple[Row, ...]:
        """One card for each call, pointing at the row that made it. `first_row` is the index in
        the transcript that the first of `rows` gets.
        """
        cards: list[Row] = []
        index = first_row
        for step in self._steps:
            index += step.remark is not None
            if step.empty:
                continue
            cards.extend(call.summary() | {"assistant_msg_idx": index} for call in step.calls)
            index += 1 + len(step.calls)
        return tuple(cards)


class _Step:
    def __init__(self, remark: Steered | None = None) -> None:
        self.remark = remark  # what the user said before it
        self.chunks: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[_Call] = []

    @property
    def empty(self) -> bool:
        return not (self.text or self.reasoning or self.calls)

    def remark_row(self) -> Row:
        assert self.remark is not None
        return user_row(self.remark.text, (), self.remark.at, self.remark.remark_id)

    def sent(self) -> Row:
        """All that the model has written, to be counted."""
        calls = [call.request() for call in self.calls]
        return {"content": self.text + self.reasoning, "tool_calls": calls}

    @property
    def text(self) -> str:
        return "".join(self.chunks)

    @property
    def reasoning(self) -> str:
        return "".join(self.thoughts)


class _Call:
    def __init__(self, started: ToolStarted) -> None:
        self.started = started
        self.completed: ToolCompleted | None = None

    def request(self) -> Row:
        arguments = _json(self.started.arguments)
        function = {"name": self.started.name, "arguments": arguments}
        return {"id": self.started.call_id, "type": "function", "function": function}

    def result(self, at: float) -> Row:
        """A call without an answer gets one: providers refuse a transcript where it has none."""
        text = "(no result)" if self.completed is None else self.completed.result
        return {
            "role": "tool",
            "tool_call_id": self.started.call_id,
            "name": self.started.name,
            "content": text,
            "timestamp": at,
        }

    def summary(self) -> Row:
        card: Row = {
            "name": self.started.name,
            "tid": self.started.call_id,
            "args": _shortened(self.started.arguments),
            "snippet": "" if self.completed is None else self.completed.result[:SNIPPET],
        }
        if self.completed is not None and self.completed.is_error:
            card["is_error"] = True
        if self.completed is None:
            card["done"] = False
        return card


def _not_run(asked: Row) -> Row:
    """The card of a call that waited to be allowed, or was and did not begin."""
    return {
        "name": asked.get("tool"),
        "tid": asked.get("call_id"),
        "args": _shortened(asked.get("arguments") or {}),
        "snippet": NOT_RUN.get(asked.get("choice", ""), NOT_RUN["once"]),
        "done": False,
        "not_run": True,
    }


def _shortened(arguments: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value)[:ARGUMENT] for name, value in list(arguments.items())[:ARGUMENTS]}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)
