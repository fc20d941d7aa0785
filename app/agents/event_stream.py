"""Server-sent events as they come from a provider: only their data, and never too much of it. Pure.

Nothing here grows with what is sent but one event, and that has a bound.
"""

__all__ = ["EventParser", "TooLarge"]

EVENT_BYTES = 4 << 20
BOM = b"\xef\xbb\xbf"


class TooLarge(Exception):
    """An event, or a line, that is no answer any more."""


class EventParser:
    """Takes the bytes as they arrive. What is broken UTF-8 comes as U+FFFD."""

    def __init__(self, most: int = EVENT_BYTES) -> None:
        self._most = most
        self._line = bytearray()  # that has not ended
        self._data = bytearray()  # of the event that has not ended
        self._has_data = False
        self._after_cr = False
        self._begun = False

    def feed(self, chunk: bytes) -> list[str]:
        """The data of each event that is complete now. Raises `TooLarge`."""
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False
        if b"\n" not in chunk and b"\r" not in chunk:
            self._line += chunk
            self._check()
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = (bytes(self._line) + chunk).splitlines()
        self._line.clear()
        if not chunk.endswith((b"\n", b"\r")):
            self._line += lines.pop()
        events = []
        for line in lines:
            if line:
                self._take(line)
            elif self._has_data:
                events.append(self._data.decode(errors="replace"))
                self._data.clear()
                self._has_data = False
        self._check()
        return events

    def _take(self, line: bytes) -> None:
        if not self._begun:
            line, self._begun = line.removeprefix(BOM), True
        name, _, value = line.partition(b":")
        if name != b"data":
            return
        if self._has_data:
            self._data += b"\n"
        self._data += value.removeprefix(b" ")
        self._has_data = True
        self._check()

    def _check(self) -> None:
        if len(self._line) > self._most or len(self._data) > self._most:
            raise TooLarge
