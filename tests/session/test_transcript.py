"""What the model sees of a transcript."""

from hypothesis import given
from hypothesis import strategies as st

from actors.session.transcript import (
    MODEL_KEYS,
    cancelled_marker,
    error_row,
    interrupted_marker,
    last_user_row,
    model_input,
    text_of,
    title_from,
    user_row,
)

CALL = {"id": "c1", "type": "function", "function": {"name": "t", "arguments": "{}"}}


def test_the_model_sees_prompts_and_replies_and_nothing_that_is_only_for_people():
    rows = [
        user_row("hello", [{"name": "a"}], 1.0, "t1", recovered=True),
        {"role": "assistant", "content": "part", "_partial": True, "reasoning": "hmm"},
        cancelled_marker(2.0),
        error_row("Label", "message", 2.0, hint="hint", details="secret"),
        interrupted_marker("process_restart", 2.0),
        {"role": "assistant", "content": "  ", "_partial": True},
        {"role": "tool", "tool_call_id": "nobody's", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "y", "timestamp": 1},
    ]
    assert model_input(rows) == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "part"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "y"},
    ]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
            optional={
                "content": st.none() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
                "tool_calls": st.none() | st.just([CALL]) | st.just("junk"),
                "tool_call_id": st.just("c1") | st.integers(),
                "_error": st.booleans(),
                "extra": st.integers(),
            },
        )
    )
)
def test_no_transcript_makes_it_fail_or_leak_other_keys(rows):
    for row in model_input(rows):
        assert set(row) <= set(MODEL_KEYS)


def test_a_tool_row_whose_call_has_no_name_is_not_sent():
    for call_id in ([], {}, 5, True, None):
        rows = [
            {"role": "assistant", "content": "x", "tool_calls": [{"id": call_id}]},
            {"role": "tool", "tool_call_id": call_id, "content": "y"},
        ]
        assert [row["role"] for row in model_input(rows)] == ["assistant"]


def test_the_model_reads_the_text_of_files_and_not_their_other_names():
    row = {"role": "user", "content": "Sum it up."}
    file = {"name": "a.txt", "size": 3, "text": "One two."}
    seen = "Sum it up.\n\nAttached file a.txt:\n\nOne two."
    assert model_input([{**row, "attachments": [file]}]) == [{"role": "user", "content": seen}]
    for names in (["a.txt"], [{"name": "a.txt"}], [{"text": 7}], {}, 7):
        assert model_input([{**row, "attachments": names}]) == [row]
    parts = [{"type": "text", "text": "Sum it up."}]
    (said,) = model_input([{**row, "content": parts, "attachments": [file]}])
    assert said["content"][0] == parts[0]
    assert said["content"][1]["text"].endswith("One two.")


def test_markers_say_what_happened_and_are_marked():
    assert cancelled_marker(1.0)["content"].startswith("**Task cancelled:**")
    interrupted = interrupted_marker("process_restart", 1.0)
    assert interrupted["type"] == "interrupted"
    assert interrupted["interruption_cause"] == "process_restart"
    assert all(row["_error"] for row in (cancelled_marker(1.0), interrupted))


def test_the_last_turn_begins_at_the_last_user_row():
    assert last_user_row([]) is None
    assert last_user_row([{"role": "user"}, {"role": "assistant"}, {"role": "user"}, {}]) == 2


def test_text_and_titles_are_found_in_parts_too():
    parts = [{"type": "text", "text": "one"}, {"type": "image"}, {"text": "two"}, "junk"]
    assert text_of(parts) == "one two"
    assert text_of(None) == ""
    assert title_from([{"role": "user", "content": parts}]) == "one two"
    assert title_from([], "  a\n b ") == "a b"
    assert title_from([{"role": "user", "content": " "}]) is None


def test_a_call_whose_answer_was_cut_off_is_not_shown_to_the_model():
    """Providers refuse a transcript in which one stands alone."""
    both = [{"id": "a", "function": {}}, {"id": "b", "function": {}}]
    asks = {"role": "assistant", "content": "", "tool_calls": both}
    first = {"role": "tool", "tool_call_id": "a", "content": "1"}
    second = {"role": "tool", "tool_call_id": "b", "content": "2"}
    assert model_input([asks, first, second]) == [asks, first, second]
    assert model_input([asks, first]) == [asks | {"tool_calls": both[:1]}, first]
    assert model_input([asks]) == []
    assert model_input([asks | {"content": "hm"}]) == [{"role": "assistant", "content": "hm"}]
