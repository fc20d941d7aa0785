"""What people do with the server until it dies: each client writes down what it was told."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from random import Random
from typing import Any

import httpx
import trio
from httpx_sse import SSEError

from tests.app.client import Client, Event

from . import crash_oracle as oracle
from .crash_oracle import Asked, Effect, State, key_of, seen
from .crash_told import TERMINAL, Json, Session, Told, Unanswered

__all__ = ["Crowd", "ServerGone"]

# How often in a hundred steps of who holds a session.
STEPS = {
    "start": 30,
    "follow": 12,  # the running turn, to its end
    "undo": 8,
    "cancel": 7,
    "compress": 7,
    "interrupt": 5,
    "rollback": 5,
    "rename": 5,
    "delete": 7,  # while there are enough
    "read": 5,
    "retry": 4,
    "edit": 4,
    "pin": 2,
    "archive": 2,
    "branch": 2,
    "duplicate": 2,
    "take back": 2,  # a message that waits
    "clear": 1,
}
# Of who has it open in another tab.
TAB_STEPS = {"queue": 45, "follow": 20, "cancel": 15, "read": 10, "list": 10}
MOST_TURNS = 30  # then a session is cut, or goes
FILLER = "Tell me what you know about it. "


class ServerGone(Exception):
    """There is no answer any more. `sent`: the question may have arrived."""

    def __init__(self, sent: bool) -> None:
        self.sent = sent


class Crowd:
    """The clients of one life of the server. `killed` is set just before it is."""

    def __init__(self, told: Told, client: Client, target: int, *, checks: bool = False) -> None:
        self.killed = False
        self.in_flight = 0
        self.following = 0
        self._told = told
        self._client = client
        self._checks = checks  # not people, but who looks at what they were told
        self._target = target  # how many sessions there should be

    # -- asking ---------------------------------------------------------------------------------

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Raises `ServerGone`."""
        self.in_flight += 1
        try:
            response = await self._client.http.request(method, path, **options)
        except httpx.TransportError as error:
            if not self.killed:
                self._told.wrong(f"{method} {path}: {error!r} from a living server")
            raise ServerGone(not isinstance(error, httpx.ConnectError)) from None
        finally:
            self.in_flight -= 1
        if response.status_code >= 500 and response.status_code != 503:
            self._told.wrong(f"{path} answered {response.status_code} {response.text}")
        return response

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.call("GET", path, params=params)

    async def ask(
        self,
        session: Session,
        path: str,
        effect: Callable[[Json | None], Effect],
        *,
        words: str = "",
        refused: Effect = oracle.nothing,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Asked:
        """Ask something of a session. `effect` says what an answer means, and what happens if
        there is none; `refused` what a refusal means.
        """
        told = self._told
        asked = Asked(f"{path} {words}", effect(None), told.instant())
        session.asked.append(asked)
        given: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        try:
            response = await self.call(method, path, headers=headers, **given)
        except ServerGone as gone:
            if not gone.sent:
                session.asked.remove(asked)
            raise
        asked.answered = told.instant()
        answer: Json = response.json()
        asked.words += f": {response.status_code} {_short(answer)}"
        if response.status_code < 300:
            asked.answer, asked.effect = answer, effect(answer)
            return asked
        missing = answer.get("error") == "Session not found"
        asked.effect = oracle.gone if missing else refused
        if response.status_code == 404 and not missing and refused is oracle.nothing:
            told.wrong(f"{session}: {asked}")
        told.counts["refusals"] += 1
        return asked

    def _name(self, session: Session, chance: Random) -> str:
        """Any id that it ever had."""
        return chance.choice(session.ids) if chance.random() < 0.2 else session.ids[-1]

    # -- reading --------------------------------------------------------------------------------

    async def read(self, session: Session, chance: Random) -> Json | None:
        known = len(session.ids)

        def effect(answer: Json | None) -> Effect:
            return oracle.nothing if answer is None else oracle.read(seen(answer["session"]))

        name = self._name(session, chance)
        asked = await self.ask(session, "/api/session", effect, method="GET", session_id=name)
        if asked.answer is None:
            return None
        shown: Json = asked.answer["session"]
        self._told.named(session, shown["session_id"], known)
        self._told.check_rows(shown)
        return shown

    async def follow(self, stream_id: str, after: int = 0) -> list[Event]:
        """What is shown of a turn, to its end or the server's."""
        events: list[Event] = []
        self.following += 1
        try:
            async with aclosing(self._client.follow(stream_id, after_seq=after)) as following:
                async for event in following:
                    self._told.shown(stream_id, event, after + len(events), self._checks)
                    events.append(event)
                    self._told.counts["entries shown"] += 1
        except (httpx.TransportError, SSEError) as error:
            if not self.killed:
                self._told.wrong(f"stream {stream_id} behind {after}: {error!r}")
        else:
            if not self.killed and (not events or events[-1].name not in TERMINAL):
                self._told.wrong(f"stream {stream_id} behind {after} has no end")
        finally:
            self.following -= 1
        return events

    async def events(self, stream_id: str) -> AsyncIterator[Event]:
        """A stream that has ended, once more."""
        async with aclosing(self._client.follow(stream_id)) as following:
            async for event in following:
                yield event

    async def listed(self) -> list[Json]:
        graves = self._told.graves[-50:]
        response = await self.get("/api/sessions", include_archived=1)
        rows: list[Json] = response.json()["sessions"]
        names = {row["session_id"] for row in rows}
        for grave in graves:
            if names & set(grave.ids):
                self._told.wrong(f"{grave} was deleted and is listed")
        return rows

    # -- two kinds of clients -------------------------------------------------------------------

    async def writer(self, chance: Random, readers: trio.Nursery) -> None:
        """Holds one session after the other: nobody else changes it, but for the other tab."""
        with suppress(ServerGone):
            while not self.killed:
                session = self._pick(chance)
                if session is None:
                    await self._new(chance, readers)
                    continue
                session.held = True
                try:
                    for _ in range(chance.randint(1, 4)):
                        if not session.deleted:
                            await self._step(session, chance, readers)
                finally:
                    session.held = False

    async def tab(self, chance: Random, readers: trio.Nursery) -> None:
        """Looks at sessions that others write in, queues messages there, and stops turns."""
        with suppress(ServerGone):
            while not self.killed:
                await trio.sleep(chance.uniform(0, 0.05))
                living = [s for s in self._told.sessions if not s.deleted]
                if not living:
                    continue
                session = chance.choice(living)
                step = _choose(TAB_STEPS, chance)
                if step == "queue" and session.state.said:
                    await self._start(session, chance, readers, "queue")
                elif step == "cancel":
                    await self._cancel(session, chance)
                elif step == "follow" and session.streams:
                    stream_id = session.streams[-1]
                    if self._told.may_run(stream_id):
                        readers.start_soon(self.follow, stream_id)
                elif step == "read":
                    await self.read(session, chance)
                elif step == "list":
                    await self.listed()

    def _pick(self, chance: Random) -> Session | None:
        """A session nobody holds; None if there should be a new one."""
        living = [session for session in self._told.sessions if not session.deleted]
        free = [session for session in living if not session.held]
        if not free or len(living) < self._target or chance.random() < 0.03:
            return None
        return chance.choice(free)

    async def _new(self, chance: Random, readers: trio.Nursery) -> None:
        response = await self.call("POST", "/api/session/new", json={})
        session = self._told.born(response.json()["session"]["session_id"])
        session.held = True
        self._told.counts["new"] += 1
        try:
            await self._start(session, chance, readers)
        finally:
            session.held = False

    async def _step(self, session: Session, chance: Random, readers: trio.Nursery) -> None:
        await trio.sleep(chance.uniform(0, 0.02))
        step = _choose(STEPS, chance)
        if len(session.state.said) > MOST_TURNS and chance.random() < 0.3:
            step = "edit"
        if step == "delete" and len(self._told.sessions) <= self._target:
            step = "start"
        match step:
            case "start":
                await self._start(session, chance, readers, chance.choice(["reject", "queue"]))
            case "interrupt" | "rollback":
                await self._start(session, chance, readers, step)
            case "follow":
                if session.streams and self._told.may_run(session.streams[-1]):
                    with trio.move_on_after(chance.uniform(0, 0.5)):
                        await self.follow(session.streams[-1])
            case "undo" | "retry":
                await self._undo(session, chance, readers, step)
            case "cancel":
                await self._cancel(session, chance)
            case "take back":
                await self._take_back(session, chance)
            case "edit" | "clear":
                await self._cut(session, chance, readers, step)
            case "rename" | "pin" | "archive":
                await self._set(session, chance, step)
            case "branch" | "duplicate":
                await self._copy(session, chance, step)
            case "compress":
                await self._compress(session, chance)
            case "delete":
                await self._delete(session, chance)
            case "read":
                await self.read(session, chance)

    # -- what they do ---------------------------------------------------------------------------

    async def _start(
        self,
        session: Session,
        chance: Random,
        readers: trio.Nursery,
        if_busy: str = "reject",
    ) -> None:
        text = self._told.prompt(FILLER * chance.choice([0, 1, 1, 2, 30]))
        body = {"session_id": self._name(session, chance), "message": text, "if_busy": if_busy}
        headers = {"Idempotency-Key": f"key of {key_of(text)}"} if chance.random() < 0.3 else {}
        await self.send(Unanswered(session, body, headers), chance, readers)

    async def send(self, prompt: Unanswered, chance: Random, readers: trio.Nursery) -> None:
        """With a key it is sent again to the next server if this one says nothing."""
        told, session, body, key = self._told, prompt.session, prompt.body, prompt.key

        def effect(answer: Json | None) -> Effect:
            if prompt.there:
                return oracle.nothing
            queued = None if answer is None else bool(answer.get("queued"))
            return oracle.accepted(key, body["if_busy"], queued)

        try:
            asked = await self.ask(
                session,
                "/api/chat/start",
                effect,
                words=f"{key} {body['if_busy']}{', which is there' * prompt.there}",
                headers=prompt.headers,
                **body,
            )
        except ServerGone:
            if prompt.headers:
                told.unanswered.append(prompt)
            raise
        answer = asked.answer
        if answer is None:
            return
        told.counts["messages queued" if answer.get("queued") else "turns accepted"] += 1
        stream_id = answer["stream_id"]
        told.turn(stream_id, key).acknowledged = True
        session.streams.append(stream_id)
        if chance.random() < 0.8:
            readers.start_soon(self.follow, stream_id)

    async def _undo(
        self, session: Session, chance: Random, readers: trio.Nursery, step: str
    ) -> None:
        def effect(answer: Json | None) -> Effect:
            if answer is None:
                return oracle.taken_back(None)
            if "error" in answer:
                return oracle.nothing_said
            text = answer["removed_preview"] if step == "undo" else answer["last_user_text"]
            return oracle.taken_back(key_of(text))

        name = self._name(session, chance)
        asked = await self.ask(session, f"/api/session/{step}", effect, session_id=name)
        if asked.answer is None:
            return
        self._told.counts["undos" if step == "undo" else "retries"] += 1
        if step == "retry":
            await self._start(session, chance, readers)

    async def _cut(
        self, session: Session, chance: Random, readers: trio.Nursery, step: str
    ) -> None:
        """Say something else from some point on; or begin anew."""
        if step == "clear":
            name = self._name(session, chance)
            await self.ask(session, "/api/session/clear", lambda _: oracle.cleared, session_id=name)
            self._told.counts["clears"] += 1
            return
        shown = await self.read(session, chance)
        if shown is None:
            return
        places = [n for n, row in enumerate(shown["messages"]) if row["role"] == "user"]
        if not places:
            return
        keep = chance.randrange(len(places))

        def effect(answer: Json | None) -> Effect:
            left = None if answer is None else seen(answer["session"])
            return oracle.truncated(keep, left)

        asked = await self.ask(
            session,
            "/api/session/truncate",
            effect,
            words=f"to {keep} turns",
            session_id=self._name(session, chance),
            keep_count=places[keep],
        )
        if asked.answer is not None:
            self._told.counts["edits"] += 1
            self._told.check_rows(asked.answer["session"])
            await self._start(session, chance, readers)

    async def _cancel(self, session: Session, chance: Random) -> None:
        if not session.streams:
            return
        latest = session.streams[-3:]
        alive = [name for name in latest if self._told.may_run(name)]
        stream_id = chance.choice(alive or latest)
        key = self._told.turns[stream_id].key
        assert key is not None

        def effect(answer: Json | None) -> Effect:
            if answer is None or answer["cancelled"]:
                return oracle.cancelled(key)
            return oracle.not_waiting(key)

        asked = await self.ask(
            session, "/api/chat/cancel", effect, words=key, method="GET", stream_id=stream_id
        )
        self._told.counts["cancels"] += asked.answer is not None and asked.answer["cancelled"]

    async def _take_back(self, session: Session, chance: Random) -> None:
        shown = await self.read(session, chance)
        if shown is None or not shown["queue"]:
            return
        row = chance.choice(shown["queue"])
        key = key_of(row["message"])
        asked = await self.ask(
            session,
            "/api/session/queue/remove",
            lambda _: oracle.removed(key),
            words=key,
            refused=oracle.not_waiting(key),
            session_id=shown["session_id"],
            id=row["id"],
        )
        self._told.counts["messages taken back"] += asked.answer is not None

    async def _set(self, session: Session, chance: Random, step: str) -> None:
        value: Any = chance.random() < 0.5
        if step == "rename":
            value = f"title {self._told.instant()}"
        field = {"rename": "title", "pin": "pinned", "archive": "archived"}[step]
        asked = await self.ask(
            session,
            f"/api/session/{step}",
            lambda _: oracle.with_fields(**{field: value}),
            words=f"{value}",
            session_id=self._name(session, chance),
            **{field: value},
        )
        if asked.answer is not None:
            self._told.counts["renames" if step == "rename" else "pins, archivings"] += 1

    async def _copy(self, session: Session, chance: Random, step: str) -> None:
        title = f"copy {self._told.instant()}" if step == "branch" else " (copy)"
        keep = None
        body: dict[str, Any] = {"session_id": self._name(session, chance)}
        if step == "branch":
            body["title"] = title
            shown = await self.read(session, chance)
            if shown is None:
                return
            places = [n for n, row in enumerate(shown["messages"]) if row["role"] == "user"]
            if places and chance.random() < 0.5:
                keep = chance.randrange(len(places))
                body["keep_count"] = places[keep]
        self._told.copies.append(title)

        def effect(answer: Json | None) -> Effect:
            if answer is None or step == "branch":
                return oracle.copied(None, keep)
            return oracle.copied(seen(answer["session"]).said, keep)

        asked = await self.ask(session, f"/api/session/{step}", effect, words=f"{keep}", **body)
        answer = asked.answer
        if answer is None:
            self._told.copies.remove(title)
            return
        whole = answer.get("session")
        if whole is None:
            response = await self.get("/api/session", session_id=answer["session_id"])
            if response.status_code != 200:
                self._told.wrong(f"the copy {answer} is {response.text}")
                return
            whole = response.json()["session"]
        self._told.copies.remove(title)
        self._told.check_rows(whole)
        state: State = seen(whole)
        asked.effect = oracle.copied(state.said, keep)
        self._told.born(whole["session_id"], state._replace(kept=bool(state.said)))
        self._told.counts["copies"] += 1

    async def _compress(self, session: Session, chance: Random) -> None:
        path = chance.choice(["/api/session/compress", "/api/session/compress/start"])
        name = self._name(session, chance)
        known = len(session.ids)
        asked = await self.ask(session, path, lambda _: oracle.nothing, session_id=name)
        answer = asked.answer
        if answer is not None and "new_session_id" in answer:
            self._told.named(session, answer["new_session_id"], known)
        self._told.counts["compressions asked for"] += answer is not None

    async def _delete(self, session: Session, chance: Random) -> None:
        session.deleted = True  # also for the other tab
        name = self._name(session, chance)
        asked = await self.ask(
            session, "/api/session/delete", lambda _: oracle.deleted, session_id=name
        )
        self._told.counts["deletes"] += asked.answer is not None


def _short(answer: Json) -> str:
    shown = {key: value for key, value in answer.items() if key not in ("session", "queue")}
    if "session" in answer:
        shown |= {"state": seen(answer["session"])} if "messages" in answer["session"] else {}
    return str(shown)


def _choose(steps: dict[str, int], chance: Random) -> str:
    return chance.choices(list(steps), list(steps.values()))[0]
