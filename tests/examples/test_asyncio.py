"""What works from asyncio, and what does not."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest
import trio

from actors import Actor, Kind, NotOnTrio, open_system
from actors.greenroom import open_greenroom
from tests.core.conftest import Say
from tests.examples import from_asyncio
from tests.examples.test_examples import ENVIRONMENT, HERE


class Echo(Actor):
    async def receive(self, message):
        if message.word == "wait":
            await trio.sleep_forever()
        if message.word == "fail":
            raise ValueError("broken")
        return message.word


def open_echo():
    return open_system(Kind("echo", lambda key: Echo()), drain_seconds=0)


def test_a_program_on_asyncio_has_a_greenroom_as_its_guest(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "from_asyncio.py"), str(tmp_path), "hello you"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "".join(finished.stdout.split()) == "helloyou"


def test_a_guest_answers_fails_and_is_given_up():
    async def main():
        async with from_asyncio.open_guest(open_echo) as guest:
            ref = guest.thing.ref("echo", "a")
            assert await guest.run(ref.ask, Say("hello")) == "hello"
            with pytest.raises(Exception, match="broken"):
                await guest.run(ref.ask, Say("fail"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await guest.run(ref.ask, Say("wait"))

    asyncio.run(main())


def test_what_cannot_be_opened_says_so_to_asyncio(tmp_path):
    async def agent(turn, emit): ...

    async def main():
        async with from_asyncio.open_guest(lambda: open_greenroom(tmp_path / "file", agent)):
            raise AssertionError

    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OSError, match="file"):
        asyncio.run(main())


def test_trio_in_a_thread_beside_asyncio_works_too():
    token, stop, ready = [], trio.Event(), threading.Event()

    async def hold():
        async with open_echo() as system:
            token.extend((trio.lowlevel.current_trio_token(), system.ref("echo", "a")))
            ready.set()
            await stop.wait()

    async def main():
        thread = threading.Thread(target=trio.run, args=(hold,))
        thread.start()
        await asyncio.to_thread(ready.wait)
        trio_token, ref = token

        def ask():
            return trio.from_thread.run(ref.ask, Say("hello"), trio_token=trio_token)

        assert await asyncio.to_thread(ask) == "hello"
        trio_token.run_sync_soon(stop.set)
        await asyncio.to_thread(thread.join)

    asyncio.run(main())


async def _open(directory: Path):
    async def agent(turn, emit): ...

    async with open_greenroom(directory, agent), open_echo() as system:
        assert await system.ref("echo", "a").ask(Say("hello")) == "hello"
    return "done"


def test_anyio_works_on_its_trio_backend_and_the_other_says_what_to_do(tmp_path):
    assert anyio.run(_open, tmp_path, backend="trio") == "done"
    with pytest.raises(NotOnTrio, match=r"trio\.run"):
        anyio.run(_open, tmp_path, backend="asyncio")
    with pytest.raises(NotOnTrio):
        asyncio.run(open_echo().__aenter__())
