"""What is on disk comes back as it was, also when somebody else wrote it."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.session.dumping import dump
from actors.session.record import Record, RecordDamaged, is_session_id, load, summary

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
rows = st.dictionaries(st.text(), json_values, max_size=4)

# As the reference system writes it (section 1.1 of its behaviour), with fields we know nothing of.
FOREIGN = {
    "session_id": "0123456789ab",
    "title": "Fix the tests",
    "workspace": "/srv/work",
    "model": "m",
    "model_provider": None,
    "message_count": 2,
    "anchor_scene_index": {"a": 1},
    "messages": [
        {"role": "user", "content": "hi", "timestamp": 5, "_custom": [1]},
        {"role": "assistant", "content": [{"type": "text", "text": "yo"}], "timestamp": 6.5},
    ],
    "tool_calls": None,
    "created_at": 1,
    "updated_at": 7.25,
    "pinned": True,
    "gateway_routing": {"x": {"y": [1, 2]}},
    "clear_generation": "abc",
    "share_token": None,
    "pending_attachments": None,
    "context_messages": "nonsense",
    "_private": 1,
}


def test_a_foreign_record_opens_and_what_we_do_not_know_survives():
    record = load("0123456789ab", json.dumps(FOREIGN).encode())
    assert record.title == "Fix the tests"
    assert record.context_messages == ()
    assert record.tool_calls == ()
    written = json.loads(dump(record))
    for name in ("gateway_routing", "clear_generation", "share_token", "_private", "messages"):
        assert written[name] == FOREIGN[name]
    assert written["message_count"] == 2


@given(
    extra=st.dictionaries(st.text(min_size=1), json_values, max_size=4),
    messages=st.lists(rows, max_size=4),
)
def test_every_field_round_trips(extra, messages):
    known = {field.name for field in msgspec.structs.fields(Record)}
    extra = {
        name: value
        for name, value in extra.items()
        if name not in known | {"message_count", "anchor_scene_index"}
    }
    record = Record(session_id="a1", title="ü", messages=tuple(messages), extra=extra)
    assert load("a1", dump(record)) == record


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"messages": {}}',
        b'{"messages": [1]}',
        b'{"messages": [], "pinned": "yes"}',
        b'{"messages": [], "updated_at": "now"}',
    ],
)
def test_a_damaged_record_says_so_and_names_the_session(data):
    with pytest.raises(RecordDamaged, match="a1"):
        load("a1", data)


def test_the_mark_of_an_estimate_is_on_disk_and_otherwise_there_is_none():
    record = Record(session_id="a1", input_tokens=4, usage_estimated=True)
    assert load("a1", dump(record)) == record
    assert b"usage_estimated" not in dump(Record(session_id="a1", input_tokens=4))


def test_the_file_name_is_the_identity():
    assert load("b2", b'{"session_id": "a1", "messages": []}').session_id == "b2"


def test_the_file_is_indented_and_has_its_metadata_first():
    text = dump(Record(session_id="a1", messages=({"role": "user", "content": "é"},))).decode()
    assert text.startswith('{\n  "session_id": "a1"')
    assert text.index('"updated_at"') < text.index('"messages"') < text.index('"tool_calls"')
    assert "é" in text


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("0123456789ab", True),
        ("A-b_9", True),
        ("", False),
        ("a.b", False),
        ("../x", False),
        ("a/b", False),
        ("a\0", False),
        ("a\n", False),
        ("_index", False),
        ("é", False),
        ("a" * 201, False),
        (None, False),
        (7, False),
    ],
)
def test_ids_are_checked_before_anything_is_looked_up(text, fine):
    assert is_session_id(text) is fine


def test_a_row_counts_the_pending_prompt_and_dates_by_what_was_said_last():
    record = Record(
        session_id="a1",
        updated_at=9.0,
        messages=(
            {"role": "user", "content": "x", "timestamp": 3.0},
            {"role": "tool", "content": "y", "timestamp": 8.0},
        ),
    )
    row = summary(record)
    assert (row["message_count"], row["last_message_at"]) == (2, 3.0)
    assert "messages" not in row
    waiting = Record(session_id="a1", pending_user_message="x", pending_started_at=4.0)
    assert (summary(waiting)["message_count"], summary(waiting)["last_message_at"]) == (1, 4.0)
