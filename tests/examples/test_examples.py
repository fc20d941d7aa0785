"""The example programs, as somebody runs them: as processes, and within a program."""

import logging
import os
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from tests.examples import chat_bot, counter, worker_pool

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
TOTAL = "total 5"
RESULTS = ["a 100", "b failed 3 times", "c 40", "d failed 3 times", "e 25", "f 20"]


@pytest.mark.parametrize(("name", "last"), [("counter", [TOTAL]), ("worker_pool", RESULTS)])
def test_an_example_runs_by_itself(name, last, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / f"{name}.py")],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-len(last) :] == last


async def test_the_counter_runs_within_a_program(autojump_clock, capsys):
    await counter.main()
    assert capsys.readouterr().out.splitlines()[-1] == TOTAL


async def test_the_pool_gives_up_workers_and_gets_others(autojump_clock, capsys, caplog):
    caplog.set_level(logging.CRITICAL, "actors")
    await worker_pool.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-len(RESULTS) :] == RESULTS
    assert sum(line.startswith("gave up worker-") for line in lines) == 3


class Client:
    """One end of the bot's socket."""

    def __init__(self, stream):
        self.stream = stream
        self.got = ""

    async def say(self, line):
        await self.stream.send_all(f"{line}\n".encode())

    async def until(self, end):
        """All that comes, to this end."""
        while end not in self.got:
            chunk = await self.stream.receive_some()
            assert chunk, f"closed after {self.got!r}"
            self.got += chunk.decode()
        part, _, self.got = self.got.partition(end)
        return part + end


@asynccontextmanager
async def connected(port, name):
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = Client(stream)
        await client.say(name)
        yield client


@contextmanager
def bot_process(directory):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(HERE / "chat_bot.py"), str(directory)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(process.stdout.readline().removeprefix("port "))
        yield process, port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_conversation_with_the_bot_survives_its_kill(tmp_path):
    long = " ".join(f"word{n}" for n in range(200))
    with trio.fail_after(60):
        with bot_process(tmp_path) as (process, port):
            async with connected(port, "friend") as client:
                assert await client.until("\n") == "\n"  # a new conversation
                await client.say("hello you")
                assert await client.until("\n\n") == "hello you \n\n"
                await client.say(long)
                await client.until("word2 ")
                process.kill()
        with bot_process(tmp_path) as (_, port):
            async with connected(port, "friend") as client:
                said = await client.until("\n\n")
                assert said.startswith("user: hello you\nassistant: hello you")
                assert said.count(f"user: {long}\n") == 1
                assert "assistant: word0 word1 word2" in said
                await client.say("and on")
                assert await client.until("\n\n") == "and on \n\n"


async def test_the_bot_within_a_program_says_what_it_cannot_do(tmp_path):
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(chat_bot.main, tmp_path)
            async with connected(port, "../etc") as client:
                assert await client.until("\n") == "! a name has letters, digits, _ and -\n"
            async with connected(port, "one") as client:
                await client.say("")
                assert await client.until("BlankMessage\n\n") == "\n! BlankMessage\n\n"
            nursery.cancel_scope.cancel()
