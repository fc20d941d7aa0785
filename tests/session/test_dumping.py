"""What was encoded before is the same as what is encoded now."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.session import dumping
from actors.session.dumping import Dumper, dump
from actors.session.record import Record, fields_of

TEXTS = st.text(max_size=5) | st.sampled_from(["\n", '\n  "messages": ', "null", "[\n", "é\u2028"])
VALUES = TEXTS | st.integers(0, 9) | st.lists(TEXTS, max_size=2) | st.none()
ROWS = st.dictionaries(TEXTS, VALUES | st.dictionaries(TEXTS, VALUES, max_size=2), max_size=3)
EXTRA = st.dictionaries(st.sampled_from(["gateway", "theirs"]), VALUES | ROWS, max_size=2)


def in_one_go(record):
    return msgspec.json.format(msgspec.json.encode(fields_of(record)), indent=2)


@st.composite
def lives(draw):
    """A record in its versions: rows come, go and are replaced; most stay the objects they were."""
    versions = [Record(session_id="a", extra=draw(EXTRA))]
    for _ in range(draw(st.integers(1, 6))):
        changes = {"title": draw(TEXTS)}
        for name in draw(st.sets(st.sampled_from(dumping.LISTS))):
            rows = getattr(versions[-1], name)
            keep = draw(st.integers(0, len(rows)))
            changes[name] = (*rows[:keep], *draw(st.lists(ROWS, max_size=7)))
        versions.append(msgspec.structs.replace(versions[-1], **changes))
    return versions


@given(lives())
def test_a_record_that_grew_has_the_bytes_of_one_that_is_new(versions):
    dumper = Dumper(part=3)
    for record in versions:
        assert dumper.dump(record) == dump(record) == in_one_go(record)


def test_a_row_that_was_replaced_by_an_equal_one_of_another_kind_is_written_anew():
    dumper, rows = Dumper(), ({"at": 1}, {"at": 2})
    before = Record(session_id="a", messages=rows)
    after = Record(session_id="a", messages=({"at": 1.0}, rows[1]))
    assert dumper.dump(before) != dumper.dump(after) == in_one_go(after)


def test_only_the_last_part_is_encoded_again(monkeypatch):
    encoded, rows = [], [{"n": n} for n in range(3 * dumping.PART)]
    write = dumping._rows
    monkeypatch.setattr(dumping, "_rows", lambda part: (encoded.append(len(part)), write(part))[1])
    dumper = Dumper()
    for more in range(3):
        rows.append({"more": more})
        record = Record(session_id="a", messages=tuple(rows))
        assert dumper.dump(record) == in_one_go(record)
    assert encoded == [*[dumping.PART] * 3, 1, 2, 3]
