"""What you write: an actor, and the kind that says how to make one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from .envelope import Message
from .ref import Ref
from .restart import RestartPolicy
from .timer import Timer

__all__ = ["Actor", "Context", "Kind"]


class Context(Protocol):
    """What the runtime offers an actor about itself. Valid from `on_start` to `on_stop`."""

    @property
    def key(self) -> str:
        """The key this actor lives at now: the second half of its address."""

    @property
    def ref(self) -> Ref:
        """This actor's own address, to hand out. Do not ask it from `receive`: `AskCycle`."""

    def refer(self, kind: str, key: str) -> Ref:
        """Somebody else's address."""

    def start_soon(self, task: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task in the actor's own nursery: it never outlives this incarnation.

        An exception that leaves the task crashes the actor, which takes up no message after it.
        """

    async def start_child(self, kind: str, key: str) -> Ref:
        """Start an actor that ends with this incarnation, before its `on_stop`, after the message
        it handles, and by force after its kind's `stop_seconds`.

        Returns when the child's `on_start` has returned, and raises what a `Ref.start` would: then
        there is no child. Raises `AddressTaken` if the child is another's. If the child is given up
        later, this actor crashes of it (`ChildFailed`), and its own policy decides, unless it
        watches the child: then it is told `Ended`, and may start another.
        """

    def watch(self, ref: Ref) -> None:
        """Be told `Ended`, once, when the actor ends for whatever reason: given up after crashes,
        stopped, killed, or put away; at once if it is not awake, which does not wake it.

        A restart is no end. Ends with this incarnation; watching twice is watching once.
        """

    def unwatch(self, ref: Ref) -> None:
        """Not be told any more, not even what waits already."""

    def tell_after(self, seconds: float, message: Message[Any]) -> Timer:
        """Be told this, once, ahead of ordinary mail. The timer can be cancelled, and ends with
        this incarnation. Raises `ValueError` if `seconds` is less than 0.
        """

    def tell_every(self, seconds: float, message: Message[Any]) -> Timer:
        """The same again and again, first after `seconds`. While one waits no other comes: who
        was busy for long is told once. Raises `ValueError` unless `seconds` is more than 0.
        """

    def stop(self) -> None:
        """End this actor after the message it handles, as `Ref.stop` does."""

    def rotate(self, key: str) -> None:
        """Go on under a new key. The old one leads here; raises `AddressTaken`."""


class Actor:
    """One owner of some state.

    | you write       | the runtime calls it                                                     |
    |-----------------|--------------------------------------------------------------------------|
    | `on_start`      | first, once for each incarnation; a crash fails all who wait; `Moved`    |
    |                 | says that it lives at another key now, and its mail goes there           |
    | `receive`       | for each message, one at a time, also across awaits; what it returns     |
    |                 | answers an ask, so does `Rejected`; any other exception restarts         |
    | `may_passivate` | after `idle_after` seconds without mail, in the same step as the check   |
    |                 | that no mail waits; False asks again later, a crash restarts             |
    | `on_stop`       | before an orderly end (passivation, system exit), never after a crash;   |
    |                 | mail that comes meanwhile starts the next incarnation                    |

    After a crash, or when it was cancelled in mid-message, the object is thrown away: build the
    next one's state in `on_start` from what is durable.
    """

    context: Context

    async def on_start(self) -> None:
        """Build the state, from what is durable. `Rejected` says no to all who wait, any other
        exception reaches them as the cause of `ActorCrashed`, `Moved` sends them on.
        """

    async def receive(self, message: Message[Any]) -> object:
        """Handle one message; what you return answers an ask. Never cancelled by who asked."""
        raise NotImplementedError(f"{type(self).__name__} has no `async def receive(...)`")

    def may_passivate(self) -> bool:
        """Called when `idle_after` has passed: False to be asked again later."""
        return True

    async def on_stop(self) -> None:
        """Before an orderly end. An exception here is logged, and harms nobody."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How to make the actors of one kind. Their addresses are `name/key`.

    `create` gets the key. `capacity` bounds ordinary mail, 1 is the least. After `idle_after`
    seconds without mail it is put away, and its next message brings it back. `stop_seconds` is how
    long it may take to end when its parent does, `restart` how often it may crash.
    """

    name: str
    create: Callable[[str], Actor]
    capacity: int = 1024
    idle_after: float = inf
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    stop_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"{self.name}: no message fits into a mailbox of {self.capacity}")
