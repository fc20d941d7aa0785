"""Stop is a guarantee: any number of cancels, at random times, against a provider that streams.

    python -m tests.faults.stop --cancels 2000 --seed 7

A real server process, a provider over real HTTP, sessions side by side, readers on every turn. The
seed says what is done and when; how it falls together is the machine's affair.
"""

import argparse
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from actors.session.amendments import amended
from tests.app.client import Client, Event
from tests.faults.stop_checks import (
    SAID,
    Shown,
    check_stopped,
    check_usage,
    check_whole,
    shown_by,
    story,
)
from tests.faults.stop_plan import Plan, planned
from tests.faults.stop_provider import Call, Provider, open_provider
from tests.faults.stop_server import server_on

__all__ = ["Trial", "main", "run"]

GUARD_SECONDS = 30  # against a hang; nothing is expected to take so long
AT_ONCE = 8
IN_ONE_SESSION = 12
MOST_VIOLATIONS = 5
KILLED = 3
TURN_FIELDS = ("active_stream_id", "pending_user_message", "pending_started_at")
PHASES = (
    "before headers",
    "before the first token",
    "in text",
    "in reasoning",
    "in a tool call",
    "crossing the end",
)


@dataclass
class Trial:
    """What a run has seen. Times are in seconds."""

    seed: int
    closed: list[float] = field(default_factory=list)  # from the cancel to the provider's EOF
    answered: list[float] = field(default_factory=list)
    next_start: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # tokens under way when it was answered
    counted: Counter = field(default_factory=Counter)
    phases: Counter = field(default_factory=Counter)
    sessions: dict[str, dict] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it breaks the promise
            self.violations.append(f"{what}: {_said(error)}")

    def report(self) -> str:
        done = sum(self.phases.values())
        counted = self.counted
        phases = ", ".join(f"{name} {self.phases[name]}" for name in PHASES)
        never = done - len(self.closed)
        late = f", the last after {max(self.late) * 1e3:.1f} ms" if self.late else ""
        lines = [
            f"{done} cancels in {self.seconds:.1f} s ({done / max(self.seconds, 1e-9):.1f}/s)",
            f"upstream saw its connection closed after {_spread(self.closed)};"
            f" {never} times it had not been asked, or had finished",
            f"the cancel was answered after {_spread(self.answered)}",
            f"the next start was accepted after {_spread(self.next_start)}",
            f"phases: {phases}",
            f"crossing the end: {counted['whole']} whole, {counted['stopped at the end']} stopped",
            f"usage: {counted['estimated']} estimated, {counted['as counted']} as counted",
            f"tokens on their way when a cancel was answered: {len(self.late)}{late}",
            f"{counted['killed']} turns cut off by kill -9, and {len(self.sessions)} sessions read"
            " again after it",
        ]
        return "\n".join(lines + self.violations)


def _spread(times: list[float]) -> str:
    if not times:
        return "-"
    ordered = sorted(times)
    p50, p99 = (ordered[int((len(ordered) - 1) * part)] * 1e3 for part in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {ordered[-1] * 1e3:.1f} ms"


class Reading:
    """One reader: comes at once or late, and may take a nap when it has seen something."""

    def __init__(self, wait: float, nap: float) -> None:
        self._wait = wait
        self._nap = nap
        self.events: list[Event] = []
        self._times: list[float] = []

    async def follow(self, client: Client, stream_id: str) -> None:
        await trio.sleep(self._wait)
        async with aclosing(client.follow(stream_id)) as events:
            async for event in events:
                self.events.append(event)
                self._times.append(trio.current_time())
                if len(self.events) == 2:
                    await trio.sleep(self._nap)

    def late(self, answered: float) -> list[float]:
        """When words came after that, to one who was awake and had begun to listen before."""
        if self._nap or not self._times or self._times[0] > answered:
            return []
        told = zip(self.events, self._times, strict=True)
        return [at for event, at in told if event.name in SAID and at > answered]


class Pressed:
    """A turn that somebody has stopped, or was too late to stop."""

    def __init__(self, plan: Plan, stream_id: str) -> None:
        self.plan = plan
        self.stream_id = stream_id
        self.readings = [Reading(*when) for when in plan.readings]
        self.headers_sent = False  # at that moment
        self.stopped = False
        self.sent = self.answered = self.started = 0.0
        self.last_seq = (True, 0)  # whether the stream goes on, and its last number, right after
        self.next = Plan(f"After {plan.prompt}", "answer", plan.rng, counts=True)
        self.next_id = ""


class Presser:
    """Starts turns, reads them, and stops them."""

    def __init__(self, trial: Trial, provider: Provider, client: Client, data_dir: Path) -> None:
        self._trial = trial
        self._provider = provider
        self._client = client
        self._records = data_dir / "sessions"

    async def work(self, numbers: Iterator[int]) -> None:
        """Cancel after cancel, until there are no more numbers. A violation is noted down."""
        session_id, left = "", 0
        for n in numbers:
            if len(self._trial.violations) >= MOST_VIOLATIONS:
                return
            if not left:
                session_id, left = await self._client.new(), IN_ONE_SESSION
                self._trial.sessions[session_id] = {"messages": []}
            plan = planned(n, self._trial.seed)
            with self._trial.noting(f"cancel {n}, {plan}"), trio.fail_after(GUARD_SECONDS):
                await self._stop_one(session_id, plan)
                left -= 1
                continue
            del self._trial.sessions[session_id]
            left = 0

    async def _stop_one(self, session_id: str, plan: Plan) -> None:
        pressed = await self._press_stop(session_id, plan)
        call = self._provider.calls.get(plan.prompt)
        if call is not None:
            await call.closed.wait()
        shown = await self._check_stream(pressed)
        session = await self._check_session(session_id, pressed, shown, call)
        await self._check_next(session_id, pressed, session, shown)
        assert await self._last_seq(pressed.stream_id) == (False, len(shown.names))
        self._note(pressed, shown, call)

    async def _press_stop(self, session_id: str, plan: Plan) -> Pressed:
        """Start, read, cancel, and start the next, each as soon as the one before was answered."""
        stream_id = await self._start(session_id, plan)
        pressed = Pressed(plan, stream_id)
        async with trio.open_nursery() as nursery:
            for reading in pressed.readings:
                nursery.start_soon(reading.follow, self._client, stream_id)
            if plan.kind == "end":
                await plan.near_end.wait()
            else:
                await trio.sleep(plan.moment)
            call = self._provider.calls.get(plan.prompt)
            pressed.headers_sent = call is not None and call.headers_sent
            pressed.sent = trio.current_time()
            pressed.stopped = await self._press(stream_id, plan.presses)
            pressed.answered = trio.current_time()

            async def look() -> None:
                pressed.last_seq = await self._last_seq(stream_id)

            nursery.start_soon(look)
            pressed.next_id = await self._start(session_id, pressed.next)
            pressed.started = trio.current_time()
        return pressed

    async def _check_stream(self, pressed: Pressed) -> Shown:
        """Whoever read it, and whoever reads it now, was told the same, with one end; and if it was
        stopped, the end was there when the cancel was answered.
        """
        events = await self._client.events(pressed.stream_id)
        for reading in pressed.readings:
            assert story(reading.events) == story(events), (story(reading.events), story(events))
        shown = shown_by(pressed.stream_id, events)
        if pressed.stopped:
            assert pressed.last_seq == (False, len(events)), (pressed.last_seq, shown.names)
        assert pressed.stopped == (shown.names[-1] == "cancel") == ("done" not in shown.names)
        assert pressed.stopped or pressed.plan.kind == "end"
        return shown

    async def _check_session(
        self, session_id: str, pressed: Pressed, shown: Shown, call: Call | None
    ) -> dict:
        """In memory and on disk, while the next turn waits for its answer."""
        known = self._trial.sessions[session_id]["messages"]
        session = await self._client.session(session_id)
        assert session["messages"][: len(known)] == known
        check = check_stopped if pressed.stopped else check_whole
        check(session["messages"][len(known) :], pressed.plan.prompt, shown)
        pending = (session["active_stream_id"], session["pending_user_message"])
        assert pending == (pressed.next_id, pressed.next.prompt)
        check_usage(session, shown, call and call.messages)
        on_disk = amended((self._records / f"{session_id}.json").read_bytes())
        assert on_disk["messages"] == session["messages"]
        assert on_disk.get("usage_estimated", False) is session["usage_estimated"]
        return session

    async def _check_next(
        self, session_id: str, pressed: Pressed, before: dict, stopped: Shown
    ) -> None:
        """It is answered as if nothing had been, and its model told what it should know."""
        plan = pressed.next
        plan.go.set()
        shown = shown_by(pressed.next_id, await self._client.events(pressed.next_id))
        assert (shown.text, shown.names[-1]) == (f"Answer to {plan.prompt}", "stream_end"), shown
        session = await self._client.session(session_id)
        rows, known = session["messages"], len(before["messages"])
        assert rows[:known] == before["messages"]
        check_whole(rows[known:], plan.prompt, shown)
        check_usage(session, shown, self._provider.calls[plan.prompt].messages)
        assert [session[name] for name in TURN_FIELDS] == [None] * 3
        said = [message["content"] for message in self._provider.calls[plan.prompt].messages]
        asked = [row["content"] for row in rows if row["role"] == "user"]
        assert [text for text in said if text in asked] == asked
        assert not [text for text in said if "Stopped by you" in text]
        if pressed.stopped and stopped.text.strip():
            assert said[-2] == stopped.text
        self._trial.sessions[session_id] = session

    def _note(self, pressed: Pressed, shown: Shown, call: Call | None) -> None:
        trial, plan = self._trial, pressed.plan
        trial.answered.append(pressed.answered - pressed.sent)
        trial.next_start.append(pressed.started - pressed.answered)
        if pressed.stopped and call is not None and not call.finished:
            assert call.closed_at is not None
            trial.closed.append(call.closed_at - pressed.sent)
        for reading in pressed.readings:
            trial.late += [at - pressed.answered for at in reading.late(pressed.answered)]
        trial.phases[_phase(plan, shown, pressed.headers_sent)] += 1
        trial.counted["estimated" if shown.usage is None else "as counted"] += 1
        if plan.kind == "end":
            trial.counted["stopped at the end" if pressed.stopped else "whole"] += 1

    async def _last_seq(self, stream_id: str) -> tuple[bool, int]:
        status = await self._client.get("/api/chat/stream/status", stream_id=stream_id)
        return status["active"], status["journal"]["last_seq"]

    async def _start(self, session_id: str, plan: Plan) -> str:
        """Accepted, or it is a violation."""
        self._provider.plans[plan.prompt] = plan
        body = {"session_id": session_id, "message": plan.prompt}
        response = await self._client.http.post("/api/chat/start", json=body)
        assert response.status_code == 200, response.text
        return response.json()["stream_id"]

    async def _press(self, stream_id: str, times: int) -> bool:
        """So often, at once; at most one of them does it."""
        did: list[bool] = []

        async def press(method: str) -> None:
            response = await self._client.http.request(
                method, "/api/chat/cancel", params={"stream_id": stream_id}
            )
            assert response.status_code == 200, response.text
            did.append(response.json()["cancelled"])

        async with trio.open_nursery() as nursery:
            for method in ("GET", "POST")[:times]:
                nursery.start_soon(press, method)
        assert sum(did) <= 1, did
        return any(did)

    async def stop_last(self, prompt: str) -> None:
        """A session in which nothing comes after the stop."""
        session_id, stream_id, _ = await self.speaking(prompt)
        assert await self._press(stream_id, 1)
        session = self._trial.sessions[session_id] = await self._client.session(session_id)
        assert session["usage_estimated"]

    async def speaking(self, prompt: str) -> tuple[str, str, int]:
        """A turn that has shown something, and goes on. Its session, its stream and the number."""
        plan = Plan(prompt, "text", random.Random(prompt), pace=0.01)
        session_id = await self._client.new()
        stream_id = await self._start(session_id, plan)
        async with aclosing(self._client.follow(stream_id)) as events:
            async for event in events:
                if event.name == "token" and event.seq > 3:
                    return session_id, stream_id, event.seq
        raise AssertionError("it ended by itself")


def _phase(plan: Plan, shown: Shown, headers_sent: bool) -> str:
    if plan.kind == "end":
        return "crossing the end"
    told = [name for name in shown.names if name in SAID]
    if not told:
        return "before the first token" if headers_sent else "before headers"
    return {"token": "in text", "reasoning": "in reasoning"}.get(told[-1], "in a tool call")


def _said(error: BaseException) -> str:
    """The error that is meant, out of the groups that nurseries put around it, and its place."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    here = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).parent == here]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}: {ours[-1].line}" if ours else "?"
    return f"{type(error).__name__} at {place}: {str(error)[:600]}"


async def run(cancels: int, seed: int, data_dir: Path, *, at_once: int = AT_ONCE) -> Trial:
    trial = Trial(seed)
    async with open_provider() as provider:
        async with server_on(data_dir, provider.url) as (server, client):
            presser = Presser(trial, provider, client, data_dir)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                numbers = iter(range(cancels))
                for _ in range(min(at_once, cancels)):
                    nursery.start_soon(presser.work, numbers)
            trial.seconds = trio.current_time() - began
            if trial.violations:
                return trial
            with trial.noting("at the end"), trio.fail_after(GUARD_SECONDS):
                await provider.wait_left()
                for n in range(KILLED):
                    await presser.stop_last(f"Last {n}: ")
                cut = [await presser.speaking(f"Cut {n}: ") for n in range(KILLED)]
                await server.kill()
                assert not server.stderr, server.stderr
        if trial.violations:
            return trial
        async with server_on(data_dir, provider.url) as (_, client):
            with trial.noting("after kill -9"), trio.fail_after(GUARD_SECONDS):
                await _check_after_kill(trial, provider, client, cut)
    return trial


async def _check_after_kill(
    trial: Trial, provider: Provider, client: Client, cut: list[tuple[str, str, int]]
) -> None:
    """What was known is as it was; what was cut off is kept, estimated and marked."""
    for session_id, before in trial.sessions.items():
        session = await client.session(session_id)
        names = ("messages", "input_tokens", "output_tokens", "usage_estimated", *TURN_FIELDS)
        for name in names if before["messages"] else ():
            assert session[name] == before[name], (session_id, name)
    for session_id, stream_id, seq in cut:
        session = await client.session(session_id)
        shown = shown_by(stream_id, await client.events(stream_id))
        assert (shown.names[-1], len(shown.names) > seq) == ("apperror", True)
        user, partial, marker = session["messages"]
        assert (partial["content"], marker["type"]) == (shown.text, "interrupted")
        check_usage(session, shown, provider.calls[user["content"]].messages)
        trial.counted["killed"] += 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cancels", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory) / "data"
        trial = trio.run(
            partial(run, chosen.cancels, chosen.seed, data_dir, at_once=chosen.at_once)
        )
    print(trial.report())
    if trial.violations:
        print(f"VIOLATED: run it again with --seed {chosen.seed}")
    return 1 if trial.violations else 0


if __name__ == "__main__":
    sys.exit(main())
