"""A message that an actor sends to itself, later."""

from typing import Any

import trio

from .envelope import Message, OwnEnvelope
from .mailbox import Mailbox

__all__ = ["Timer"]


class Timer:
    """Made by `Context.tell_after` and `Context.tell_every`."""

    __slots__ = ("_again", "_envelope", "_mailbox", "_scope", "_seconds")

    def __init__(
        self, mailbox: Mailbox, message: Message[Any], seconds: float, *, again: bool
    ) -> None:
        if seconds < 0 or (again and not seconds):
            raise ValueError(f"a timer of {seconds} seconds")
        self._mailbox = mailbox
        self._envelope = OwnEnvelope(message)
        self._seconds = seconds
        self._again = again
        self._scope = trio.CancelScope()

    def cancel(self) -> None:
        """Its message is not delivered any more, not even one that waits already."""
        self._scope.cancel()
        self._mailbox.withdraw(self._envelope)

    async def _run(self) -> None:
        with self._scope:
            due = trio.current_time() + self._seconds
            while True:
                await trio.sleep_until(due)
                self._mailbox.put_own(self._envelope)
                if not self._again:
                    return
                due += self._seconds
                now = trio.current_time()
                if due <= now:  # what was missed is not made up for
                    due = now + self._seconds
