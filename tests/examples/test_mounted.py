"""The web app inside another, and in an asyncio program."""

import json
import re
from functools import partial

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.app.process import COMMAND, environment
from tests.examples import mounted


def starlette(chat):
    async def root(request):
        return PlainTextResponse("the host itself\n")

    return Starlette(routes=[Route("/", root), Mount("/chat", app=chat)])


@pytest.fixture(params=[mounted.host, starlette])
async def client(request, tmp_path, nursery):
    url = await nursery.start(partial(mounted.main, tmp_path, host=request.param))
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client
    nursery.cancel_scope.cancel()


async def test_the_page_its_files_and_its_streams_work_under_a_prefix(client):
    assert (await client.get("/")).text == "the host itself\n"
    assert (await client.get("/chat")).headers["location"].endswith("/chat/")
    for page in ("/chat/", "/chat/session/some1", "/chat/inspector"):
        html = (await client.get(page)).text
        assert 'data-root="/chat"' in html
        assert 'href="/chat/' in html
        assert '="/static' not in html
        assert '="/inspector' not in html
    assert (await client.get("/chat/static/js/main.js")).status_code == 200
    assert "import" not in (await client.get("/static/js/main.js")).text, "it is the host's"

    created = await client.post("/chat/api/session/new", json={})
    session_id = created.json()["session"]["session_id"]
    body = {"session_id": session_id, "message": "hello you"}
    started = await client.post("/chat/api/chat/start", json=body, headers={"Idempotency-Key": "k"})
    again = await client.post("/chat/api/chat/start", json=body, headers={"Idempotency-Key": "k"})
    assert started.json()["stream_id"] == again.json()["stream_id"]
    words = ""
    path = f"/chat/api/chat/stream?stream_id={started.json()['stream_id']}"
    async with client.stream("GET", path) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and "text" in (data := json.loads(line[6:])):
                words += data["text"]
    assert words == "hello you "


async def test_users_log_in_under_the_prefix(client, tmp_path):
    add = [*COMMAND, "user", "add", "ann", "--password-stdin"]
    await trio.run_process(add, stdin=b"correct horse\n", env=environment(tmp_path))
    shown = await client.get("/chat/", headers={"Accept": "text/html"})
    assert (shown.status_code, shown.headers["location"]) == (302, "/chat/login?next=%2Fchat%2F")
    form = await client.get(shown.headers["location"])
    for needed in re.findall(r'(?:href|src)="([^"]+)"', form.text):
        assert (await client.get(str(form.url.join(needed)))).status_code == 200, needed
    assert (await client.get("/chat/api/sessions")).status_code == 401
    said = {"username": "ann", "password": "correct horse"}
    assert (await client.post("/chat/api/auth/login", json=said)).status_code == 200
    assert (await client.get("/chat/api/sessions")).status_code == 200


async def test_a_request_from_another_site_is_refused_there_too(client):
    refused = await client.post(
        "/chat/api/session/new", json={}, headers={"Origin": "http://evil.example"}
    )
    assert refused.status_code == 403
