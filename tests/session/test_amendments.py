"""A record and its amendments say what the record would say, written whole."""

from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.session import amendments, dumping
from actors.session.amendments import LISTS, Extent, amended, amendment, extent_of
from actors.session.dumping import Manuscript, dump
from actors.session.record import Record, RecordDamaged, fields_of, load

TEXTS = st.text(max_size=5) | st.sampled_from(["\n", "\n}\n", '\n  "messages": ', "null", "\0"])
VALUES = TEXTS | st.integers(0, 9) | st.lists(TEXTS, max_size=2) | st.none()
ROWS = st.dictionaries(TEXTS, VALUES | st.dictionaries(TEXTS, VALUES, max_size=2), max_size=3)
WAITING = st.builds(lambda text: {"id": "1", "message": text + "x"}, TEXTS)
EXTRA = st.dictionaries(st.sampled_from(["gateway", "theirs"]), VALUES | ROWS, max_size=2)


@st.composite
def lives(draw):
    """A record in its versions: rows come, go and are replaced; most stay the objects they were."""
    versions = [Record(session_id="a", extra=draw(EXTRA))]
    for _ in range(draw(st.integers(1, 6))):
        changes = {"title": draw(TEXTS), "waiting": tuple(draw(st.lists(WAITING, max_size=2)))}
        if draw(st.booleans()):
            changes["extra"] = draw(EXTRA)
        for name in draw(st.sets(st.sampled_from(LISTS))):
            rows = getattr(versions[-1], name)
            keep = draw(st.integers(0, len(rows)))
            changes[name] = (*rows[:keep], *draw(st.lists(ROWS, max_size=7)))
        versions.append(msgspec.structs.replace(versions[-1], **changes))
    return versions


def file_of(versions):
    """The first one whole, and what makes of each the next."""
    lines = [amendment(fields_of(before), fields_of(after)) for before, after in pairwise(versions)]
    return dump(versions[0]), lines


@given(lives())
def test_amendments_say_what_the_whole_would_say(versions):
    data, lines = file_of(versions)
    for version, line in zip(versions, [b"", *lines], strict=True):
        assert line.count(b"\n") == len(line[:1])
        data += line
        assert load("a", data) == load("a", dump(version))
        assert extent_of(data) == Extent(len(dump(versions[0])), len(data))


@given(lives(), st.randoms(use_true_random=False))
def test_one_that_is_torn_is_not_there(versions, chance):
    """Any part of it may be, with zeros for what was to be written."""
    data, lines = file_of(versions)
    before = data + b"".join(lines[:-1])
    cut = lines[-1][: chance.randrange(1, len(lines[-1]) - 1)]
    zeros = bytes(len(lines[-1]) - len(cut))
    for tail in (cut, cut + zeros, cut + zeros[:-1] + b"\n"):
        assert load("a", before + tail) == load("a", before)
        assert extent_of(before + tail) is None


@given(lives(), st.randoms(use_true_random=False))
def test_any_other_damage_is_told(versions, chance):
    data, lines = file_of(versions)
    whole = data + b"".join(lines)
    at = chance.randrange(len(data), len(whole))
    wrong = bytes([chance.choice([byte for byte in range(1, 256) if byte != whole[at]])])
    if at == len(whole) - 1:
        return  # without its end the last one is torn
    with pytest.raises(RecordDamaged):
        load("a", whole[:at] + wrong + whole[at + 1 :])


def test_what_is_the_same_is_not_said_again():
    rows = tuple({"role": "user", "content": "long " * 100} for _ in range(50))
    before = Record(session_id="a", title="T", messages=rows)
    after = msgspec.structs.replace(before, title="U", messages=(*rows, {"role": "user"}))
    line = amendment(fields_of(before), fields_of(after))
    said = msgspec.json.decode(line)
    assert said["rows"] == {"messages": [50, [{"role": "user"}]]}
    assert said["set"].keys() == {"title", "message_count"}
    assert "gone" not in said


def test_a_row_that_was_replaced_by_an_equal_one_of_another_kind_is_written_anew():
    rows = ({"at": 1}, {"at": 2})
    before = Record(session_id="a", messages=rows)
    after = Record(session_id="a", messages=({"at": 1.0}, rows[1]))
    data = dump(before) + amendment(fields_of(before), fields_of(after))
    assert isinstance(load("a", data).messages[0]["at"], float)


def test_a_file_of_somebody_else_is_not_amended():
    assert extent_of(b'{"title": "theirs"}') is None
    assert extent_of(b'{\n  "title": "theirs"\n}') is None
    assert amended(b'{\n  "title": "theirs"\n}') == {"title": "theirs"}


def test_an_amendment_finds_nothing_strange_in_a_list_that_is_none():
    line = amendment({"context_messages": ()}, {"context_messages": ({"role": "user"},)})
    said = amended(b'{\n  "context_messages": "lost"\n}\n' + line)
    assert said == {"context_messages": [{"role": "user"}]}


def test_only_of_what_was_added_to_the_rows_are_known(monkeypatch):
    monkeypatch.setattr(dumping, "AMENDED_FROM", 0)
    record, manuscript = Record(session_id="a", messages=({"content": "a"},)), Manuscript()
    data = dump(record)
    manuscript.has(record, Extent(len(data), len(data)))
    for messages in ((*record.messages, {"content": "b"}), ({"content": "c"}, {"content": "d"})):
        after = msgspec.structs.replace(record, messages=messages)
        added_to = record.messages if messages[0] is record.messages[0] else messages[:1]
        line = manuscript.amendment(after, added_to)
        assert load("a", data + line).messages == messages


def test_the_whole_is_written_when_the_amendments_are_as_long(monkeypatch):
    monkeypatch.setattr(dumping, "AMENDED_FROM", 100)
    record, manuscript, written = Record(session_id="a"), Manuscript(), []
    for n in range(60):
        row = {"role": "user", "content": f"word {n}"}
        record = msgspec.structs.replace(record, messages=(*record.messages, row))
        line = manuscript.amendment(record)
        if line is None:
            data = dump(record)
            manuscript.has(record, Extent(len(data), len(data)))
        else:
            data += line
            manuscript.has(record, manuscript.amended_by(line))
        written.append("whole" if line is None else "amended")
        assert load("a", data) == record
        assert manuscript.size == len(data)
    assert written[0] == "whole"
    assert 2 <= written.count("whole") <= 6
    manuscript.forget()
    assert manuscript.amendment(record) is None


def test_the_pieces_of_a_long_record_are_its_bytes():
    rows = [{"role": "user", "content": f"\n word {n}", "n": [n]} for n in range(2000)]
    chance = Random(4)
    for name in LISTS:
        for length in (0, 1, dumping.PART, dumping.PART + 1, chance.randrange(2000), 2000):
            record = Record(session_id="a", **{name: tuple(rows[:length])})
            expected = msgspec.json.format(msgspec.json.encode(fields_of(record)), indent=2)
            assert dump(record) == expected + b"\n"
    assert amendments.amended(dump(record)) == msgspec.json.decode(expected)
