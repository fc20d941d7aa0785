"""Tools that somebody must allow, seen by the official Python client, with a real MCP server."""

import json
from contextlib import asynccontextmanager

import pytest
import trio

from app.openai_api.names import turn_of
from tests.app.client import open_client
from tests.app.openai_api.house import open_house, text_of
from tests.app.tools.servers import TIME

pytestmark = pytest.mark.process

TOOL = "time__get_current_time"


@asynccontextmanager
async def open_tools(tmp_path, *options):
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"time": TIME}}))
    async with open_house(tmp_path / "data", "--mcp-config", str(config), *options) as house:
        yield house


async def call(turn, *zones):
    """The model wants to know the time in each of these."""
    deltas = []
    for n, zone in enumerate(zones):
        function = {"name": TOOL, "arguments": json.dumps({"timezone": zone})}
        deltas.append({"index": n, "id": zone, "function": function})
    await turn.chunk({"choices": [{"delta": {"tool_calls": deltas}}]})
    await turn.finish()


async def pending(page, response, count=1):
    """What waits to be allowed, by the timezone that is asked for."""
    session_id = turn_of(response.id).session_id
    with trio.fail_after(60):
        while True:
            session = await page.session(session_id)
            if len(session["approvals"]) == count:
                return {row["args"]["timezone"]: row for row in session["approvals"]}
            await trio.sleep(0.02)  # another process asks


async def respond(page, row, choice):
    body = {"session_id": row["session_id"], "approval_id": row["approval_id"], "choice": choice}
    return await page.http.post("/api/approval/respond", json=body)


async def test_a_stream_waits_with_its_call_and_goes_on_when_it_is_allowed(tmp_path):
    async with open_tools(tmp_path) as house, open_client(house.server.url) as page:
        responses = house.client.responses
        stream = await house.create(input="What time is it?", stream=True)
        await call(await house.upstream.next_turn(), "Asia/Tokyo", "Europe/Berlin")
        events = await house.until(stream, "response.in_progress")
        begun = events[0].response
        waiting = await pending(page, begun, 2)
        found = await house.call(responses.retrieve, begun.id)
        assert (found.status, found.output) == ("in_progress", [])
        async with page.http.stream("GET", f"/v1/responses/{begun.id}?stream=true") as raw:
            with trio.fail_after(60):
                kept = [line async for line in _until_kept_alive(raw)]
        assert kept[-1] == ": keepalive", "nothing happens, and the connection is kept"
        assert (await respond(page, waiting["Asia/Tokyo"], "once")).status_code == 200
        events += await house.until(stream, "response.mcp_call.completed")
        assert (await respond(page, waiting["Europe/Berlin"], "deny")).status_code == 200
        turn = await house.upstream.next_turn()
        told, denied = (message["content"] for message in turn.request["messages"][-2:])
        assert json.loads(told)["timezone"] == "Asia/Tokyo"
        assert denied.startswith("The user denied this call.")
        await turn.answer("Late, in Tokyo.")
        events += await house.rest(stream)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert text_of(events) == "Late, in Tokyo."
        done = events[-1].response
        calls = [item for item in done.output if item.type == "mcp_call"]
        assert [(item.name, item.status) for item in calls] == [
            (TOOL, "completed"),
            (TOOL, "failed"),
        ]
        assert json.loads(calls[0].output)["timezone"] == "Asia/Tokyo"
        assert calls[1].error.content == [{"type": "text", "text": denied}]
        assert (await house.call(responses.retrieve, done.id)).to_dict() == done.to_dict()
        async with house.much_later():
            again = await house.call(house.client.responses.retrieve, done.id)
            assert again.to_dict() == done.to_dict()
            items = house.client.conversations.items.list
            items = await house.call(items, f"conv_{turn_of(done.id).session_id}", order="asc")
            assert [i.status for i in items.data if i.type == "mcp_call"] == ["completed", "failed"]


async def _until_kept_alive(raw):
    """The first comment opens the stream, the second one keeps it."""
    comments = 0
    async for line in raw.aiter_lines():
        yield line
        comments += line.startswith(":")
        if comments == 2:
            return


async def test_a_background_response_waits_until_that_expires_and_the_model_is_told(tmp_path):
    async with (
        open_tools(tmp_path, "--approval-seconds", "2") as house,
        open_client(house.server.url) as page,
    ):
        begun = await house.create(input="What time is it?", background=True)
        await call(await house.upstream.next_turn(), "Asia/Tokyo")
        await pending(page, begun)
        assert (await house.call(house.client.responses.retrieve, begun.id)).status == "in_progress"
        turn = await house.upstream.next_turn()
        assert "nobody allowed it in time" in turn.request["messages"][-1]["content"]
        await turn.answer("I cannot tell.")
        stream = await house.call(house.client.responses.retrieve, begun.id, stream=True)
        assert (await house.rest(stream))[-1].response.status == "completed"


async def test_one_that_waits_can_be_cancelled_and_is_gone_on_from(tmp_path):
    async with open_tools(tmp_path) as house, open_client(house.server.url) as page:
        begun = await house.create(input="What time is it?", background=True)
        await call(await house.upstream.next_turn(), "Asia/Tokyo")
        waiting = await pending(page, begun)
        cancelled = await house.call(house.client.responses.cancel, begun.id)
        assert cancelled.status == "cancelled"
        late = await respond(page, waiting["Asia/Tokyo"], "once")
        assert (late.status_code, late.json()["answered"]) == (409, "cancelled")
        _, asked = await house.answered("Never mind", "Well.", previous_response_id=begun.id)
        assert [m["role"] for m in asked["messages"]][-1] == "user"


async def test_killed_while_it_waits_it_has_failed_and_nothing_runs_by_itself(tmp_path):
    async with open_tools(tmp_path) as house:
        async with open_client(house.server.url) as page:
            begun = await house.create(input="What time is it?", background=True)
            await call(await house.upstream.next_turn(), "Asia/Tokyo")
            await pending(page, begun)
        await house.server.kill()
        async with house.open(), open_client(house.server.url) as page:
            found = await house.call(house.client.responses.retrieve, begun.id)
            assert (found.status, found.error.type) == ("failed", "interrupted")
            assert await pending(page, begun, 0) == {}
            second, _ = await house.answered("And now?", "Noon.", previous_response_id=begun.id)
            assert second.output_text == "Noon."


@pytest.mark.parametrize("api", ["chat", "unstored"])
async def test_where_nobody_can_be_asked_the_model_is_told_at_once(tmp_path, api):
    async with open_tools(tmp_path) as house:
        said = []

        async def ask():
            if api == "chat":
                create, messages = house.client.chat.completions.create, [{"role": "user"}]
                messages[0]["content"] = "What time is it?"
                done = await house.call(create, messages=messages, model="gpt-test")
                said.append(done.choices[0].message.content)
            else:
                done = await house.create(input="What time is it?", store=False)
                said.append(done.output_text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await call(await house.upstream.next_turn(), "Asia/Tokyo")
            turn = await house.upstream.next_turn()
            assert "nobody can be asked here" in turn.request["messages"][-1]["content"]
            await turn.answer("I cannot tell.")
        assert said == ["I cannot tell."]
