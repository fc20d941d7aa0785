"""The bounded queue in front of one actor."""

from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from .envelope import Envelope, Message, OwnEnvelope
from .errors import MailboxFull

__all__ = ["CONTROL_CAPACITY", "AbortFn", "Mailbox"]

AbortFn = Callable[[object], trio.lowlevel.Abort]

CONTROL_CAPACITY = 64


class Mailbox:
    """Two lanes, one reader. Ordinary mail is bounded by `capacity`; what waits for room waits in
    the order it came, and moves in as soon as something is taken out. Only the reader parks here,
    in one slot: that is what makes a tell cheap.
    """

    __slots__ = ("_control", "_ordinary", "_overflow", "_reader", "capacity", "high_water")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.high_water = 0
        # Lists where there is little or nothing: an empty deque has room for 64.
        self._control: list[Envelope] = []
        self._ordinary: deque[Envelope] = deque()
        self._overflow: list[Envelope] = []  # each belongs to a parked task
        self._reader: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._control) + len(self._ordinary)

    @property
    def parked(self) -> bool:
        """Nothing to read, and the reader is waiting."""
        return self._reader is not None

    @trio.lowlevel.enable_ki_protection
    def put_nowait(self, envelope: Envelope) -> None:
        """Queue it, or raise `MailboxFull` and change nothing."""
        if envelope.message.control:
            if len(self._control) >= CONTROL_CAPACITY and self._others() >= CONTROL_CAPACITY:
                raise MailboxFull("the control lane is full")
            lane: list[Envelope] | deque[Envelope] = self._control
        else:
            depth = len(self._ordinary)
            if depth >= self.capacity:
                raise MailboxFull(f"{depth} messages are waiting")
            lane = self._ordinary
            if depth >= self.high_water:
                self.high_water = depth + 1
        reader = self._reader
        if reader is not None:
            trio.lowlevel.reschedule(reader)  # in a thread without Trio this raises: then no change
            self._reader = None
        lane.append(envelope)

    @trio.lowlevel.enable_ki_protection
    def put(self, envelope: Envelope) -> bool:
        """Queue it, or put it in line for room; True if it was queued.

        The caller parks; if it gives up it must `withdraw`.
        """
        try:
            self.put_nowait(envelope)
        except MailboxFull:
            if envelope.message.control:
                raise
            self._overflow.append(envelope)
            return False
        return True

    @trio.lowlevel.enable_ki_protection
    def put_own(self, envelope: OwnEnvelope) -> None:
        """Into the control lane, whatever it holds: there is one for each timer and each watch, so
        its owner bounds them. One that waits already is not put there twice.
        """
        if envelope not in self._control:
            self._control.append(envelope)
            self.wake()

    def _others(self) -> int:
        return sum(not isinstance(envelope, OwnEnvelope) for envelope in self._control)

    @trio.lowlevel.enable_ki_protection
    def forget_own(self, which: Callable[[Message[Any]], bool] = lambda message: True) -> None:
        """Drop what an incarnation was to be told, if it was `which`."""
        for envelope in list(self._control):
            if isinstance(envelope, OwnEnvelope) and which(envelope.message):
                self._control.remove(envelope)

    @trio.lowlevel.enable_ki_protection
    def get_nowait(self) -> Envelope | None:
        """The next one, control first; then whoever waited longest for room moves in."""
        if self._control:
            return self._control.pop(0)
        if not self._ordinary:
            return None
        envelope = self._ordinary.popleft()
        if self._overflow:
            self._admit()
        return envelope

    def _admit(self) -> None:
        envelope = self._overflow.pop(0)
        self._ordinary.append(envelope)
        envelope.admitted()

    @trio.lowlevel.enable_ki_protection
    def withdraw(self, envelope: Envelope) -> bool:
        """Take back what has not been taken up; False if it is too late."""
        for lane in (self._overflow, self._ordinary, self._control):
            try:
                lane.remove(envelope)
            except ValueError:
                continue
            if lane is self._ordinary and self._overflow:
                self._admit()
            return True
        return False

    @trio.lowlevel.enable_ki_protection
    def drain(self) -> list[Envelope]:
        """Everything that was never taken up, senders in line for room included."""
        rest = [*self._control, *self._ordinary, *self._overflow]
        self._control.clear()
        self._ordinary.clear()
        self._overflow.clear()
        return rest

    def park(self) -> AbortFn:
        """Register the running task as the reader that waits. Returns what it must pass to
        `wait_task_rescheduled`, at once: a coroutine less on the way is worth it here.
        """
        self._reader = trio.lowlevel.current_task()
        return self._unpark

    def _unpark(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    @trio.lowlevel.enable_ki_protection
    def wake(self) -> None:
        """End the wait of a parked reader, with or without mail."""
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)
