"""Feeds as the events of a response, and records as feeds."""

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
from actors.session.endings import cut_short, interrupted
from actors.session.entries import TurnBegan, TurnCancelled, TurnDone, TurnFailed
from actors.session.events import TurnEnded
from actors.session.messages import CreateSession, StartTurn
from actors.session.state import decide, evolve
from actors.session.transcript import cancelled_marker, interrupted_marker
from app.openai_api.events import ResponseEvents
from app.openai_api.items import rows_of_input
from app.openai_api.retold import items_of, retold

TURN = "f" * 32
USED = {"input_tokens": 3, "output_tokens": 2}

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@st.composite
def steps(draw):
    """What an agent emits: thoughts, then words, then tools, again and again. A record does not
    tell of thoughts that come between words.
    """
    events = []
    for n in range(draw(st.integers(1, 3))):
        events += [ReasoningDelta(draw(texts)) for _ in range(draw(st.integers(0, 2)))]
        events += [TextDelta(draw(texts)) for _ in range(draw(st.integers(0, 3)))]
        calls = [f"call_{n}_{m}" for m in range(draw(st.integers(1, 2)))]
        events += [ToolStarted(call, "find", {"n": n}) for call in calls]
        done = draw(st.permutations(calls))
        events += [ToolCompleted(call, draw(texts)) for call in done]
    return events


endings = st.sampled_from(
    [
        (TurnDone(USED),),
        (Warned("length", "Enough."), TurnDone(USED)),
        (TurnCancelled("Cancelled by user"),),
        (interrupted(),),
        (TurnFailed("rate_limit", "Too many requests", "Slow down."),),
    ]
)


def told(entries):
    response = ResponseEvents({"id": f"resp_{TURN}_s"})
    return response, [event for entry in entries for event in response.take(entry)]


@given(steps(), endings)
def test_the_events_build_up_the_response_that_the_last_of_them_carries(spoken, ending):
    response, events = told([TurnBegan("s"), *spoken, *ending, TextDelta("too late")])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert response.ended
    last = events[-1]["response"]
    assert last == response.response
    built = {}
    for event in events:
        kind, at = event["type"], event.get("output_index")
        if kind == "response.output_item.added":
            assert at == len(built)
            built[at] = ""
        elif kind.endswith(".delta"):
            built[at] += event["delta"]
        elif kind in ("response.output_text.done", "response.reasoning_text.done"):
            assert event["text"] == built[at]
        elif kind == "response.output_item.done":
            built[at] = event["item"]
    assert [built[at] for at in range(len(built))] == last["output"]
    for item in last["output"]:
        assert item["status"] != "in_progress"
    said = "".join(e.text for e in spoken if isinstance(e, TextDelta))
    assert said == "".join(
        part["text"] for i in last["output"] if i["type"] == "message" for part in i["content"]
    )


@given(steps(), endings, st.data())
def test_a_stream_is_the_same_from_wherever_it_is_resumed(spoken, ending, data):
    entries = [TurnBegan("s"), *spoken, *ending]
    _, events = told(entries)
    cut = data.draw(st.integers(0, len(entries)))
    response = ResponseEvents({"id": f"resp_{TURN}_s"})
    before = [event for entry in entries[:cut] for event in response.take(entry)]
    assert before == events[: len(before)]  # what came later has not changed what was told


def record_of(spoken, *, marker=None):
    """The record of a turn in which this was emitted."""
    created = evolve(None, decide(None, CreateSession(), 1.0, lambda: "s"))
    command = StartTurn("hello", note={"api": "response"}, turn_id=TURN)
    record = evolve(created, decide(created, command, 2.0, lambda: TURN))
    answer = Answer()
    for event in spoken:
        answer.add(event)
    if marker is not None:
        return evolve(record, cut_short(answer, marker, 3.0, None))
    rows = answer.rows(3.0)
    if rows:
        rows[-1]["_turnUsage"] = USED
        if answer.cut_by:
            rows[-1]["_cutBy"] = answer.cut_by
    return evolve(record, TurnEnded(rows, (), Usage(), 3.0))


@given(steps(), st.sampled_from([(), (Warned("length", "Enough."),)]))
def test_a_record_tells_the_same_response_as_the_feed(spoken, cut):
    spoken = [*spoken, TextDelta("End.")]
    feed, _ = told([TurnBegan("s"), *spoken, *cut, TurnDone(USED)])
    record = record_of([*spoken, *cut])
    response, _ = told(retold(record, TURN))
    assert response.response == feed.response
    items = [placed.item for placed in items_of(record)]
    assert [item["id"] for item in items[1:]] == [item["id"] for item in feed.response["output"]]
    assert items[0]["content"][0]["text"] == "hello"


def test_a_record_tells_how_a_turn_ended_and_what_was_shown():
    spoken = [ReasoningDelta("Hm."), TextDelta("Hal")]
    for marker, status in (
        (cancelled_marker(3.0), "cancelled"),
        (interrupted_marker("process_restart", 3.0), "failed"),
    ):
        record = record_of(spoken, marker=marker)
        response, events = told(retold(record, TURN))
        assert response.response["status"] == status
        assert [item["type"] for item in response.response["output"]] == ["reasoning", "message"]
        assert [placed.item["type"] for placed in items_of(record)] == [
            "message",
            "reasoning",
            "message",
        ]
    assert events[-1]["response"]["error"]["type"] == "interrupted"


@given(steps())
def test_the_output_of_a_response_can_be_handed_back_as_input(spoken):
    spoken = [*spoken, TextDelta("End.")]
    feed, _ = told([TurnBegan("s"), *spoken, TurnDone(USED)])
    rows = rows_of_input(feed.response["output"], 4.0, iter(map(str, range(99))).__next__)
    said = "".join(row["content"] for row in rows if row["role"] == "assistant")
    assert said == "".join(e.text for e in spoken if isinstance(e, TextDelta))
    results = [row["content"] for row in rows if row["role"] == "tool"]
    ended = {e.call_id: e.result for e in spoken if isinstance(e, ToolCompleted)}
    assert results == [ended[e.call_id] for e in spoken if isinstance(e, ToolStarted)]
