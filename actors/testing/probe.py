"""An actor that does what the test says, when the test says it."""

import math
from typing import Any, TypeVar

import trio

from actors import Actor, Kind, Message

__all__ = ["NothingCame", "Probe", "Unexpected"]

M = TypeVar("M", bound=Message[Any])
SECONDS = 5.0


class NothingCame(AssertionError):
    """A message was expected, and none came in time."""


class Unexpected(AssertionError):
    """Another message came, or one where none should. It is in `got`."""

    def __init__(self, wanted: str, got: Message[Any]) -> None:
        super().__init__(f"expected {wanted}, got {got!r}")
        self.got = got


class _Taken:
    """A message that a probe's actor handles, until it is answered."""

    def __init__(self, key: str, message: Message[Any]) -> None:
        self.key = key
        self.message = message
        self.value: object = None
        self.error: Exception | None = None
        self.answered = trio.Event()


class Probe:
    """Stands in for the actors of one kind: give `probe.kind` to the system.

        probe = Probe("mailer")
        async with actor_system(Kind("shop", Shop), probe.kind) as system:
            system.ref("shop", "s").tell(Buy("tea"))
            assert (await probe.expect(SendMail)).to == "me"
            probe.reply("sent")

    Each message waits until the test answers it, as it would while an actor is busy; to expect the
    next one answers the last with None, and so does the end of a checked system.
    """

    def __init__(self, name: str = "probe") -> None:
        self.kind = Kind(name, self)
        self.key = ""  # to which the last expected message was sent
        self._arrived, self._come = trio.open_memory_channel[_Taken](math.inf)
        self._last: _Taken | None = None
        self._let_go = False

    def __call__(self, key: str) -> Actor:
        return _ProbeActor(self)

    async def expect(self, wanted: type[M], *, seconds: float = SECONDS) -> M:
        """The next message. Raises `Unexpected` if it is of another type, and `NothingCame` if
        none comes in so many seconds.
        """
        taken = await self._next(seconds)
        if taken is None:
            raise NothingCame(f"expected a {wanted.__name__}, and nothing came in {seconds} s")
        if not isinstance(taken.message, wanted):
            raise Unexpected(f"a {wanted.__name__}", taken.message)
        return taken.message

    async def expect_none(self, *, seconds: float = 1.0) -> None:
        """Raises `Unexpected` if a message comes in so many seconds."""
        taken = await self._next(seconds)
        if taken is not None:
            raise Unexpected("nothing", taken.message)

    async def _next(self, seconds: float) -> _Taken | None:
        self.reply(None)
        self._last = None
        with trio.move_on_after(seconds):
            self._last = await self._come.receive()
            self.key = self._last.key
        return self._last

    def reply(self, value: object) -> None:
        """Answer the last expected message. Only the first answer counts."""
        if self._last is not None and not self._last.answered.is_set():
            self._last.value = value
            self._last.answered.set()

    def fail(self, error: Exception) -> None:
        """Raise this where the last expected message is handled: `Rejected` refuses it, any other
        is a crash, as it would be an actor's.
        """
        if self._last is not None and not self._last.answered.is_set():
            self._last.error = error
            self._last.answered.set()

    def let_go(self) -> None:
        """From now on everything is answered with None, without a test that expects it."""
        self._let_go = True
        self.reply(None)
        while True:
            try:
                self._come.receive_nowait().answered.set()
            except trio.WouldBlock:
                return

    async def _handle(self, key: str, message: Message[Any]) -> object:
        if self._let_go:
            return None
        taken = _Taken(key, message)
        self._arrived.send_nowait(taken)
        await taken.answered.wait()
        if taken.error is not None:
            raise taken.error
        return taken.value


class _ProbeActor(Actor):
    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def receive(self, message: Message[Any]) -> object:
        return await self._probe._handle(self.context.key, message)
