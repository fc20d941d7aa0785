"""Turns that are begun for the API's clients, and followed to their ends."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import uuid4

import msgspec
from quart import g

from actors import ActorStopped, MailboxFull
from actors.index.messages import TEMPORARY
from actors.session.copies import branch_of
from actors.session.entries import FeedEvent, TurnFailed
from actors.session.messages import CancelTurn, CreateSession, GetSession, StartTurn, TurnAccepted
from actors.session.record import Record
from actors.session.refusals import SessionExists, SessionNotFound, StaleRevision, TurnRunning
from actors.session.transcript import revision, title_from

from ..asking import ask, named_by_key
from ..view import View
from .errors import ApiError
from .events import ENDS
from .names import Named, session_of, turn_of
from .requests import Asked
from .retold import Told, end_of, retold, told_of

__all__ = ["Turn", "Turns", "deleted_mark", "no_conversation"]

TRIES = 5


def deleted_mark(turn_id: str) -> str:
    """The field of a record that says that this response is not to be found any more."""
    return f"deleted_response_{turn_id}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One that was accepted. `abandoned`: stop it if its reader leaves, nobody else can read it."""

    session_id: str
    turn_id: str
    created_at: float
    note: Mapping[str, Any]
    abandoned: bool = False


class Turns:
    def __init__(self, greenroom: View, model: str) -> None:
        self._greenroom = greenroom
        self._model = model  # that answers who names none

    # -- begun ------------------------------------------------------------------------------------

    async def begin(self, asked: Asked, kind: str) -> Turn:
        """On disk from here on. Raises `ApiError` or what a session refuses with."""
        command = StartTurn(
            prompt=asked.prompt,
            model=asked.model,
            source="api",
            before=asked.before,
            options=asked.options,
            note={"api": kind, **asked.echo},
        )
        if asked.previous:
            return await self._continue(asked.previous, asked.store, command)
        if asked.conversation:
            session_id = session_of(asked.conversation) or ""
            try:
                record = (await self._greenroom.session(session_id).ask(GetSession())).record
                command = self._with_model(command, record)
                return _turn(await ask(self._greenroom, session_id, command), command.note)
            except SessionNotFound:
                raise no_conversation(asked.conversation) from None
        title = title_from(asked.before, asked.prompt) or "Untitled"
        content = Record(
            session_id="", title=title, manual_title=True, session_source="api"
        )  # no model is asked for a title
        command = self._with_model(command, content)
        return await self._begin_in(content, asked.store, command)

    def _with_model(self, command: StartTurn, record: Record) -> StartTurn:
        """Its note says who answers: who is not named is the one of the session."""
        model = command.model or record.model or self._model
        return replace(command, note=command.note | {"model": model})

    async def _continue(self, previous: str, store: bool, command: StartTurn) -> Turn:
        """Where that response ends: in its session if nothing came after it, else in a branch."""
        for _ in range(TRIES):
            named, record, told = await self.find(previous, "previous_response_id")
            command = self._with_model(command, record)
            if g.get("operation") in record.applied:
                return _turn(await ask(self._greenroom, named.session_id, command), command.note)
            end = end_of(record, told)
            if end is None:
                message = f"Response '{previous}' has not ended yet."
                raise ApiError(409, message, "previous_response_id", "response_in_progress")
            free = not (record.busy or record.waiting or told.note.get("conversation"))
            if not (store and free and end == len(record.messages)):
                return await self._begin_in(branch_of(record, end, None), store, command)
            here = replace(command, revision=revision(record))
            with suppress(TurnRunning, StaleRevision):  # somebody else was faster: look again
                return _turn(await ask(self._greenroom, named.session_id, here), command.note)
        raise ApiError(409, "The conversation changes all the time; try again.", None, "conflict")

    async def _begin_in(self, content: Record, store: bool, command: StartTurn) -> Turn:
        """In a session of its own. One that is not stored goes when the turn has ended."""
        name = named_by_key() or uuid4().hex[:12]
        keyed = g.get("operation") is not None
        if not store:
            content = msgspec.structs.replace(content, session_source=TEMPORARY)
            if keyed:
                turn_id, known = await self._named_by_key(name)
                if known:
                    return Turn(name, turn_id, time.time(), command.note)
                command = replace(command, turn_id=turn_id)
        with suppress(SessionExists):  # the same request, before
            await self._greenroom.new_session(name).ask(CreateSession(content))
        accepted = await ask(self._greenroom, name, command)
        return _turn(accepted, command.note, abandoned=not (store or keyed))

    async def _named_by_key(self, name: str) -> tuple[str, bool]:
        """The turn of this request, and whether it can be read already. Its session may be gone,
        but its feed is there for a while. One that failed is done again.
        """
        feeds = self._greenroom.feeds
        for attempt in count():
            turn_id = hashlib.sha256(f"{name}:{g.fingerprint}:{attempt}".encode()).hexdigest()[:32]
            if await feeds.last_seq(turn_id) is None:
                return turn_id, False
            entries = await feeds.stored(turn_id, 0)
            if not (entries and isinstance(entries[-1].event, TurnFailed)):
                return turn_id, True
        raise AssertionError

    # -- found ------------------------------------------------------------------------------------

    async def find(
        self, response_id: str, param: str = "response_id"
    ) -> tuple[Named, Record, Told]:
        """The response of this id, running or ended. Raises `ApiError` if there is none."""
        named = turn_of(response_id)
        try:
            if named is not None:
                session = self._greenroom.session(named.session_id)
                record = (await session.ask(GetSession())).record
                told = told_of(record, named.turn_id)
                gone = deleted_mark(named.turn_id) in record.extra
                if told is not None and told.note.get("api") == "response" and not gone:
                    return named, record, told
        except SessionNotFound:
            pass
        code = "previous_response_not_found" if param == "previous_response_id" else None
        status = 400 if code else 404
        raise ApiError(status, f"Response with id '{response_id}' not found.", param, code)

    # -- followed ---------------------------------------------------------------------------------

    async def reader(self, turn: Turn) -> Callable[[], Awaitable[Sequence[FeedEvent]]] | None:
        """Gives what comes of a turn from its beginning, batch by batch, and nothing after its end.
        None if it has ended so long ago that only the record tells of it.
        """
        reader = await self._greenroom.feeds.read(turn.turn_id)
        if reader is None:
            return None
        ended = False

        async def next_batch() -> Sequence[FeedEvent]:
            nonlocal ended
            if ended:
                return ()
            events = [entry.event for entry in await reader.next()]
            ended = any(isinstance(event, ENDS) for event in events)
            return events

        return next_batch

    async def follow(self, turn: Turn, take: Callable[[FeedEvent], Iterable[object]]) -> None:
        """Hand over all that comes of a turn, from its beginning to its end."""
        next_batch = await self.reader(turn)
        if next_batch is None:
            _hand_over(await self.told(turn), take)
            return
        ended = False
        try:
            while batch := await next_batch():
                _hand_over(batch, take)
            ended = True
        finally:
            if not ended:
                self.leave(turn)

    async def told(self, turn: Turn) -> Sequence[FeedEvent]:
        """A turn that has ended, as the record tells of it."""
        try:
            record = (await self._greenroom.session(turn.session_id).ask(GetSession())).record
        except SessionNotFound:
            return ()
        return tuple(retold(record, turn.turn_id))

    async def shown(self, turn: Turn) -> Sequence[FeedEvent]:
        """What there is of a turn now."""
        if await self._greenroom.feeds.last_seq(turn.turn_id) is None:
            return await self.told(turn)
        return [entry.event for entry in await self._greenroom.feeds.stored(turn.turn_id, 0)]

    def leave(self, turn: Turn) -> None:
        """Its reader is gone."""
        if turn.abandoned:
            with suppress(ActorStopped, MailboxFull):  # then it ends with the process
                self._greenroom.session(turn.session_id).tell(CancelTurn(turn.turn_id))


def _hand_over(events: Iterable[FeedEvent], take: Callable[[FeedEvent], Iterable[object]]) -> None:
    for event in events:
        for _ in take(event):
            pass


def _turn(accepted: TurnAccepted, note: Mapping[str, Any], *, abandoned: bool = False) -> Turn:
    record = accepted.record
    at = record.pending_started_at or time.time()
    told = told_of(record, accepted.turn_id)
    if told is not None:  # as it was accepted, should this be a repetition
        at, note = told.at, told.note
    return Turn(record.session_id, accepted.turn_id, at, note, abandoned)


def no_conversation(name: str) -> ApiError:
    return ApiError(404, f"Conversation with id '{name}' not found.", "conversation")
