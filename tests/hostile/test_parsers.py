"""What others send is parsed or refused, never anything else. Records, journals, the index,
projects and searches are damaged in `tests/faults/test_damage.py` and beside their modules.
"""

import json
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.session.agent import AgentError, AgentEvent
from actors.session.context import context_rows, estimated_tokens
from actors.session.copies import branch_of, duplicate_of
from actors.session.dumping import dump
from actors.session.entries import encode
from actors.session.messages import Snapshot
from actors.session.record import Record, load, summary
from actors.session.titles import fallback_title, may_title, tidied_title, title_request
from actors.session.transcript import cards_before, model_input, revision
from app import bodies, views
from app.agents.bounded import Bounded, TooLarge
from app.agents.chunks import Chunk, decode_chunk, events_of
from app.agents.provider_errors import agent_error
from app.bodies import BadRequest, decode_body, import_of
from app.config import Config, ConfigError, make_config
from app.export_html import html_of
from app.past import past_turns
from app.sse import cursor_of

WORDS = (
    *("choices", "delta", "content", "reasoning", "reasoning_content", "usage", "model", "error"),
    *("prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "cost"),
    *("code", "type", "message", "finish_reason", "index", "tool_calls", "function", "arguments"),
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([-1, 2**63, 2**64, 10**30, 0.5])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
DEEP = [b"[" * 10**6, b'{"a":' * 10**6, b'{"error":' * 20_000 + b"1" + b"}" * 20_000]


def damaged(value, data):
    """JSON as somebody might send it: NaN and half characters too, cut and with a byte flipped."""
    raw = json.dumps(value).encode()
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(raw))] * 2)))
    match data.draw(st.sampled_from(["as it is", "cut", "twice", "flipped"])):
        case "cut":
            return raw[:start] + raw[end:]
        case "twice":
            return raw[:end] + raw[start:]
        case "flipped":
            return raw[:start] + data.draw(st.binary(min_size=1, max_size=1)) + raw[start + 1 :]
    return raw


# -- what a provider sends ----------------------------------------------------------------------


async def each_of(parts):
    for part in parts:
        yield part


async def read_through(parts, most):
    async with aclosing(each_of(parts)) as sent:
        return [part async for part in Bounded(sent, most=most)]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@given(st.lists(st.integers(0, 30), max_size=20), st.data())
def test_events_that_end_pass_however_they_are_cut(end, sizes, data):
    stream = b"".join(b"x" * size + end for size in sizes)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert b"".join(trio.run(read_through, parts, len(stream) + 1)) == stream
    if max(map(len, parts)) <= 40:
        assert b"".join(trio.run(read_through, parts, 100)) == stream


@pytest.mark.parametrize("part", [b"x", b"x\n", b"data: x\n"])
async def test_an_event_without_end_is_too_large(part):
    with pytest.raises(TooLarge):
        await read_through([part] * 200, 100)


@given(JSON, st.data())
def test_a_chunk_is_events_or_an_error_of_the_providers(value, data):
    try:
        chunk = decode_chunk(damaged(value, data).decode(errors="replace"))
    except AgentError as error:
        encode_words(error)
        return
    assert isinstance(chunk, Chunk)
    for event in events_of(chunk):
        assert isinstance(event, AgentEvent)
        assert len(encode(event)) < 10_000


@pytest.mark.parametrize("deep", DEEP, ids=range(len(DEEP)))
def test_depth_is_no_way_in(deep):
    with pytest.raises(AgentError):
        decode_chunk(deep.decode())
    with pytest.raises(BadRequest):
        decode_body(deep, bodies.StartBody)
    with pytest.raises(BadRequest):
        import_of(deep)
    with pytest.raises(BadRequest):
        import_of(b'{"messages":[%b]}' % deep)


@given(st.none() | st.integers(0, 1000), JSON | st.text(), st.none() | st.text())
def test_any_body_of_an_error_says_something(status, body, secret):
    encode_words(agent_error(status, body, secret))


def encode_words(error):
    """They go to the disk and to the page."""
    said = [error.type, error.message, error.hint or "", error.details or ""]
    assert all(isinstance(each, str) for each in said)
    assert error.message
    assert sum(map(len, said)) < 3000


# -- what a client sends ------------------------------------------------------------------------

SHAPES = [
    each
    for name, each in vars(bodies).items()
    if name.endswith("Body") and name != "ImportBody" and issubclass(each, msgspec.Struct)
]


@given(st.sampled_from(SHAPES), JSON, st.data())
def test_a_body_is_what_it_should_be_or_refused(shape, value, data):
    try:
        assert isinstance(decode_body(damaged(value, data), shape), shape)
    except BadRequest as error:
        msgspec.json.encode(str(error))


@given(st.dictionaries(st.sampled_from(["after_seq", "after_event_id", "replay"]), st.text()))
def test_a_cursor_is_a_number_from_which_nothing_is_skipped(query):
    for header in (None, *query.values()):
        assert 0 <= cursor_of(query, header, "s") < 10**16


@given(st.text("0123456789:s-e+ \n\uff15\u0665", max_size=20))
def test_only_what_is_written_as_a_number_is_one(text):
    assert cursor_of({"after_seq": text}, None, "s") in (0, int(text) if text.isdigit() else 0)


KEYS = (
    *("role", "content", "tool_calls", "tool_call_id", "name", "attachments", "timestamp", "_ts"),
    *(
        "_error",
        "_partial",
        "_partial_tool_calls",
        "reasoning",
        "id",
        "_turnUsage",
        "_turnDuration",
    ),
    *("_active_turn_token", "provider_details", "provider_details_label", "type", "text"),
)
ROLES = st.sampled_from(["user", "assistant", "tool", "system"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(max_size=6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ROLES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)
ROW = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
ROWS = st.lists(ROW | st.builds(lambda row, role: {**row, "role": role}, ROW, ROLES), max_size=5)


@given(
    st.fixed_dictionaries(
        {"messages": ROWS},
        optional={"title": VALUES, "model": VALUES, "tool_calls": ROWS, "context_messages": ROWS}
        | {"workspace": VALUES, "pinned": VALUES, "session_id": VALUES},
    )
)
def test_whatever_was_imported_can_be_worked_with(content):
    try:
        command, _ = import_of(json.dumps(content).encode())
    except BadRequest:
        return
    record = load("s1", dump(msgspec.structs.replace(command.record, session_id="s1")))
    assert isinstance(record, Record)
    for copied in (record, duplicate_of(record), branch_of(record, 1, None)):
        snapshot = Snapshot(copied, running=False)
        msgspec.json.encode(summary(copied))
        msgspec.json.encode(views.full_session(snapshot, limit=1, before=1))
        msgspec.json.encode(past_turns(copied))
        msgspec.json.encode(model_input(context_rows(copied)))
        estimated_tokens(context_rows(copied))
        cards_before(copied.tool_calls, 1)
        revision(copied)
        html_of(copied)
        if may_title(copied):
            msgspec.json.encode(title_request(copied))
        fallback_title(copied)


@given(st.text())
def test_a_title_is_a_line_or_none(said):
    title = tidied_title(said)
    assert title is None or (title.strip() == title and "\n" not in title and len(title) <= 80)


# -- what the person who starts it says ---------------------------------------------------------

TEXT = st.text(max_size=20) | st.sampled_from(["http://[", "https://x:y", "http://a:99999", "~\0"])


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("host", "agent", "base_url", "model", "api_key"), TEXT)
        | dict.fromkeys(("log_level", "titles", "http"), TEXT)
        | {"port": st.integers(), "context_tokens": st.integers() | st.none()}
        | {"checkpoint_seconds": st.floats(), "local_installed": st.booleans()},
    )
)
def test_settings_are_true_or_refused_in_one_line(settings):
    try:
        assert isinstance(make_config(data_dir=Path("/nowhere"), **settings), Config)
    except ConfigError as error:
        assert str(error)
        assert "\n" not in str(error)
