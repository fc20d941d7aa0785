"""What the model sees of a long conversation, and how cutting it brings back what it saw."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.session.context import (
    context_after_cut,
    context_rows,
    estimated_tokens,
    plan_compression,
    summary_request,
    tokens_in_use,
)
from actors.session.dumping import dump
from actors.session.events import Compressed, Cut, TurnEnded
from actors.session.messages import StartTurn
from actors.session.record import Compression, Record, load
from actors.session.state import evolve, start
from actors.session.transcript import error_row, model_input

EMPTY = Record(session_id="a")


def turn(record, n, failed=False):
    started = evolve(record, start(record, StartTurn(f"prompt {n}"), f"{n:032x}", float(n)))
    row = {"role": "assistant", "content": f"answer {n}", "timestamp": float(n)}
    rows = (error_row("Failed", "no answer", float(n)),) if failed else (row,)
    return evolve(started, TurnEnded(rows, (), None, float(n)))


def compressed(record, n, of_turn=None):
    plan = plan_compression(record)
    if plan is None:
        return record
    made = Compression(
        at_row=plan.at_row,
        kept_from=plan.kept_from,
        summary=f"summary {n}",
        at=float(n),
        of_turn=of_turn,
    )
    return evolve(record, Compressed(f"s{n}", made))


def cut(record, keep):
    return evolve(record, Cut(keep, "generation", 0.0))


def seen(record):
    return model_input(context_rows(record))


def talk(turns, record=EMPTY):
    for n in range(turns):
        record = turn(record, n)
    return record


def test_the_model_sees_the_summary_and_the_last_turns_as_they_are():
    record = compressed(talk(4), 1)
    summary, *rest = seen(record)
    assert summary["role"] == "system"
    assert summary["content"].endswith("summary 1")
    contents = [row["content"] for row in rest]
    assert contents == ["prompt 2", "answer 2", "prompt 3", "answer 3"]
    assert len(record.messages) == 8, "nothing of what was said is gone"
    assert record.parent_session_id == record.continues_session_id == "a"
    assert seen(turn(record, 9))[-2:] == [
        {"role": "user", "content": "prompt 9"},
        {"role": "assistant", "content": "answer 9"},
    ]


def test_only_what_is_long_enough_is_summarised():
    assert plan_compression(talk(1)) is None
    assert plan_compression(EMPTY) is None
    assert plan_compression(talk(2)) is not None


def test_the_last_turns_stay_only_as_far_as_they_leave_room():
    record = talk(3)
    assert plan_compression(record, room=100_000).kept_from == 2
    assert plan_compression(record, room=40).kept_from == 4
    assert plan_compression(record, room=1).kept_from == 6


def test_what_is_asked_of_the_model_is_bounded():
    rows = tuple(
        {"role": "user" if n % 2 else "assistant", "content": "x" * 50_000} for n in range(30)
    )
    request = summary_request(plan_compression(msgspec.structs.replace(EMPTY, messages=rows)))
    assert sum(len(row["content"]) for row in request) < 30_000


def test_the_text_of_files_counts_and_is_summarised():
    row = {"role": "user", "content": "Read it."}
    file = {"name": "a.txt", "text": "needle " * 100}
    with_file = {**row, "attachments": [file]}
    assert estimated_tokens([with_file]) > estimated_tokens([row]) + 150
    messages = (with_file, *talk(3).messages)
    plan = plan_compression(msgspec.structs.replace(EMPTY, messages=messages))
    assert "needle" in summary_request(plan)[-1]["content"]


def test_the_size_of_the_next_request_is_what_the_provider_counted_if_it_did():
    record = talk(2)
    assert tokens_in_use(record, "") == estimated_tokens(record.messages)
    counted = msgspec.structs.replace(record, last_prompt_tokens=5000, output_tokens=70)
    assert tokens_in_use(counted, "x" * 30) == 5080


Step = st.one_of(
    st.tuples(st.just("turn"), st.booleans()),
    st.tuples(st.just("compress"), st.booleans()),
    st.tuples(st.just("cut"), st.integers(0, 20)),
)


@given(st.lists(Step, max_size=12), st.booleans())
def test_after_a_cut_the_model_sees_what_it_saw_when_so_much_was_said(steps, foreign):
    """Compared with a session to which only what is left of it ever happened."""
    base = EMPTY
    if foreign:  # a context that the reference system made
        base = msgspec.structs.replace(
            talk(3), context_messages=({"role": "user", "content": "what the other one kept"},)
        )
    record, happened = base, []
    for n, (kind, value) in enumerate(steps, 100):
        before = len(record.messages)
        if kind == "turn":
            record = turn(record, n, failed=value)
            happened.append((before, len(record.messages), turn, (n, value)))
        elif kind == "compress":
            record = compressed(record, n, f"{n:032x}" if value else None)
            holds_from = before + 1 if value else before
            happened.append((before, holds_from, compressed, (n, f"{n:032x}" if value else None)))
            if value:  # the turn that needed it
                record = turn(record, n)
                happened.append((before, len(record.messages), turn, (n,)))
        else:
            starts = [len(base.messages), *(was for was, _, step, _ in happened if step is turn)]
            keep = min(starts, key=lambda at: abs(at - value))
            record = cut(record, keep)
            happened = [step for step in happened if step[1] <= keep]
    again = base
    for _, _, step, arguments in happened:
        again = step(again, *arguments)
    assert record.messages == again.messages
    assert seen(record) == seen(again)
    assert load(record.session_id, dump(record)) == record


def test_a_context_of_the_reference_system_is_cut_as_far_as_it_is_the_same():
    kept = ({"role": "user", "content": "kept by the other one"},)
    record = msgspec.structs.replace(talk(3), context_messages=kept)
    record = turn(turn(record, 7), 8, failed=True)
    fields = context_after_cut(record, 8)
    assert [row["content"] for row in fields["context_messages"]] == [
        "kept by the other one",
        "prompt 7",
        "answer 7",
    ]
    assert context_after_cut(record, 2)["context_messages"] == kept
