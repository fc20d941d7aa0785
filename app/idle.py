"""Connections that wait for a request: each for a while, and none when the server stops."""

from math import inf

import trio

__all__ = ["KEEP_ALIVE", "Idle"]

# Longer than what clients keep their end for (httpx 5 s): a client that reuses a connection while
# the server closes it loses its request.
KEEP_ALIVE = 65.0


class Idle:
    """Of each the scope it lives in, which is cancelled at the end of that."""

    def __init__(self) -> None:
        self._waiting: set[trio.CancelScope] = set()
        self._ended = False

    def add(self, life: trio.CancelScope) -> None:
        self._waiting.add(life)
        life.deadline = trio.current_time() + KEEP_ALIVE
        if self._ended:
            life.cancel()

    def remove(self, life: trio.CancelScope) -> None:
        self._waiting.discard(life)
        life.deadline = inf

    def end(self) -> None:
        """Those that wait, and those that will."""
        self._ended = True
        for life in self._waiting:
            life.cancel()
