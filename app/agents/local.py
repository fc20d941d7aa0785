"""A model on this machine: its file, its server, and the agent that asks it."""

import logging
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from actors.session.agent import AgentError, AgentTurn, Emit

from .model_file import fetch_model
from .openai import OpenAIAgent, open_client

__all__ = ["CONTEXT", "LocalAgent", "open_local_agent"]

log = logging.getLogger("app.agents")

# A small model repeats itself and does not know when to stop: these keep its answers sensible.
SAMPLING = {"temperature": 0.7, "top_p": 0.95, "repeat_penalty": 1.1, "max_tokens": 512}
RESTARTS = 3
STABLE_SECONDS = 60.0  # a server that ran so long has its restarts back
PAUSE_SECONDS = 1.0
CONTEXT = 2048  # tokens for each answer: what the default model was made for
LOAD_SECONDS = 120.0


class LocalAgent:
    """Answers once the model is there: a turn that comes while it is fetched or loaded waits, and
    one that comes after that failed tries again.
    """

    def __init__(
        self, models: Path, file: Path | None, nursery: trio.Nursery, read_seconds: float
    ) -> None:
        self.model = file.stem if file else "SmolLM2-135M-Instruct"
        self._models = models
        self._file = file
        self._nursery = nursery
        self._read_seconds = read_seconds
        self._agent: OpenAIAgent | None = None
        self._failure: AgentError | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._report("loading" if file else "downloading", None)
        nursery.start_soon(self._run)

    def status(self) -> dict[str, object]:
        return {"state": self._state, "progress": self._progress, "detail": self._detail}

    def _report(self, state: str, progress: float | None) -> None:
        self._state = state
        self._progress = progress
        self._detail = {
            "downloading": f"Downloading {self.model}",
            "checking": f"Checking {self.model}",
            "loading": f"Loading {self.model}",
            "ready": f"{self.model} runs on this machine",
        }.get(state, self._failure.message if self._failure else state)
        self._changed.unpark_all()

    async def __call__(self, turn: AgentTurn, emit: Emit) -> None:
        if self._failure is not None:
            self._failure = None
            self._report("loading", None)
            self._nursery.start_soon(self._run)
        while self._agent is None:
            if self._failure is not None:
                raise AgentError(
                    self._failure.type,
                    self._failure.message,
                    hint=self._failure.hint,
                    details=self._failure.details,
                )
            await self._changed.park()
        await self._agent(turn, emit)

    async def _run(self) -> None:
        """From the file to a server that answers, as long as that goes well."""
        try:
            file = self._file or await fetch_model(self._models, self._report)
            await self._keep_serving(file)
        except AgentError as error:
            why = error.details or error.hint or ""
            log.warning("the local model is not there: %s %s", error.message, why)
            self._failure = error
            self._report("failed", None)

    async def _keep_serving(self, file: Path) -> None:
        crashes = 0
        while crashes <= RESTARTS:
            self._report("loading", None)
            began = trio.current_time()
            code = await self._serve(file)
            crashes = 1 if trio.current_time() - began > STABLE_SECONDS else crashes + 1
            log.warning("the model server ended with code %s", code)
            await trio.sleep(PAUSE_SECONDS * crashes)
        hint = f"Is there memory for {file.name}?"
        raise AgentError("error", "The model server does not keep running.", hint=hint)

    async def _serve(self, file: Path) -> int:
        """One life of the server; `AgentError` if it does not begin, as it would not the next time.
        Its key goes through a pipe, so that no other user of this machine can see it, or ask the
        server.
        """
        key = secrets.token_urlsafe()
        command = [sys.executable, "-m", "app.agents.llama_server", str(file), str(CONTEXT)]
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: turns are settled first
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            address = ""
            # One that cannot load may end before it has read its key.
            with trio.move_on_after(LOAD_SECONDS), suppress(trio.BrokenResourceError):
                await process.stdin.send_all(f"{key}\n".encode())
                address = await _first_line(process.stdout)
            if not address:
                hint = (
                    f"Is {file.name} whole, does llama.cpp know its kind, is there memory for it?"
                )
                raise AgentError("error", f"The model {file.stem} cannot be loaded.", hint=hint)
            async with open_client(f"{address}/v1", key, read_seconds=self._read_seconds) as client:
                self._agent = OpenAIAgent(client, self.model, options=SAMPLING)
                self._report("ready", None)
                await process.wait()
        finally:
            self._agent = None
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        return process.returncode or 0


async def _first_line(output: trio.abc.ReceiveStream) -> str:
    """What the server says first, its address; nothing if it ends without a word."""
    said = b""
    while b"\n" not in said:
        part = await output.receive_some(1024)
        if not part:
            return ""
        said += part
    return said.decode().strip()


@asynccontextmanager
async def open_local_agent(
    data_dir: Path, model: str | None, *, read_seconds: float
) -> AsyncIterator[LocalAgent]:
    """Ready to be asked at once; the model comes when it is fetched and loaded."""
    async with trio.open_nursery() as nursery:
        file = Path(model) if model else None
        yield LocalAgent(data_dir / "models", file, nursery, read_seconds)
        nursery.cancel_scope.cancel()
