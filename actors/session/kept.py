"""What an agent keeps open for one session, from turn to turn."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from .ledger import Ledger

__all__ = ["Kept"]

Open = Callable[[], AbstractAsyncContextManager[Any]]


class Kept:
    """Each thing is opened by the first turn that asks for it, in a task of the session's own
    nursery, and closed when the session is put away, restarted or ended. One that could not be
    opened, or has broken, is opened anew by who asks next.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._things: dict[str, _Thing] = {}

    async def get(self, name: str, open_thing: Open) -> Any:
        """Raises whatever opening it raises."""
        thing = self._things.get(name)
        if thing is None:
            thing = self._things[name] = _Thing()
            self._ledger.context.start_soon(self._hold, name, thing, open_thing)
        await thing.settled.wait()
        if thing.failure is not None:
            raise thing.failure
        return thing.value

    async def _hold(self, name: str, thing: "_Thing", open_thing: Open) -> None:
        try:
            async with open_thing() as thing.value:
                thing.settled.set()
                await trio.sleep_forever()
        except Exception as error:  # noqa: BLE001 - it goes to the turn that asked
            thing.failure = error
        finally:
            if self._things.get(name) is thing:
                del self._things[name]
            thing.settled.set()


class _Thing:
    def __init__(self) -> None:
        self.settled = trio.Event()
        self.value: Any = None
        self.failure: Exception | None = None
