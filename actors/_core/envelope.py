"""A message on its way, with the task that waits for the answer."""

from typing import Any, ClassVar, Generic, TypeVar

import outcome
import trio

__all__ = ["Envelope", "Message"]

R = TypeVar("R", covariant=True)


class Message(Generic[R]):
    """Base of everything an actor receives. `Message[int]` is one whose answer is an `int`.

    With `control = True` it travels in the control lane: ahead of all ordinary mail, after at
    most the message that is being handled. Keep that for stopping things.
    """

    __slots__ = ()
    control: ClassVar[bool] = False


class Envelope:
    """One message, and its asker if somebody waits. Settles once; later answers are ignored."""

    __slots__ = ("asker", "message", "sender")

    def __init__(self, message: Message[Any]) -> None:
        self.message = message
        self.asker: trio.lowlevel.Task | None = None  # parked in `ask` until settled
        self.sender: trio.lowlevel.Task | None = None  # parked in `send` until there is room

    @trio.lowlevel.enable_ki_protection
    def settle(self, answer: object) -> None:
        """Answer the asker. To nobody, or for the second time, is no error."""
        task, self.asker = self.asker, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(answer))

    @trio.lowlevel.enable_ki_protection
    def fail(self, error: BaseException) -> None:
        """Raise `error` in whoever waits. Give each its own: tracebacks grow on the object."""
        for task in (self.asker, self.sender):
            if task is not None:
                trio.lowlevel.reschedule(task, outcome.Error(error))
        self.asker = self.sender = None
