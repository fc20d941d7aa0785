"""One turn as a command asks for it and follows it: through cuts, restarts and Ctrl-C."""

import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any, Literal

import click
import msgspec
import trio

from actors.session.transcript import is_of_turn, text_of

from .approval import Approvals
from .server import Refused, Server, Unreachable
from .terminal import STOPPED, Terminal

__all__ = ["Outcome", "Turn"]

Row = Mapping[str, Any]
Status = Literal["done", "stopped", "failed"]
ENDS: dict[str, Status] = {
    "done": "done",
    "stream_end": "done",
    "cancel": "stopped",
    "apperror": "failed",
}
CODES: dict[Status, int] = {"done": 0, "failed": 1, "stopped": STOPPED}


@dataclass
class Outcome:
    """What came of a turn. The session may have gone on under another id meanwhile."""

    session_id: str
    stream_id: str
    status: Status = "failed"
    text: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def code(self) -> int:
        return CODES[self.status]

    def as_json(self) -> str:
        return msgspec.json.encode(asdict(self)).decode()


class Turn:
    """Shows each event once, in its order. `quiet`: the text is only kept."""

    def __init__(self, server: Server, terminal: Terminal, *, quiet: bool = False) -> None:
        self._server, self._terminal, self._quiet = server, terminal, quiet
        self._seq = 0
        self._parts: list[str] = []
        self._left = self._after_tool = False
        self._began = trio.Event()
        self._outcome = Outcome("", "")
        self._approvals: Approvals

    async def ask(self, session_id: str, **start: Any) -> Outcome:
        """Ctrl-C stops the turn and waits for its end; once more leaves, as `KeyboardInterrupt`."""
        return await self._run(Outcome(session_id, ""), start)

    async def watch(self, session_id: str, stream_id: str) -> Outcome:
        """The same for a turn that runs already, from its beginning."""
        return await self._run(Outcome(session_id, stream_id), None)

    async def _run(self, outcome: Outcome, start: dict[str, Any] | None) -> Outcome:
        self._outcome, failure = outcome, None
        with trio.open_signal_receiver(signal.SIGINT) as interrupts:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, interrupts, nursery)
                self._approvals = Approvals(self._server, self._terminal, nursery)
                try:
                    if start is not None:
                        await self._start(start)
                    self._began.set()
                    while not await self._server.until_answered(self._read_on):
                        pass
                except click.ClickException as error:
                    failure = error
                nursery.cancel_scope.cancel()
        outcome.text = "".join(self._parts)
        if not self._quiet:
            self._terminal.end()
        if self._left:
            self._terminal.say("left; the server may still be answering")
            raise KeyboardInterrupt
        if failure is not None:
            raise failure
        if outcome.error is not None:
            self._terminal.say(outcome.error)
        return outcome

    async def _start(self, start: dict[str, Any]) -> None:
        outcome = self._outcome
        answer = await self._server.post("/api/chat/start", session_id=outcome.session_id, **start)
        outcome.session_id, outcome.stream_id = answer["session_id"], answer["stream_id"]

    # -- Ctrl-C --------------------------------------------------------------------------------

    async def _obey(self, interrupts: AsyncIterator[int], nursery: trio.Nursery) -> None:
        await anext(interrupts)
        nursery.start_soon(self._stop)
        await anext(interrupts)
        self._left = True
        nursery.cancel_scope.cancel()

    async def _stop(self) -> None:
        self._terminal.aside("stopping")
        await self._began.wait()
        try:
            await self._server.post("/api/chat/cancel", stream_id=self._outcome.stream_id)
        except click.ClickException as error:
            self._terminal.say(error.message)

    # -- the stream ----------------------------------------------------------------------------

    async def _read_on(self) -> bool:
        """Until the end of the turn, or False for a cut behind which it can be read on."""
        before, stream_id = self._seq, self._outcome.stream_id
        try:
            async with (
                self._server.stream(
                    "/api/chat/stream", stream_id=stream_id, after_event_id=f"{stream_id}:{before}"
                ) as source,
                aclosing(source.aiter_sse()) as events,
            ):
                async for event in events:
                    if event.id and event.data and self._take(event.id, event.event, event.data):
                        return True
            raise Unreachable("the answer broke off")
        except Unreachable:
            if self._seq == before:
                raise
        except Refused as error:
            if error.status != 404:
                raise
            await self._read_record()
            return True
        self._server.lost()
        return False

    def _take(self, event_id: str, name: str, data: str) -> bool:
        """Whether it was the last."""
        seq = int(event_id.rpartition(":")[2])
        if seq <= self._seq:
            return False
        self._seq = seq
        event = msgspec.json.decode(data, type=dict[str, Any])
        if name in ENDS:
            self._end(name, event)
        else:
            self._show(name, event)
        return name in ENDS

    def _show(self, name: str, event: dict[str, Any]) -> None:
        terminal = self._terminal
        match name:
            case "token":
                self._add(event["text"])
            case "reasoning":
                terminal.thought(event["text"])
            case "tool":
                self._after_tool = True
                said = ", ".join(f"{key}={value}" for key, value in event["args"].items())
                terminal.aside(f"{event['name']}({said})")
            case "tool_complete":
                failed = "failed: " if event["is_error"] else ""
                terminal.aside(f"{event['name']}: {failed}{event['preview']}")
            case "approval":
                self._approvals.asked(self._outcome.session_id, event)
            case "approval_resolved":
                self._approvals.settled(event)
            case "compressing":
                terminal.aside(event["message"])
            case "compressed":
                self._outcome.session_id = event["new_session_id"]
            case "warning":
                terminal.say(event["message"])

    def _add(self, text: str) -> None:
        if self._after_tool and self._parts and not self._parts[-1].endswith("\n"):
            text = "\n\n" + text  # another message of the transcript
        self._after_tool = False
        self._parts.append(text)
        if not self._quiet:
            self._terminal.text(text)

    def _end(self, name: str, event: dict[str, Any]) -> None:
        outcome, session = self._outcome, event.get("session") or {}
        outcome.status = ENDS[name]
        outcome.session_id = session.get("session_id", outcome.session_id)
        outcome.usage = event.get("usage") or self._usage_of(session)
        if name == "cancel":
            outcome.error = "stopped; what was said is kept"
        elif name == "apperror":
            outcome.error = " ".join(filter(None, (event["message"], event.get("hint"))))

    def _usage_of(self, session: Row) -> dict[str, Any]:
        """A session tells that of its latest turn of which something came."""
        if not (session and self._parts):
            return {}
        usage = {key: session[key] for key in ("input_tokens", "output_tokens")}
        return usage | {"estimated": session["usage_estimated"]}

    # -- the record ----------------------------------------------------------------------------

    async def _read_record(self) -> None:
        """The stream is gone; what became of the turn is in the transcript."""
        outcome = self._outcome
        found = await self._server.get("/api/session", session_id=outcome.session_id)
        session = found["session"]
        outcome.session_id = session["session_id"]
        rows = self._show_rest(session["messages"])
        outcome.usage = self._usage_of(session)
        if not rows:
            outcome.error = "the answer was taken back"
        elif rows[-1].get("_error"):
            outcome.error = text_of(rows[-1].get("content"))
        else:
            outcome.status = "done"

    def _show_rest(self, messages: Sequence[Row]) -> list[Row]:
        """Of the turn's answer, what was not shown. Gives its rows."""
        of_turn = (is_of_turn(row, self._outcome.stream_id) for row in messages)
        began = next((n for n, mine in enumerate(of_turn) if mine), len(messages))
        rows = list(takewhile(lambda row: row.get("role") != "user", messages[began + 1 :]))
        said = [
            text_of(row.get("content"))
            for row in rows
            if row.get("role") == "assistant" and not row.get("_error")
        ]
        text, shown = "\n\n".join(filter(None, said)), "".join(self._parts)
        self._after_tool = False
        if text.startswith(shown):
            self._add(text[len(shown) :])
        elif rows:
            self._terminal.say("some of the answer was missed; this is all of it:")
            self._parts.clear()
            self._add(text)
        return rows
