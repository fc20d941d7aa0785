"""How much each user may use."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import trio

from actors import Message
from actors.session.messages import EditWaiting, SaveDraft, StartSideTurn, StartTurn, Steer

from .authority.denied import Denied
from .authority.principal import ANYBODY, Principal
from .authority.throttle import Buckets, network_of

__all__ = ["ALONE", "SHARED", "Limits", "Pace", "checked_size", "parse_limits"]

NO_LIMIT = 0

SHARED: dict[str, int] = {
    "sessions": 10_000,
    "turns": 100,
    "running": 64,
    "streams": 50,
    "requests": 50,
    "tokens": NO_LIMIT,
    "body": 20 * 1024 * 1024,
    "message": 1_000_000,
    "attachment": 5_000_000,
}
"""With users, for each: sessions; turns that were accepted and have not ended; open streams;
requests a second; tokens a day. `running` is how many turns are at work in all. Of a request: bytes
of the body, characters of a message, bytes of an attachment. 0 is no limit."""

ALONE: dict[str, int] = SHARED | dict.fromkeys(
    ("sessions", "turns", "running", "streams", "requests"), NO_LIMIT
)
"""Without users."""

BURST_SECONDS = 4


def parse_limits(given: Sequence[str]) -> dict[str, int]:
    """`turns=5`. Raises `ValueError`, and its text says why."""
    limits = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in SHARED:
            raise ValueError(f"there is no limit {name!r}: choose one of {', '.join(SHARED)}")
        if not (value.isascii() and value.isdigit() and len(value) < 16):
            raise ValueError(f"the limit {name!r} is a whole number, 0 for none, not {value!r}")
        limits[name] = int(value)
    return limits


class Limits:
    """Those that were set, and for the rest what is usual with or without users."""

    def __init__(self, given: Mapping[str, int], shared: Callable[[], bool]) -> None:
        self._given = given
        self._shared = shared

    def __getitem__(self, name: str) -> int:
        return self.of(name, shared=self._shared())

    def of(self, name: str, *, shared: bool) -> int:
        """With users, or without."""
        return self._given.get(name, (SHARED if shared else ALONE)[name])


class Pace:
    """Requests a second, for each user; for who was not let in, for each address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rate = NO_LIMIT
        self._buckets = Buckets(1, 1, trio.current_time)

    def check(self, asked: Principal | None, address: Callable[[], str]) -> None:
        """Raises `Denied`."""
        rate = self._limits.of("requests", shared=asked is not ANYBODY)
        if not rate:
            return
        if rate != self._rate:
            self._rate = rate
            self._buckets = Buckets(rate, rate * BURST_SECONDS, trio.current_time)
        who = network_of(address()) if asked is None else f"user {asked.viewer.owner}"
        if wait := self._buckets.take(who):
            text = f"More than {rate} requests a second; wait a moment"
            raise Denied(429, text, retry_after=wait)


def checked_size(command: Message[Any], limits: Limits) -> None:
    """Is what was said of a size that is kept? Raises `Denied`."""
    match command:
        case StartTurn(prompt, attachments):
            _check("message", len(prompt), limits["message"], "characters")
            for attachment in attachments:
                size = len(msgspec.json.encode(attachment))
                _check("attachment", size, limits["attachment"], "bytes")
        case EditWaiting(_, text) | Steer(text) | StartSideTurn(text):
            _check("message", len(text), limits["message"], "characters")
        case SaveDraft(draft):
            size = len(msgspec.json.encode(draft))
            _check("attachment", size, limits["attachment"], "bytes")


def _check(what: str, size: int, most: int, unit: str) -> None:
    if most and size > most:
        raise Denied(413, f"The {what} is too large ({size} {unit}, max {most})")
