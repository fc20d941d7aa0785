"""What is legal when, and what it changes."""

from contextlib import suppress
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Rejected
from actors.session.agent import Usage
from actors.session.amendments import common
from actors.session.context import tokens_in_use
from actors.session.dumping import dump
from actors.session.events import TurnEnded
from actors.session.messages import (
    Archive,
    Assign,
    Checkpoint,
    Clear,
    CreateSession,
    DeleteIfEmpty,
    DeleteSession,
    EditWaiting,
    Pin,
    Regenerate,
    RemoveLastTurn,
    RemoveWaiting,
    Rename,
    SaveDraft,
    StartTurn,
    Truncate,
    UpdateSession,
)
from actors.session.record import Record, load
from actors.session.refusals import (
    BlankMessage,
    NothingToRemove,
    SessionExists,
    SessionNotFound,
    StaleRevision,
    TurnRunning,
)
from actors.session.state import LEGAL, Phase, decide, evolve, phase_of
from actors.session.transcript import cancelled_marker, error_row, revision

COMMANDS = [
    CreateSession(),
    StartTurn("hello"),
    RemoveLastTurn(),
    Rename("Mine"),
    Pin(True),
    Archive(True),
    UpdateSession({"model": "m"}),
    SaveDraft({"text": "x"}),
    Assign("p"),
    Truncate(1),
    Clear(),
    Regenerate("the revision of what is there"),
    EditWaiting("w", "x"),
    RemoveWaiting("w"),
    DeleteIfEmpty(),
    DeleteSession(),
    Checkpoint("t"),
]
IDLE = Record(session_id="a1", created_at=1.0, updated_at=1.0)


COUNTER = count()


def new_id():
    return f"{next(COUNTER):032x}"


def after(record, command, now=10.0):
    return evolve(record, decide(record, command, now, new_id))


def running(prompt="hello", record=IDLE):
    return after(record, StartTurn(prompt))


def said(record, prompt, answer, at):
    """The record after a whole turn."""
    started = after(record, StartTurn(prompt), at)
    row = {"role": "assistant", "content": answer, "timestamp": at}
    return evolve(started, TurnEnded((row,), (), None, at))


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
def test_the_table_of_the_legal_is_what_decide_does(phase, command):
    idle = said(
        msgspec.structs.replace(IDLE, waiting=({"id": "w", "message": "m"},)), "a", "b", 2.0
    )
    record = {Phase.ABSENT: None, Phase.IDLE: idle, Phase.RUNNING: running(record=idle)}[phase]
    assert phase_of(record) is phase
    if isinstance(command, Regenerate):
        command = Regenerate(revision(idle))
    before = None if record is None else dump(record)
    if type(command) in LEGAL[phase]:
        decide(record, command, 10.0, new_id)
    else:
        with pytest.raises(Rejected):
            decide(record, command, 10.0, new_id)
    assert (None if record is None else dump(record)) == before


def test_a_start_makes_the_prompt_part_of_the_record_and_gives_a_title_for_the_time_being():
    record = running("  Fix \n the   tests " + "x" * 80)
    assert record.pending_user_message == "  Fix \n the   tests " + "x" * 80
    assert record.pending_started_at == record.updated_at == 10.0
    assert record.title == ("Fix the tests " + "x" * 80)[:64]
    assert record.messages == ()


def test_of_two_starts_the_second_is_told_which_turn_runs():
    record = running()
    with pytest.raises(TurnRunning) as refusal:
        decide(record, StartTurn("again"), 11.0, new_id)
    assert refusal.value.turn_id == record.active_stream_id


@pytest.mark.parametrize("record", [IDLE, running()], ids=["idle", "running"])
def test_a_blank_prompt_is_refused_as_blank_whatever_else_is_wrong(record):
    with pytest.raises(BlankMessage):
        decide(record, StartTurn(" \n\t"), 11.0, new_id)


def test_what_is_not_there_is_not_found_but_may_be_deleted():
    with pytest.raises(SessionNotFound):
        decide(None, Rename("x"), 1.0, new_id)
    assert after(None, DeleteSession()) is None


def test_an_existing_session_is_not_created_again():
    with pytest.raises(SessionExists):
        decide(IDLE, CreateSession(), 1.0, new_id)


def test_every_end_moves_the_prompt_into_the_transcript_once_and_clears_the_turn():
    started = after(IDLE, StartTurn("hello", attachments=({"name": "a.txt"},)), 5.0)
    for rows in ((), (cancelled_marker(7.0),), (error_row("E", "m", 7.0),)):
        ended = evolve(started, TurnEnded(rows, (), None, 7.0))
        assert [row["role"] for row in ended.messages] == ["user", *["assistant"] * len(rows)]
        assert ended.messages[0]["timestamp"] == 5.0
        assert ended.messages[0]["attachments"] == [{"name": "a.txt"}]
        assert not ended.busy
        assert ended.pending_attachments == ()
        assert ended.pending_started_at is None
        again = evolve(ended, TurnEnded((), (), None, 8.0))
        assert again.messages == ended.messages


def test_an_answer_is_made_again_only_for_the_transcript_that_was_meant():
    record = said(said(IDLE, "a", "b", 2.0), "c", "d", 3.0)
    meant = revision(record)
    again = after(record, Regenerate(meant))
    assert again.pending_user_message == "c"
    assert [row["content"] for row in again.messages] == ["a", "b"]
    for other in (said(record, "e", "f", 4.0), after(record, RemoveLastTurn())):
        before = dump(other)
        with pytest.raises(StaleRevision):
            after(other, Regenerate(meant))
        assert dump(other) == before
    with pytest.raises(NothingToRemove):
        after(IDLE, Regenerate(revision(IDLE)))


def test_the_same_prompt_twice_is_two_rows():
    record = said(said(IDLE, "hello", "one", 2.0), "hello", "two", 3.0)
    assert [row["content"] for row in record.messages] == ["hello", "one", "hello", "two"]


def test_a_prompt_that_is_in_the_transcript_already_is_known_by_its_turn_not_by_its_text():
    started = running("hello")
    token = {"_active_turn_token": f"{started.active_stream_id}:10.0"}
    eager = {"role": "user", "content": "edited since", **token}
    early = msgspec.structs.replace(started, messages=(eager,))
    assert evolve(early, TurnEnded((), (), None, 11.0)).messages == (eager,)


def test_the_end_of_a_turn_reverts_nothing_that_was_changed_during_it():
    record = running()
    for command in (Rename("Mine"), Pin(True), Archive(True), UpdateSession({"model": "other"})):
        record = after(record, command, 11.0)
    ended = evolve(record, TurnEnded((), (), None, 12.0))
    assert (ended.title, ended.pinned, ended.archived, ended.model) == ("Mine", True, True, "other")


def test_the_end_of_a_turn_only_adds_to_the_transcript():
    first = said(IDLE, "one", "1", 1.0)
    second = said(first, "two", "2", 2.0)
    assert common(first.messages, second.messages) == len(first.messages) > 0


def test_removing_takes_exactly_the_last_prompt_and_what_came_after_it():
    record = said(said(IDLE, "one", "1", 2.0), "two", "2", 3.0)
    once = after(record, RemoveLastTurn())
    assert [row["content"] for row in once.messages] == ["one", "1"]
    assert once.truncation_watermark == 2.0
    twice = after(once, RemoveLastTurn())
    assert twice.messages == ()
    assert twice.truncation_watermark == 0.0
    with pytest.raises(NothingToRemove):
        decide(twice, RemoveLastTurn(), 10.0, new_id)


@pytest.mark.parametrize(
    ("given_title", "kept", "manual"),
    [
        ("  Mine  ", "Mine", True),
        ("x" * 90, "x" * 80, True),
        ("   ", "Untitled", False),
        ("New Chat", "New Chat", False),
    ],
)
def test_a_rename_is_cut_and_marks_the_title_as_the_users(given_title, kept, manual):
    record = after(IDLE, Rename(given_title))
    assert (record.title, record.manual_title) == (kept, manual)


def test_a_manual_title_is_not_overwritten_by_the_first_prompt():
    record = after(after(IDLE, Rename("Mine")), StartTurn("hello"))
    assert record.title == "Mine"


@pytest.mark.parametrize("command", [Archive(True), SaveDraft({"text": "x"})])
def test_what_is_no_activity_does_not_move_the_session_in_the_list(command):
    assert after(IDLE, command).updated_at == IDLE.updated_at


def test_the_latest_usage_stands_and_silence_changes_nothing():
    first = evolve(running(), TurnEnded((), (), Usage(10, 5, 3, 0, 0.5), 2.0))
    second = evolve(running(record=first), TurnEnded((), (), None, 3.0))
    assert (second.input_tokens, second.output_tokens, second.estimated_cost) == (10, 5, 0.5)
    third = evolve(running(record=second), TurnEnded((), (), Usage(7, 0), 4.0))
    assert (third.input_tokens, third.output_tokens, third.estimated_cost) == (7, 5, 0.5)
    assert not third.usage_estimated


def ended(record, usage):
    """The tokens, the mark and how much the model has before it, after a turn with this usage."""
    record = evolve(running(record=record), TurnEnded((), (), usage, 2.0))
    tokens = (record.input_tokens, record.output_tokens)
    return record, tokens, record.usage_estimated, tokens_in_use(record, "")


GUESS = Usage(40, 0, estimated=True)


def test_counted_and_estimated_tokens_never_stand_side_by_side():
    counted, *_ = ended(IDLE, Usage(500, 50, 30, 20, 0.5))
    guessed, tokens, marked, in_use = ended(counted, GUESS)
    assert (tokens, marked, in_use) == ((40, 0), True, 550)
    kept = (guessed.cache_read_tokens, guessed.cache_write_tokens, guessed.estimated_cost)
    assert kept == (30, 20, 0.5)
    again, tokens, marked, in_use = ended(guessed, Usage(60, 6, estimated=True))
    assert (tokens, marked, in_use) == ((60, 6), True, 556)
    for usage in (None, Usage(), Usage(cost=0.7)):
        silent, tokens, marked, in_use = ended(again, usage)
        assert (tokens, marked, in_use) == ((60, 6), True, 556)
    assert silent.estimated_cost == 0.7
    _, tokens, marked, in_use = ended(again, Usage(700, 0))
    assert (tokens, marked, in_use) == ((700, 0), False, 700)
    first, tokens, marked, _ = ended(IDLE, GUESS)
    assert (tokens, marked, first.last_prompt_tokens) == ((40, 0), True, None)


@given(st.lists(st.sampled_from([*COMMANDS, "end"]), max_size=12))
def test_any_sequence_folds_or_is_refused_and_what_is_saved_is_what_stands(commands):
    record = IDLE
    for now, command in enumerate(commands):
        if command == "end":
            if record is not None and record.busy:
                record = evolve(record, TurnEnded((), (), None, float(now)))
            continue
        with suppress(Rejected):
            record = evolve(record, decide(record, command, float(now), new_id))
        if record is not None:
            assert load(record.session_id, dump(record)) == record
            if record.active_stream_id is None:
                assert record.pending_user_message is None
                assert record.pending_attachments == ()
                assert record.pending_started_at is None
