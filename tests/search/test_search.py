"""The search finds what the records say now."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.search.database import Database
from actors.search.messages import Hit, Search, SearchUnavailable

# -- what is found --------------------------------------------------------------------------


async def test_titles_and_contents_are_found(place, desk):
    place.write("a", "Gardening in winter", "Which plants survive?")
    place.write("b", "Untitled", "hello", "In winter,\n\n  cover the roses.")
    place.write("c", "Cooking", "soup")
    assert await desk.found("winter") == [
        Hit("a", "title", "Gardening in winter"),
        Hit("b", "content", "hello In winter, cover the roses."),
    ]
    assert await desk.found("summer") == []


async def test_a_title_beats_any_content_and_more_matches_beat_fewer(place, desk):
    filler = ["something else entirely"] * 20
    place.write("much", "Untitled", "copper copper copper", *filler)
    place.write("title", "A word on copper", *filler * 10)
    place.write("little", "Untitled", "copper", *filler)
    assert await desk.names("copper") == ["title", "much", "little"]


async def test_a_term_in_the_title_counts_for_more(place, desk):
    place.write("title", "copper", "wire and something else")
    place.write("content", "nickel", "copper wire and something else")
    assert await desk.names("copper wire") == ["title", "content"]


async def test_what_matches_equally_well_comes_newest_first(place, desk):
    for name in ("old", "middle", "new"):
        place.write(name, "Untitled", "copper wire")
    for query in ("copper", "wi"):
        assert await desk.names(query) == ["new", "middle", "old"]


async def test_every_term_must_occur_somewhere(place, desk):
    place.write("both", "red and blue")
    place.write("split", "red", "blue")
    place.write("rows", "Untitled", "the red one", "a blue one")
    place.write("one", "red", "red red red")
    hits = await desk.found("blue red")
    assert {hit.session_id: hit.match_type for hit in hits} == {
        "both": "title",
        "split": "content",
        "rows": "content",
    }
    assert hits[0].session_id == "both"


async def test_without_content_only_titles_are_looked_at(place, desk):
    place.write("title", "copper", "ab")
    place.write("split", "copper", "wire")
    place.write("content", "ab", "copper")
    assert set(await desk.names("copper", content=False)) == {"title", "split"}
    assert await desk.names("copper wire", content=False) == []
    assert await desk.names("ab", content=False) == ["content"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("unbelievable", "believ"),
        ("Straßenbahn", "STRAßEN"),
        ("ПРИВЕТ, мир", "привет"),
        ("ПРИВЕТ, мир", "Ми"),
        ("Élan", "éL"),
        ("\u01c5ungla", "\u01c5"),  # neither lower nor upper case
        ("\u01c5ungla", "\u01c6u"),
        ("caf\u0065\u0301", "café"),
        ("全文検索エンジン", "検索エ"),
        ("全文検索エンジン", "検索"),
        ("全文検索エンジン", "索"),
        ("数据库 和 索引", "索引\u3000数据库"),
        ("안녕하세요", "녕하"),
        ("a🎭b", "🎭"),
        ("C++ and C#", "c#"),
        ("say \u201cno\u201d", "\u201cno\u201d"),
    ],
)
async def test_parts_of_words_are_found_in_any_script_and_case(place, desk, text, query):
    place.write("title", text)
    place.write("content", "Untitled", f"before {text} after")
    place.write("other", "other", "text")
    assert await desk.names(query) == ["title", "content"]


HOSTILE = [
    '"',
    '""',
    'a"b',
    '"a" OR "b"',
    "AND",
    "OR NOT NEAR(a b)",
    "title:x",
    "{title}: x",
    "copper*",
    "^copper",
    "cop%er",
    "%",
    "_",
    "\\",
    "%%%",
    "___",
    "' OR 1=1 --",
    "); DROP TABLE texts; --",
    "?1 :name",
    "\ud800\ud800\ud800",
    "-x +y (z",
]


@pytest.mark.parametrize("query", HOSTILE)
async def test_a_query_is_text_and_nothing_else(place, desk, caplog, query):
    place.write("other", "copper", "cop er, no or not, which title, x 1")
    assert await desk.names("copper") == ["other"]
    assert await desk.names(query) == []
    place.write("literal", "Untitled", f"mind the {query}, please")
    assert await desk.names(query) == ["literal"]
    assert await desk.names(query, content=False) == []
    assert place.reads == 2
    assert caplog.records == []  # nothing was made anew


async def test_nul_separates_and_hides_nothing(place, desk):
    place.write("a", "before\0after", "more\0text\0here")
    for query in ("after", "here", "re", "text\0after\0", "\0here"):
        assert await desk.names(query) == ["a"]


@pytest.mark.parametrize("query", ["", " ", "\t\n\u3000", "\0"])
async def test_a_blank_query_finds_nothing(place, desk, query):
    place.write("a", " ", " ")
    assert await desk.found(query) == []


async def test_a_query_beyond_all_measure_finds_what_its_beginning_finds(place, desk, caplog):
    place.write("a", "Untitled", "x" * 5000)
    place.write("b", "Untitled", "x" * 50)
    assert await desk.names("x" * 100_000) == ["a"]
    assert set(await desk.names("x " * 100_000)) == {"a", "b"}
    assert await desk.names(" ".join(map(chr, range(0x4E00, 0x9000)))) == []
    assert await desk.names(" ".join(f"{n:099}" for n in range(100_000))) == []
    assert caplog.records == []


async def test_no_more_than_the_limit_is_found_the_best_first(place, desk):
    for n in range(4):
        place.write(f"content{n}", "Untitled", "copper copper copper copper")
        place.write(f"title{n}", "copper", *["something else entirely"] * 500)
    every = await desk.names("copper")
    assert [name[:-1] for name in every] == ["title"] * 4 + ["content"] * 4
    for limit in (0, 1, 3, 4, 5, 7, 8, 10**30):
        assert await desk.names("copper", limit=limit) == every[:limit]
    assert await desk.names("copper", limit=-1) == []


# -- keeping up -----------------------------------------------------------------------------


async def test_what_was_added_changed_or_removed_is_found_at_the_next_search(place, desk):
    place.write("a", "copper")
    place.write("b", "copper")
    assert await desk.names("copper") == ["b", "a"]
    place.write("a", "silver")
    place.remove("b")
    place.write("c", "copper")
    assert await desk.names("copper") == ["c"]
    assert await desk.names("silver") == ["a"]
    assert place.reads == 4


async def test_a_record_that_goes_between_being_seen_and_being_read_is_no_trouble(
    place, caplog, open_desk
):
    def scan_shows_what_is_gone(number, name):
        if name == "read":
            place.remove("gone")
        return False

    place.write("gone", "copper")
    place.write("here", "copper")
    place.disk.fail = scan_shows_what_is_gone
    async with open_desk() as desk:
        assert await desk.names("copper") == ["here"]
        assert caplog.records == []


async def test_hidden_sessions_are_not_found_until_they_show(place, desk):
    place.write("a", "copper", hidden=True)
    place.write("b", "copper")
    assert await desk.names("copper") == ["b"]
    assert await desk.names("copper") == ["b"]
    assert place.reads == 2
    place.write("a", "copper")
    place.write("b", "copper", hidden=True)
    assert await desk.names("copper") == ["a"]


async def test_names_that_begin_with_an_underscore_are_no_sessions(place, desk):
    place.write("_index", "copper")
    assert await desk.names("copper") == []
    assert place.reads == 0


async def test_a_damaged_record_is_skipped_until_its_file_changes(
    place, database, caplog, open_desk
):
    place.write("good", "copper")
    place.write_bytes("bad", b"not json, but copper")
    for _ in range(2):  # also by the next process
        async with open_desk(database) as desk:
            assert await desk.names("copper") == ["good"]
            assert await desk.names("copper") == ["good"]
    assert place.reads == 2
    assert [record.getMessage() for record in caplog.records] == [
        "session bad is not searched: bad is damaged"
    ]
    async with open_desk(database) as desk:
        place.write("bad", "copper")
        assert await desk.names("copper") == ["bad", "good"]


async def test_a_record_that_was_damaged_since_is_found_no_more(place, desk):
    place.write("a", "copper")
    assert await desk.names("copper") == ["a"]
    place.write_bytes("a", b"copper")
    assert await desk.names("copper") == []


async def test_a_record_that_cannot_be_read_is_tried_again_when_it_changes(
    place, database, caplog, open_desk
):
    place.write("a", "copper")
    place.write("b", "copper")  # the newer one is read first
    place.disk.fail = lambda number, name: name == "read" and place.reads == 1
    async with open_desk(database) as desk:
        assert await desk.names("copper") == ["a"]
        assert await desk.names("copper") == ["a"]
        assert place.reads == 2
        place.write("b", "copper, again")
        assert await desk.names("copper again") == ["b"]
    assert len(caplog.records) == 1
    assert "session b is not searched" in caplog.text


async def test_a_record_that_could_not_be_read_is_tried_again_by_the_next_process(
    place, database, open_desk
):
    place.write("a", "copper")
    place.disk.fail = lambda number, name: name == "read" and place.reads == 1
    for expected in ([], ["a"]):
        async with open_desk(database) as desk:
            assert await desk.names("copper") == expected


async def test_when_the_records_cannot_be_listed_the_search_says_so(place, desk):
    place.write("a", "copper")
    assert await desk.names("copper") == ["a"]
    place.disk.fail = lambda number, name: name == "scan"
    with pytest.raises(SearchUnavailable):
        await desk.found("copper")
    place.disk.fail = lambda number, name: False
    assert await desk.names("copper") == ["a"]
    assert place.reads == 1


async def test_many_records_are_read_in_batches(place, desk):
    for n in range(450):
        place.write(f"s{n}", "copper")
    assert await desk.names("copper", limit=1000) == [f"s{n}" for n in reversed(range(450))]
    assert place.reads == 450


async def test_what_is_read_at_once_is_bounded_in_number_and_size(place, desk, monkeypatch):
    sizes = []

    def put(database, files, original=Database.put):
        sizes.append(len(files))
        original(database, files)

    monkeypatch.setattr(Database, "put", put)
    monkeypatch.setattr("actors.search.actor.BATCH_FILES", 3)
    monkeypatch.setattr("actors.search.actor.BATCH_BYTES", 1000)
    for n in range(5):
        place.write(f"long{n}", "copper", "x" * 600)
    for n in range(7):
        place.write(f"short{n}", "copper")
    assert len(await desk.names("copper")) == 12
    assert sizes == [3, 3, 3, 2, 1]


# -- when it takes long ---------------------------------------------------------------------


async def test_an_answer_that_comes_too_early_is_completed_in_the_background(
    place, mock_clock, open_desk, slow
):
    for n in range(6):
        place.write(f"s{n}", "copper")
    async with open_desk(through=slow(mock_clock, 2)) as desk:
        for _ in range(3):  # while the background task waits at the gate
            found = await desk.ref.ask(Search("copper"))
            assert [hit.session_id for hit in found.results] == ["s5", "s4"]  # the newest
            assert not found.complete
            assert place.reads == 2


async def test_no_two_catch_ups_run_at_once(place, mock_clock, open_desk, slow):
    for n in range(6):
        place.write(f"s{n}", "copper")
    store = slow(mock_clock, 2)
    async with open_desk(through=store) as desk:
        assert not (await desk.ref.ask(Search("copper"))).complete
        place.write("later", "copper")
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(desk.found, "copper")
            store.gate.set()
        assert await desk.names("copper") == ["later", *(f"s{n}" for n in reversed(range(6)))]
        assert place.reads == 7


async def test_more_than_a_batch_is_read_in_the_background_batch_by_batch(
    place, mock_clock, open_desk, slow
):
    for n in range(450):
        place.write(f"s{n}", "copper")
    async with open_desk(through=slow(mock_clock, -1)) as desk:
        first = await desk.ref.ask(Search("copper", limit=1000))
        assert (len(first.results), first.complete) == (2, False)
        assert len(await desk.found("copper", limit=1000)) == 450
        assert place.reads == 450


async def test_it_is_not_put_away_while_it_catches_up(place, database, mock_clock, open_desk, slow):
    for n in range(4):
        place.write(f"s{n}", "copper")
    store = slow(mock_clock, 2)
    async with open_desk(database, through=store, idle_after=60) as desk:
        assert not (await desk.ref.ask(Search("copper"))).complete
        mock_clock.jump(1000)
        await wait_all_tasks_blocked()
        assert not desk.stopped.is_set()
        store.gate.set()
        await desk.found("copper")
        await wait_all_tasks_blocked()
        mock_clock.jump(1000)
        await desk.stopped.wait()
        assert len(await desk.names("copper")) == 4
        assert place.reads == 4


async def test_to_end_while_it_catches_up_loses_nothing(
    place, database, mock_clock, open_desk, slow
):
    for n in range(4):
        place.write(f"s{n}", "copper")
    async with open_desk(database, through=slow(mock_clock, 2)) as desk:
        assert not (await desk.ref.ask(Search("copper"))).complete
    assert place.reads == 2
    async with open_desk(database) as desk:
        assert len(await desk.names("copper")) == 4
    assert place.reads == 4
