"""Error and silent failure keep the prompt, keep what was shown, and add exactly one `_error` row.
The next model input holds neither error rows nor a prompt twice, and the session can be used at
once. Silence is noticed even when older replies exist.
"""

import json
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.app.client import text_of
from tests.contract.house import contents, rows_of

# What a provider answers, and what the failure is called then. Quota is tested before the rate.
REFUSALS = {
    "error": [(500, "oops"), (503, "overloaded"), (409, "conflict"), (418, {"message": "odd"})],
    "auth_mismatch": [(401, {"message": "Incorrect key"}), (403, {"message": "no access"})],
    "rate_limit": [(429, {"type": "requests", "message": "Rate limit reached"})],
    "quota_exhausted": [
        (429, {"code": "insufficient_quota", "message": "Rate limit: over your current quota"}),
        (402, {"message": "insufficient credits"}),
    ],
    "model_not_found": [(404, {"code": "model_not_found", "message": "no puppet"})],
    "context_length": [(400, {"code": "context_length_exceeded", "message": "too long"})],
}
# The same in the midst of an answer, where there is no status any more.
REPORTS = {
    "error": {"message": "The model crashed"},
    "quota_exhausted": {"code": "insufficient_quota", "message": "Rate limit: no quota is left"},
    "rate_limit": {"code": 429, "type": "rate_limit_error", "message": "Rate limit reached"},
    "auth_mismatch": {"code": 401, "message": "Incorrect API key provided"},
}


class Provider:
    """Answers every request by `reply`, an HTTP status and a body, and keeps what it was asked."""

    def __init__(self) -> None:
        self.reply: tuple[int, object] = (200, "")
        self.asked: list[list[str]] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            async for part in stream:
                data += part
                if data.endswith(b"}"):  # which no head does
                    break
            rows = json.loads(data.partition(b"\r\n\r\n")[2])["messages"]
            self.asked.append([row["content"] for row in rows])
            status, said = self.reply
            if status == 200:
                head = "Content-Type: text/event-stream"
                chunk = {"choices": [{"delta": {"content": said}, "finish_reason": "stop"}]}
                body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
            else:
                head = "Retry-After: 0"
                body = json.dumps({"error": said})
            head = f"HTTP/1.1 {status} Hm\r\n{head}\r\nContent-Length: {len(body)}\r\n"
            await stream.send_all(f"{head}Connection: close\r\n\r\n{body}".encode())


@asynccontextmanager
async def open_provider():
    provider = Provider()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, provider.serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield provider, f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        nursery.cancel_scope.cancel()


def check_failed(session, events, prompt, kind, shown="", thought=""):
    """The last turn has failed, and says so once, with all that was shown of it."""
    rows = session["messages"]
    begin = max(n for n, row in enumerate(rows) if row["role"] == "user")
    user, *partial_rows, error = rows[begin:]
    assert user["content"] == prompt
    assert [row["content"] for row in rows_of(session, "user")].count(prompt) == 1
    assert len(partial_rows) == bool(shown or thought)
    for row in partial_rows:
        assert (row["_partial"], row["content"], row.get("reasoning", "")) == (True, shown, thought)
    assert [row for row in rows[begin:] if row.get("_error")] == [error]
    assert error["role"] == "assistant"
    last = events[-1]
    assert (last.name, last.data["type"]) == ("apperror", kind)
    start = f"**{last.data['label']}:** {last.data['message']}"
    assert error["content"].startswith(start)
    assert text_of(events) == shown
    assert session["active_stream_id"] is session["pending_user_message"] is None
    assert session["pending_attachments"] == []


async def test_a_provider_that_refuses_is_told_of_once_and_never_to_a_model(house, subtests):
    async with open_provider() as (provider, url), house.up(BASE_URL=url) as client:
        for kind, replies in REFUSALS.items():
            for provider.reply in replies:
                with subtests.test(kind, status=provider.reply[0]):
                    session_id = await client.new()
                    began = await house.start(session_id, "first", attachments=["notes.txt"])
                    events = await client.events(began.json()["stream_id"])
                    check_failed(house.record(session_id), events, "first", kind)
                    session = await client.session(session_id)
                    check_failed(session, events, "first", kind)
                    assert session["messages"][0]["attachments"] == ["notes.txt"]
                    assert set(map(tuple, provider.asked)) == {("first",)}
                    provider.reply = (200, "whole")
                    provider.asked.clear()
                    again = await client.events(await client.start(session_id, "second"))
                    assert (text_of(again), again[-1].name) == ("whole", "stream_end")
                    assert provider.asked == [["first", "second"]]
                provider.asked.clear()


@pytest.mark.parametrize("kind", REPORTS)
async def test_an_error_in_mid_answer_has_the_same_type(house, kind):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "first")
        await turn.say("half")
        await turn.chunk({"error": REPORTS[kind]})
        events = await client.events(stream_id)
        check_failed(await client.session(session_id), events, "first", kind, shown="half")


async def failing(house, session_id, prompt, thought, text, end):
    stream_id, turn = await house.talk(session_id, prompt)
    for key, said in (("reasoning_content", thought), ("content", text)):
        if said:
            await turn.chunk({"choices": [{"delta": {key: said}}]})
    await getattr(turn, end)()
    return turn, await house.client.events(stream_id)


@pytest.mark.parametrize("older", [0, 2])
async def test_a_failure_after_whatever_was_shown_keeps_it(house, older, subtests):
    """With and without older replies in the transcript."""
    cases = {
        ("", "", "hang_up"): "connection",
        ("", "half of it", "hang_up"): "connection",
        ("Let me think.", "half of it", "hang_up"): "connection",
        ("", "", "finish"): "no_response",
        ("", " \n", "finish"): "no_response",
        ("Let me think.", "", "finish"): "no_response",
    }
    before, left = ["nought", "zero"] * older, {}
    async with house.up() as client:
        for (thought, text, end), kind in cases.items():
            with subtests.test(kind, shown=(thought, text)):
                session_id = await client.new()
                for _ in range(older):
                    await house.answer_from("zero", session_id, "nought")
                turn, events = await failing(house, session_id, "first", thought, text, end)
                assert turn.prompts == [*before, "first"]
                check_failed(house.record(session_id), events, "first", kind, text, thought)
                shown = [*before, "first", *([text] if text.strip() else [])]
                turn, events = await failing(house, session_id, "second", "", "", end)
                assert turn.prompts == [*shown, "second"]
                check_failed(await client.session(session_id), events, "second", kind)
                left[session_id] = (await house.rows(session_id), [*shown, "second", "third"])
        await house.kill()
    async with house.up():
        for session_id, (rows, prompts) in left.items():
            assert await house.rows(session_id) == rows
            stream_id, turn = await house.talk(session_id, "third")
            assert turn.prompts == prompts
            await turn.answer("whole")
            assert (await house.client.events(stream_id))[-1].name == "stream_end"
            rows = await house.rows(session_id)
            assert sum(bool(row.get("_error")) for row in rows) == 2


@pytest.mark.parametrize("how", ["retry", "regenerate"])
async def test_a_prompt_that_failed_is_asked_again_once(house, how):
    async with house.up() as client:
        session_id = await client.new()
        await house.answer_from("zero", session_id, "nought")
        await failing(house, session_id, "first", "", "half", "hang_up")
        if how == "retry":
            again = await house.post("/api/session/retry", session_id=session_id)
            stream_id, turn = await house.talk(session_id, again.json()["last_user_text"])
        else:
            revision = (await client.session(session_id))["regeneration_revision"]
            stream_id, turn = await house.talk(
                session_id, "", regenerate=True, regeneration_revision=revision
            )
        assert turn.prompts == ["nought", "zero", "first"]
        await turn.answer("one")
        await client.events(stream_id)
        assert contents(await house.rows(session_id)) == [
            ("user", "nought"),
            ("assistant", "zero"),
            ("user", "first"),
            ("assistant", "one"),
        ]
