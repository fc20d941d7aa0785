"""Clients that send anything, over both ways to speak HTTP/1.1: an answer that says what is wrong
or a closed connection, never a 500 and never a hang; and the server serves on.
"""

import gzip
import json
import re
from contextlib import suppress

import pytest
import trio

from tests.app.client import open_client
from tests.app.process import running_server

pytestmark = pytest.mark.process

GET = b"GET /api/sessions HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/session/new HTTP/1.1\r\nHost: localhost\r\n"
FILE = b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
MB = 1 << 20

# What is sent, and what may come back first. The connection is closed afterwards, so that nothing
# behind it is taken for a request.
REFUSED = {
    "a huge header": GET + b"X: " + b"x" * MB + b"\r\n\r\n",
    "a header without end": GET + b"X: " + b"x" * (2 * MB),
    "many headers": GET + b"".join(b"X-%d: y\r\n" % n for n in range(50_000)) + b"\r\n",
    "a huge target": b"GET /" + b"x" * MB + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a huge method": b"G" * MB + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + SMUGGLED,
    "two lengths in one": POST + b"Content-Length: 2, 40\r\n\r\n{}" + SMUGGLED,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "a length in hex": POST + b"Content-Length: 0x2\r\n\r\n{}" + SMUGGLED,
    "a length that is none": POST + b"Content-Length: two\r\n\r\n{}" + SMUGGLED,
    "chunks by another name": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and more": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "a negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED,
    "a chunk that goes on": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 2\r\n\r\n{}" + SMUGGLED,
    "a NUL in a header": GET + b"X: a\0b\r\n\r\n",
    "a header without a name": GET + b": x\r\n\r\n",
    "a header without a colon": GET + b"x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "a target with a space": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a NUL in the target": b"GET /a\0b HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
# Taken one way or the other, and what follows is a request of its own or not read at all.
TAKEN = {
    "a length and chunks": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a length twice the same": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "line feeds alone": GET.replace(b"\r", b"") + b"\n",
    "half of an escape": b"GET /static/%e%zz%f HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "escapes that are no text": b"GET /static/%ff%fe?q=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a NUL by escape": b"GET /static/a%00b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a line break by escape": b"GET /static/a%0d%0aX:%20y HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "upwards": b"GET /static/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "upwards by escape": b"GET /static/%2e%2e%2f%2e%2e%2fweb.py HTTP/1.1\r\n"
    b"Host: localhost\r\n\r\n",
    "from the root": b"GET /static//etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method of its own": b"BREW /api/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a proxy's request": b"GET http://y/api/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT y:443 HTTP/1.1\r\nHost: y:443\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "everything": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a host that is none": b"GET /api/sessions HTTP/1.1\r\nHost: \xff[:/?#\r\n\r\n",
    "a key that is no text": POST + b"Idempotency-Key: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    "a long key": POST + b"Idempotency-Key: " + b"k" * 4000 + b"\r\nContent-Length: 0\r\n\r\n",
    "an origin that is none": POST + b"Origin: http://[\r\nContent-Length: 0\r\n\r\n",
    "a range that is none": FILE + b"Range: bytes=9-1,a\r\n\r\n",
    "a date that is none": FILE + b"If-Modified-Since: \xff\r\n\r\n",
    "a cursor that is none": b"GET /api/chat/stream?stream_id=x HTTP/1.1\r\nHost: localhost\r\n"
    b"Last-Event-ID: \xff:\xff\r\n\r\n",
    "an encoding that is none": GET + b"Accept-Encoding: gzip;q=\xff, ;;=,\r\n\r\n",
    "a type that is none": POST
    + b"Content-Type: \xff/;charset=\xff\r\nContent-Length: 2\r\n\r\n{}",
    "a cookie that is none": GET + b"Cookie: \xff=\xff; ;;; a\r\n\r\n",
}


@pytest.fixture(params=["own", "stock"])
async def client(request, tmp_path):
    async with (
        running_server(tmp_path, "--http", request.param) as server,
        open_client(server.url) as opened,
    ):
        yield opened
        assert "Traceback" not in server.stderr, server.stderr
        assert await opened.new()


async def raw(client, data):
    """All that comes back until the server closes."""
    url = client.http.base_url
    answer = b""
    with trio.fail_after(30):
        async with (
            await trio.open_tcp_stream(url.host, url.port) as stream,
            trio.open_nursery() as nursery,
        ):

            async def send():
                with suppress(trio.BrokenResourceError):  # it has heard enough
                    await stream.send_all(data)

            nursery.start_soon(send)
            with suppress(trio.BrokenResourceError):
                async for part in stream:
                    answer += part
            nursery.cancel_scope.cancel()
    return answer


def codes_of(answer):
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] ([0-9]{3})", answer)]


async def test_what_is_no_request_is_refused_and_nothing_behind_it_is_one(client):
    for name, data in REFUSED.items():
        answer = await raw(client, data + b"\r\n\r\n" + LAST)
        codes = codes_of(answer)
        assert len(codes) <= 1, (name, answer[:500])
        assert set(codes) <= {400, 413, 414, 431, 501, 505}, (name, codes)
        assert b"smuggled" not in answer, name


async def test_what_is_odd_is_answered(client):
    for name, data in TAKEN.items():
        answer = await raw(client, data + LAST)
        codes = codes_of(answer)
        # Closed at once by stock Hypercorn, and what came after it resets the connection.
        assert codes or name in ("a tunnel", "everything"), name
        assert all(code < 500 for code in codes), (name, answer[:300])
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"root:" not in body, name
        assert b"create_app" not in body, name
        assert b"\r\nX: y" not in head, name


async def test_two_lengths_or_a_length_and_chunks_smuggle_nothing(client):
    """The body ends where the chunks say; what is behind it is another request, or not read."""
    both = POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = await raw(client, both + SMUGGLED + LAST)
    codes = codes_of(answer)
    assert codes in ([200, 404, 404], [200], [400]), answer[:500]


BODIES = {
    "depth": b"[" * MB,
    "depth of objects": b'{"a":' * MB,
    "depth in what is ignored": b'{"x":' + b"[" * MB + b"]" * MB + b"}",
    "20 MB of a string": b'{"model":"' + b"x" * (19 * MB) + b'"}',
    "20 MB of a list": b'{"enabled_toolsets":[' + b'"",' * (6 * MB) + b'""]}',
    "20 MB of a name": b'{"' + b"x" * (19 * MB) + b'":1}',
    "the same name twice": b'{"model":"a","model":"b"}',
    "a number beyond 64 bits": b'{"model":' + b"9" * 30 + b"}",
    "a number of a megabyte": b'{"x":' + b"9" * MB + b"}",
    "no number": b'{"x":NaN,"y":Infinity}',
    "half a character": rb'{"model":"\ud800"}',
    "broken UTF-8": b'{"model":"\xff\xfe"}',
    "UTF-16": '{"model":"x"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "packed": gzip.compress(b"{}"),
    "controls": b'{"model":"a\x00\x1fb"}',
    "controls by escape": rb'{"model":"\u0000\u001b[2J\u202e"}',
}


async def test_bodies_of_any_kind(client):
    headers = {"Content-Type": "application/json"}
    for name, body in BODIES.items():
        for path in ("/api/session/new", "/api/session/import", "/api/session/rename"):
            for more in ({}, {"Content-Encoding": "gzip"}, {"Content-Type": "image/png"}):
                if len(body) > 4 * MB and more:
                    continue
                answer = await client.http.post(path, content=body, headers={**headers, **more})
                assert answer.status_code in (200, 400, 413), (name, path, answer.text[:300])
                assert "error" in answer.json() or answer.status_code == 200, (name, path)


async def test_every_method_on_every_path(client):
    told = (await client.http.get("/openapi.json")).json()["paths"]
    for path, operations in told.items():
        shown = path.replace("{name}", "x").replace("{_}", "x")
        for method in ("HEAD", "OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE", "BREW"):
            is_stream = "text/event-stream" in json.dumps(operations.get("get", {}))
            if method in ("GET", "HEAD") and is_stream:
                continue
            answer = await client.http.request(method, shown)
            assert answer.status_code < 500, (method, path, answer.text)
            if method == "HEAD":
                assert answer.content == b""
            if answer.status_code == 405:
                assert answer.headers["Allow"], (method, path)


async def test_names_that_lead_elsewhere_lead_nowhere(client):
    bad = [
        "../x",
        "..",
        ".",
        "/etc/passwd",
        "a\r\nX: y",
        "a\0b",
        "%2e%2e",
        "_index",
        "\ud7ff",
        "x" * 5000,
    ]
    rows = [{"role": "user", "content": "x", "attachments": [{"name": "../../x\r\n", "text": "y"}]}]
    answer = await client.http.post(
        "/api/session/import", json={"messages": rows, "title": "\r\n/.."}
    )
    name = answer.json()["session"]["session_id"]
    for form in ("json", "html"):
        export = await client.http.get(
            "/api/session/export", params={"session_id": name, "format": form}
        )
        assert export.headers["Content-Disposition"] == (
            f'attachment; filename="hermes-{name}.{form}"'
        )
    for each in bad:
        for path in ("/api/session", "/api/session/export", "/api/session/stream"):
            answer = await client.http.get(path, params={"session_id": each})
            assert answer.status_code in (400, 404), (path, each, answer.text)
            assert "X" not in answer.headers


async def test_many_pipelined_requests_are_all_answered_in_order(client):
    answer = await raw(client, (GET + b"\r\n") * 200 + LAST)
    codes = codes_of(answer)
    assert codes == [200] * 200 + [404]
