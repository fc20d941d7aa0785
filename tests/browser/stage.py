"""A real server and a provider whose strings the test holds, for a test that is not a task itself.

Playwright's client is synchronous here; server and provider live in a Trio thread beside it.

with open_stage(directory) as stage:
    stage.start()
    page.goto(stage.url)
    ...
    turn = stage.next_turn()        # the page has sent something: this is the provider's end of it
    turn.say("Hel")
    stage.kill(); stage.start()     # -9, and again on the same port and directory
"""

import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import trio

from tests.app.process import COMMAND, ServerProcess, running_server
from tests.app.upstream import Upstream, UpstreamTurn, open_upstream

__all__ = ["Stage", "Turn", "open_stage"]

T = TypeVar("T")


class Turn:
    """What the provider was asked, and says."""

    def __init__(self, stage: "Stage", turn: UpstreamTurn) -> None:
        self._stage = stage
        self._turn = turn

    @property
    def prompts(self) -> list[str]:
        return self._turn.prompts

    def say(self, *texts: str) -> None:
        self._stage.run(self._turn.say, *texts)

    def chunk(self, chunk: dict[str, Any]) -> None:
        self._stage.run(self._turn.chunk, chunk)

    def reason(self, text: str) -> None:
        self.chunk({"choices": [{"delta": {"reasoning_content": text}}]})

    def answer(self, text: str) -> None:
        self._stage.run(self._turn.answer, text)

    def finish(self) -> None:
        self._stage.run(self._turn.finish)

    def hang_up(self) -> None:
        self._stage.run(self._turn.hang_up)

    def wait_closed(self) -> None:
        """Until the other side has closed its connection."""
        self._stage.run(self._turn.closed.wait)


class Stage:
    """One data directory and one port; the server that runs there now, if one does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.upstream: Upstream
        self._server: ServerProcess
        self._nursery: trio.Nursery
        self._token: trio.lowlevel.TrioToken
        self._over: trio.Event

    def run(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        """In the Trio thread, where nothing may take longer than this."""

        async def limited() -> T:
            with trio.fail_after(60):
                return await work(*args)

        return trio.from_thread.run(limited, trio_token=self._token)

    async def main(self, ready: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        try:
            async with open_upstream() as self.upstream, trio.open_nursery() as self._nursery:
                ready.set()
                await self._over.wait()
                self._nursery.cancel_scope.cancel()
        finally:
            ready.set()

    def end(self) -> None:
        trio.from_thread.run_sync(self._over.set, trio_token=self._token)

    # -- the server -------------------------------------------------------------------------

    def start(self, command: Sequence[str] = COMMAND, **env: str) -> None:
        """`env` sets options, as AGENT="demo" does GREENROOM_AGENT."""
        settings = {"AGENT": "openai", "BASE_URL": self.upstream.url, "MODEL": "puppet", **env}
        named = {f"GREENROOM_{name}": value for name, value in settings.items()}
        named["GREENROOM_PORT"] = str(self.port)
        self._server = self.run(self._start, named, command)

    async def _start(self, env: dict[str, str], command: Sequence[str]) -> ServerProcess:
        async def serve(task_status: Any) -> None:
            async with running_server(self.directory, env=env, command=command) as server:
                task_status.started(server)
                await server.process.wait()

        server: ServerProcess = await self._nursery.start(serve)
        return server

    def kill(self) -> None:
        """As a power cut ends a process."""
        self.run(self._server.kill)

    def stop(self) -> int:
        return self.run(self._server.stop)

    def freeze(self) -> None:
        """It keeps its connections, and says nothing any more."""
        self._server.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._server.process.send_signal(signal.SIGCONT)

    def next_turn(self) -> Turn:
        return Turn(self, self.run(self.upstream.next_turn))

    # -- what another client does -----------------------------------------------------------

    def get(self, path: str, **params: Any) -> Any:
        return httpx.get(self.url + path, params=params, timeout=30).json()

    def post(self, path: str, **body: Any) -> Any:
        return httpx.post(self.url + path, json=body, timeout=30).json()

    def new(self) -> str:
        return str(self.post("/api/session/new")["session"]["session_id"])

    def talk(self, session_id: str, prompt: str) -> Turn:
        """Another client's prompt: the provider's end of it."""
        self.post("/api/chat/start", session_id=session_id, message=prompt, if_busy="queue")
        return self.next_turn()

    def told(self, session_id: str, prompt: str, answer: str) -> None:
        """A whole exchange, that is in the transcript when this returns."""
        self.talk(session_id, prompt).answer(answer)
        self.wait_idle(session_id)

    def wait_idle(self, session_id: str) -> None:
        """Until no turn of the session runs: its feed says when."""
        status = self.get("/api/session/status", session_id=session_id)
        if status["active_stream_id"]:
            params = {"stream_id": status["active_stream_id"]}
            httpx.get(f"{self.url}/api/chat/stream", params=params, timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_stage(directory: Path) -> Iterator[Stage]:
    stage = Stage(directory)
    ready = threading.Event()
    thread = threading.Thread(target=trio.run, args=(stage.main, ready), name="stage")
    thread.start()
    ready.wait()
    try:
        yield stage
    finally:
        stage.end()
        thread.join()
