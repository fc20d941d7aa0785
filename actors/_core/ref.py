"""The handle that can tell and ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from .envelope import Envelope, Message, SendEnvelope
from .errors import AskCycle, Elsewhere
from .mailbox import Mailbox

__all__ = ["Directory", "Recipient", "Ref"]

R = TypeVar("R")


class Recipient(Protocol):
    """What a ref needs to know of the cell behind an address."""

    mailbox: Mailbox
    closed: bool
    waiting_on: "list[Recipient]"  # those its current message waits for

    @property
    def address(self) -> str: ...

    async def wait_running(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    async def wait_ended(self) -> Exception | None: ...


class Directory(Protocol):
    """What a ref needs to know of the registry."""

    def find(self, kind: str, key: str) -> Recipient:
        """The live cell at an address, activated if need be; raises `ActorStopped`."""

    def awake(self, kind: str, key: str) -> Recipient | None:
        """The live cell at an address, if there is one."""

    def caller(self, task: trio.lowlevel.Task) -> Recipient | None:
        """The cell in whose message handler this task runs, if it does."""


class Ref:
    """An address, `kind/key`. It never fails and never goes stale: the first message activates
    the actor, one after its end activates the next, one to a rotated address reaches it still.
    """

    __slots__ = ("_cell", "_directory", "key", "kind")

    def __init__(self, directory: Directory, kind: str, key: str) -> None:
        self.kind = kind
        self.key = key
        self._directory = directory
        self._cell: Recipient | None = None

    def __repr__(self) -> str:
        return f"<Ref {self.kind}/{self.key}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and (self.kind, self.key) == (other.kind, other.key)

    def __hash__(self) -> int:
        return hash((self.kind, self.key))

    def _recipient(self) -> Recipient:
        cell = self._cell
        if cell is None or cell.closed:
            cell = self._cell = self._directory.find(self.kind, self.key)
        return cell

    @trio.lowlevel.enable_ki_protection
    def tell(self, message: Message[Any]) -> None:
        """Send and forget; never waits. Raises `MailboxFull`, or `ActorStopped` at the very end.

        From another thread: `trio.from_thread.run_sync(ref.tell, message)`.
        """
        cell = self._cell
        if cell is None or cell.closed:
            cell = self._recipient()
        cell.mailbox.put_nowait(Envelope(message))

    @trio.lowlevel.enable_ki_protection
    async def send(self, message: Message[Any]) -> None:
        """Send and forget, waiting for room. Returned means queued, cancelled means not sent.

        Raises `AskCycle` if there could never be room; what is urgent does not wait: `MailboxFull`.
        """
        await trio.lowlevel.checkpoint()
        cell = self._recipient()
        envelope = SendEnvelope(message)
        if cell.mailbox.put(envelope):
            return
        task = trio.lowlevel.current_task()
        caller = self._directory.caller(task)
        if caller is not None:
            try:
                _refuse_cycle(caller, cell)
            except AskCycle:
                cell.mailbox.withdraw(envelope)
                raise
            caller.waiting_on.append(cell)
        try:
            envelope.waiter = task
            await trio.lowlevel.wait_task_rescheduled(partial(_give_up, envelope, cell.mailbox))
            return
        except Elsewhere:
            pass
        finally:
            if caller is not None:
                caller.waiting_on.remove(cell)
        await self.send(message)

    @trio.lowlevel.enable_ki_protection
    async def ask(self, message: Message[R]) -> R:
        """Send, and wait for the answer; your own cancel scope is the deadline.

        If you give up while the message waits, it is never taken up; if it was taken up already,
        it runs on and its answer is dropped. Raises what the actor raised with `Rejected`,
        `ActorCrashed`, `ActorStopped`, or `AskCycle` if the answer could never come.
        """
        cell = self._cell
        if cell is None or cell.closed:
            cell = self._recipient()
        task = trio.lowlevel.current_task()
        caller = self._directory.caller(task)
        if caller is not None:
            _refuse_cycle(caller, cell)
            caller.waiting_on.append(cell)
        while True:
            try:
                envelope = Envelope(message, task)
                cell.mailbox.put(envelope)
                answer: R = await trio.lowlevel.wait_task_rescheduled(
                    partial(_give_up, envelope, cell.mailbox)
                )
                return answer
            except Elsewhere:
                pass
            finally:
                if caller is not None:
                    caller.waiting_on.remove(cell)
            cell = self._recipient()
            if caller is not None:
                _refuse_cycle(caller, cell)
                caller.waiting_on.append(cell)

    async def start(self) -> None:
        """Wake the actor; return when its `on_start` has returned, at once if it is awake.

        Raises what an ask would: what `on_start` raised as the cause of an `ActorCrashed`, or its
        `Rejected`. Then nobody lives at the address. If you give up, it starts all the same.
        """
        await trio.lowlevel.checkpoint()
        while True:
            cell = self._recipient()
            try:
                with self._waiting_on(cell):
                    return await cell.wait_running()
            except Elsewhere:
                pass

    async def stop(self) -> None:
        """End the actor after the message that it handles; return when it has ended.

        Its `on_stop` runs. Mail that waits is not handled: who asked gets `ActorStopped`, what was
        told is a dead letter. Whoever writes to the address later activates the actor afresh. If
        you give up, it ends all the same. Raises `AskCycle` if it waits for you; an actor ends
        itself with `context.stop()`.
        """
        await trio.lowlevel.checkpoint()
        cell = self._directory.awake(self.kind, self.key)
        if cell is not None:
            with self._waiting_on(cell):
                cell.stop()
                await cell.wait_ended()

    async def wait_ended(self) -> Exception | None:
        """Return when the actor ends for whatever reason, at once if it is not awake.

        Gives why it was given up, as `Ended.error` does: what a watch is to an actor, this is to
        any other task. Raises `AskCycle` if it waits for you.
        """
        await trio.lowlevel.checkpoint()
        cell = self._directory.awake(self.kind, self.key)
        if cell is None:
            return None
        with self._waiting_on(cell):
            return await cell.wait_ended()

    def kill(self) -> None:
        """End the actor now, in the middle of a message if need be, without `on_stop`.

        Whoever waits for that message gets `ActorCrashed`; what it has done so far may be half of
        it. It has ended when its tasks have left: `await ref.stop()` waits for that.
        """
        cell = self._directory.awake(self.kind, self.key)
        if cell is not None:
            cell.kill()

    @contextmanager
    def _waiting_on(self, cell: Recipient) -> Iterator[None]:
        """In this block the caller waits for the cell. Raises `AskCycle`."""
        caller = self._directory.caller(trio.lowlevel.current_task())
        if caller is None:
            yield
            return
        _refuse_cycle(caller, cell)
        caller.waiting_on.append(cell)
        try:
            yield
        finally:
            caller.waiting_on.remove(cell)


def _give_up(envelope: Envelope, mailbox: Mailbox, _: object) -> trio.lowlevel.Abort:
    """The parked task is cancelled: the message is withdrawn, its answer dropped."""
    envelope.waiter = None
    mailbox.withdraw(envelope)
    return trio.lowlevel.Abort.SUCCEEDED


def _refuse_cycle(caller: Recipient, target: Recipient) -> None:
    """Walk from the target along who waits for whom; arriving at the caller means a cycle."""
    path: tuple[str, ...] = (caller.address, target.address)
    trail = [(target, path)]
    seen = {target}
    while trail:
        cell, path = trail.pop()
        if cell is caller:
            raise AskCycle(path)
        for following in cell.waiting_on:
            if following not in seen:
                seen.add(following)
                trail.append((following, (*path, following.address)))
