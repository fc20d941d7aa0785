"""An answer becomes rows, whole or cut short, and the journal gives the same one again."""

from hypothesis import given
from hypothesis import strategies as st

from actors.session.agent import (
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
    Warned,
)
from actors.session.answer import Answer
from actors.session.entries import decode, encode, merged

TOOL_TURN = [
    ReasoningDelta("Let me "),
    ReasoningDelta("look."),
    TextDelta("Looking"),
    TextDelta(" it up."),
    ToolStarted("c1", "search", {"q": "x" * 200, "n": 3}),
    ToolStarted("c2", "clock"),
    ToolCompleted("c2", "noon"),
    ToolCompleted("c1", "found", is_error=True),
    TextDelta("Here."),
    Usage(5, 6),
]

calls = st.sampled_from(["a", "b"])
events = st.one_of(
    st.builds(TextDelta, st.text(max_size=5)),
    st.builds(ReasoningDelta, st.text(max_size=5)),
    st.builds(ToolStarted, calls, st.just("t"), st.just({"x": 1})),
    st.builds(ToolCompleted, calls, st.text(max_size=5), st.booleans()),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    st.builds(Warned, st.just("fallback"), st.text(max_size=3)),
)


def built(given_events):
    answer = Answer()
    for event in given_events:
        answer.add(event)
    return answer


def test_steps_become_rows_with_each_result_under_its_call():
    rows = built(TOOL_TURN).rows(7.0)
    assert [(row["role"], row["content"]) for row in rows] == [
        ("assistant", "Looking it up."),
        ("tool", "found"),
        ("tool", "noon"),
        ("assistant", "Here."),
    ]
    assert rows[0]["reasoning"] == "Let me look."
    assert [call["id"] for call in rows[0]["tool_calls"]] == ["c1", "c2"]
    assert [row["tool_call_id"] for row in rows[1:3]] == ["c1", "c2"]


def test_a_cut_short_answer_is_one_row_and_keeps_its_calls_away_from_the_model():
    row = built(TOOL_TURN[:7]).partial_rows(7.0)[0]
    assert row["content"] == "Looking it up."
    assert row["_partial"] is True
    assert "tool_calls" not in row
    first, second = row["_partial_tool_calls"]
    assert (first["tid"], first["snippet"], first["done"]) == ("c1", "", False)
    assert (second["tid"], second["snippet"]) == ("c2", "noon")


def test_nothing_shown_leaves_nothing():
    assert built([Usage(1, 2)]).partial_rows(1.0) == ()
    assert built([]).silent


def test_cards_are_cut_and_point_at_the_row_that_made_the_call():
    cards = built([*TOOL_TURN, ToolStarted("c3", "last", {})]).tool_summaries(first_row=10)
    assert [(card["tid"], card["assistant_msg_idx"]) for card in cards] == [
        ("c1", 10),
        ("c2", 10),
        ("c3", 13),
    ]
    assert len(cards[0]["args"]["q"]) == 120


def test_a_completed_call_is_counted_once_and_learns_its_name():
    answer = built(TOOL_TURN[:6])
    assert answer.add(ToolCompleted("c1", "x")).name == "search"
    answer.add(ToolCompleted("c1", "again"))
    answer.add(ToolCompleted("never begun", "x"))
    assert answer.tools_completed == 1


def test_a_provider_that_gave_its_usage_is_believed_and_any_other_is_estimated():
    asked = [{"role": "user", "content": "x" * 40}]
    for said in (Usage(5, 6, cost=0.5), Usage(5), Usage(0, 6), Usage(5, 6, estimated=True)):
        assert built([TextDelta("y" * 80), said]).usage_of(asked) == said
    assert built([]).usage_of(asked) == Usage(14, 0, estimated=True)
    assert built([Usage(cost=0.5)]).usage_of(asked) == Usage(14, 0, cost=0.5, estimated=True)
    emitted = [TextDelta("y" * 80), ReasoningDelta("z" * 400), ToolStarted("c1", "t", {"q": "r"})]
    sizes = [built(emitted[:n]).usage_of(asked).output_tokens for n in range(4)]
    assert sizes[:3] == [0, 24, 124]
    assert sizes[3] > 134
    assert (
        built([*emitted, ToolCompleted("c1", "r" * 999)]).usage_of(asked).output_tokens == sizes[3]
    )


@given(st.lists(events, max_size=20))
def test_what_was_shown_is_what_is_kept(given_events):
    answer = built(given_events)
    shown = "".join(event.text for event in given_events if isinstance(event, TextDelta))
    assert answer.text == shown
    kept = [row["content"] for row in answer.rows(1.0) if row["role"] == "assistant"]
    assert "".join(kept) == shown


@given(st.lists(events, max_size=20))
def test_the_journal_gives_the_same_answer_again_however_deltas_were_merged(given_events):
    together = []
    for event in given_events:
        both = merged(together[-1], event) if together else None
        if both is None:
            together.append(event)
        else:
            together[-1] = both
    again = built([decode(encode(event)) for event in together])
    assert again.rows(1.0) == built(given_events).rows(1.0)
    assert again.partial_rows(1.0) == built(given_events).partial_rows(1.0)
    assert again.usage_of([]) == built(given_events).usage_of([])
