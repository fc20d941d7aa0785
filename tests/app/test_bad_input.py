"""Bad input gets a clear error with the right status, and nothing is half done."""

import json
from contextlib import asynccontextmanager

import pytest
import trio

from tests.app.client import open_client
from tests.app.process import COMMAND, running_server
from tests.app.upstream import open_upstream

pytestmark = pytest.mark.process

BAD_IDS = ["../x", "a.b", "a/b", "a\0b", "..%2fx", "_index", "é", " ", "x" * 300]
WITH_SESSION = [
    "/api/chat/start",
    "/api/session/rename",
    "/api/session/pin",
    "/api/session/archive",
    "/api/session/undo",
    "/api/session/retry",
    "/api/session/update",
    "/api/session/draft",
]
POSTS = [*WITH_SESSION, "/api/session/new", "/api/session/delete", "/api/session/import"]


@pytest.fixture
async def client(tmp_path):
    async with running_server(tmp_path) as server, open_client(server.url) as opened:
        yield opened


def files(data_dir):
    return sorted(path.name for path in data_dir.rglob("*") if path.is_file())


async def test_bodies_that_are_no_object_of_the_right_shape(client, tmp_path):
    before = files(tmp_path)
    for path in POSTS:
        for body in (b"{", b"\xff", b"[1]", b'"x"', b"3", b'{"session_id": 5, "messages": 1}'):
            answer = await client.http.post(path, content=body)
            if path == "/api/session/new" and body.startswith(b'{"session_id"'):
                continue  # it names no session: that is ignored
            assert answer.status_code == 400, (path, body, answer.text)
            assert answer.json()["error"], (path, body)
    assert files(tmp_path) == before


async def test_ids_that_cannot_be_one_never_reach_the_file_system(client, tmp_path):
    before = files(tmp_path)
    for bad in BAD_IDS:
        for path in WITH_SESSION:
            body = {"session_id": bad, "message": "x", "title": "x"}
            answer = await client.http.post(path, json=body)
            assert (answer.status_code, answer.json()) == (404, {"error": "Session not found"}), (
                path,
                bad,
            )
        for path in ("/api/session", "/api/session/status", "/api/session/export"):
            answer = await client.http.get(path, params={"session_id": bad})
            assert answer.status_code == 404, (path, bad)
        answer = await client.http.post("/api/session/delete", json={"session_id": bad})
        assert (answer.status_code, answer.json()) == (400, {"error": "Invalid session_id"}), bad
        stream = await client.http.get("/api/chat/stream", params={"stream_id": bad})
        assert (stream.status_code, stream.json()) == (404, {"error": "stream not found"})
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/api/chat/start", {}, 400, "Missing required field(s): session_id"),
        ("POST", "/api/session/rename", {}, 400, "Missing required field(s): session_id, title"),
        ("POST", "/api/session/undo", {}, 400, "Missing required field(s): session_id"),
        ("POST", "/api/session/delete", {}, 400, "session_id is required"),
        ("POST", "/api/session/import", {}, 400, "Request body must be a JSON object"),
        ("POST", "/api/session/import", {"a": 1}, 400, 'JSON must contain a "messages" array'),
        (
            "POST",
            "/api/session/import",
            {"messages": [], "tool_calls": 1},
            400,
            'JSON "tool_calls" must be an array',
        ),
        ("GET", "/api/session", None, 400, "session_id is required"),
        ("GET", "/api/session/status", None, 400, "Missing session_id"),
        ("GET", "/api/session/usage", None, 400, "Missing session_id"),
        ("GET", "/api/session?session_id=nobody", None, 404, "Session not found"),
        ("GET", "/api/chat/cancel", None, 400, "stream_id required"),
        ("GET", "/api/chat/stream?stream_id=nobody", None, 404, "stream not found"),
        ("GET", "/nothing/here", None, 404, "not found"),
        ("POST", "/nothing/here", {}, 404, "not found"),
        (
            "POST",
            "/api/chat/start",
            {"session_id": "nobody", "message": ""},
            404,
            "Session not found",
        ),
        (
            "POST",
            "/api/session/new",
            {"workspace": "/no/such"},
            400,
            "Path does not exist: /no/such",
        ),
    ],
)
async def test_the_words_and_the_status_of_each_refusal(client, method, path, body, status, error):
    answer = await client.http.request(method, path, json=body)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


async def test_a_method_that_a_path_does_not_have_is_told_of_those_it_has(client):
    answer = await client.http.put("/api/session/draft")
    assert (answer.status_code, answer.json()) == (405, {"error": "method not allowed"})
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


async def test_a_number_that_is_none_is_refused_also_where_it_is_not_used(client):
    for name in ("limit", "offset", "archived_limit", "archived_offset"):
        answer = await client.http.get("/api/sessions", params={name: "x"})
        assert answer.status_code == 400, name


async def test_what_is_no_name_of_a_file_is_not_there(client):
    for name in ("x" * 300, "%CC%BA" * 200, "a%00b", "..%2f..%2fweb.py", "%2e%2e/%2e%2e/web.py"):
        for path in ("/static/", "/session/static/", "/inspector/static/"):
            answer = await client.http.get(path + name)
            assert answer.status_code == 404, (path, name)


async def test_what_is_no_directory_is_none_whatever_it_is(client):
    session_id = await client.new()
    for bad in ("~nobody", "~nobody/x", "x" * 300, "/" + "y/" * 3000, "a\0b", "~\0"):
        body = {"session_id": session_id, "workspace": bad, "message": "x"}
        for path in ("/api/session/new", "/api/session/update", "/api/chat/start"):
            answer = await client.http.post(path, json=body)
            assert answer.status_code == 400, (path, bad[:20])
            assert answer.json()["error"].startswith("Path does not exist")


async def test_a_session_without_a_prompt_cannot_be_answered_again_and_says_so(client):
    body = {"session_id": await client.new(), "regenerate": True}
    answer = await client.http.post("/api/chat/start", json=body)
    assert answer.status_code == 409
    assert answer.json()["error"]


async def test_only_what_json_takes_for_space_is_an_empty_body(client):
    for path in ("/api/session/new", "/api/chat/cancel?stream_id=x"):
        for body, status in ((b"", 200), (b" \r\n\t", 200), (b"\x0c", 400), (b"\0", 400)):
            answer = await client.http.post(path, content=body)
            assert answer.status_code == status, (path, body)


async def test_a_blank_message_is_refused_and_changes_nothing(client):
    session_id = await client.new()
    for blank in ("", " \n\t"):
        answer = await client.http.post(
            "/api/chat/start", json={"session_id": session_id, "message": blank}
        )
        assert (answer.status_code, answer.json()) == (400, {"error": "message is required"})
    assert (await client.session(session_id))["message_count"] == 0


async def test_an_oversize_body_is_413_and_the_server_goes_on(client):
    stream = await trio.open_tcp_stream(client.http.base_url.host, client.http.base_url.port)
    async with stream:
        head = "POST /api/session/new HTTP/1.1\r\nHost: localhost\r\n"
        await stream.send_all(f"{head}Content-Length: {21 << 20}\r\n\r\n".encode())
        answer = await stream.receive_some(65536)
        assert answer.startswith(b"HTTP/1.1 413")
        while b"}" not in answer:
            answer += await stream.receive_some(65536)
        assert b"Request body too large (22020096 bytes, max 20971520)" in answer
    assert await client.new()


async def test_requests_from_other_pages_are_refused(client):
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Referer": "//[x]y"},
        {"Referer": "http://evil.example/x"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        for method, path in (("POST", "/api/session/new"), ("GET", "/api/chat/cancel?stream_id=x")):
            answer = await client.http.request(method, path, headers=headers)
            assert answer.status_code == 403, (headers, path)
    own = {"Origin": str(client.http.base_url).rstrip("/")}
    assert (await client.http.post("/api/session/new", headers=own)).status_code == 200


async def test_a_damaged_record_is_reported_and_kept_and_the_rest_works(tmp_path):
    damaged = tmp_path / "sessions" / "damaged1.json"
    damaged.parent.mkdir()
    damaged.write_bytes(b'{"messages": [')
    fine = damaged.with_name("fine1.json")
    fine.write_text(json.dumps({"title": "Fine", "messages": [{"role": "user", "content": "x"}]}))
    async with running_server(tmp_path) as server, open_client(server.url) as client:
        answer = await client.http.get("/api/session", params={"session_id": "damaged1"})
        assert answer.status_code == 500
        assert "damaged1 is damaged" in answer.json()["error"]
        start = {"session_id": "damaged1", "message": "x"}
        assert (await client.http.post("/api/chat/start", json=start)).status_code == 500
        assert (await client.session("fine1"))["title"] == "Fine"
        listed = (await client.get("/api/sessions"))["sessions"]
        assert [row["session_id"] for row in listed] == ["fine1"]
    assert damaged.read_bytes() == b'{"messages": ['


@asynccontextmanager
async def small_disk(data_dir, upstream, blocks):
    """A server none of whose files can grow beyond `blocks` KiB: the kernel answers EFBIG."""
    command = ("bash", "-c", f'ulimit -f {blocks}; exec "$@"', "-", *COMMAND)
    arguments = ("--agent", "openai", "--base-url", upstream.url, "--model", "m")
    async with (
        running_server(data_dir, *arguments, command=command) as server,
        open_client(server.url) as client,
    ):
        yield client


async def test_no_room_is_507_and_the_session_is_unchanged_and_usable(tmp_path):
    async with open_upstream() as upstream, small_disk(tmp_path, upstream, 64) as client:
        session_id = await client.new()
        big = {"session_id": session_id, "message": "x" * 100_000}
        answer = await client.http.post("/api/chat/start", json=big)
        assert answer.status_code == 507
        assert "no room" in answer.json()["error"]
        session = await client.session(session_id)
        assert (session["messages"], session["active_stream_id"]) == ([], None)
        stream_id = await client.start(session_id, "small")
        turn = await upstream.next_turn()
        await turn.say("ok")
        await turn.finish()
        events = await client.events(stream_id)
        assert events[-1].name == "stream_end"
