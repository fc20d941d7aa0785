"""What who runs the server sees of it: metrics, the log, traces; and what nobody must see there."""

import json
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.app.client import open_client
from tests.app.process import COMMAND, running_server
from tests.app.upstream import open_upstream

pytestmark = pytest.mark.process

SECRET = "MARKED-SECRET"
KEY = f"sk-{SECRET}-key"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@asynccontextmanager
async def house(tmp_path, *options, command=COMMAND, **env):
    async with open_upstream() as upstream:
        settings = {"AGENT": "openai", "BASE_URL": upstream.url, "MODEL": "puppet", "API_KEY": KEY}
        named = {f"GREENROOM_{name}": value for name, value in settings.items()} | env
        async with (
            running_server(tmp_path / "data", *options, env=named, command=command) as server,
            open_client(server.url) as client,
        ):
            yield server, client, upstream


async def refuse(turn, kind):
    await turn.chunk({"error": {"message": f"{SECRET} broke", "type": kind}})
    await turn.hang_up()


async def samples(client):
    answer = await client.http.get("/metrics")
    assert answer.status_code == 200
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[(sample.name, *sorted(sample.labels.items()))] = sample.value
    return found, answer.text


async def test_metrics_tell_of_turns_actors_and_the_disk_and_of_nobody_s_words(tmp_path):
    async with house(tmp_path) as (_, client, upstream):
        done, failed, stopped = [await client.new() for _ in range(3)]
        stream_id = await client.start(done, f"{SECRET} one")
        await (await upstream.next_turn()).answer(f"{SECRET} two")
        await client.events(stream_id)
        stream_id = await client.start(failed, f"{SECRET} three")
        await refuse(await upstream.next_turn(), "authentication_error")
        await client.events(stream_id)
        stream_id = await client.start(stopped, "four")
        running = await upstream.next_turn()
        await running.say("half")
        async for event in client.follow(stream_id):
            if event.name == "token":
                seen, _ = await samples(client)
                assert seen[("greenroom_streams_open",)] == 1
                assert seen[("greenroom_turns_running",)] == 1
                await client.cancel(stream_id)
        found, text = await samples(client)

    def ended(how):
        return found[("greenroom_turns_ended_total", ("outcome", how))]

    assert (ended("done"), ended("failed"), ended("cancelled")) == (1, 1, 1)
    assert found[("greenroom_turns_started_total",)] == 3
    assert found[("greenroom_turn_errors_total", ("error_type", "auth_mismatch"))] == 1
    turn = (
        ("gen_ai_operation_name", "chat"),
        ("gen_ai_provider_name", "openai"),
        ("gen_ai_request_model", "puppet"),
    )
    first = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
    assert found[(first, *turn)] == 2
    long = "gen_ai_client_operation_duration_seconds_count"
    assert found[(long, ("error_type", ""), *turn)] == 2
    assert found[(long, ("error_type", "auth_mismatch"), *turn)] == 1
    tokens = "gen_ai_client_token_usage_sum"
    assert found[(tokens, *turn, ("gen_ai_token_type", "output"))] > 0
    assert found[("greenroom_feed_lag_seconds_count",)] > 3
    for writer in ("records", "journal"):
        assert found[("greenroom_flush_seconds_count", ("writer", writer))] > 3
    assert found[("greenroom_actors", ("kind", "session"))] == 3
    assert found[("greenroom_mailbox_depth", ("kind", "session"))] == 0
    assert found[("greenroom_actor_restarts_total",)] == 0
    assert found[("greenroom_dead_letters_total",)] == 0
    assert found[("greenroom_http_responses_total", ("status", "200"))] > 5
    assert SECRET not in text
    assert done not in text


def log_of(server):
    """The lines of a log in JSON."""
    return [json.loads(line) for line in server.stderr.splitlines()]


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_word_of_a_conversation_and_no_key_gets_into_the_log(tmp_path, form):
    options = ("--log-level", "debug", "--log-format", form)
    titles = {"GREENROOM_TITLES": "model"}
    async with house(tmp_path, *options, **titles) as (server, client, upstream):
        keyed = {"Idempotency-Key": f"{SECRET}-once", "Authorization": f"Bearer {SECRET}"}
        session_id = await client.new()
        body = {"session_id": session_id, "message": f"{SECRET} asked sk-{SECRET}12345678901234567"}
        started = await client.http.post("/api/chat/start", json=body, headers=keyed)
        stream_id = started.json()["stream_id"]
        turn = await upstream.next_turn()
        await turn.say(f"{SECRET} said")
        queued = {**body, "message": f"{SECRET} waits", "if_busy": "queue"}
        waits = (await client.http.post("/api/chat/start", json=queued)).json()["stream_id"]
        await turn.answer("and more")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.events, stream_id)
            await answer_all(upstream, 3)  # what waited, and titles
            await client.events(waits)
        other = await client.new()
        failing = await client.start(other, f"{SECRET} fails")
        await refuse(await upstream.next_turn(), "server_error")
        await client.events(failing)
        await client.get("/api/sessions/search", q=SECRET)
        await client.post("/api/session/rename", session_id=session_id, title=f"{SECRET} title")
        await client.post("/api/session/draft", session_id=session_id, text=f"{SECRET} draft")
        await client.http.post("/api/chat/start", content=f'{{"message": "{SECRET}'.encode())
        page = {"session_id": session_id, "format": "html"}
        assert (await client.http.get("/api/session/export", params=page)).status_code == 200
        broken = await client.post("/api/session/import", messages=[{"role": SECRET}, 5])
        assert "error" in broken
        path = next((tmp_path / "data" / "sessions").glob(f"{other}.json"))
        await client.post("/api/session/undo", session_id=session_id)
        assert await server.stop() == 0
        assert path.exists()
        assert SECRET in path.read_text()
        if form == "json":
            _check_lines(server, session_id, stream_id)
        else:
            line = (
                rf"app.access: POST /api/chat/start 200 .* \[request_id=\w+ session_id={session_id}"
            )
            assert re.search(line, server.stderr)
    assert "asyncio" not in server.stderr
    assert SECRET not in server.stderr


def _check_lines(server, session_id, stream_id):
    lines = [line for line in log_of(server) if line["logger"] == "app.access"]
    assert len({line["request_id"] for line in lines}) == len(lines)
    start = next(line for line in lines if line["path"] == "/api/chat/start")
    assert start["session_id"] == session_id
    assert start["turn_id"] == stream_id
    assert (start["method"], start["status"], start["level"]) == ("POST", 200, "info")
    follow = next(line for line in lines if line["path"] == "/api/chat/stream")
    assert follow["turn_id"] == stream_id
    assert all("?" not in line["message"] for line in lines)


async def answer_all(upstream, turns):
    for _ in range(turns):
        with trio.move_on_after(5):
            await (await upstream.next_turn()).answer(f"{SECRET} answer")


async def test_a_request_is_known_by_the_name_that_it_brought(tmp_path):
    async with running_server(tmp_path) as server, open_client(server.url) as client:
        brought = await client.http.get("/health", headers={"X-Request-Id": "mine-1"})
        assert brought.headers["X-Request-Id"] == "mine-1"
        odd = await client.http.get("/health", headers={"X-Request-Id": "a b=\tc"})
        assert re.fullmatch(r"[0-9a-f]{32}", odd.headers["X-Request-Id"])


async def test_each_turn_is_a_span_in_the_trace_that_its_request_came_with(tmp_path):
    console = {"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "theatre"}
    async with house(tmp_path, **console) as (server, client, upstream):
        session_id = await client.new()
        body = {"session_id": session_id, "message": f"{SECRET} one"}
        parent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        started = await client.http.post("/api/chat/start", json=body, headers=parent)
        await (await upstream.next_turn()).answer(f"{SECRET} two")
        await client.events(started.json()["stream_id"])
        stream_id = await client.start(session_id, f"{SECRET} three")
        await refuse(await upstream.next_turn(), "authentication_error")
        await client.events(stream_id)
        assert await server.stop() == 0
    decoder, spans, rest = json.JSONDecoder(), [], server.stderr.strip()
    while rest:
        span, end = decoder.raw_decode(rest)
        spans.append(span)
        rest = rest[end:].strip()
    first, second = spans
    assert first["name"] == "chat puppet"
    assert first["context"]["trace_id"] == f"0x{TRACE}"
    assert first["parent_id"] == "0xb7ad6b7169203331"
    attributes = first["attributes"]
    assert attributes["gen_ai.conversation.id"] == session_id
    assert attributes["gen_ai.usage.output_tokens"] > 0
    assert attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert second["parent_id"] is None
    assert second["status"] == {"status_code": "ERROR", "description": "auth_mismatch"}
    assert first["resource"]["attributes"]["service.name"] == "theatre"
    assert SECRET not in server.stderr


async def test_spans_go_to_the_collector_that_was_named(tmp_path):
    received = []

    async def collect(stream):
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive_some(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            while len(body) < length:
                body += await stream.receive_some(65536)
            received.append((head.split(b"\r\n")[0], body))
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, collect, [listener])
        endpoint = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        collector = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        async with house(tmp_path, **collector) as (server, client, upstream):
            session_id = await client.new()
            stream_id = await client.start(session_id, f"{SECRET} one")
            await (await upstream.next_turn()).answer(f"{SECRET} two")
            await client.events(stream_id)
            assert await server.stop() == 0
        nursery.cancel_scope.cancel()
    ((asked, span),) = received
    assert asked == b"POST /v1/traces HTTP/1.1"
    assert session_id.encode() in span
    assert SECRET.encode() not in span


PHONING = (sys.executable, "-c")
PHONE = """
import sys
def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
                 "socket.gethostbyname"):
        print("LOOKED", event, args[1:] if event.startswith("socket.s") or "connect" in event
              else args, file=sys.stderr, flush=True)
sys.addaudithook(watch)
from app.cli import main
sys.exit(main())
"""


async def test_it_phones_nobody(tmp_path):
    """A whole conversation with the demo agent opens no connection and asks for no name."""
    run = partial(running_server, tmp_path / "data", command=(*PHONING, PHONE))
    async with run() as server, open_client(server.url) as client:
        assert (await client.http.get("/")).status_code == 200
        session_id = await client.new()
        for prompt in ("hello", "error please"):
            await client.events(await client.start(session_id, prompt))
        for path in ("/metrics", "/ready", "/health", "/api/sessions"):
            assert (await client.http.get(path)).status_code == 200
        page = {"session_id": session_id, "format": "html"}
        assert (await client.http.get("/api/session/export", params=page)).status_code == 200
        assert await server.stop() == 0
    looked = [line for line in server.stderr.splitlines() if "LOOKED" in line]
    assert [line for line in looked if "127.0.0.1" not in line] == []
    assert all("getaddrinfo" in line for line in looked), "only where it is to listen"


async def test_it_speaks_to_its_provider_alone(tmp_path):
    phone = (*PHONING, PHONE)
    async with house(tmp_path, command=phone, GREENROOM_TITLES="model") as (server, client, there):
        stream_id = await client.start(await client.new(), "Look at [x](http://x.example/)")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.events, stream_id)
            for _ in range(2):  # and a title
                await (await there.next_turn()).answer("![y](http://y.example/y.png)")
        assert await server.stop() == 0
    looked = [line for line in server.stderr.splitlines() if "LOOKED" in line]
    spoken_to = [line for line in looked if "getaddrinfo" not in line]
    port = there.url.removesuffix("/v1").rpartition(":")[2]
    assert spoken_to == [f"LOOKED socket.connect (('127.0.0.1', {port}),)"] * 2
    assert [line for line in looked if "127.0.0.1" not in line] == []


def test_the_watch_sees_who_phones():
    phone = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('10.9.8.7', 9))"
    code = PHONE.replace("from app.cli import main", "import socket")
    code = code.replace("sys.exit(main())", phone)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LOOKED socket.connect" in told.stderr
    assert "10.9.8.7" in told.stderr
