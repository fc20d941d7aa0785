"""A session that a person or a script talks to, turn by turn."""

import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from .server import Refused, Server, open_server_at
from .terminal import Terminal, run
from .turn import Outcome, Turn

__all__ = ["Conversation", "Opening"]

COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)
QUIT = "/quit"
HELP = '''/new            begin another session
/undo           take the last exchange back
/retry          have the last message answered again
/title [TITLE]  say or set the title
/quit           leave; so do Ctrl-D, and Ctrl-C on an empty line
Ctrl-C stops an answer; what was said of it is kept.
A line that ends with \\ goes on in the next; """ begins and ends a text of several lines.'''
QUOTES = '"""'

Opening = Callable[[Server], Awaitable[str]] | None


class Conversation:
    """Without an `opening`, which finds an id, the session is made with its first turn."""

    def __init__(
        self, url: str | None, data_dir: Path, model: str | None, opening: Opening, *, quiet: bool
    ) -> None:
        self._terminal = Terminal()
        self._open = partial(open_server_at, url, data_dir, self._terminal.say)
        self._model, self._opening, self._quiet = model, opening, quiet
        self._session_id: str | None = None

    async def once(self, prompt: str) -> int:
        async with self._open() as server:
            if self._opening is not None:
                self._session_id = await self._opening(server)
            outcome = await self._ask(server, message=prompt)
        if self._quiet:
            click.echo(outcome.as_json())
        return outcome.code

    def converse(self) -> int:
        """Ask for prompts until there are no more."""
        with suppress(ImportError):
            import readline  # noqa: F401  keys to edit with, and those to go back
        code = run(self._begin)
        while not code:
            typed = self._typed()
            if typed is None or typed.strip() == QUIT:
                break
            if typed.strip():
                try:
                    code = run(self._do, typed.rstrip())
                except* click.ClickException as errors:
                    self._terminal.say(str(errors.exceptions[0]))
        return code

    # -- what a person types -------------------------------------------------------------------

    def _typed(self) -> str | None:
        """None if that was all."""
        try:
            text = self._line("> ")
            if text.startswith(QUOTES):
                text = text.removeprefix(QUOTES)
                while not text.endswith(QUOTES):
                    text += "\n" + self._line("... ")
                return text.removesuffix(QUOTES)
            while text.endswith("\\"):
                text = text[:-1] + "\n" + self._line("... ")
            return text
        except (EOFError, KeyboardInterrupt) as ended:
            sys.stderr.write("\n")
            return "" if isinstance(ended, KeyboardInterrupt) and _half_written() else None

    def _line(self, prompt: str) -> str:
        if self._terminal.is_person:
            return input(prompt)
        sys.stderr.write(prompt)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")

    # -- what is done --------------------------------------------------------------------------

    async def _begin(self) -> None:
        async with self._open() as server:
            if self._opening is None:
                await server.get("/api/sessions", limit=1)  # is it there, and may we?
                self._terminal.aside("A new session. /help says what you can do.")
                return
            self._session_id = await self._opening(server)
            session = await self._session(server)
            self._terminal.aside(f"{session['title']}, {session['message_count']} messages")
            if stream_id := session["active_stream_id"]:
                self._terminal.aside(f"> {session['pending_user_message'] or ''}")
                turn = Turn(server, self._terminal)
                self._session_id = (await turn.watch(self._session_id, stream_id)).session_id

    async def _do(self, typed: str) -> None:
        """A prompt, or one of the commands."""
        command = COMMAND.fullmatch(typed)
        async with self._open() as server:
            match command and command[1]:
                case None:
                    await self._ask(server, message=typed)
                case "help":
                    for line in HELP.splitlines():
                        click.echo(line, err=True)
                case "new":
                    self._session_id = None
                    self._terminal.aside("A new session.")
                case "undo":
                    removed = await server.post("/api/session/undo", session_id=self._named())
                    preview = removed.get("error") or f"taken back: {removed['removed_preview']}"
                    self._terminal.say(preview)
                case "retry":
                    revision = (await self._session(server)).get("regeneration_revision")
                    await self._ask(server, regenerate=True, regeneration_revision=revision)
                case "title":
                    await self._title(server, command[2] if command else None)
                case name:
                    raise click.ClickException(
                        f"there is no /{name}: /help says what there is. With a space before it, it"
                        " is sent"
                    )

    async def _title(self, server: Server, title: str | None) -> None:
        if title:
            await server.post("/api/session/rename", session_id=self._named(), title=title)
        self._terminal.say((await self._session(server))["title"])

    def _named(self) -> str:
        if self._session_id is None:
            raise click.ClickException("nothing was said in this session yet")
        return self._session_id

    async def _session(self, server: Server) -> dict[str, Any]:
        found = await server.get("/api/session", session_id=self._named(), messages=0)
        session: dict[str, Any] = found["session"]
        return session

    async def _ask(self, server: Server, **start: Any) -> Outcome:
        if self._model is not None:
            start["model"] = self._model
        fresh = self._session_id is None
        try:
            return await self._ask_here(server, start)
        except Refused as error:
            # A session in which nothing was said does not outlive its server.
            if not fresh or error.status != 404:
                raise
            self._session_id = None
            return await self._ask_here(server, start)

    async def _ask_here(self, server: Server, start: dict[str, Any]) -> Outcome:
        if self._session_id is None:
            made = await server.post("/api/session/new", model=self._model)
            self._session_id = str(made["session"]["session_id"])
        turn = Turn(server, self._terminal, quiet=self._quiet)
        outcome = await turn.ask(self._session_id, **start)
        self._session_id = outcome.session_id
        return outcome


def _half_written() -> bool:
    with suppress(ImportError):
        import readline

        return bool(readline.get_line_buffer())
    return False
