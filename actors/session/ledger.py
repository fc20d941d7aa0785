"""One session's record: what is true of it, and how that becomes durable and known."""

from contextlib import suppress
from typing import Any

import msgspec
import trio

from actors import Context, Message
from actors.index.messages import STAMP, RowChanged, RowRemoved
from actors.stores import RecordNotFound, StoreError, StoreFull

from .amendments import Extent, common, extent_of
from .dumping import Manuscript, dump, dumped
from .events import (
    Changed,
    Checkpointed,
    Compressed,
    Event,
    SideTurnStarted,
    TurnEnded,
    TurnStarted,
)
from .messages import (
    AnswerApproval,
    Archive,
    AskApproval,
    Assign,
    Clear,
    CreateSession,
    LookAgain,
    Once,
    Pin,
    RemoveLastTurn,
    Rename,
    SetTitle,
    Snapshot,
    Truncate,
)
from .notices import Notice
from .operations import with_operation
from .record import Compression, Record, RecordDamaged, Row, alias_of, load, summary, user_messages
from .refusals import SessionNotFound, StorageFailed
from .shared import Shared
from .state import decide, evolve

__all__ = ["Ledger", "storage_failed"]

LOOK_AGAIN_SECONDS = 2.0

# What others are told of a change, where its name alone does not say it.
REASONS: dict[type, str] = {
    CreateSession: "session_new",
    Rename: "session_rename",
    SetTitle: "session_rename",
    Pin: "session_pin",
    Archive: "session_archive",
    Assign: "session_move",
    RemoveLastTurn: "session_undo",
    Truncate: "session_truncate",
    Clear: "session_clear",
    AskApproval: "attention_pending",
    AnswerApproval: "attention_resolved",
}


class Ledger:
    """Decide, make durable, fold, publish: in this order. Nobody hears of what is not on disk.

    `message` is what is being handled, and `once` its caller's key, if it came with one.
    """

    def __init__(self, key: str, shared: Shared) -> None:
        self.key = key
        self.record: Record | None = None
        self.on_disk = False
        self.unsaved = False  # the disk may say something else than memory, which counts
        self.running = False  # a turn is alive
        self.message: Message[Any] | None = None
        self.once: Once | None = None
        self.context: Context  # from the actor's start on
        self._shared = shared
        self._reminded = False
        self._manuscript = Manuscript()
        self._counted: tuple[tuple[Row, ...], int] = ((), 0)  # user messages among these rows

    @property
    def present(self) -> Record:
        """Raises `SessionNotFound`."""
        if self.record is None:
            raise SessionNotFound
        return self.record

    def snapshot(self) -> Snapshot:
        """Raises `SessionNotFound`."""
        return Snapshot(self.present, self.running)

    # -- changing ---------------------------------------------------------------------------

    def decide(self, command: Message[Any]) -> Event:
        """What the command comes to. Raises `Rejected`."""
        new_id = self._shared.new_id
        if isinstance(command, CreateSession):
            return decide(self.record, command, self._shared.clock(), lambda: self.key)
        return decide(self.record, command, self._shared.clock(), new_id)

    def evolved(self, event: Event) -> Record | None:
        """The record after the event, with the caller's key in it if this is what it stands for."""
        record = evolve(self.record, event)
        if self.once is None or record is None or isinstance(event, TurnEnded | Checkpointed):
            return record
        once, self.once = self.once, None
        return with_operation(record, once, self.record, event, self._shared.clock())

    async def commit(self, event: Event) -> None:
        """Make it durable, then true, then known to the list and to whoever listens. Raises
        `StorageFailed`, and then nothing has changed.
        """
        record = self.evolved(event)
        assert record is not None
        stories = self._shared.feeds.stories
        line = stories.event(self.key, type(event).__name__)
        # A turn's end only adds: the thousands of rows before it need not be looked at.
        added_to = self.present.messages if isinstance(event, TurnEnded) else None
        try:
            stamp = await self._write(record, added_to)
        except StoreError as error:
            self._doubt()
            raise storage_failed(error) from error
        self.record, self.on_disk, self.unsaved = record, True, False
        stories.reached(self.key, line, "durable")
        if isinstance(event, Checkpointed):
            return
        row = self._summary(record, added_to)
        await self._index.send(RowChanged({**row, STAMP: stamp}))
        if not isinstance(event, TurnStarted | TurnEnded) and not _is_private(event):
            self.tell(REASONS.get(type(self.message), "session_updated"))
        stories.reached(self.key, line, "shown")

    def _summary(self, record: Record, added_to: tuple[Row, ...] | None = None) -> Row:
        """What was counted once is not counted again."""
        rows, said = self._counted
        kept = len(rows) if rows is added_to else common(rows, record.messages)
        said += user_messages(record.messages[kept:]) - user_messages(rows[kept:])
        self._counted = (record.messages, said)
        return summary(record, said)

    async def _write(self, record: Record, added_to: tuple[Row, ...] | None = None) -> str:
        """Have the disk say this, and give its stamp. Raises `StoreError`."""
        line = self._manuscript.amendment(record, added_to)
        if line is None:
            return await self._write_whole(self.key, record)
        stamp = await self._shared.store.append(self.key, line, self._manuscript.size)
        self._manuscript.has(record, self._manuscript.amended_by(line))
        return stamp

    async def _write_whole(self, key: str, record: Record) -> str:
        pieces: list[bytes] = []
        for piece in dumped(record):
            if pieces:
                await trio.lowlevel.checkpoint()  # nobody waits for all of a long one
            pieces.append(piece)
        data = b"".join(pieces)
        stamp = await self._shared.store.save(key, data)
        self._manuscript.has(record, Extent(len(data), len(data)))
        return stamp

    def _doubt(self) -> None:
        """A write has failed, and the disk may hold what was refused: see `RecordStore`. Have it
        say again what memory says; until then this actor stays.
        """
        self._manuscript.forget()
        self.unsaved = True
        self.remind()

    def remind(self) -> None:
        """Have the session look again, in a while, at what stood in its way."""
        if not self._reminded:
            self._reminded = True
            self.context.start_soon(self._remind)

    async def _remind(self) -> None:
        await trio.sleep(LOOK_AGAIN_SECONDS)
        self._reminded = False
        await self.context.ref.send(LookAgain())

    async def save_again(self) -> None:
        """Have the disk say what memory says. Raises `StorageFailed`."""
        try:
            if self.record is not None and self.on_disk:
                await self.commit(Changed({}, None))  # in place of a pointer, perhaps
                await self.stay()
            else:
                await self._remove(self.key)
        except StoreError as error:
            self._doubt()
            raise storage_failed(error) from error
        self.unsaved = False

    def tell(
        self,
        reason: str,
        *,
        of: str | None = None,
        turn_id: str | None = None,
        at: float = 0.0,
        source: str = "",
        owner: str | None = None,
    ) -> None:
        """Let whoever listens know. `owner` if the record is gone."""
        count = 0 if self.record is None else len(self.record.messages)
        owner = owner if self.record is None else self.record.owner
        notice = Notice(of or self.key, reason, count, turn_id, at, source, owner)
        self._shared.notices.publish(notice)

    @property
    def _index(self) -> Any:
        return self.context.refer("index", "main")

    # -- being born, moving, ending ---------------------------------------------------------

    async def load(self) -> Record | None:
        """What is on disk; None if there is nothing. Raises `RecordDamaged` or `StorageFailed`."""
        try:
            data = await self._shared.store.load(self.key)
            record = load(self.key, data)
        except RecordNotFound:
            return None
        except StoreError as error:
            raise storage_failed(error) from error
        self._manuscript.has(record, extent_of(data))
        return record

    async def leads_nowhere(self, continuation: str) -> bool:
        """This id was left, and what it leads to may have been deleted; then so is this."""
        try:
            await self._shared.store.load(continuation)
        except RecordNotFound:
            await self._remove(self.key)
            return True
        except StoreError as error:
            raise storage_failed(error) from error
        return False

    async def rotate(self, compression: Compression) -> None:
        """Go on under a new id. First the record says under which; then the new one is durable;
        then the old one becomes a pointer to it. Until that the old one counts, and the list does
        not show the new one. Raises `StorageFailed`.
        """
        store, old = self._shared.store, self.key
        try:
            await self.stay()  # what an earlier one left must not be forgotten
        except StoreError as error:
            raise storage_failed(error) from error
        await self.commit(Changed({"rotating_to": await self._free_id()}, None))
        record = msgspec.structs.replace(self.present, rotating_to=None)
        changed = evolve(record, Compressed(str(self.present.rotating_to), compression))
        assert changed is not None
        alias = alias_of(record, changed.session_id)
        try:
            stamp = await self._write_whole(changed.session_id, changed)
            left = await store.save(old, dump(alias))
        except StoreError as error:
            self._doubt()
            raise storage_failed(error) from error
        self.context.rotate(changed.session_id)
        self._shared.feeds.stories.moved(old, changed.session_id)
        self.record, self.key = changed, changed.session_id
        await self._index.send(RowChanged({**self._summary(changed), STAMP: stamp}))
        await self._index.send(RowChanged({**summary(alias), STAMP: left}))
        self.tell("session_compressed", of=old)

    async def stay(self) -> None:
        """Remove what is there of a rotation that was not finished. Raises `StoreError`."""
        record = self.record
        if record is None or record.rotating_to is None:
            return
        with suppress(RecordNotFound):
            found = load(record.rotating_to, await self._shared.store.load(record.rotating_to))
            if found.continues_session_id == self.key and found.continuation_session_id is None:
                await self._remove(record.rotating_to)
        self.record = msgspec.structs.replace(record, rotating_to=None)

    async def _free_id(self) -> str:
        """One that no record has. Raises `StorageFailed`."""
        while True:
            name = self._shared.new_id()[-12:]
            try:
                await self._shared.store.load(name)
            except RecordNotFound:
                return name
            except StoreError as error:
                raise storage_failed(error) from error

    async def delete(self, event: Event) -> None:
        """The record goes first; then the ids that led here, which lead nowhere already: a file
        of theirs that a crash leaves is swept later. Raises `StorageFailed`.
        """
        before = self.record
        try:
            await self.stay()
            await self._remove(self.key)
        except StoreError as error:
            self._doubt()
            raise storage_failed(error) from error
        self.record, self.on_disk, self.unsaved = self.evolved(event), False, False
        self._manuscript.forget()
        self.tell("session_delete", owner=None if before is None else before.owner)
        with suppress(StoreError, RecordDamaged):
            left = None if before is None else before.continues_session_id
            while left is not None:
                alias = load(left, await self._shared.store.load(left))
                if alias.continuation_session_id is None:
                    return
                await self._remove(left)
                left = alias.continues_session_id

    async def _remove(self, name: str) -> None:
        await self._shared.store.delete(name)
        await self._index.send(RowRemoved(name))


def storage_failed(error: BaseException) -> StorageFailed:
    return StorageFailed(str(error), isinstance(error, StoreFull))


def _is_private(event: Event) -> bool:
    """Nothing that another tab shows: a draft, or the results of tasks."""
    match event:
        case Changed(fields):
            return fields.keys() <= {"composer_draft", "background"}
        case SideTurnStarted():
            return True
    return False
