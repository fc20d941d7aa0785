"""The short way to a reader that is not behind: what is shown is written to its connection there
and then, and no task is woken for it. A thousand readers of one turn are a thousand such writes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from actors.session.entries import Entry
from actors.session.feeds import Reader

from .asgi import Exchange, exchange_of

__all__ = ["NOT_DIRECT", "Direct"]


class Direct:
    """Of one answer. On a server that cannot do it nothing is taken, and tasks do it all."""

    def __init__(self, scope: Any) -> None:
        self.pushed = 0
        self._behind = False
        self._exchange: Exchange | None = exchange_of(scope)

    async def follow(self, reader: Reader, render: Callable[[Entry], bytes | None]) -> None:
        """Show what comes, until there is something for `reader.next` (what `render` gives no bytes
        for, or the end) or for `flush`: the client takes it too slowly. Several readers may be
        followed at once, but not beside `flush`.
        """

        def take(entries: Sequence[Entry]) -> bool:
            if self._exchange is None:
                return False
            frames = []
            for entry in entries:
                if (frame := render(entry)) is None:
                    return False
                frames.append(frame)
            self.pushed += 1
            reader.cursor = entries[-1].seq
            self._behind = not self._exchange.push(b"".join(frames))
            return not self._behind

        if not self._behind:
            await reader.follow(take)

    async def flush(self) -> None:
        """Wait until the client has taken what was shown."""
        if self._exchange is not None and self._behind:
            await self._exchange.flush()
            self._behind = False


NOT_DIRECT = Direct({})
"""Of an answer that only its task gives."""
