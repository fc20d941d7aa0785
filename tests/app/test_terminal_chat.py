"""`greenroom chat` as a process, against a real server, a provider on strings and a bad network."""

import json
import os
import random
import re
import signal
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from itertools import repeat

import pytest
import trio

from actors.session.amendments import amended
from app.authority.users import read_users
from tests.app.client import open_client
from tests.app.process import COMMAND, environment, running_server, started
from tests.app.proxy import open_proxy
from tests.app.terminal import CTRL_C, CTRL_D, on_terminal
from tests.app.upstream import open_upstream

pytestmark = pytest.mark.process

KILL = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m \x9b1mbold\r\x08"


def is_complete(request):
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return bool(end) and len(body) == int(length[1] if length else 0)


@pytest.fixture
async def upstream():
    async with open_upstream() as opened:
        yield opened


@asynccontextmanager
async def serving(data, upstream):
    arguments = ("--agent", "openai", "--base-url", upstream.url, "--model", "m")
    async with running_server(data, *arguments) as server, open_client(server.url) as client:
        client.server = server
        yield client


@pytest.fixture
async def client(tmp_path, upstream):
    async with serving(tmp_path, upstream) as opened:
        yield opened


async def only_session(client):
    (row,) = (await client.get("/api/sessions"))["sessions"]
    return await client.session(row["session_id"])


async def asked(tmp_path, *arguments, stdin=b"", **env):
    """A command that ends by itself."""
    with trio.fail_after(60):
        return await trio.run_process(
            [*COMMAND, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(tmp_path, env),
        )


async def test_a_prompt_is_asked_once_and_the_answer_streams_to_stdout(client, upstream, tmp_path):
    async with started(tmp_path, "chat", "What", "time is it?") as chat:
        turn = await upstream.next_turn()
        assert turn.prompts == ["What time is it?"]
        await turn.say("It is ")
        await chat.wait_written("stdout", "It is ")
        await turn.say("noon\u2028sharp, ", KILL)
        await turn.finish()
        assert await chat.wait() == 0
    assert chat.stdout == f"It is noon\u2028sharp, {KILL}\n", "a script gets what was said"
    assert chat.stderr == ""
    rows = (await only_session(client))["messages"]
    assert [row["role"] for row in rows] == ["user", "assistant"]


async def test_text_on_stdin_is_a_prompt_and_the_answer_can_be_json(client, upstream, tmp_path):
    async with trio.open_nursery() as nursery:
        answered = []

        async def ask(*arguments, stdin):
            answered.append(await asked(tmp_path, "chat", "--json", *arguments, stdin=stdin))

        nursery.start_soon(partial(ask, stdin="Größe?\n".encode()))
        turn = await upstream.next_turn()
        assert turn.prompts == ["Größe?\n"]
        await turn.answer("Eins.")
    said = json.loads(answered[0].stdout)
    session = await only_session(client)
    assert said["session_id"] == session["session_id"]
    assert (said["status"], said["text"], said["error"]) == ("done", "Eins.", None)
    assert said["usage"]["input_tokens"] == 7
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(ask, "--last", "Say of:", "-", stdin=b"this"))
        turn = await upstream.next_turn()
        assert turn.prompts[-1] == "Say of: this"
        await turn.say("No")
        await turn.hang_up()
    failed = json.loads(answered[1].stdout)
    assert (answered[1].returncode, failed["status"], failed["text"]) == (1, "failed", "No")
    assert failed["session_id"] == session["session_id"]
    assert failed["error"]
    assert failed["error"] in answered[1].stderr.decode()


async def test_a_session_is_gone_on_with_by_the_beginning_of_its_id(client, upstream, tmp_path):
    session_id = await client.new()
    stream_id = await client.start(session_id, "one")
    await (await upstream.next_turn()).answer("1")
    await client.events(stream_id)
    # The shortest beginning that has a number in it.
    short = next(session_id[:n] for n in range(4, 13) if any(map(str.isdigit, session_id[:n])))
    async with started(tmp_path, "chat", short, "two") as chat:
        turn = await upstream.next_turn()
        assert turn.prompts == ["one", "1", "two"]
        await turn.answer("2")
        assert await chat.wait() == 0
    assert chat.stdout == "2\n"


async def test_ctrl_c_stops_the_turn_and_keeps_what_was_said(client, upstream, tmp_path):
    async with started(tmp_path, "chat", "a story") as chat:
        turn = await upstream.next_turn()
        await turn.say("Once ")
        await chat.wait_written("stdout", "Once ")
        assert await chat.stop(signal.SIGINT) == 130
        await turn.closed.wait()
    assert chat.stdout == "Once \n"
    assert chat.stderr == "stopped; what was said is kept\n"
    session = await only_session(client)
    assert session["active_stream_id"] is None
    kept = session["messages"][1]
    assert (kept["content"], kept["_partial"]) == ("Once ", True)


async def test_a_server_that_is_killed_in_mid_answer_is_waited_for(upstream, tmp_path):
    async with (
        serving(tmp_path, upstream) as client,
        started(tmp_path, "chat", "a story") as chat,
    ):
        turn = await upstream.next_turn()
        await turn.say("Once ", "upon ")
        await chat.wait_written("stdout", "upon ")
        await client.server.kill()
        await chat.wait_written("stderr", "reconnecting\n")
        async with serving(tmp_path, upstream) as client:  # in another place
            assert await chat.wait() == 1
            kept = (await only_session(client))["messages"][1]["content"]
    assert chat.stdout == f"{kept}\n" == "Once upon \n"
    assert chat.stderr.count("reconnecting\n") == 1
    assert "Traceback" not in chat.stderr


async def test_a_connection_that_is_cut_again_and_again_loses_and_doubles_nothing(
    client, upstream, tmp_path
):
    seed = int(os.environ.get("GREENROOM_SEED", "0")) or random.randrange(2**32)
    print(f"GREENROOM_SEED={seed}")
    chance = random.Random(seed)
    words = [f"w{n} " for n in range(60)]
    async with open_proxy(client.server.port) as proxy:
        proxy.budgets = iter(lambda: chance.randrange(400, 1500), None)
        proxy.swallow += [b"POST /api/chat/start"]
        async with started(tmp_path, "chat", "--url", proxy.url, "count") as chat:
            turn = await upstream.next_turn()
            for n in range(0, len(words), 3):
                await turn.say(*words[n : n + 3])
                await chat.wait_written("stdout", words[n + 2])
            proxy.budgets = repeat(None)  # the last event has all of the session
            proxy.cut()
            await turn.finish()
            assert await chat.wait() == 0
        assert proxy.cuts > 3
        assert proxy.swallow == []
    assert chat.stdout == "".join(words) + "\n"
    rows = (await only_session(client))["messages"]
    assert [row["content"] for row in rows] == ["count", "".join(words)], "it was asked once"


async def test_a_stream_that_is_gone_is_made_good_from_the_record(tmp_path):
    """The server was away for longer than it keeps streams."""
    said = {"role": "assistant", "content": "Once upon a time."}
    asked_row = {"role": "user", "content": "?", "_active_turn_token": "s:1"}
    session = {"session_id": "a" * 12, "messages": [asked_row, said]}
    session |= {"input_tokens": 1, "output_tokens": 2, "usage_estimated": False}
    begin = b'id: s:1\nevent: token\ndata: {"text":"Once "}\n\n'
    answers = [
        (b"/api/session/new", {"session": session}),
        (b"/api/chat/start", {"session_id": "a" * 12, "stream_id": "s"}),
        (b"/api/chat/stream", begin),
        (b"/api/chat/stream", None),
        (b"/api/session?", {"session": session}),
    ]
    async with scripted(answers) as (url, requests):
        done = await asked(tmp_path, "chat", "hi", GREENROOM_URL=url, GREENROOM_TOKEN="abc")
    assert (done.returncode, done.stdout) == (0, b"Once upon a time.\n")
    assert answers == []
    assert all(b"authorization: bearer abc" in request.lower() for request in requests)


@asynccontextmanager
async def scripted(answers):
    """A server that says what it is told to, one answer a connection; None is 404."""
    requests = []

    async def serve(stream):
        async with stream:
            request = b""
            # All of it: what is left unread when the connection is closed takes the answer with it.
            while not is_complete(request):
                part = await stream.receive_some()
                if not part:
                    return
                request += part
            requests.append(request)
            words, answer = answers.pop(0)
            assert words in request
            status, kind = b"200 OK", b"application/json"
            if isinstance(answer, bytes):
                body, kind = answer, b"text/event-stream"
            elif answer is None:
                status, body = b"404 Not Found", b'{"error": "stream not found"}'
            else:
                body = json.dumps(answer).encode()
            head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n\r\n"
            await stream.send_all(head % (status, kind) + body)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", requests
        nursery.cancel_scope.cancel()


async def test_a_token_that_is_missing_or_not_enough_is_said_in_a_line(tmp_path):
    async def told(*arguments, stdin=b"", **env):
        done = await asked(tmp_path, *arguments, stdin=stdin, **env)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    assert (await told("user", "add", "ann", "--password-stdin", stdin=b"correct horse\n"))[0] == 0
    reading = (await told("token", "create", "ann", "--scope", "read"))[1].strip()
    missing = "greenroom: error: Authentication required: set GREENROOM_TOKEN to a token of this"
    async with running_server(tmp_path) as server:
        listing, asking = ("sessions", "list", "--url", server.url), ("chat", "--url", server.url)
        for command, env in ((listing, {"GREENROOM_TOKEN": "wrong"}), ((*asking, "hi"), {})):
            code, out, err = await told(*command, **env)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert err.startswith(missing)
        assert await told(*listing, GREENROOM_TOKEN=reading) == (0, "", "")
        code, out, err = await told(*asking, "hi", GREENROOM_TOKEN=reading)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "This token is for reading only: another token in GREENROOM_TOKEN" in err


async def test_with_users_a_session_belongs_to_whose_token_is_shown(tmp_path):
    async def told(*arguments, stdin=b"", **env):
        done = await asked(tmp_path, *arguments, stdin=stdin, **env)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    tokens = {}
    async with running_server(tmp_path):
        assert (await told("chat", "before"))[0] == 0
        for name in ("ann", "ben"):
            await told("user", "add", name, "--password-stdin", stdin=b"correct horse\n")
            tokens[name] = (await told("token", "create", name))[1].strip()
        for command in (("chat", "hi"), ("sessions", "list"), ("chat", "--last", "hi")):
            code, out, err = await told(*command)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert "set GREENROOM_TOKEN to a token of this server, which has users" in err
        assert (await told("chat", "of ann", GREENROOM_TOKEN=tokens["ann"]))[0] == 0
        assert "of ann" in (await told("sessions", "list", GREENROOM_TOKEN=tokens["ann"]))[1]
        assert await told("sessions", "list", GREENROOM_TOKEN=tokens["ben"]) == (0, "", "")
    users = {user.id: user.name for user in read_users(tmp_path).users}
    records = [amended(file.read_bytes()) for file in (tmp_path / "sessions").glob("[!_]*.json")]
    owners = {record["title"]: users.get(record.get("owner")) for record in records}
    assert owners == {"before": None, "of ann": "ann"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("hi",), "start one with `greenroom`"),
        (("--url", "http://127.0.0.1:1", "hi"), "start one with `greenroom`"),
        (("--url", "nowhere", "hi"), "must begin with http"),
        (("--new", "--last", "hi"), "exclude each other"),
        ((" ",), "the prompt is empty"),
        ((), "the prompt is empty"),
    ],
)
async def test_what_cannot_be_is_one_line_and_exit_code_2(arguments, complaint, tmp_path):
    refused = await asked(tmp_path, "chat", *arguments)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert complaint in refused.stderr.decode()
    assert refused.stderr.count(b"\n") == 1


async def test_an_id_that_is_none_asks_nothing(client, tmp_path):
    refused = await asked(tmp_path, "chat", "0123456789ab", "hi")
    assert refused.returncode == 2
    assert b"there is no session '0123456789ab'" in refused.stderr
    assert (await client.get("/api/sessions"))["sessions"] == []


async def test_a_reader_that_goes_away_is_no_error(client, upstream, tmp_path):
    chat = await trio.lowlevel.open_process(
        [*COMMAND, "chat", "count"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    )
    try:
        turn = await upstream.next_turn()
        await turn.say("one\n")
        assert await chat.stdout.receive_some() == b"one\n"
        await chat.stdout.aclose()
        await turn.say("two\n")
        with trio.fail_after(60):
            assert await chat.stderr.receive_some() == b""
            assert await chat.wait() == 141
    finally:
        chat.kill()
        await chat.wait()


async def test_a_conversation_on_a_terminal(client, upstream, tmp_path):
    async with on_terminal(tmp_path, "chat") as chat:
        await chat.wait_shown("> ")
        await chat.type("one \\\rtwo\r")
        turn = await upstream.next_turn()
        assert turn.prompts == ["one \ntwo"]
        await turn.answer(f"{KILL}green")
        await chat.wait_shown("red boldgreen\r\n> ")
        assert "\x1b[2J" not in chat.shown
        assert "\x9b" not in chat.shown
        assert "title" not in chat.shown
        await chat.type('"""a\r"b"\r"""\r')
        turn = await upstream.next_turn()
        assert turn.prompts[-1] == 'a\n"b"'
        await turn.say("Half ")
        await chat.wait_shown("Half ")
        await chat.type(CTRL_C)
        await chat.wait_shown("stopped; what was said is kept")
        await chat.wait_shown("\n> ", 3)
        await chat.type("/retry\r")
        turn = await upstream.next_turn()
        assert turn.prompts[-1] == 'a\n"b"'
        await turn.answer("Whole")
        await chat.wait_shown("Whole\r\n> ")
        await chat.type("/undo\r")
        await chat.wait_shown("taken back: ")
        await chat.type("/title Of colours\r")
        await chat.wait_shown("mOf colours")
        await chat.type("/nothing\r")
        await chat.wait_shown("there is no /nothing")
        await chat.wait_shown("\n> ", 7)
        await chat.type(CTRL_D)
        assert await chat.wait() == 0
    session = await only_session(client)
    assert session["title"] == "Of colours"
    assert [row["role"] for row in session["messages"]] == ["user", "assistant"]
    assert "Traceback" not in chat.shown


async def test_a_tool_call_is_allowed_on_the_terminal_or_in_another_place(tmp_path):
    async with (
        running_server(tmp_path) as server,
        open_client(server.url) as client,
        on_terminal(tmp_path, "chat") as chat,
    ):
        await chat.wait_shown("> ")
        await chat.type("allow me\r")
        await chat.wait_shown("y(es), n(o), a(lways in this session)")
        await chat.type("perhaps\r")
        await chat.wait_shown("y(es), n(o), a(lways in this session)", 2)
        await chat.type("n\r")
        await chat.wait_shown("answer: deny")
        await chat.wait_shown("count_words: failed: You did not allow it.")
        await chat.wait_shown("\n> ", 2)
        await chat.type("allow again\r")
        await chat.wait_shown("y(es), n(o), a(lways in this session)", 3)
        session_id = (await client.get("/api/sessions"))["sessions"][0]["session_id"]
        waits = (await client.get("/api/approval/pending", session_id=session_id))["pending"]
        answer = {"approval_id": waits["approval_id"], "choice": "once"}
        await client.post("/api/approval/respond", session_id=session_id, **answer)
        await chat.wait_shown("count_words: 2")
        await chat.wait_shown("\n> ", 3)
        await chat.type("/quit\r")
        assert await chat.wait() == 0
    assert "Traceback" not in chat.shown


async def test_a_turn_that_runs_is_shown_to_who_comes_back(client, upstream, tmp_path):
    session_id = await client.new()
    await client.start(session_id, "a story")
    turn = await upstream.next_turn()
    await turn.say("Once ")
    async with on_terminal(tmp_path, "chat", "--last") as chat:
        await chat.wait_shown("a story")
        await chat.wait_shown("Once ")
        await turn.answer("upon")
        await chat.wait_shown("Once upon\r\n> ")
        while chat.process.returncode is None:
            # Python hears of one that comes before it waits for a key with the next key.
            await chat.type(CTRL_C)
            with trio.move_on_after(1):
                await chat.process.wait()
        assert await chat.wait() == 0


async def test_ctrl_c_twice_leaves_a_server_that_does_not_come_back(upstream, tmp_path):
    async with serving(tmp_path, upstream) as client, on_terminal(tmp_path, "chat") as chat:
        await chat.wait_shown("> ")
        await chat.type("a story\r")
        await (await upstream.next_turn()).say("Once ")
        await chat.wait_shown("Once ")
        await client.server.kill()
        await chat.wait_shown("reconnecting")
        await chat.type(CTRL_C)
        await chat.wait_shown("stopping")
        await chat.type(CTRL_C)
        assert await chat.wait() == 130
    assert "Traceback" not in chat.shown
