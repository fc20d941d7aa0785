"""What a provider streams, as long as it comes to an end now and then."""

from collections.abc import AsyncIterator

import httpx

__all__ = ["EVENT_BYTES", "Bounded", "TooLarge"]

EVENT_BYTES = 4 << 20


class TooLarge(Exception):
    """An event that is no answer any more."""


class Bounded(httpx.AsyncByteStream):
    """The same bytes. Raises `TooLarge` when more than `most` have come since the last blank line:
    a parser would keep all of them.
    """

    def __init__(self, stream: httpx.AsyncByteStream, most: int = EVENT_BYTES) -> None:
        self._stream = stream
        self._most = most
        self._size = 0  # since the last blank line
        self._last = b""
        self._parts: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = aiter(self._stream)
        return self

    async def __anext__(self) -> bytes:
        part = await anext(self._parts)
        seen = self._last + part
        end = max(seen.rfind(blank) for blank in (b"\n\n", b"\r\n\r\n", b"\r\r"))
        self._size = self._size + len(part) if end < 0 else len(seen) - end
        if self._size > self._most:
            raise TooLarge
        self._last = seen[-3:]
        return part

    async def aclose(self) -> None:
        await self._stream.aclose()
