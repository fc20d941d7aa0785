"""What you write: an actor, and the kind that says how to make one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from .envelope import Message
from .ref import Ref
from .restart import RestartPolicy

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

    async def on_start(self) -> None: ...

    async def receive(self, message: Message[Any]) -> object:
        raise NotImplementedError

    def may_passivate(self) -> bool:
        return True

    async def on_stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How to make the actors of one kind. Their addresses are `name/key`.

    `create` gets the key. `capacity` bounds ordinary mail, 1 is the least. `idle_after` is in
    seconds.
    """

    name: str
    create: Callable[[str], Actor]
    capacity: int = 1024
    idle_after: float = inf
    restart: RestartPolicy = field(default_factory=RestartPolicy)

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"{self.name}: no message fits into a mailbox of {self.capacity}")
