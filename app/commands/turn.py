"""One turn as a command asks for it and follows it: through cuts, restarts and Ctrl-C."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import click
import msgspec
import trio

from actors.session.transcript import text_of

from .approval import Approvals
from .server import Refused, Server, Unreachable
from .terminal import STOPPED, Terminal

__all__ = ["Outcome", "Turn"]

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
        self._missed = self._left = False
        self._after_tool = False
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
        if not self._quiet:
            self._terminal.end()
        if outcome.error is not None:
            self._terminal.say(outcome.error)
        if self._left:
            raise KeyboardInterrupt
        if failure is not None:
            raise failure
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
                    if event.data and self._take(event.id, event.event, event.data):
                        return True
            raise Unreachable("the stream of the answer broke off")
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
        self._missed |= seq != self._seq + 1
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
        said = self._outcome.text
        if self._after_tool and said and not said.endswith("\n"):
            text = "\n\n" + text  # another message of the transcript
        self._after_tool = False
        self._outcome.text += text
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
        if self._missed:
            self._show_rest(session.get("messages", ()))

    def _usage_of(self, session: Mapping[str, Any]) -> dict[str, Any]:
        """A session tells that of its latest turn of which something came."""
        if not (session and self._outcome.text):
            return {}
        usage = {key: session[key] for key in ("input_tokens", "output_tokens")}
        return usage | {"estimated": session["usage_estimated"]}

    # -- the record ----------------------------------------------------------------------------

    async def _read_record(self) -> None:
        """The stream is gone; what became of the turn is in the transcript."""
        outcome = self._outcome
        found = await self._server.get("/api/session", session_id=outcome.session_id)
        session = found["session"]
        rows = self._show_rest(session["messages"])
        last = rows[-1] if rows else {"_error": True}
        outcome.status = (
            "failed" if last.get("_error") else "stopped" if last.get("_partial") else "done"
        )
        if outcome.status != "done":
            outcome.error = "the answer was cut short; what was said is kept"
        outcome.session_id = session["session_id"]
        outcome.usage = self._usage_of(session)

    def _show_rest(self, messages: Any) -> list[dict[str, Any]]:
        """Of the last answer, what was not shown."""
        rows: list[dict[str, Any]] = []
        for row in reversed(messages):
            if row.get("role") == "user":
                break
            rows.insert(0, row)
        said = [text_of(row.get("content")) for row in rows if row.get("role") == "assistant"]
        text = "\n\n".join(filter(None, said))
        self._after_tool = False
        if text.startswith(self._outcome.text):
            self._add(text[len(self._outcome.text) :])
        else:
            self._terminal.say("some of the answer was missed; all of it:")
            self._outcome.text = ""
            self._add(text)
        return rows
