"""The inspector over HTTP: what it tells, what it does not, and that it leaves nothing behind."""

import json

import httpx
import pytest
import trio

from actors import Actor, Kind, Message, RestartPolicy, open_system
from app import vitals
from app.past import past_turns
from tests.app.upstream import open_upstream
from tests.contract.house import House

EVENTS = "/api/inspector/events"


@pytest.fixture
async def house(tmp_path):
    async with open_upstream() as upstream:
        yield House(tmp_path / "data", upstream)


async def until(events, wanted):
    """All events up to the first for which `wanted` holds."""
    seen = []
    with trio.fail_after(30):
        async for name, data in events:
            seen.append((name, data))
            if wanted(name, data):
                return seen
    raise AssertionError(f"the stream ended after {seen}")


def actors_of(snapshot, kind):
    return next((one["actors"] for one in snapshot["kinds"] if one["name"] == kind), [])


async def why(client, session_id):
    return await client.get("/api/inspector/session", session_id=session_id)


async def test_a_snapshot_has_every_live_actor_and_how_fast_it_all_goes(house):
    async with house.up() as client:
        first = await client.get("/api/inspector")
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "a secret question")
        await turn.say("a secret answer")
        await house.shown(stream_id, "a secret answer")
        now = await client.get("/api/inspector")
        (actor,) = actors_of(now, "session")
        assert actor["key"] == session_id
        assert actor["state"] == "running"
        assert actor["tasks"] == {"Turns._work": 1}
        assert actor["turn"]["stream_id"] == stream_id
        assert actor["turn"]["entries"] == 2
        assert actor["restarts"] == 0
        assert now["turns"] == {"running": 1, "open": 1}
        assert now["messages"] > first["messages"]
        for name in ("records", "journal", "lag"):
            assert now[name]["count"] > 0
            assert now[name]["total"] >= now[name]["longest"] > 0
        await turn.finish()
        await client.events(stream_id)


async def test_nothing_that_was_said_is_told_but_the_title(house):
    async with house.up() as client:
        session_id = await client.new()
        await client.post("/api/session/rename", session_id=session_id, title="Mine")
        async with house.listening(EVENTS, session_id=session_id) as events:
            await until(events, lambda name, _: name == "session")
            await house.answer_from("an xyzzy answer", session_id, "an xyzzy question")
            seen = await until(events, lambda name, data: name == "session" and not data["busy"])
        told = json.dumps([seen, await why(client, session_id), await client.get("/api/inspector")])
        assert "Mine" in told
        assert "TextDelta" in told
        assert "xyzzy" not in told


async def test_a_watched_session_tells_its_story_from_command_to_shown(house):
    async with house.up() as client:
        session_id = await client.new()
        async with house.listening(EVENTS, session_id=session_id) as events:
            await until(events, lambda name, _: name == "session")
            stream_id = await house.answer_from("yes", session_id, "well?")

            def ended(name, data):
                facts = data["facts"] if name == "story" else ()
                return any("StreamEnded" in fact.get("name", "") for fact in facts)

            seen = await until(events, ended)
        facts = [fact for name, data in seen if name == "story" for fact in data["facts"]]
        start = next(fact["line"] for fact in facts if fact.get("name") == "StartTurn")
        steps = [fact["step"] for fact in facts if fact["line"] == start]
        assert steps == ["command", "event", "durable", "shown"]
        entries = [fact for fact in facts if fact.get("stream_id") == stream_id]
        assert entries[0]["first"] == 1
        assert entries[0]["name"] == "TurnBegan"
        others = {name for name, _ in seen}
        assert others <= {"snapshot", "session", "story"}


async def test_why_is_this_chat_busy(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "slowly")
        said = await why(client, session_id)
        assert said["busy"]
        assert said["why"][0].endswith("it has not said anything yet.")
        assert said["past"][0]["ended"] == "running"
        await turn.say("a word")
        await house.shown(stream_id, "a word")
        waits = await house.start(session_id, "and then?", if_busy="queue")
        said = await why(client, session_id)
        assert "the last words came" in said["why"][0]
        assert "1 message waits for a turn." in said["why"]
        await turn.finish()
        second = await house.upstream.next_turn()
        await second.answer("then this")
        await client.events(waits.json()["stream_id"])
        said = await why(client, session_id)
        assert said["why"] == ["Idle."]
        assert [turn["ended"] for turn in said["past"]] == ["answered"] * 2
        assert said["past"][1]["stream_id"] == stream_id
        assert said["past"][1]["entries"]["TextDelta"] == 1
        assert said["past"][1]["output_tokens"] == 3


async def test_a_session_that_was_put_away_is_idle_and_its_turns_are_on_disk(house):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("yes", session_id, "well?")
        assert await house.server.stop() == 0  # after a kill it may have been woken to mend itself
    async with house.up() as client:
        async with house.listening(EVENTS, session_id=session_id) as events:
            seen = await until(events, lambda name, _: name == "session")
        assert seen[-1][1]["why"] == ["Idle, and put away: it is not in memory."]
        assert seen[-1][1]["actor"] is None
        assert actors_of(await client.get("/api/inspector"), "session") == []
        assert [turn["ended"] for turn in (await why(client, session_id))["past"]] == ["answered"]


@pytest.mark.parametrize("session_id", ["nobody", "../secret", "a b"])
async def test_of_a_session_that_is_not_there_nothing_is_told(house, session_id):
    async with house.up() as client:
        http = client.http
        path = "/api/inspector/session"
        assert (await http.get(path, params={"session_id": session_id})).status_code == 404
        assert (await http.get(path)).status_code == 400
        assert actors_of(await client.get("/api/inspector"), "session") == []


async def test_the_stream_ends_with_the_server(house):
    async with house.up(), house.listening(EVENTS) as events:
        await until(events, lambda name, _: name == "snapshot")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.server.stop)
            with trio.fail_after(30):
                try:
                    async for _ in events:
                        pass
                except httpx.RemoteProtocolError:
                    pytest.fail("it was cut")


async def test_the_page_and_its_files_are_served_under_our_policy(house, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("<p>another client's page")
    async with house.up(PAGE_DIR=str(other)) as client:
        assert "another client" in (await client.http.get("/")).text
        for path in ("/inspector", "/inspector/static/inspector/inspector.js"):
            response = await client.http.get(path)
            assert response.status_code == 200
            assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        page = (await client.http.get("/inspector")).text
        assert "style=" not in page
        assert "<script>" not in page
        assert (await client.http.get("/inspector/static/../page.py")).status_code == 404


# -- the busiest first --------------------------------------------------------------------------


class Wait(Message[None]):
    pass


class Crash(Message[None]):
    pass


class Waiter(Actor):
    def __init__(self, gate):
        self.gate = gate

    async def receive(self, message):
        if isinstance(message, Crash):
            raise ValueError("boom")
        await self.gate.wait()


async def test_of_a_thousand_actors_the_busiest_are_shown_and_the_rest_is_counted(monkeypatch):
    gate = trio.Event()
    kind = Kind("waiter", lambda _: Waiter(gate), restart=RestartPolicy())
    async with open_system(kind) as system:
        for n in range(1000):
            system.ref("waiter", f"{n:04}").tell(Crash() if n == 700 else Wait())
        for _ in range(3):
            system.ref("waiter", "0500").tell(Wait())
        await trio.testing.wait_all_tasks_blocked()
        cells = vitals._ranked(system.statistics().cells)
        shown = vitals._kind("waiter", cells, cells[:30], {}, {})
        assert shown["live"] == 1000
        assert shown["folded"] == 970
        assert shown["restarts"] == 1
        assert shown["waiting"] == 3
        assert shown["actors"][0]["key"] == "0500"
        assert shown["actors"][0]["depth"] == 3
        assert [actor["key"] for actor in shown["actors"][1:4]] == ["0999", "0998", "0997"]
        assert len(shown["actors"]) == 30
        assert system.statistics().handled == 1000
        gate.set()


def test_the_turns_of_a_record_say_how_they_ended_and_nothing_else():
    from actors.session.record import Record
    from actors.session.transcript import (
        cancelled_marker,
        error_row,
        interrupted_marker,
        user_row,
    )

    answer = {"role": "assistant", "content": "xyzzy", "_turnDuration": 1.5}
    answer["_turnUsage"] = {"input_tokens": 3, "output_tokens": 4}
    rows = (
        {"role": "assistant", "content": "xyzzy of no turn"},
        *(user_row("xyzzy", (), 1.0, "t1"), {"role": "tool", "content": "xyzzy"}, answer),
        *(user_row("xyzzy", (), 2.0, "t2"), cancelled_marker(2.5)),
        *(user_row("xyzzy", (), 3.0, None), interrupted_marker("process_restart", 3.5)),
        *(user_row("xyzzy", (), 4.0, "t4"), error_row("Too many requests", "xyzzy", 4.5)),
        user_row("xyzzy", (), 5.0, "t5"),
    )
    turns = past_turns(Record(session_id="s", messages=rows))
    assert [turn["stream_id"] for turn in turns] == ["t1", "t2", None, "t4", "t5"]
    assert [turn["ended"] for turn in turns] == [
        *("answered", "stopped", "interrupted", "failed", "without an answer")
    ]
    assert (turns[0]["seconds"], turns[0]["tools"], turns[0]["output_tokens"]) == (1.5, 1, 4)
    assert "xyzzy" not in json.dumps(turns)
