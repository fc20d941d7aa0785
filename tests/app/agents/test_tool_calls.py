"""Tool calls put together from the pieces in which providers send them."""

import msgspec
import pytest

from actors.session.agent import AgentError
from app.agents.chunks import ToolCallDelta
from app.agents.tool_calls import LONGEST, Calls, assistant_row


def calls_of(*deltas, used=None):
    calls = Calls()
    for delta in deltas:
        calls.add(msgspec.convert([delta], list[ToolCallDelta]))
    return calls.complete(set() if used is None else used)


def piece(index=None, id=None, name=None, arguments=None):
    return {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}


def said(calls):
    return [(call.id, call.name, call.arguments) for call in calls]


def test_pieces_of_two_calls_that_come_mixed():
    calls = calls_of(
        piece(0, "a", "one", '{"x"'),
        piece(1, "b", "two", ""),
        piece(0, None, None, ":1}"),
        piece(1, None, None, '{"y":2}'),
    )
    assert said(calls) == [("a", "one", {"x": 1}), ("b", "two", {"y": 2})]


def test_whole_calls_without_an_index_or_with_the_same_one():
    for index in (None, 0):
        calls = calls_of(piece(index, "a", "one", "{}"), piece(index, "b", "two", '{"y":2}'))
        assert said(calls) == [("a", "one", {}), ("b", "two", {"y": 2})]


def test_every_call_has_an_id_that_no_other_has():
    used = set()
    first = calls_of(piece(0, "", "one", "{}"), piece(1, None, "two", "{}"), used=used)
    again = calls_of(piece(0, "same", "one", "{}"), used=used)
    third = calls_of(piece(0, "same", "one", "{}"), used=used)
    ids = [call.id for call in (*first, *again, *third)]
    assert len(set(ids)) == 4
    assert again[0].id == "same"


def test_no_arguments_are_none():
    assert said(calls_of(piece(0, "a", "one", ""))) == [("a", "one", {})]
    assert said(calls_of({"index": 0, "id": "a"})) == [("a", "", {})]


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '"x"', '{"a": 1e999999', "{" * 5000, "nonsense", '{"a":' * 99 + "1" + "}" * 99],
)
def test_arguments_that_are_none_are_told_to_the_model(text):
    (call,) = calls_of(piece(0, "a", "one", text))
    assert call.problem
    row = assistant_row("", [call])  # what goes back is JSON all the same
    assert msgspec.json.decode(row["tool_calls"][0]["function"]["arguments"]) == {"arguments": text}


def test_a_call_without_end_is_refused():
    for pieces in (
        [piece(0, "a", "one", "x" * LONGEST)],
        [piece(0, "", "x" * 99)] * (LONGEST // 99),
    ):
        with pytest.raises(AgentError, match="too much"):
            calls_of(*pieces)
