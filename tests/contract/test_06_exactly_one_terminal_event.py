"""Exactly one terminal event per stream, however its turn ends: `done` and then `stream_end`, or
`cancel`, or `apperror`. Ids run from 1 without a hole, nothing but a title comes behind `done`,
nothing at all behind the end; and whoever reads, at once, again or in pieces, is told the same.
"""

import json
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import httpx
import pytest
import trio

PROMPT = "Fix the flaky tests"  # of which a title can be made that says less
TERMINAL = {"stream_end", "cancel", "apperror"}

# What the provider has said, how the turn ends then, and what its readers are told last.
ENDINGS = {
    "it completes": ("Hello", lambda house, turn, ids: turn.finish(), "stream_end"),
    "there was no answer": ("", lambda house, turn, ids: turn.finish(), "apperror"),
    "the connection is cut": ("Hello", lambda house, turn, ids: turn.hang_up(), "apperror"),
    "it is cut before a word": ("", lambda house, turn, ids: turn.hang_up(), "apperror"),
    "the provider reports an error": (
        "Hello",
        lambda house, turn, ids: turn.chunk({"error": {"message": "out of memory"}}),
        "apperror",
    ),
    "the provider sends nonsense": (
        "Hello",
        lambda house, turn, ids: turn.chunk({"choices": "none"}),
        "apperror",
    ),
    "it is stopped": (
        "Hello",
        lambda house, turn, ids: house.client.cancel(ids["stream_id"]),
        "cancel",
    ),
} | {
    f"the session is subject to {name}": (
        "Hello",
        lambda house, turn, ids, path=f"/api/session/{name}": house.post(
            path, session_id=ids["session_id"], keep_count=0
        ),
        "cancel",
    )
    for name in ("undo", "retry", "truncate", "clear", "delete")
}


def story(events):
    """What a reader was told; without the session, which comes as it is when it is read."""
    return [
        (event.id, event.name, {k: v for k, v in event.data.items() if k != "session"})
        for event in events
    ]


def check_ends_once(stream_id, events, last):
    names = [event.name for event in events]
    assert [event.id for event in events] == [f"{stream_id}:{n + 1}" for n in range(len(names))]
    assert [name for name in names if name in TERMINAL] == [last], names
    assert names[-1] == last
    assert ("done" in names) == (last == "stream_end")
    if last == "stream_end":
        assert set(names[names.index("done") + 1 : -1]) <= {"title_status", "title"}, names


async def read_in_pieces(client, stream_id):
    """One event at a time, each by a reader of its own that comes with the last one's number."""
    seen = []
    while not seen or seen[-1].name not in TERMINAL:
        async with aclosing(client.follow(stream_id, after_seq=len(seen))) as events:
            seen.append(await anext(events))
    assert await client.events(stream_id, after_seq=len(seen)) == []
    return seen


@asynccontextmanager
async def readers(client, stream_id, last):
    """Two who read and one who reads in pieces, while the block decides how the turn ends. Then
    one who comes late, at every number. They must agree, on a story with one end.
    """
    told = []

    async def read(how):
        told.append(await how(stream_id))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for how in (client.events, client.events, partial(read_in_pieces, client)):
                nursery.start_soon(read, how)
            yield
    whole = await client.events(stream_id)
    check_ends_once(stream_id, whole, last)
    assert [story(events) for events in told] == [story(whole)] * 3
    for n in range(len(whole) + 1):
        assert story(await client.events(stream_id, after_seq=n)) == story(whole)[n:]
    status = await client.get("/api/chat/stream/status", stream_id=stream_id)
    assert (status["active"], status["journal"]["last_seq"]) == (False, len(whole))


async def test_however_a_turn_ends_its_stream_ends_once(house, subtests):
    async with house.up() as client:
        for name, (said, end, last) in ENDINGS.items():
            with subtests.test(name):
                session_id = await client.new()
                stream_id, turn = await house.talk(session_id, PROMPT)
                ids = {"session_id": session_id, "stream_id": stream_id}
                async with readers(client, stream_id, last):
                    if said:
                        await turn.say(said[:3], said[3:])
                        await house.shown(stream_id, said)
                    await end(house, turn, ids)


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_a_turn_that_gives_way_to_another_ends_its_stream_and_not_the_others(house, policy):
    async with house.up() as client:
        session_id = await client.new()
        first, turn = await house.talk(session_id, "first")
        async with readers(client, first, "cancel"):
            await turn.say("half")
            await house.shown(first, "half")
            second, turn = await house.talk(session_id, "second", if_busy=policy)
        before = story(await client.events(first))
        async with readers(client, second, "stream_end"):
            await turn.answer("whole")
        assert story(await client.events(first)) == before


@pytest.mark.parametrize("status", [401, 500])
async def test_a_provider_that_refuses_ends_the_stream(house, status):
    async def refuse(stream):
        async with stream:
            await stream.receive_some(65536)
            body = json.dumps({"error": {"message": "no"}}).encode()
            head = (
                f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            await stream.send_all(head.encode() + body)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        async with house.up(BASE_URL=url) as client:
            stream_id = await client.start(await client.new(), "hello")
            async with readers(client, stream_id, "apperror"):
                pass
        nursery.cancel_scope.cancel()


async def test_a_message_that_never_had_its_turn_ends_its_stream(house, subtests):
    ways = {
        "removed": ("/api/session/queue/remove", lambda ids: ids),
        "stopped": ("/api/chat/cancel", lambda ids: {"stream_id": ids["id"]}),
        "cleared": ("/api/session/clear", lambda ids: ids),
        "deleted": ("/api/session/delete", lambda ids: ids),
    }
    async with house.up() as client:
        for name, (path, body) in ways.items():
            with subtests.test(name):
                session_id = await client.new()
                await house.talk(session_id, "runs")
                queued = (await house.start(session_id, "waits", if_busy="queue")).json()
                async with readers(client, queued["stream_id"], "cancel"):
                    ids = {"session_id": session_id, "id": queued["stream_id"]}
                    assert (await house.post(path, **body(ids))).status_code == 200


@pytest.mark.parametrize("path", ["/api/btw", "/api/background"])
async def test_a_turn_beside_the_conversation_ends_its_stream_once_too(house, path, subtests):
    async def delete(turn, ids):
        await house.post("/api/session/delete", **ids)

    ways = {
        "it completes": (lambda turn, ids: turn.finish(), "stream_end"),
        "the connection is cut": (lambda turn, ids: turn.hang_up(), "apperror"),
        "the session is deleted": (delete, "cancel"),
        "it is stopped": (lambda turn, ids: client.cancel(stream_id), "cancel"),
    }
    async with house.up() as client:
        for name, (end, last) in ways.items():
            with subtests.test(name):
                session_id = await client.new()
                await house.answer_from("one", session_id, PROMPT)
                asked = {"question": "why?", "prompt": "why?", "session_id": session_id}
                stream_id = (await house.post(path, **asked)).json()["stream_id"]
                turn = await house.upstream.next_turn()
                async with readers(client, stream_id, last):
                    await turn.say("be", "cause")
                    await house.shown(stream_id, "because")
                    await end(turn, {"session_id": session_id})


async def test_after_a_kill_each_stream_has_the_one_end_that_it_lacked(house):
    async with house.up(TITLES="model") as client:
        streams, turns = {}, {}
        for name in ("titling", "stopped", "running", "waiting"):
            session_id = await client.new()
            streams[name], turns[name] = await house.talk(session_id, PROMPT)
        queued = await house.start(session_id, "and then", if_busy="queue")
        streams["waiting"] = queued.json()["stream_id"]
        await client.cancel(streams["stopped"])
        await turns["titling"].answer("Hi")
        assert (await house.upstream.next_turn()).purpose == "title"
        await turns["running"].say("half")
        seen = {name: [] for name in streams}

        async def read(name):
            with suppress(httpx.TransportError):
                async for event in client.follow(streams[name]):
                    seen[name].append(event)

        async with trio.open_nursery() as nursery:
            for name in streams:
                nursery.start_soon(read, name)
            await house.shown(streams["running"], "half")
            async with aclosing(client.follow(streams["titling"])) as events:
                while (await anext(events)).name != "done":
                    pass
            await house.kill()
    lasts = {"titling": "stream_end", "stopped": "cancel", "running": "apperror"}
    lasts["waiting"] = "stream_end"
    for restart in (1, 2):
        async with house.up() as client:
            if restart == 1:
                turn = await house.upstream.next_turn()
                assert turn.prompts[-1] == "and then"
                await turn.answer("Then")
            for name, stream_id in streams.items():
                events = await client.events(stream_id)
                check_ends_once(stream_id, events, lasts[name])
                assert story(events)[: len(seen[name])] == story(seen[name])
                seen[name] = events
            await house.kill()


async def test_sigterm_gives_a_turn_a_moment_and_ends_the_streams_of_all(house):
    async with house.up(TITLES="model") as client:
        streams, turns, told = {}, {}, {"stream_end": [], "apperror": []}
        for name in told:
            streams[name], turns[name] = await house.talk(await client.new(), PROMPT)
            await turns[name].say("half")
            await house.shown(streams[name], "half")

        async def read(name):
            told[name].append(await client.events(streams[name]))

        async with trio.open_nursery() as nursery:
            for name in (*told, *told):
                nursery.start_soon(read, name)
            nursery.start_soon(house.server.stop)
            await turns["stream_end"].finish()  # its title is asked for, and never comes
        assert house.server.process.returncode == 0
    async with house.up() as client:
        for name, stream_id in streams.items():
            one, other = told[name]
            check_ends_once(stream_id, one, name)
            assert story(one) == story(other) == story(await client.events(stream_id))
