"""How much each user may use, and what is answered beyond it."""

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from actors.greenroom import open_greenroom
from actors.session.admission import Admission
from actors.session.allowance import Allowance
from actors.stores import MemoryDisk, open_journal
from actors.testing.puppet import Puppet
from app.authority.gate import Gate
from app.authority.users import change_users
from app.cli import main
from app.idempotency import Answers
from app.limits import ALONE, SHARED, Limits, parse_limits
from app.web import create_app
from tests.app.asgi import ask, streaming
from tests.app.test_walk import DATA_DIR, written


@asynccontextmanager
async def open_app(directory, **given):
    """ann and bob, by the tokens of their names."""
    change_users(directory, written)
    gate, agent, disk = Gate(directory), Puppet(), MemoryDisk()
    limits = Limits(given, lambda: gate.closed)
    admission = Admission(
        turns=lambda: limits["turns"],
        running=lambda: limits["running"],
        allowance=Allowance(lambda: limits["tokens"]),
    )
    async with (
        open_greenroom(DATA_DIR, agent, disk=disk, admission=admission) as greenroom,
        open_journal(DATA_DIR / "answers", disk=disk) as journal,
    ):
        app = create_app(
            greenroom,
            Answers(journal),
            gate=gate,
            limits=limits,
            stopping=trio.Event(),
            agent_status=lambda: {"agent": "puppet", "model": None},
        )
        app.puppet = agent
        yield app


async def new(app, who="ann"):
    reply = await ask(app, "POST", "/api/session/new", token=who)
    return reply.json["session"]["session_id"] if reply.status == 200 else reply


async def start(app, session_id, who="ann", message="hello", **body):
    body = {"session_id": session_id, "message": message, **body}
    return await ask(app, "POST", "/api/chat/start", body, token=who)


def refused(reply, status, text):
    assert (reply.status, reply.json["error"]) == (status, text), reply
    if status == 429:
        assert int(reply.headers["retry-after"]) > 0
    return reply


async def test_sessions_are_counted_also_those_in_which_nothing_was_said(tmp_path):
    async with open_app(tmp_path, sessions=3) as app:
        first = await new(app)
        await start(app, first)
        await new(app)
        messages = [{"role": "user", "content": "x"}]
        imported = {"messages": messages}
        reply = await ask(app, "POST", "/api/session/import", imported, token="ann")
        assert reply.status == 200
        text = "There are 3 chats, as many as may be; delete some first"
        refused(await new(app), 429, text)
        for path in ("/api/session/duplicate", "/api/session/branch", "/api/session/import"):
            body = imported if path.endswith("import") else {"session_id": first}
            refused(await ask(app, "POST", path, body, token="ann"), 429, text)
        assert isinstance(await new(app, "bob"), str)
        await ask(app, "POST", "/api/session/delete", {"session_id": first}, token="ann")
        assert isinstance(await new(app), str)


async def test_many_that_begin_sessions_at_once_get_no_more(tmp_path):
    async with open_app(tmp_path, sessions=3) as app:
        made = []

        async def one():
            made.append(await new(app))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
        assert sum(isinstance(each, str) for each in made) <= 3
        assert isinstance(await new(app, "bob"), str)


async def test_turns_that_run_or_wait(tmp_path):
    async with open_app(tmp_path, turns=2) as app:
        talks = [await new(app) for _ in range(3)]
        assert (await start(app, talks[0])).status == 200
        assert (await start(app, talks[0], if_busy="queue")).status == 202
        text = "2 of your turns run or wait already, as many as may be; stop one first"
        refused(await start(app, talks[1]), 429, text)
        assert (await start(app, await new(app, "bob"), "bob")).status == 200
        turn = await app.puppet.next_turn()
        turn.finish()
        await app.puppet.next_turn()


async def test_streams_that_are_open(tmp_path):
    async with open_app(tmp_path, streams=2) as app, AsyncExitStack() as stack:
        for _ in range(2):
            stream = await stack.enter_async_context(
                streaming(app, "/api/sessions/events", token="ann")
            )
            await stream.begun()
        reply = await ask(app, "GET", "/api/tab/events", token="ann")
        refused(reply, 429, "2 tabs and streams are open, as many as may be; close one first")
        async with streaming(app, "/api/tab/events", token="bob") as stream:
            assert (await stream.begun()).status == 200
        await stack.aclose()
        async with streaming(app, "/api/tab/events", token="ann") as stream:
            assert (await stream.begun()).status == 200


async def test_requests_a_second(tmp_path, mock_clock):
    async with open_app(tmp_path, requests=2) as app:
        for who in ("ann", "bob", None):  # nobody is known by their address
            for _ in range(8):
                assert (await ask(app, "GET", "/health", token=who)).status == 200
            reply = await ask(app, "GET", "/api/sessions", token=who)
            refused(reply, 429, "More than 2 requests a second; wait a moment")
        mock_clock.jump(0.5)
        assert (await ask(app, "GET", "/health", token="ann")).status == 200
        assert (await ask(app, "GET", "/health", token="ann")).status == 429


async def test_tokens_a_day(tmp_path):
    async with open_app(tmp_path, tokens=1) as app:
        session_id = await new(app)
        stream_id = (await start(app, session_id)).json["stream_id"]
        turn = await app.puppet.next_turn()
        await turn.say("yes")
        turn.finish()
        async with streaming(app, f"/api/chat/stream?stream_id={stream_id}", token="ann") as stream:
            await stream.wait_ended()
        reply = refused(await start(app, session_id), 429, "The 1 tokens of today are used up")
        assert 0 < int(reply.headers["retry-after"]) <= 86_400
        assert (await start(app, await new(app, "bob"), "bob")).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat/start", {"message": "x" * 11}),
        ("/api/btw", {"question": "x" * 11}),
        ("/api/background", {"prompt": "x" * 11}),
        ("/api/session/queue/edit", {"id": "any", "message": "x" * 11}),
    ],
)
async def test_messages_and_attachments_have_a_size(tmp_path, path, body):
    async with open_app(tmp_path, message=10, attachment=100) as app:
        session_id = await new(app)
        body = {"session_id": session_id, **body}
        reply = await ask(app, "POST", path, body, token="ann")
        refused(reply, 413, "The message is too large (11 characters, max 10)")
        huge = {"name": "a.txt", "content": "x" * 100}
        reply = await start(app, session_id, attachments=[{"name": "b"}, huge])
        assert reply.status == 413
        assert reply.json["error"].startswith("The attachment is too large (")
        reply = await start(app, session_id, message="x" * 10, attachments=[{"name": "b"}])
        assert reply.status == 200


async def test_a_body_has_a_size(tmp_path):
    async with open_app(tmp_path, body=100) as app:
        reply = await ask(app, "POST", "/api/session/new", b"x" * 101, token="ann")
        assert reply.status == 413


async def test_a_key_is_not_held_by_what_was_refused(tmp_path, mock_clock):
    async with open_app(tmp_path, sessions=1) as app:
        first = await new(app)
        key = {"idempotency-key": "k"}
        assert (await ask(app, "POST", "/api/session/new", token="ann", **key)).status == 429
        await ask(app, "POST", "/api/session/delete", {"session_id": first}, token="ann")
        mock_clock.jump(3600)  # it was a shell, and is not in memory any more
        assert (await ask(app, "POST", "/api/session/new", token="ann", **key)).status == 200


# -- what was set -------------------------------------------------------------------------------


def test_what_is_not_set_depends_on_whether_there_are_users():
    shared = False
    limits = Limits({"turns": 5}, lambda: shared)
    assert (limits["turns"], limits["sessions"], limits["message"]) == (5, 0, SHARED["message"])
    shared = True
    assert (limits["turns"], limits["sessions"]) == (5, SHARED["sessions"])
    assert SHARED.keys() == ALONE.keys()


def test_limits_are_read_or_refused_in_one_line(capsys, monkeypatch):
    assert parse_limits(["turns=5", "tokens=0"]) == {"turns": 5, "tokens": 0}
    for text, said in (
        ("turn=5", "there is no limit 'turn': choose one of sessions, turns, "),
        ("turns=many", "the limit 'turns' is a whole number, 0 for none, not 'many'"),
        ("turns", "the limit 'turns' is a whole number"),
        ("turns=-1", "the limit 'turns' is a whole number"),
    ):
        assert main(["--limit", text]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"greenroom: error: {said}")
    monkeypatch.setenv("GREENROOM_LIMITS", "turns=5 body=x")
    assert main([]) == 2
    assert "'body'" in capsys.readouterr().err
