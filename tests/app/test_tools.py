"""Tools through the whole server: real MCP servers and a scripted model, killed and cancelled."""

import json
from contextlib import aclosing

import pytest
import trio

from app.cli import main
from tests.app.tools.servers import TIME, faults
from tests.app.upstream import open_upstream
from tests.contract.house import House, contents

pytestmark = pytest.mark.process


@pytest.fixture
async def house(tmp_path):
    async with open_upstream() as upstream:
        yield ToolHouse(tmp_path, upstream)


class ToolHouse(House):
    """A house whose agent has the time, and tools that fail."""

    def __init__(self, tmp_path, upstream):
        super().__init__(tmp_path / "data", upstream)
        self.notes = tmp_path / "notes"
        self.config = tmp_path / "mcp.json"
        self.tools(f=faults(approval="allow", tools={"note": "ask"}))

    def tools(self, **servers):
        self.config.write_text(json.dumps({"mcpServers": servers}))

    def up(self, **env):
        return super().up(MCP_CONFIG=str(self.config), **env)

    def noted(self):
        return self.notes.read_text().split("\n")[:-1] if self.notes.exists() else []

    async def calls(self, name, session_id=None, prompt="go", **arguments):
        """A turn whose model asks for this call: (session's id, stream's id)."""
        session_id = session_id or await self.client.new()
        stream_id, turn = await self.talk(session_id, prompt)
        await call(turn, name, **arguments)
        return session_id, stream_id

    async def note(self, text="one", **more):
        return await self.calls("f__note", file=str(self.notes), text=text, **more)

    async def until(self, stream_id, name):
        """The first event of this name."""
        with trio.fail_after(60):
            async with aclosing(self.client.follow(stream_id)) as events:
                async for event in events:
                    if event.name == name:
                        return event.data
        raise AssertionError(f"there was no {name}")

    async def respond(self, session_id, approval_id, choice):
        body = {"session_id": session_id, "approval_id": approval_id, "choice": choice}
        return await self.client.http.post("/api/approval/respond", json=body)

    async def wait_noted(self, text):
        with trio.fail_after(60):
            while True:
                if text in self.noted():
                    return
                await trio.sleep(0.02)  # another process writes it


async def call(turn, name, **arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    deltas = [{"index": 0, "id": "c1", "type": "function", "function": function}]
    await turn.chunk({"choices": [{"delta": {"tool_calls": deltas}}]})
    await turn.finish()


async def test_a_tool_of_a_real_server_is_allowed_called_and_told(house):
    house.tools(time=TIME)
    async with house.up() as client:
        session_id, stream_id = await house.calls(
            "time__get_current_time", timezone="Europe/Berlin", prompt="What time is it?"
        )
        asked = await house.until(stream_id, "approval")
        assert asked["args"] == {"timezone": "Europe/Berlin"}
        assert "Europe/Berlin" in asked["command"]
        pending = await client.get("/api/approval/pending", session_id=session_id)
        assert pending["pending"]["approval_id"] == asked["approval_id"]
        assert pending["pending_count"] == 1
        (row,) = (await client.get("/api/tab/sessions"))["sessions"]
        assert row["approval_count"] == 1
        assert (await client.session(session_id))["approvals"] == [pending["pending"]]
        answer = await house.respond(session_id, asked["approval_id"], "once")
        assert answer.json() == {"ok": True, "choice": "once"}
        turn = await house.upstream.next_turn()
        result = json.loads(turn.request["messages"][-1]["content"])
        assert result["timezone"] == "Europe/Berlin"
        await turn.answer("It is late.")
        names = [event.name for event in await client.events(stream_id)]
        assert names.index("approval") < names.index("approval_resolved") < names.index("tool")
        assert names.index("tool") < names.index("tool_complete") < names.index("done")
        session = await client.session(session_id)
        assert [row["role"] for row in session["messages"]] == [
            *("user", "assistant", "tool", "assistant"),
        ]
        assert session["approvals"] == session["grants"] == []
        (row,) = (await client.get("/api/tab/sessions"))["sessions"]
        assert "approval_count" not in row
        # The model sees all of it in the next turn.
        _, turn = await house.talk(session_id, "Thanks")
        roles = [message["role"] for message in turn.request["messages"]]
        assert roles[1:4] == ["assistant", "tool", "assistant"]
        await turn.answer("Welcome.")


async def test_the_second_answer_is_told_what_the_first_was(house):
    async with house.up() as client:
        session_id, stream_id = await house.note()
        asked = await house.until(stream_id, "approval")
        for body, status in (
            ({"choice": "perhaps"}, 400),
            ({"choice": "once", "approval_id": "no-such"}, 404),
            ({"choice": "once", "approval_id": ""}, 400),
        ):
            body = {"session_id": session_id, "approval_id": asked["approval_id"], **body}
            response = await client.http.post("/api/approval/respond", json=body)
            assert response.status_code == status, response.text
        assert house.noted() == []
        answers = []

        async def answer(choice):
            answers.append(await house.respond(session_id, asked["approval_id"], choice))

        async with trio.open_nursery() as nursery:
            for choice in ("once", "always", "deny"):
                nursery.start_soon(answer, choice)
        first = [answer for answer in answers if answer.status_code == 200]
        late = [answer for answer in answers if answer.status_code == 409]
        assert (len(first), len(late)) == (1, 2)
        chosen = {"always": "session"}.get(first[0].json()["choice"], first[0].json()["choice"])
        assert {answer.json()["answered"] for answer in late} == {chosen}
        assert "answered already" in late[0].json()["error"]
        await (await house.upstream.next_turn()).answer("ok")
        await client.events(stream_id)
        assert len(house.noted()) == (chosen != "deny")


async def test_always_holds_for_the_session_until_it_is_taken_back(house):
    async with house.up() as client:
        session_id, stream_id = await house.note("first")
        asked = await house.until(stream_id, "approval")
        await house.respond(session_id, asked["approval_id"], "always")
        await (await house.upstream.next_turn()).answer("ok")
        await client.events(stream_id)
    async with house.up() as client:  # also after a kill -9
        assert [g["tool"] for g in (await client.session(session_id))["grants"]] == ["f__note"]
        await house.note("second", session_id=session_id)
        await (await house.upstream.next_turn()).answer("ok")
        assert house.noted() == ["first", "second"]
        _, stream_id = await house.note("third")  # in another session it is asked for
        await house.until(stream_id, "approval")
        await client.cancel(stream_id)
        revoked = await client.post("/api/approval/revoke", session_id=session_id, tool="f__note")
        assert revoked == {"ok": True, "grants": []}
        _, stream_id = await house.note("fourth", session_id=session_id)
        await house.until(stream_id, "approval")
        assert house.noted() == ["first", "second"]


async def test_what_is_allowed_of_one_server_is_asked_for_of_another_of_that_name(house):
    house.tools(**{"a b": faults()})
    async with house.up():
        session_id, stream_id = await house.calls("a_b__pid")
        asked = await house.until(stream_id, "approval")
        await house.respond(session_id, asked["approval_id"], "always")
        await (await house.upstream.next_turn()).answer("ok")
        await house.client.events(stream_id)
        (grant,) = (await house.client.session(session_id))["grants"]
        assert (grant["server"], grant["tool"]) == ("a b", "a_b__pid")
    house.tools(a_b=faults())  # the model knows it by the same name
    async with house.up():
        _, stream_id = await house.calls("a_b__pid", session_id=session_id)
        await house.until(stream_id, "approval")


async def test_what_nobody_answers_is_denied_in_time(house):
    async with house.up(APPROVAL_SECONDS="1") as client:
        session_id, stream_id = await house.note()
        turn = await house.upstream.next_turn()
        assert "nobody allowed it in time" in turn.request["messages"][-1]["content"]
        await turn.answer("Then not.")
        events = await client.events(stream_id)
        (ended,) = [e.data for e in events if e.name == "approval_resolved"]
        assert ended["choice"] == "expired"
        late = await house.respond(session_id, ended["approval_id"], "once")
        assert (late.status_code, late.json()["answered"]) == (409, "expired")
        assert house.noted() == []


# -- kill -9 ---------------------------------------------------------------------------------------


async def check_restarted(house, session_id, asked, runs):
    """The turn is interrupted, nothing waits, nothing runs by itself, and the session works."""
    async with house.up() as client:
        session = await client.session(session_id)
        assert contents(session["messages"])[-1] == ("marker", "interrupted")
        assert session["approvals"] == []
        assert session["active_stream_id"] is None
        pending = await client.get("/api/approval/pending", session_id=session_id)
        assert pending == {"pending": None, "pending_count": 0}
        late = await house.respond(session_id, asked["approval_id"], "once")
        assert late.status_code == 409
        stream_id, turn = await house.talk(session_id, "And now?")
        await turn.answer("Now it is well.")
        await client.events(stream_id)
        assert house.noted() == runs, "nothing is ever run by itself"
        cards = [card for row in session["messages"] for card in row.get("_partial_tool_calls", [])]
        return cards, late.json()["answered"]


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_ended_while_it_waits_for_an_answer(house, end):
    async with house.up():
        session_id, stream_id = await house.note()
        asked = await house.until(stream_id, "approval")
        if end == "kill":
            await house.kill()
        else:
            assert await house.server.stop() == 0
    (card,), answered = await check_restarted(house, session_id, asked, [])
    assert answered == "interrupted"
    assert card["not_run"]
    assert "nobody had allowed it" in card["snippet"]


async def test_killed_right_after_the_answer(house):
    async with house.up():
        session_id, stream_id = await house.note()
        asked = await house.until(stream_id, "approval")
        assert (await house.respond(session_id, asked["approval_id"], "once")).status_code == 200
        await house.kill()
    runs = house.noted()
    (card,), answered = await check_restarted(house, session_id, asked, runs)
    assert answered == "once"
    if card.get("not_run"):
        assert runs == []
        assert "allowed, but not run" in card["snippet"]


async def test_killed_while_it_waits_for_a_place_again(house):
    async with house.up(LIMITS="running=1") as client:
        session_id, stream_id = await house.note()
        asked = await house.until(stream_id, "approval")
        other = await client.new()
        _, turn = await house.talk(other, "Meanwhile")  # it has the place
        assert (await house.respond(session_id, asked["approval_id"], "once")).status_code == 200
        assert (await house.until(stream_id, "warning"))["type"] == "waiting"
        await turn.say("one ")
        await house.kill()
    (card,), answered = await check_restarted(house, session_id, asked, [])
    assert (answered, card["not_run"]) == ("once", True)
    assert "allowed, but not run" in card["snippet"]


async def test_killed_while_the_tool_runs(house):
    async with house.up():
        session_id, _ = await house.calls("f__hang", file=str(house.notes))
        await house.wait_noted("began")
        await house.kill()
    async with house.up() as client:
        rows = (await client.session(session_id))["messages"]
        (card,) = rows[1]["_partial_tool_calls"]
        assert (card["done"], card.get("not_run")) == (False, None)
        assert house.noted().count("began") == 1


async def test_killed_between_the_tool_and_the_model(house):
    async with house.up():
        session_id, stream_id = await house.note()
        asked = await house.until(stream_id, "approval")
        await house.respond(session_id, asked["approval_id"], "once")
        await house.until(stream_id, "tool_complete")
        await house.upstream.next_turn()
        await house.kill()
    (card,), _ = await check_restarted(house, session_id, asked, ["one"])
    assert (card["snippet"], card.get("done")) == ("noted one", None)


# -- cancel ----------------------------------------------------------------------------------------


async def test_cancelling_a_turn_closes_what_it_had_asked_for(house):
    async with house.up() as client:
        session_id, stream_id = await house.note()
        asked = await house.until(stream_id, "approval")
        assert await client.cancel(stream_id)
        assert (await client.events(stream_id))[-1].name == "cancel"
        late = await house.respond(session_id, asked["approval_id"], "once")
        assert (late.status_code, late.json()["answered"]) == (409, "cancelled")
        assert (await client.session(session_id))["approvals"] == []
        assert house.noted() == []


async def test_cancelling_a_turn_cancels_its_tools(house):
    async with house.up() as client:
        session_id, stream_id = await house.calls("f__hang", file=str(house.notes))
        await house.wait_noted("began")
        assert await client.cancel(stream_id)
        assert (await client.events(stream_id))[-1].name == "cancel"
        await house.wait_noted("cancelled")
        # The server lives on, and answers the next call.
        _, stream_id = await house.calls("f__pid", session_id=session_id)
        turn = await house.upstream.next_turn()
        assert turn.request["messages"][-1]["content"].isdigit()
        await turn.answer("ok")
        await client.events(stream_id)


async def test_a_tool_that_dies_is_told_and_the_server_exits_in_good_time(house):
    async with house.up() as client:
        session_id, stream_id = await house.calls("f__die", file=str(house.notes))
        turn = await house.upstream.next_turn()
        assert "not known" in turn.request["messages"][-1]["content"]
        await turn.answer("It died.")
        (ended,) = [e for e in await client.events(stream_id) if e.name == "tool_complete"]
        assert ended.data["is_error"]
        assert house.noted() == ["dying"]
        await house.calls("f__hang", session_id=session_id, file=str(house.notes))
        await house.wait_noted("began")
        assert await house.server.stop() == 0
    assert "Traceback" not in house.server.stderr


# -- more than the model can read ------------------------------------------------------------------


def holds(characters):
    return lambda request: sum(len(row["content"]) for row in request["messages"]) < characters


async def test_results_that_do_not_fit_are_shortened_for_the_model(house):
    house.upstream.fits = holds(10_000)
    async with house.up() as client:
        session_id, stream_id = await house.calls("f__flood", characters=50_000)
        turn = await house.upstream.next_turn()
        seen = turn.request["messages"][-1]["content"]
        assert "characters of the result left out" in seen
        assert len(seen) < 2500
        await turn.answer("So long.")
        events = await client.events(stream_id)
        (warned,) = [event.data for event in events if event.name == "warning"]
        assert warned["type"] == "context_length"
        (kept,) = [r for r in (await client.session(session_id))["messages"] if r["role"] == "tool"]
        assert len(kept["content"]) > 20_000
        # So it is in the next turn.
        stream_id, turn = await house.talk(session_id, "And?")
        assert [m["role"] for m in turn.request["messages"]][1:4] == [
            *("assistant", "tool", "assistant")
        ]
        await turn.answer("That is all.")
        assert (await client.events(stream_id))[-1].name == "stream_end"


async def test_what_does_not_fit_at_all_ends_the_turn_and_says_what_to_do(house):
    house.upstream.fits = holds(1000)
    async with house.up() as client:
        session_id, stream_id = await house.calls("f__flood", characters=50_000)
        failed = (await client.events(stream_id))[-1]
        assert (failed.name, failed.data["type"]) == ("apperror", "context_length")
        assert "Ask for less at once" in failed.data["hint"]
        user, partial, marker = (await client.session(session_id))["messages"]
        (card,) = partial["_partial_tool_calls"]
        assert card["snippet"].startswith("axxx")
        assert marker["_error"]
        stream_id, turn = await house.talk(session_id, "Then tell me of yourself")
        assert turn.prompts == [user["content"], "Then tell me of yourself"]
        await turn.answer("Gladly.")
        assert (await client.events(stream_id))[-1].name == "stream_end"


def test_a_bad_file_is_one_line(tmp_path, capsys):
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"x": {"command": 1}}}')
    options = ["--agent", "openai", "--base-url", "http://x", "--mcp-config", str(file)]
    assert main([*options, "--data-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the server 'x' does not fit" in line
