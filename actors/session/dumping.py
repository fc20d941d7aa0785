"""A record's bytes, again and again, while it grows: what was encoded once is not encoded again."""

from collections.abc import Sequence
from operator import is_
from typing import Any

import msgspec

from .record import Record, Row, fields_of

__all__ = ["Dumper", "dump"]

PART = 64  # rows that are encoded together
LISTS = ("messages", "tool_calls", "context_messages")


class Dumper:
    """Of one session. Rows are never changed, only replaced: so a part whose rows are the same
    objects has the same bytes.
    """

    def __init__(self, part: int = PART) -> None:
        self._part = part
        self._parts: dict[str, list[tuple[Sequence[Row], bytes]]] = {name: [] for name in LISTS}

    def dump(self, record: Record) -> bytes:
        """The file's bytes: UTF-8 JSON, indented by 2, metadata first. Ours alone is left out where
        it says nothing.
        """
        fields = fields_of(record)
        lists = {name: rows for name, rows in fields.items() if name in self._parts and rows}
        data = _indented(fields | dict.fromkeys(lists))
        pieces = []
        for name, rows in lists.items():
            # A line break in a text is written as two letters: this one is the field's.
            before, key, data = data.partition(b'\n  "%s": ' % name.encode())
            pieces += [before, key, b"[\n", b",\n".join(self._encoded(name, rows)), b"\n  ]"]
            data = data.removeprefix(b"null")
        return b"".join((*pieces, data))

    def _encoded(self, name: str, rows: Sequence[Row]) -> list[bytes]:
        parts = self._parts[name]
        del parts[-(-len(rows) // self._part) :]
        for number, start in enumerate(range(0, len(rows), self._part)):
            part = rows[start : start + self._part]
            if number < len(parts) and _same(parts[number][0], part):
                continue
            parts[number : number + 1] = [(part, _rows(part))]
        return [data for _, data in parts]


def dump(record: Record) -> bytes:
    """Once, as `Dumper.dump`."""
    return Dumper().dump(record)


def _same(one: Sequence[Row], other: Sequence[Row]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def _rows(rows: Sequence[Row]) -> bytes:
    """Without the brackets, as they stand in a list of the record."""
    return _indented(rows)[2:-2].replace(b"\n", b"\n  ").join((b"  ", b""))


def _indented(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
