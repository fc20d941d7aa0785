"""Providers that send anything: the turn ends with an error that says what went wrong, what was
shown is kept, the next turn works, and nothing grows with what was sent.
"""

import json
import zlib
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from actors.session.agent import AgentError, TextDelta, Usage
from app.agents.openai import OpenAIAgent, open_client
from tests.app.agents.test_openai import TURN, ask, text_of
from tests.app.client import open_client as open_http
from tests.app.client import text_of as shown
from tests.app.process import running_server
from tests.hostile.upstream import ATTACKS, GOOD, HEAD, SHOWN, bytes_of, endless, open_hostile

GROWTH = 300 << 20  # bytes: a gigabyte was sent


def memory(pid):
    """Resident, of this process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.process
async def test_a_server_outlives_all_of_them(tmp_path):
    current = [bytes_of(GOOD)]

    async def attack(stream):
        await current[0](stream)

    async with (
        open_hostile(attack) as (url, _),
        running_server(tmp_path, "--agent", "openai", "--base-url", url, "--model", "m") as server,
        open_http(server.url) as client,
    ):
        before = None
        for name, (attack_now, words) in ATTACKS.items():
            session_id = await client.new()
            for current[0], expected in ((attack_now, words), (bytes_of(GOOD), None)):
                events = await client.events(await client.start(session_id, name))
                if expected is None:
                    assert events[-1].name == "stream_end", (name, events[-1])
                    assert shown(events) == "fine", name
                else:
                    assert events[-1].name == "apperror", (name, events[-1].data)
                    assert expected in events[-1].data["message"], (name, events[-1].data)
                    said = shown(events)
            rows = (await client.session(session_id))["messages"]
            assert rows[-1]["content"] == "fine", name
            assert rows[0]["content"] == name
            if said:
                assert rows[1]["content"] == said, name
            await client.post("/api/session/delete", session_id=session_id)
            before = before or memory(server.pid)
        assert memory(server.pid) - before < GROWTH
        assert await client.new()
    assert "Traceback" not in server.stderr


@pytest.mark.process
async def test_nothing_said_without_end_can_be_stopped_and_costs_nothing(tmp_path):
    async with (
        open_hostile(endless(SHOWN, b": and a comment, and another\n\n")) as (url, _),
        running_server(tmp_path, "--agent", "openai", "--base-url", url, "--model", "m") as server,
        open_http(server.url) as client,
    ):
        session_id, before = await client.new(), memory(server.pid)
        stream_id = await client.start(session_id, "hello")
        async with aclosing(client.follow(stream_id)) as events:
            async for event in events:
                if event.name == "token":
                    break
        for _ in range(20):  # it answers all the while
            assert (await client.session(session_id))["active_stream_id"] == stream_id
        assert await client.cancel(stream_id)
        assert memory(server.pid) - before < GROWTH
        assert (await client.session(session_id))["messages"][1]["content"] == "half"


async def test_a_connection_that_ends_at_any_byte_is_an_answer_or_an_error():
    for at in range(len(GOOD)):
        async with open_hostile(bytes_of(GOOD[:at])) as (url, _):
            emitted, error = await ask(url)
        whole = GOOD.index(b'"finish_reason"') < at and GOOD[:at].count(b"\n\n") >= 2
        assert (error is None) == whole, (at, error)
        assert text_of(emitted) == ("fine" if b'"fine"}}]}\n\n' in GOOD[:at] else ""), at
        if error is not None:
            assert error.type == "connection", at


async def test_a_stall_is_a_timeout_wherever_it_is():
    async def stall(stream):
        await stream.send_all(SHOWN[:at])
        await trio.sleep_forever()

    for at in (0, 20, len(HEAD), len(SHOWN) - 5, len(SHOWN)):
        async with open_hostile(stall) as (url, _):
            emitted, error = await ask(url, read_seconds=0.2)
        assert error.type == "timeout", at
        assert text_of(emitted) == ("half" if at == len(SHOWN) else "")


async def test_interim_answers_without_end_can_be_stopped():
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    async with open_hostile(endless(b"", interim)) as (url, _), open_client(url, None) as client:
        with trio.fail_after(60), trio.move_on_after(0.5) as scope:
            await OpenAIAgent(client, "m")(TURN, None)
    assert scope.cancelled_caught


async def test_a_redirect_is_not_followed():
    elsewhere, _ = ATTACKS["elsewhere"]
    async with open_hostile(elsewhere) as (url, requests):
        _, error = await ask(url)
    assert "status 302" in error.message
    assert len(requests) == 1


async def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(b"data: " + b"x" * (200 << 20))
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: deflate\r\n\r\n")
    for answer in (head + bomb, head.replace(b"200 OK", b"500 Oh") + bomb):
        async with open_hostile(bytes_of(answer)) as (url, requests):
            _, error = await ask(url)
        assert error.type == "error"
        assert len(error.details or "") < 1000
        assert len(requests) == 1


def chunks(*objects):
    return bytes_of(
        HEAD + b"".join(b"data: %b\n\n" % json.dumps(o).encode() for o in objects) + END
    )


END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("count", [-1, -(2**63), 10**18, 2**63, 10**30])
async def test_a_count_that_nobody_counted_was_not_said(count):
    usage = {"prompt_tokens": count, "completion_tokens": 3, "cost": float(count)}
    usage["prompt_tokens_details"] = {"cached_tokens": count}
    async with open_hostile(chunks({"choices": [], "usage": usage, "model": "m" * 10**6})) as (
        url,
        _,
    ):
        emitted, error = await ask(url)
    assert error is None
    assert emitted == [Usage(output_tokens=3, model="m" * 200)]


async def test_of_several_choices_the_first_is_taken():
    both = [{"index": n, "delta": {"content": str(n)}} for n in (0, 1, 2, -1)]
    async with open_hostile(chunks({"choices": both})) as (url, _):
        emitted, error = await ask(url)
    assert (emitted, error) == ([TextDelta("0")], None)


async def test_broken_characters_are_shown_as_such():
    broken = HEAD + b'data: {"choices":[{"delta":{"content":"a\xff\xc3b\x80"}}]}\n\n' + END
    async with open_hostile(bytes_of(broken)) as (url, _):
        emitted, error = await ask(url)
    assert error is None
    assert text_of(emitted) == "a\ufffd\ufffdb\ufffd"


async def test_the_list_of_models_has_a_bound_too():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

    async def serve(stream):
        async with stream:
            await stream.receive_some(65536)
            with suppress(trio.BrokenResourceError):
                await endless(head, b"[")(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        async with open_client(url, None) as client:
            with pytest.raises(AgentError, match="No model was chosen"):
                await OpenAIAgent(client, None)(replace(TURN, model=None), None)
        nursery.cancel_scope.cancel()
