"""A message on its way, with the task that waits for the answer."""

from typing import Any, ClassVar, Generic, TypeVar

import outcome
import trio

__all__ = ["Envelope", "Message", "OwnEnvelope", "SendEnvelope"]

R = TypeVar("R", covariant=True)


class Message(Generic[R]):
    """Base of everything an actor receives. `Message[int]` is one whose answer is an `int`.

    With `control = True` it travels in the control lane: ahead of all ordinary mail, after at
    most the message that is being handled. Keep that for stopping things.
    """

    __slots__ = ()
    control: ClassVar[bool] = False


class Envelope:
    """One message, and the task that is parked in `ask` until it is answered, if there is one.

    Settles once; later answers are ignored.
    """

    __slots__ = ("message", "waiter")

    def __init__(self, message: Message[Any], waiter: trio.lowlevel.Task | None = None) -> None:
        self.message = message
        self.waiter = waiter

    @trio.lowlevel.enable_ki_protection
    def settle(self, answer: object) -> None:
        """Answer whoever waits. To nobody, or for the second time, is no error."""
        task, self.waiter = self.waiter, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(answer))

    @trio.lowlevel.enable_ki_protection
    def fail(self, error: BaseException) -> None:
        """Raise `error` in whoever waits. Give each its own: tracebacks grow on the object."""
        task, self.waiter = self.waiter, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Error(error))

    def admitted(self) -> None:
        """It waited for room, and there is some now."""


class SendEnvelope(Envelope):
    """The task waits in `send`, and only for room."""

    __slots__ = ()

    def admitted(self) -> None:
        self.settle(None)


class OwnEnvelope(Envelope):
    """What an incarnation has asked to be told: never for the next one."""

    __slots__ = ()
