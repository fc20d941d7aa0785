"""What must be true of a turn that was stopped, and of one that was not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from actors.session.context import estimated_tokens
from tests.app.client import Event

__all__ = ["SAID", "Shown", "check_stopped", "check_usage", "check_whole", "shown_by", "story"]

TERMINAL = {"stream_end", "cancel", "apperror"}
SAID = {"token", "reasoning", "tool", "tool_complete"}


@dataclass(frozen=True)
class Shown:
    """A turn as its readers know it."""

    names: list[str]
    text: str
    reasoning: str
    calls: list[dict]
    usage: dict | None  # as the provider has said
    done: dict | None  # as the end has said

    @property
    def anything(self) -> bool:
        return bool(self.text or self.reasoning or self.calls)


def story(events: list[Event]) -> list[tuple]:
    """What a reader was told; without the session, which comes as it is when it is read."""
    return [
        (event.id, event.name, {k: v for k, v in event.data.items() if k != "session"})
        for event in events
    ]


def shown_by(stream_id: str, events: list[Event]) -> Shown:
    """Numbered without a hole, with one end, and nothing behind it."""
    names = [event.name for event in events]
    assert [event.id for event in events] == [f"{stream_id}:{n + 1}" for n in range(len(names))]
    assert [name for name in names if name in TERMINAL] == names[-1:], names
    calls: dict[str, dict] = {}
    for event in events:
        if event.name == "tool":
            card = {key: event.data[key] for key in ("name", "tid", "args")}
            calls[event.data["tid"]] = card | {"snippet": "", "done": False}
        elif event.name == "tool_complete":
            card = calls[event.data["tid"]]
            del card["done"]
            card["snippet"] = event.data["preview"]
            if event.data["is_error"]:
                card["is_error"] = True

    def joined(name: str) -> str:
        return "".join(event.data["text"] for event in events if event.name == name)

    def last_usage(name: str) -> dict | None:
        return next((e.data["usage"] for e in reversed(events) if e.name == name), None)

    said = list(calls.values()), last_usage("metering"), last_usage("done")
    return Shown(names, joined("token"), joined("reasoning"), *said)


def check_stopped(rows: list[dict], prompt: str, shown: Shown) -> None:
    """The prompt, what was shown of the answer if anything was, and one marker."""
    user, *partial, marker = rows
    assert (user["role"], user["content"]) == ("user", prompt)
    assert (marker["_error"], marker["provider_details_label"]) == (True, "Cancellation details")
    assert len(partial) == shown.anything, rows
    for row in partial:
        assert row["_partial"] is True
        assert row["content"] == shown.text
        assert row.get("reasoning", "") == shown.reasoning
        assert row.get("_partial_tool_calls", []) == shown.calls


def check_whole(rows: list[dict], prompt: str, shown: Shown) -> None:
    """The prompt and the whole answer; nothing says that it was stopped."""
    user, *answer = rows
    assert (user["role"], user["content"]) == ("user", prompt)
    assert not [row for row in answer if row.get("_error") or row.get("_partial")], rows
    said = [row for row in answer if row["role"] == "assistant"]
    assert "".join(row["content"] for row in said) == shown.text
    assert "".join(row.get("reasoning", "") for row in said) == shown.reasoning
    asked = [call["id"] for row in said for call in row.get("tool_calls", [])]
    assert asked == [call["tid"] for call in shown.calls]


def check_usage(session: dict, shown: Shown, asked: Sequence[dict] | None) -> None:
    """As the provider has said; else estimated, and marked."""
    tokens = session["input_tokens"], session["output_tokens"]
    if shown.done is not None:
        told = shown.done["input_tokens"], shown.done["output_tokens"], shown.done["estimated"]
        assert told == (*tokens, session["usage_estimated"])
    assert session["usage_estimated"] is (shown.usage is None), (tokens, shown.usage)
    if shown.usage is not None:
        assert tokens == (shown.usage["input_tokens"], shown.usage["output_tokens"])
        return
    if asked is not None:
        assert tokens[0] == estimated_tokens(asked), tokens
    arguments = "".join(json.dumps(call["args"]) for call in shown.calls)
    least = len(shown.text + shown.reasoning + arguments) // 4
    assert least <= tokens[1] <= least + 50 * (1 + len(shown.calls)), (tokens, least)
    assert (tokens[1] > 0) == shown.anything
