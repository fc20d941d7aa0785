"""Runs a program against a real greenroom, and has every answer checked.

play(program) -> Report     raises `Violation` if there is no explanation
"""

import errno
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import trio
import trio.testing

from actors import ActorStopped, Message, Rejected
from actors.greenroom import Greenroom, open_greenroom
from actors.index.messages import IndexUnavailable, ListRows
from actors.session import messages as ask_for
from actors.session.agent import (
    AgentError,
    AgentTurn,
    Emit,
    ReasoningDelta,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    Usage,
)
from actors.session.copies import branch_of
from actors.session.entries import TERMINAL, ApprovalAsked, Entry
from actors.session.feeds import Reader
from actors.session.record import Record, load
from actors.session.refusals import ApprovalClosed, SessionNotFound
from actors.stores import MemoryDisk, StoreError
from actors.testing.faulty_disk import FaultyDisk
from actors.testing.schedule import seeded_schedule

from . import model
from .amending import amending
from .checker import Checker, TooManyStates, Violation
from .model import Prompt
from .program import MOST_ACTS, PAUSES, Crash, Program, Script, Step
from .witness import Talk, check_approved, check_asked, check_usage, end_of, seen_of, turns_of

__all__ = ["Report", "play"]

DATA_DIR = Path("/data")
FOREVER = 1e6  # seconds of the mock clock after which it hangs
REST = 320.0  # longer than it takes to be put away
ASKING = 0.4  # of the programs have agents that ask before they call tools, and call more of them
APPROVAL_SECONDS = 5.0
TOKENS = 10  # what each request says to have used


@dataclass
class Report:
    """What one run met."""

    phases: Counter[tuple[str, str]] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    unchecked: int = 0  # runs that were given up half way, see `TooManyStates`

    def add(self, other: "Report") -> None:
        self.phases += other.phases
        self.crashes += other.crashes
        self.unchecked += other.unchecked


@dataclass
class Line:
    """One session, whatever it is called by now."""

    first: str
    checker: Checker
    latest: str = ""
    record: Record | None = None  # as it was seen last


class World:
    """What outlives the processes: the users' knowledge, and the disk."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.report = Report()
        self.memory = MemoryDisk(program.latency)
        self.lines: list[Line] = []
        self.talks: dict[int, Talk] = {}  # by the number of the prompt
        self.turn_ids: dict[str, int] = {}
        self.prompts: list[tuple[Line, Prompt]] = []  # that were sent
        self.keyed: list[tuple[Line, Prompt, Step]] = []
        self.numbers = count(1)
        self.ids = (f"{number:032x}" for number in count(1))
        self.stubborn: set[str] = set()
        self.closing = False
        self.faults = False
        self.complaints: list[str] = []
        # Drawn apart, so that a seed means the same program with and without.
        self.asks = Random(program.seed).random() < ASKING
        self.answers: dict[str, str] = {}  # to approvals, as they were accepted
        self.ran: set[tuple[str, str]] = set()  # tool calls

    def script(self, number: int) -> Script:
        return self.program.scripts[number % len(self.program.scripts)]

    def line(self, first: str, session: model.Session | None = None) -> Line:
        rules = model.Rules(self.faults, self.closing, frozenset(self.stubborn))
        line = Line(first, Checker(rules, session), first)
        self.lines.append(line)
        return line

    def line_of(self, number: int) -> Line:
        return next(line for line, prompt in self.prompts if prompt.number == number)

    def talk(self, number: int, turn_id: str) -> Talk:
        talk = self.talks.setdefault(number, Talk(number, turn_id))
        if talk.turn_id != turn_id:
            self.complaints.append(f"prompt {number} has turn {turn_id}, and had {talk.turn_id}")
        self.turn_ids[turn_id] = number
        return talk

    def check_record(self, record: Record) -> None:
        """Every answer in it says what was shown, and no more than was said."""
        ids = [turn_id for turn_id, _, _ in turns_of(record) if turn_id is not None]
        if len(ids) != len(set(ids)):
            raise Violation(f"{record.session_id} has a turn twice: {ids}")
        check_usage(record, (TOKENS, MOST_ACTS))
        prompts = []
        for turn_id, prompt, rows in turns_of(record):
            prompts.append(prompt)
            if turn_id in self.turn_ids:
                talk = self.talks[self.turn_ids[turn_id]]
                talk.keep(rows)
                if talk.asked is not None:
                    check_asked(talk.asked, prompts)
                check_approved(record, rows, self.ran, turn_id, self.answers)

    async def live(self) -> None:
        self.line("s0")
        for number, tabs in enumerate(self.program.lives):
            crashes = self.program.crashes
            life = Life(self, tabs, crashes[number] if number < len(crashes) else None)
            await life.run(first=number == 0)
            assert life.survivor is not None
            self.memory = life.survivor
        await Life(self, (), None).look_back()
        for line in self.lines:
            self.report.phases += line.checker.phases


class Life:
    """One process: from its start to its end, or to the instant at which it dies."""

    def __init__(
        self, world: World, tabs: tuple[tuple[Step, ...], ...], crash: Crash | None
    ) -> None:
        self.world = world
        self.tabs = tabs
        self.crash = crash
        self.dead = False
        self.survivor: MemoryDisk | None = None
        self.greenroom: Greenroom
        self._scope = trio.CancelScope()
        self._told_to_end = trio.Event()
        self._nursery: trio.Nursery | None = None  # once there is something to ask
        self._touched: set[str] = set()  # the sessions in which something was done
        self._answering: set[str] = set()  # those whose agents work
        self._began = 0.0
        self._healed = world.program.fault is None
        self._summarised: int | None = None  # operations of the disk before the first summary
        self._opened = 0  # operations of the disk before the sessions could be asked
        self._disk = FaultyDisk(world.memory, self._operation)

    # -- the disk ---------------------------------------------------------------------------

    def _operation(self, number: int, name: str) -> bool:
        """Called before each: may end the life, or fail."""
        crash, fault = self.crash, self.world.program.fault
        if self.dead:
            return False
        if crash is not None and self._since(number) >= crash.at:
            if crash.kind == "restart":
                self._told_to_end.set()
            else:
                self._die(crash.kind)
        if fault is None or self._healed or not self._opened:
            return False
        place = number - self._opened
        if not fault.at <= place < fault.at + fault.length:
            return False
        self._disk.code = getattr(errno, fault.code)
        self.world.faults = True
        for line in self.world.lines:
            line.checker.rules.faults = True
        return True

    def _since(self, number: int) -> int:
        """The operation's number as the crash counts."""
        if self.crash is None or not self.crash.summary:
            return number
        return 0 if self._summarised is None else number - self._summarised

    def _die(self, kind: str) -> None:
        if self.dead:
            return
        memory = self.world.memory
        self.dead, self.world.closing = True, False
        self.world.report.crashes[kind] += 1
        if kind == "torn":
            self.survivor = memory.crash(Random(self.world.program.seed))
        else:
            self.survivor = memory.crash() if kind == "power" else memory.kill()
        for line in self.world.lines:
            line.checker.crash()
        self._scope.cancel()

    # -- from the start to the end ----------------------------------------------------------

    def _open(self) -> Any:
        program = self.world.program
        return open_greenroom(
            DATA_DIR,
            self._agent,
            side_agent=self._agent,
            model_titles=program.model_titles,
            checkpoint_seconds=program.checkpoint_seconds,
            context_tokens=program.context_tokens,
            approval_seconds=APPROVAL_SECONDS,
            disk=self._disk,
            clock=_clock,
            new_id=lambda: next(self.world.ids),
        )

    async def run(self, *, first: bool) -> None:
        self._began = _clock()
        with self._scope:
            async with self._open() as self.greenroom:
                self._opened = len(self._disk.trace)
                self._check_recovered()
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    for talk in self.world.talks.values():
                        nursery.start_soon(self._follow, talk)
                    if self.crash is not None and self.crash.kind == "restart":
                        nursery.start_soon(self._close, nursery.cancel_scope)
                    await self._use(first)
                    nursery.cancel_scope.cancel()
        if not self.dead:  # it ended in good order
            self._die("restart")

    def _check_recovered(self) -> None:
        """Whatever says that it runs, runs or is about to end, before anybody has looked at it."""
        for info in self._disk.disk.scan(DATA_DIR / "sessions"):
            if info.name.startswith("_") or not info.name.endswith(".json"):
                continue
            data = self._disk.disk.read(DATA_DIR / "sessions" / info.name)
            record = load(info.name.removesuffix(".json"), data)
            feed = self.greenroom.feeds.find(record.active_stream_id or "")
            if record.busy and (feed is None or feed.closed) and not self.world.faults:
                raise Violation(f"{info.name} says that it runs: {record.pending_user_message}")

    async def _use(self, first: bool) -> None:
        if first:
            await self._create(self.world.lines[0])
        elif self.world.program.seed % 2:  # whoever comes back looks first
            for line in self.world.lines:
                await self._get(line)
        async with trio.open_nursery() as nursery:
            for steps in self.tabs:
                nursery.start_soon(self._tab, steps)
        if self.crash is None:
            await self._settle_down()
        elif self.crash.kind != "restart":
            self._die(self.crash.kind)
        else:
            self._told_to_end.set()
            await trio.sleep_forever()

    async def _close(self, scope: trio.CancelScope) -> None:
        """As SIGTERM does it."""
        await self._told_to_end.wait()
        self.world.closing = True
        for line in self.world.lines:
            line.checker.rules.closing = True
            line.checker.ask(next(self.world.numbers), model.ShutDown())
        await self.greenroom.settle()
        scope.cancel()

    async def _settle_down(self) -> None:
        """Nobody asks for more: all turns end, and the disk says what was true."""
        self._healed = True
        await trio.sleep(20)
        for line in self.world.lines:
            await self._idle(line)
        await trio.sleep(2000)
        for line in self.world.lines:
            line.checker.rules.faults = False
            await self._look(line)
        await self._check_list()
        self._check_streams()
        self._die("power")

    async def _idle(self, line: Line) -> None:
        """Wait until nothing runs, and stop what would run for ever."""
        deadline = trio.current_time() + 5000
        while trio.current_time() < deadline:
            snapshot = await self._ask(line, model.Get(), ask_for.GetSession())
            if snapshot is None:
                return
            record = snapshot.record
            running = self.world.turn_ids.get(record.active_stream_id or "")
            if running is not None:
                await self._cancel(line, running)
            elif not (record.busy or record.waiting or await self._compresses(line)):
                return
            await trio.sleep(10)
        raise Violation(f"{line.first} is never idle: {record}")

    async def _compresses(self, line: Line) -> bool:
        ref = self.greenroom.session(line.latest)
        return bool((await ref.ask(ask_for.CompressionStatus())).status == "running")

    async def _look(self, line: Line) -> None:
        try:
            record = (await self.greenroom.session(line.first).ask(ask_for.GetSession())).record
        except SessionNotFound:
            line.record = None
            line.checker.saw(None)
        else:
            line.record = record
            line.checker.saw(seen_of(record))
            self.world.check_record(record)

    async def look_back(self) -> None:
        """After the last power cut: all is as it was seen, and nothing else is there."""
        async with self._open() as self.greenroom:
            for line in self.world.lines:
                await self._look(line)
            await self._check_list()
            await trio.sleep(60)
            for info in self.world.memory.scan(DATA_DIR / "sessions"):
                await self._check_file(info.name)
            for talk in self.world.talks.values():
                entries = await self.greenroom.feeds.stored(talk.turn_id, 0)
                if entries and not isinstance(entries[-1].event, TERMINAL):
                    raise Violation(f"{talk} has no end")

    def _check_streams(self) -> None:
        """Whoever waited for the end of one was told of it."""
        for talk in self.world.talks.values():
            if talk.shown and not (talk.ended or self.world.faults):
                raise Violation(f"{talk} has no end")

    def _check_untouched(self, line: Line, record: Record) -> None:
        """What a start mends is no activity."""
        touched = line.first in self._touched or record.busy or record.waiting
        if not touched and record.updated_at > self._began:
            raise Violation(f"{line.first} was touched by nobody at {record.updated_at}")

    async def _check_file(self, name: str) -> None:
        """It is the list, or leads to a session that is there."""
        session_id, json, rest = name.partition(".json")
        if session_id == "_index" and not rest:
            return
        if not json or rest:
            raise Violation(f"{name} was left behind")
        try:
            record = (await self.greenroom.session(session_id).ask(ask_for.GetSession())).record
        except Rejected as error:
            raise Violation(f"{name}: {error!r}") from error
        if record.session_id not in {line.record.session_id for line in self._living()}:
            raise Violation(f"{name} is a session that nobody knows")

    def _living(self) -> list[Line]:
        return [line for line in self.world.lines if line.record is not None]

    async def _check_list(self) -> None:
        rows = await self.greenroom.index.ask(ListRows())
        said = sorted((row["session_id"], row["title"], row["message_count"]) for row in rows)
        true = sorted(
            (line.record.session_id, line.record.title, len(line.record.messages))
            for line in self._living()
            if line.record.messages or line.record.title != model.UNTITLED
        )
        if said != true:
            raise Violation(f"the list says {said}, the sessions {true}")
        if any(row.get("active_stream_id") for row in rows):
            raise Violation(f"the list says that one runs: {rows}")

    # -- what users do ----------------------------------------------------------------------

    async def _tab(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            await trio.sleep(step.after)
            line = self.world.lines[-1 if step.place == 3 else 0]
            await self._steps[step.kind](self, line, step)

    async def _ask(
        self, line: Line, command: model.Command, message: Message[Any], step: Step | None = None
    ) -> Any:
        """The answer, checked; None if it was no, or none came."""
        number = next(self.world.numbers)
        checker = line.checker
        checker.phases[type(command).__name__, checker.phase()] += 1
        address = line.latest if number % 2 else line.first
        checker.ask(number, command, address)
        if not isinstance(command, model.Get):
            self._touched.add(line.first)
        ref = self.greenroom.session(address)
        answer: Any = None
        patience = step.patience if step is not None and step.patience is not None else FOREVER
        with trio.move_on_after(patience) as scope:
            try:
                answer = await ref.ask(message)
            except ActorStopped:
                if not (self.world.closing or self.dead):
                    raise
                return None
            except Rejected as refusal:
                answer = refusal
        if self.dead:
            return None
        if scope.cancelled_caught:
            checker.give_up(number)
            return None
        word, record, text = _said(answer)
        checker.answer(number, word, None if record is None else seen_of(record), text)
        if record is not None:
            line.latest, line.record = record.session_id, record
            self.world.check_record(record)
            self._check_untouched(line, record)
        return None if isinstance(answer, Rejected) else answer

    async def _create(self, line: Line, step: Step | None = None) -> None:
        keep = self.world.program.keep
        command = model.Create(keep, line.first)
        await self._ask(line, command, ask_for.CreateSession(keep=keep), step)

    async def _start(self, line: Line, step: Step, text: str | None = None) -> None:
        number = next(self.world.numbers)
        usual = f"go on, {line.first}" if step.place == 2 else f"w{number}"
        prompt = Prompt(text or usual, number)
        if self.world.script(number).stubborn:
            self.world.stubborn.add(prompt.text)
            for other in self.world.lines:
                other.checker.rules.stubborn = frozenset(self.world.stubborn)
        self.world.prompts.append((line, prompt))
        if step.key:
            self.world.keyed.append((line, prompt, step))
        await self._send(line, prompt, step)

    async def _send(self, line: Line, prompt: Prompt, step: Step) -> None:
        key = f"k{prompt.number}" if step.key else None
        message: Message[Any] = ask_for.StartTurn(
            prompt.text, model=f"m{prompt.number}", if_busy=step.if_busy
        )
        if key is not None:
            message = ask_for.Once(key, key, message)
        command = model.Start(prompt, step.if_busy, key)
        accepted = await self._ask(line, command, message, step)
        if isinstance(accepted, ask_for.TurnAccepted):
            self._talk(prompt.number, accepted.turn_id)

    async def _again(self, line: Line, step: Step) -> None:
        if self.world.keyed:
            line, prompt, first = self.world.keyed[-1]
            await self._send(line, prompt, first)

    async def _cancel_step(self, line: Line, step: Step) -> None:
        known = [n for n in self.world.talks if self.world.line_of(n) is line]
        if known:
            await self._cancel(line, known[-1 - step.place % len(known)], step)

    async def _cancel(self, line: Line, number: int, step: Step | None = None) -> None:
        talk = self.world.talks[number]
        stopped = await self._ask(
            line, model.Cancel(number), ask_for.CancelTurn(talk.turn_id), step
        )
        if stopped and not self.world.faults:
            talk.most = self.greenroom.feeds.last_seq(talk.turn_id)

    async def _unqueue(self, line: Line, step: Step) -> None:
        known = [n for n in self.world.talks if self.world.line_of(n) is line]
        if known:
            number = known[-1 - step.place % len(known)]
            message = ask_for.RemoveWaiting(self.world.talks[number].turn_id)
            await self._ask(line, model.Unqueue(number), message, step)

    async def _undo(self, line: Line, step: Step) -> Any:
        return await self._ask(line, model.Undo(), ask_for.RemoveLastTurn(), step)

    async def _retry(self, line: Line, step: Step) -> None:
        removed = await self._undo(line, step)
        if removed is not None:
            await self._start(line, step, removed.text)

    async def _edit(self, line: Line, step: Step) -> None:
        snapshot = await self._ask(line, model.Get(), ask_for.GetSession(), step)
        if snapshot is None:
            return
        record = snapshot.record
        turns = seen_of(record).turns
        keep = step.place % (len(turns) + 1)
        starts = [i for i, row in enumerate(record.messages) if row["role"] == "user"]
        row = [*starts, len(record.messages)][keep]
        cut = await self._ask(line, model.Truncate(keep, turns), ask_for.Truncate(row), step)
        if cut is not None:
            await self._start(line, step)

    async def _clear(self, line: Line, step: Step) -> None:
        await self._ask(line, model.Clear(), ask_for.Clear(), step)

    async def _rename(self, line: Line, step: Step) -> None:
        title = f"Mine {step.place}"
        await self._ask(line, model.Rename(title), ask_for.Rename(title), step)

    async def _pin(self, line: Line, step: Step) -> None:
        pinned = step.place % 2 == 0
        await self._ask(line, model.Pin(pinned), ask_for.Pin(pinned), step)

    async def _compress(self, line: Line, step: Step) -> None:
        await self._ask(line, model.Compress(), ask_for.Compress(), step)

    async def _delete(self, line: Line, step: Step) -> None:
        self.world.keyed = [keyed for keyed in self.world.keyed if keyed[0] is not line]
        await self._ask(line, model.Delete(), ask_for.DeleteSession(), step)

    async def _branch(self, line: Line, step: Step) -> None:
        snapshot = await self._ask(line, model.Get(), ask_for.GetSession(), step)
        if snapshot is None:
            return
        record = snapshot.record
        copy = branch_of(record, None, None)
        branch = self.world.line(f"b{len(self.world.lines)}")
        command = model.Create(True, branch.first, seen_of(record).turns, copy.title)
        await self._ask(branch, command, ask_for.CreateSession(copy, keep=True), step)

    async def _get(self, line: Line, step: Step | None = None) -> None:
        await self._ask(line, model.Get(), ask_for.GetSession(), step)

    async def _rest(self, line: Line, step: Step) -> None:
        await trio.sleep(REST)

    _steps = {  # noqa: RUF012
        "start": _start, "again": _again, "cancel": _cancel_step, "unqueue": _unqueue,
        "undo": _undo, "retry": _retry, "edit": _edit, "clear": _clear, "rename": _rename,
        "pin": _pin, "compress": _compress, "delete": _delete, "branch": _branch, "get": _get,
        "rest": _rest,
    }  # fmt: skip

    # -- what readers are shown -------------------------------------------------------------

    def _talk(self, number: int, turn_id: str) -> None:
        new = number not in self.world.talks
        talk = self.world.talk(number, turn_id)
        if new and self._nursery is not None:
            with suppress(RuntimeError):  # the life ends: it is read in the next one
                self._nursery.start_soon(self._follow, talk)

    async def _follow(self, talk: Talk) -> None:
        """From the beginning: also what was shown before must be the same."""
        reader = self.greenroom.feeds.read(talk.turn_id)
        if reader is None or self.world.faults:
            return
        while batch := await self._next(reader):
            if self.dead:
                return
            ended = talk.ended
            for entry in batch:
                talk.show(entry)
                if isinstance(entry.event, ApprovalAsked) and self._nursery is not None:
                    self._nursery.start_soon(self._decide, talk, entry.event.approval_id)
            if talk.ended and not ended:
                line = self.world.line_of(talk.number)
                line.checker.saw_end(talk.number, end_of(talk.shown[-1]))
            if talk.number % 3 == 0:
                await trio.sleep(0.3)  # a slow one

    async def _decide(self, talk: Talk, approval_id: str) -> None:
        """Two tabs answer what the agent asks for; after a crash they do so again."""
        chance = Random(f"{self.world.program.seed} {approval_id}")
        answers = self.world.answers
        for choice in chance.choices(("once", "session", "deny"), k=2):
            await trio.sleep(chance.choice((0.0, 0.0, 0.01, 1.0, 2 * APPROVAL_SECONDS)))
            ref = self.greenroom.session(self.world.line_of(talk.number).latest)
            try:
                await ref.ask(ask_for.AnswerApproval(approval_id, choice))
            except ApprovalClosed as closed:
                if answers.get(approval_id, closed.choice) != closed.choice:
                    complaint = f"{approval_id} was {answers[approval_id]}, is {closed.choice}"
                    self.world.complaints.append(complaint)
            except (Rejected, ActorStopped):
                pass  # it was cleared, deleted, or could not be saved
            else:
                if self.dead:
                    return
                if approval_id in answers:
                    self.world.complaints.append(f"{approval_id} was answered twice")
                answers[approval_id] = choice

    async def _next(self, reader: Reader) -> Sequence[Entry]:
        try:
            return await reader.next()
        except StoreError:
            if not self.world.faults:
                raise
            return ()

    # -- what agents do ---------------------------------------------------------------------

    def _happens(self, session_id: str, command: model.Command) -> None:
        """A task of the session's has something to say to it."""
        for line in self.world.lines:
            known = (line.latest, self._current_id(line.first))
            if not self.dead and {session_id, self._current_id(session_id)}.intersection(known):
                line.checker.ask(next(self.world.numbers), command)

    def _current_id(self, session_id: str) -> str:
        return session_id if self._nursery is None else self.greenroom.current_id(session_id)

    async def _agent(self, turn: AgentTurn, emit: Emit) -> None:
        number = int((turn.model or "m0")[1:])
        script = self.world.script(number)
        await trio.lowlevel.checkpoint()
        if turn.purpose == "title":
            self._happens(turn.session_id, model.Titled(script.title))
            if script.title is None:
                raise AgentError("error", "no title")
            await emit(TextDelta(script.title))
        elif turn.purpose == "summary":
            await trio.sleep(PAUSES[number % len(PAUSES)])
            self._happens(turn.session_id, model.Summarised(script.summary))
            if self._summarised is None:
                self._summarised = len(self._disk.trace)
            if not script.summary:
                raise AgentError("error", "no summary")
            await emit(TextDelta("All that was said"))
        else:
            await self._answer(number, turn, emit, script)

    async def _answer(self, number: int, turn: AgentTurn, emit: Emit, script: Script) -> None:
        if self.dead:
            return
        self._talk(number, turn.turn_id)
        talk = self.world.talks[number]
        if talk.runs:
            self.world.complaints.append(f"{talk} runs again")
        talk.runs, talk.asked = True, turn.messages
        line = self.world.line_of(number)
        if line.first in self._answering:
            self.world.complaints.append(f"{talk} runs beside another")
        self._answering.add(line.first)
        self._touched.add(line.first)
        try:
            await self._say(number, script, talk, turn, emit)
        finally:
            self._answering.discard(line.first)

    async def _say(
        self, number: int, script: Script, talk: Talk, turn: AgentTurn, emit: Emit
    ) -> None:
        try:
            for place, act in enumerate(script.acts):
                await self._act(act, place, talk, turn, emit)
            if script.end == "hang":
                await trio.sleep_forever()
        except trio.Cancelled:
            if script.stubborn:
                with trio.CancelScope(shield=True):
                    await trio.sleep(script.stubborn)
                    await emit(TextDelta("too late"))
            raise
        silent = "text" not in script.acts
        failed = silent or script.end == "raise"
        self._happens(
            self.world.line_of(number).latest, model.Ended(number, "failed" if failed else "done")
        )
        if script.end == "raise":
            raise AgentError("rate_limit", "slower, please")

    async def _act(self, act: str, place: int, talk: Talk, turn: AgentTurn, emit: Emit) -> None:
        if self.world.asks and act in ("reasoning", "pause"):
            act = "tool"
        match act:
            case "text":
                text = f"{talk.number}.{place} "
                talk.said += text
                await emit(TextDelta(text))
            case "reasoning":
                await emit(ReasoningDelta("hm "))
            case "usage":
                await emit(Usage(TOKENS, place))
            case "tool":
                call_id, tool = f"c{place}", f"look{place % 2}"
                if self.world.asks and not (await turn.approve(call_id, tool, {})).allowed:
                    return
                await emit(ToolStarted(call_id, tool))
                if not self.dead:
                    self.world.ran.add((talk.turn_id, call_id))
                await emit(ToolCompleted(call_id, "found"))
            case "pause":
                await trio.sleep(PAUSES[(talk.number + place) % len(PAUSES)])


def _clock() -> float:
    return 1_000_000.0 + trio.current_time()


def _said(answer: Any) -> tuple[str, Record | None, str]:
    """In the words of the model."""
    match answer:
        case ask_for.Snapshot(record):
            return "seen", record, ""
        case ask_for.TurnAccepted():
            return "waiting" if answer.waiting else "accepted", answer.record, ""
        case ask_for.Removed():
            return "removed", answer.record, answer.text
        case ask_for.CompressionState(status="running"):
            return "summarising", None, ""
        case bool():
            return "stopped" if answer else "nothing", None, ""
        case None:
            return "deleted", None, ""
        case IndexUnavailable():
            return "StorageFailed", None, ""
        case Rejected():
            return type(answer).__name__, None, ""
    return repr(answer), None, ""


def play(program: Program) -> Report:
    """Raises `Violation`, or whatever else went wrong, with all that happened in its notes."""
    world = World(program)
    try:
        with amending(program.amended):
            _play(world, program)
    except BaseException as error:
        cause = _cause(error)
        if isinstance(cause, TooManyStates):
            world.report.unchecked = 1
            return world.report
        for line in world.lines:
            cause.add_note("\n".join((f"-- {line.first}", *line.checker.log)))
        raise cause from error
    return world.report


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _play(world: World, program: Program) -> None:

    async def main() -> None:
        with trio.move_on_after(FOREVER) as scope:
            await world.live()
        if scope.cancelled_caught:
            raise Violation("it hangs")

    with seeded_schedule(program.seed):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    if world.complaints:
        raise Violation("; ".join(world.complaints))
