"""Whatever the text and whatever is asked, what has the words is found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.search.database import Database
from actors.search.text import Document, folded, preview, terms_of
from actors.stores import RecordInfo

ALPHABET = st.text("aAbB*%_\"\\'-: \n", max_size=12)


@settings(deadline=None)  # sqlite takes what time it takes
@given(st.lists(st.tuples(ALPHABET, st.lists(ALPHABET, max_size=3)), max_size=4), ALPHABET)
def test_all_that_has_the_terms_is_found_and_nothing_else(texts, query):
    database = Database(None)
    database.put(
        (RecordInfo(str(n), n, 0, 0), Document(title, rows, hidden=False))
        for n, (title, rows) in enumerate(texts)
    )
    terms = [term.lower() for term in query.split()]
    expected = {}
    for n, (title, rows) in enumerate(texts):
        if all(term in title.lower() for term in terms):
            expected[str(n)] = "title"
        elif all(any(term in text.lower() for text in (title, *rows)) for term in terms):
            expected[str(n)] = "content"
    if terms:
        hits = database.find(terms_of(query), True, 100)
        assert {hit.session_id: hit.match_type for hit in hits} == expected
    database.close()


@settings(deadline=None)  # sqlite takes what time it takes
@given(st.text(), st.text(), st.text())
def test_any_text_can_be_indexed_and_asked_for(title, row, query):
    database = Database(None)
    database.put([(RecordInfo("a", 1, 1, 1), Document(title, [row], hidden=False))])
    if terms_of(query):
        database.find(terms_of(query), True, 100)
    for term in terms_of(row):
        assert [hit.session_id for hit in database.find([term], True, 100)] == ["a"]
    database.close()


def test_a_preview_is_one_line_around_the_match():
    text = " ".join(f"word{n}" for n in range(100))
    shown = preview(text, ["missing", "WORD50"])
    assert "word50" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert 140 < len(shown) <= 162
    assert shown[1:-1] in text


@pytest.mark.parametrize(
    ("text", "terms", "shown"),
    [
        ("short", ["short"], "short"),
        ("first row\nsecond row", ["second"], "first row second row"),
        ("x" * 200, ["y"], "x" * 160 + "…"),
        ("x" * 200 + "end", ["end"], "…" + "x" * 157 + "end"),
        ("İ" * 200 + "end" + "x" * 200, ["END"], "…" + "İ" * 50 + "end" + "x" * 107 + "…"),
        ("", ["gone"], ""),
    ],
)
def test_a_preview_is_cut_only_where_there_is_more(text, terms, shown):
    assert preview(text, terms) == shown


def test_a_preview_shows_the_first_of_the_matches():
    assert "early" in preview("early " + "x" * 500 + " late", ["late", "early"])


def test_text_is_folded_to_one_clean_line():
    assert folded(" a\0b\r\n\tc\u00a0d\ud800 ") == "a b c d?"
