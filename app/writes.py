"""Writes to clients, each with an end: who takes nothing is dropped."""

import socket
import struct
from contextlib import suppress
from math import inf
from typing import Protocol

import trio

__all__ = ["WRITE_TIMEOUT", "Writes"]

# For each slice, so that a slow reader of a large answer is not taken for a stalled one.
WRITE_TIMEOUT = 30.0
WRITE_SLICE = 64 * 1024


class SocketOwner(Protocol):
    @property
    def socket(self) -> trio.socket.SocketType: ...


class Writes:
    """The writes under way on all connections, so that a shutdown can put an end to them.

    A write is shielded: half of one is no use to anybody, and over HTTP/2 it may hold the answers
    to several requests, of which only one is cancelled. So each has its own deadline.
    """

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._end = inf

    async def send(self, stream: trio.abc.SendStream, data: bytes) -> bool:
        """Send all of it, or say False: the client took nothing for `WRITE_TIMEOUT`."""
        for start in range(0, len(data), WRITE_SLICE):
            deadline = min(trio.current_time() + WRITE_TIMEOUT, self._end)
            with trio.CancelScope(shield=True, deadline=deadline) as scope:
                self._scopes.add(scope)
                try:
                    await stream.send_all(data[start : start + WRITE_SLICE])
                finally:
                    self._scopes.discard(scope)
            if scope.cancelled_caught:
                return False
        return True

    def end_within(self, seconds: float) -> None:
        """Let no write, now or later, take longer than this from now."""
        self._end = trio.current_time() + seconds
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, self._end)

    def drop(self, stream: SocketOwner) -> None:
        """Close without waiting for the client to take what was sent."""
        with suppress(OSError):
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
