"""MCP servers as real processes: started, asked, dying, started again, ended."""

import json
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager

import pytest
import trio

from app.tools import server
from app.tools.config import servers_in
from app.tools.results import LONGEST
from tests.app.tools.servers import TIME, faults, serving_http

pytestmark = pytest.mark.process


@asynccontextmanager
async def toolbox(**named):
    """A toolbox, and what it says is wrong."""
    servers = servers_in(json.dumps({"mcpServers": named}).encode(), {})
    with trio.fail_after(100):
        async with server.open_toolbox(servers) as opened:
            yield opened, await opened.look()


async def call(opened, name, **arguments):
    return await opened.find(name).call(arguments)


async def wait_until(is_so):
    """Of something that another process does, and does not tell."""
    with trio.fail_after(60):
        while True:
            if is_so():
                return
            await trio.sleep(0.02)


async def wait_noted(file, text):
    await wait_until(lambda: file.exists() and text in file.read_text().split())


async def test_a_server_that_nobody_here_wrote():
    async with toolbox(time=TIME) as (opened, problems):
        assert problems == []
        assert opened.names == ["time__get_current_time", "time__convert_time"]
        definition = opened.definitions[0]["function"]
        assert definition["parameters"]["required"] == ["timezone"]
        outcome = await call(opened, "time__get_current_time", timezone="Europe/Berlin")
        assert not outcome.is_error
        assert json.loads(outcome.text)["timezone"] == "Europe/Berlin"
        wrong = await call(opened, "time__get_current_time", timezone="Nowhere")
        assert wrong.is_error
        assert "Invalid timezone" in wrong.text
        odd = await call(opened, "time__get_current_time", town="Berlin")
        assert odd.is_error


async def test_a_server_over_streamable_http(tmp_path):
    async with serving_http() as url, toolbox(far={"url": url}) as (opened, problems):
        assert problems == []
        assert "42" in (await call(opened, "far__structured")).text
        file = tmp_path / "notes"
        with trio.move_on_after(60) as scope:
            async with trio.open_nursery() as nursery:

                async def hang():
                    await call(opened, "far__hang", file=str(file))

                nursery.start_soon(hang)
                await wait_noted(file, "began")
                scope.cancel()
        await wait_noted(file, "cancelled")
        assert not (await call(opened, "far__note", file=str(file), text="alive")).is_error


async def test_what_is_no_text_is_named_and_what_is_an_error_is_one():
    async with toolbox(f=faults()) as (opened, _):
        picture = await call(opened, "f__picture")
        assert picture.text.startswith("before\n[image: image/png, about 1200 bytes")
        assert "42" in (await call(opened, "f__structured")).text
        failed = await call(opened, "f__fail")
        assert (failed.is_error, "the tool says no" in failed.text) == (True, True)
        flood = await call(opened, "f__flood", characters=LONGEST * 10)
        assert len(flood.text) == LONGEST * 10  # bounded by who shows it


async def test_a_call_that_takes_too_long_is_cancelled_at_the_server(tmp_path):
    file = tmp_path / "notes"
    async with toolbox(f=faults(timeout=0.5)) as (opened, _):
        outcome = await call(opened, "f__hang", file=str(file))
        assert outcome.is_error
        assert "within 0.5 s" in outcome.text
        await wait_noted(file, "cancelled")
        assert not (await call(opened, "f__pid")).is_error


async def test_a_server_that_dies_in_a_call_says_so_and_is_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "PAUSE_SECONDS", 0.01)
    file = tmp_path / "notes"
    async with toolbox(f=faults()) as (opened, _):
        outcome = await call(opened, "f__die", file=str(file))
        assert outcome.is_error
        assert "not known" in outcome.text
        assert not (await call(opened, "f__pid")).is_error
    assert file.read_text() == "dying\n", "never by itself a second time"


async def test_a_server_that_is_killed_while_idle_is_started_again(monkeypatch):
    monkeypatch.setattr(server, "PAUSE_SECONDS", 0.01)
    async with toolbox(f=faults()) as (opened, _):
        old = (await call(opened, "f__pid")).text
        os.kill(int(old), signal.SIGKILL)
        outcome = await call(opened, "f__pid")
        while outcome.is_error:  # the call met it as it died
            outcome = await call(opened, "f__pid")
        assert outcome.text != old


async def test_one_that_cannot_be_started_is_tried_a_few_times_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "PAUSE_SECONDS", 0.01)
    starts = tmp_path / "starts"
    broken = faults(env={"BROKEN": "1", "STARTS": str(starts)})
    async with toolbox(f=broken, gone={"command": "/no/such"}, time=TIME) as (opened, problems):
        assert [problem.split(":")[0] for problem in problems] == [
            "The tool server 'f' cannot be started",
            "The tool server 'gone' cannot be started",
        ]
        assert opened.names == ["time__get_current_time", "time__convert_time"]
        assert starts.read_text().count("start") == 1 + server.RESTARTS
        assert len(await opened.look()) == 2  # the next turn need not wait for it
        assert starts.read_text().count("start") == 1 + server.RESTARTS
        monkeypatch.setattr(server, "GIVEN_UP_SECONDS", 0.0)
        assert len(await opened.look()) == 2  # a later one: once more
        assert starts.read_text().count("start") == 2 + server.RESTARTS


async def test_one_that_does_not_come_back_is_a_clear_result(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "PAUSE_SECONDS", 0.01)
    script = tmp_path / "once.py"  # it starts once
    flag = tmp_path / "flag"
    script.write_text(
        f"import os, sys, runpy\nflag = {str(flag)!r}\nif os.path.exists(flag): sys.exit(1)\n"
        f"open(flag, 'w').close()\nrunpy.run_path({faults()['args'][0]!r}, run_name='__main__')\n"
    )
    once = {"command": sys.executable, "args": [str(script)]}
    async with toolbox(f=once) as (opened, problems):
        assert problems == []
        await call(opened, "f__die", file=str(tmp_path / "notes"))
        outcome = await call(opened, "f__pid")
        assert outcome.is_error
        assert outcome.text.startswith("The tool server 'f' cannot be started")
        assert outcome.text.endswith("The tool was not run.")


async def test_its_stderr_is_in_the_log_at_debug_and_its_environment_nowhere(caplog):
    caplog.set_level(logging.DEBUG, "app.tools")
    async with toolbox(f=faults(env={"SECRET": "hush"})) as (opened, _):
        await call(opened, "f__pid")
        await wait_until(lambda: caplog.records)
    assert "secret is hush" in caplog.text  # what it says itself is its own affair
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    caplog.clear()
    async with toolbox(f={"command": "/no/such", "env": {"SECRET": "hush"}}) as (_, problems):
        assert "hush" not in caplog.text + str(problems)


async def test_its_process_ends_with_the_toolbox():
    async with toolbox(f=faults()) as (opened, _):
        number = int((await call(opened, "f__pid")).text)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
