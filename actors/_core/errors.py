"""Why a message was not answered, named by who must act."""

__all__ = [
    "ActorCrashed",
    "ActorError",
    "ActorStopped",
    "AddressTaken",
    "AskCycle",
    "ChildFailed",
    "Elsewhere",
    "MailboxFull",
    "Moved",
    "NotOnTrio",
    "Rejected",
    "UnknownKind",
    "in_words",
]


class ActorError(Exception):
    """Anything the runtime, or an actor on purpose, answers instead of a value."""


class MailboxFull(ActorError):
    """Slow down: nothing was queued. `send` and `ask` wait for room instead."""


class ActorStopped(ActorError):
    """The actor, or the system, ended before it took up the message. Sending again is safe."""


class ActorCrashed(ActorError):
    """It broke while it handled the message, which may be half done: ask before you repeat it.

    `__cause__` is the original exception.
    """


class Rejected(ActorError):
    """It said no. Raise it in `receive` to refuse a message: an answer, not a crash."""


class AskCycle(ActorError):
    """The wait could never end: the actor asked is waiting for the one that asks. So it is with a
    `send` that waits for room.

    `path` holds the addresses, the asker first and last.
    """

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(" -> ".join(path))
        self.path = path


class ChildFailed(ActorError):
    """A child was given up, and its parent does not watch it: so the parent crashes of this.

    `__cause__` is the child's last error.
    """


class AddressTaken(ActorError):
    """Another actor lives at the address that this one wanted to rotate to, or the child that it
    wanted to start is another's.
    """


class Moved(ActorError):
    """Raised in `on_start`: what was asked for lives at `key` now. Its mail goes there, and so
    does all that is sent to the old address from now on.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Elsewhere(ActorError):
    """The runtime's own: the address leads elsewhere now, send again."""


class UnknownKind(ActorError):
    """No kind of that name was given to `open_system`."""


class NotOnTrio(RuntimeError):
    """Actors were opened where Trio does not run."""

    def __init__(self) -> None:
        super().__init__(
            "actors live on Trio, and Trio does not run here: call trio.run(main), or"
            ' anyio.run(main, backend="trio"); from asyncio, run Trio as its guest, as'
            " tests/examples/from_asyncio.py does"
        )


def in_words(error: BaseException) -> str:
    """Its repr. Nobody is to wait for ever because an exception cannot be described."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001 - somebody else's `__repr__`
        return type(error).__name__
