"""A record's file: the whole of it while it is short, and then what each save adds."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from .amendments import LISTS, Extent, amendment
from .record import Record, Row, fields_of

__all__ = ["Manuscript", "dump", "dumped"]

AMENDED_FROM = 16 * 1024  # bytes: what is shorter is written whole, and anybody's JSON
PART = 512  # rows that are encoded together


class Manuscript:
    """What the file of one session holds, and so what has to be written."""

    def __init__(self) -> None:
        self._record: Record | None = None
        self._extent: Extent | None = None  # None: nobody knows what it holds

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return 0 if self._extent is None else self._extent.whole

    def amended_by(self, line: bytes) -> Extent:
        """Its extent with one more."""
        assert self._extent is not None
        return Extent(self._extent.record, self._extent.whole + len(line))

    def amendment(self, record: Record, added_to: Sequence[Row] | None = None) -> bytes | None:
        """What makes the file say this; None if the whole is to be written. That happens again
        when the amendments have become as long as the record, so it costs no more than they do.
        `added_to` are messages that it has all of, and perhaps more behind them.
        """
        extent = self._extent
        if self._record is None or extent is None:
            return None
        if extent.record < AMENDED_FROM or extent.whole > 2 * extent.record:
            return None
        known = self._record.messages is added_to
        kept_rows = {"messages": len(self._record.messages)} if known else {}
        return amendment(fields_of(self._record), fields_of(record), kept_rows)

    def has(self, record: Record, extent: Extent | None) -> None:
        """The file says this. None: it is not for amendments."""
        self._record, self._extent = record, extent

    def forget(self) -> None:
        """It may hold anything."""
        self._record = self._extent = None


def dump(record: Record) -> bytes:
    """The file's bytes: UTF-8 JSON, indented by 2, metadata first. Ours alone is left out where it
    says nothing.
    """
    return b"".join(dumped(record))


def dumped(record: Record) -> Iterator[bytes]:
    """The same in pieces, of which none takes long to make; one, if the record is short."""
    fields = fields_of(record)
    lists = {name: rows for name in LISTS if len(rows := fields[name]) > PART}
    data = _indented(fields | dict.fromkeys(lists)) + b"\n"
    for name, rows in lists.items():
        # A line break in a text is written as two letters: this one is the field's.
        before, key, data = data.partition(b'\n  "%s": ' % name.encode())
        yield before + key + b"[\n"
        for start in range(0, len(rows), PART):
            yield (b",\n" if start else b"") + _rows(rows[start : start + PART])
        data = b"\n  ]" + data.removeprefix(b"null")
    yield data


def _rows(rows: Sequence[Row]) -> bytes:
    """Without the brackets, as they stand in a list of the record."""
    return _indented(rows)[2:-2].replace(b"\n", b"\n  ").join((b"  ", b""))


def _indented(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
