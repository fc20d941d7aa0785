"""`/ready`, and the way out: who sends turns here is told before they are refused."""

import signal
import stat
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from app.run_file import read_run_file
from tests.app.client import open_client
from tests.app.process import running_server
from tests.browser.stuck_disk_server import COMMAND as STUCK
from tests.browser.stuck_disk_server import stuck_disk

pytestmark = pytest.mark.process

FULL = (sys.executable, "-m", "tests.app.full_disk_server")


async def until_ready(client, ready):
    with trio.fail_after(60):
        while True:
            answer = await client.http.get("/ready")
            if answer.json()["ready"] is ready:
                return answer
            await trio.sleep(0.05)


async def test_who_is_ready_says_so(tmp_path):
    async with running_server(tmp_path) as server, open_client(server.url) as client:
        answer = await client.http.get("/ready")
        assert (answer.status_code, answer.json()) == (200, {"ready": True})


async def test_a_disk_that_refuses_makes_it_unready_until_it_takes_something_again(tmp_path):
    data = tmp_path / "data"
    async with running_server(data, command=FULL) as server, open_client(server.url) as client:
        await until_ready(client, True)
        full = tmp_path / "full"
        full.touch()
        assert (await client.http.post("/api/session/new", json={})).status_code == 200  # a shell
        session_id = await client.new()
        body = {"session_id": session_id, "message": "hello"}
        assert (await client.http.post("/api/chat/start", json=body)).status_code == 507
        answer = await client.http.get("/ready")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.json()["reason"] == "disk: There is no room left on the disk"
        assert (await client.http.get("/health")).status_code == 200
        full.unlink()
        assert (await client.http.get("/ready")).status_code == 200
        assert list(data.rglob("*.tmp.*")) == []


async def test_a_disk_that_does_not_answer_makes_it_unready(tmp_path):
    data = tmp_path / "data"
    async with running_server(data, command=STUCK) as server, open_client(server.url) as client:
        with stuck_disk(data):
            session_id = await client.new()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.start, session_id, "hello")
                answer = await until_ready(client, False)
                assert "a write has not come back" in answer.json()["reason"]
                nursery.cancel_scope.cancel()


async def test_at_the_end_it_says_so_first_then_refuses_and_what_runs_is_kept(tmp_path):
    async with running_server(tmp_path) as server, open_client(server.url) as client:
        session_id = await client.new()
        other = await client.new()
        stream_id = await client.start(session_id, "slow and long")
        async with aclosing(client.follow(stream_id)) as events:
            while (await anext(events)).name != "token":
                pass
        server.process.send_signal(signal.SIGTERM)
        answer = await until_ready(client, False)
        assert answer.json()["reason"].startswith("draining")
        refused = await client.http.post(
            "/api/chat/start", json={"session_id": other, "message": "more"}
        )
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        health = await client.http.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "degraded")
        assert await server.wait() == 0
    record = (tmp_path / "sessions" / f"{session_id}.json").read_text()
    assert "slow and long" in record


async def test_a_command_finds_the_running_server_by_a_file_that_goes_with_it(tmp_path):
    async with running_server(tmp_path) as server:
        found = read_run_file(tmp_path)
        assert found is not None
        assert (found.url, found.pid) == (server.url, server.pid)
        assert len(found.token) >= 32
        assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
        async with open_client(found.url) as client:
            assert (await client.http.get("/health")).status_code == 200
        assert await server.stop() == 0
    assert read_run_file(tmp_path) is None
    async with running_server(tmp_path) as server:
        await server.kill()
    assert read_run_file(tmp_path).pid == server.pid
    async with running_server(tmp_path) as server:
        assert read_run_file(tmp_path).pid == server.pid
        assert read_run_file(tmp_path).token != found.token


async def test_what_it_writes_is_for_its_owner_only_whatever_the_umask(tmp_path):
    data = tmp_path / "data"
    code = "import os, sys; os.umask(0); from app.cli import main; sys.exit(main())"
    command = (sys.executable, "-c", code)
    async with running_server(data, command=command) as server, open_client(server.url) as client:
        session_id = await client.new()
        await client.http.post(
            "/api/projects/create", json={"name": "One"}, headers={"Idempotency-Key": "k"}
        )
        await client.events(await client.start(session_id, "hello"))
        await client.get("/api/sessions/search", q="hello")
        modes = {str(path.relative_to(data)): mode(path) for path in data.rglob("*")}
        assert mode(data) == 0o700
        assert len(modes) > 10
        assert {path: oct(bits) for path, bits in modes.items() if bits not in (0o600, 0o700)} == {}
        assert {bits for path, bits in modes.items() if (data / path).is_file()} == {0o600}
        await server.stop()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
