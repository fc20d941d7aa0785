"""What becomes of told messages that no actor took up."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .envelope import Message

__all__ = ["DeadLetter", "DeadLetters", "log_dead_letter"]

log = logging.getLogger("actors")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A told message that was not delivered. Asks are not dead letters: their asker is told."""

    address: str
    message: Message[Any]
    reason: str


def log_dead_letter(letter: DeadLetter) -> None:
    """Names the message's type only: what is in it may be private."""
    log.warning("%s: %s: %s", letter.address, type(letter.message).__name__, letter.reason)


class DeadLetters:
    """Counts them and hands each to the sink once. The sink must not block; it cannot crash us."""

    def __init__(self, sink: Callable[[DeadLetter], None]) -> None:
        self.count = 0
        self._sink = sink

    def report(self, letter: DeadLetter) -> None:
        self.count += 1
        try:
            self._sink(letter)
        except Exception:
            log.exception("the sink for dead letters failed")
