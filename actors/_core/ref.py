"""The handle that can tell and ask."""

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


class Directory(Protocol):
    """What a ref needs to know of the registry."""

    def find(self, kind: str, key: str) -> Recipient:
        """The live cell at an address, activated if need be; raises `ActorStopped`."""

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
