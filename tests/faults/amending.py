"""Short records, amended as only long ones are outside of a test."""

from collections.abc import Iterator
from contextlib import contextmanager

from actors.session import dumping


@contextmanager
def amending(amended: bool = True) -> Iterator[None]:
    """Not `amended`: as if this were not here."""
    before = dumping.AMENDED_FROM
    dumping.AMENDED_FROM = 0 if amended else before
    try:
        yield
    finally:
        dumping.AMENDED_FROM = before
