"""What a save adds to the file of a long record: a line behind it, instead of the whole again.

The file is the record, as `dumping.dump` writes it, and any number of amendments. Each says what it
sets, which fields it takes away, and of lists how many rows stay and which come behind them:

    {"crc":"9f1c03ab","set":{"updated_at":9.5},"rows":{"messages":[4,[{"role":"user"}]]}}

The last one may be torn, if the power went before it was flushed: then it was never said to be
kept, and is not there. Any other that cannot be read is damage.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from operator import is_
from typing import Any
from zlib import crc32

import msgspec

__all__ = ["LISTS", "Extent", "amended", "amendment", "common", "extent_of"]

LISTS = ("messages", "tool_calls", "context_messages")

NOT_KNOWN: Mapping[str, int] = {}

_END = b"\n}\n"  # of the record: what is inside it is indented
_CRC = b'{"crc":"%08x",'
_CRC_LENGTH = len(_CRC % 0)


class _Amendment(msgspec.Struct, omit_defaults=True):
    set: dict[str, Any] = {}
    gone: tuple[str, ...] = ()
    rows: dict[str, tuple[int, Sequence[Any]]] = {}


class Extent(msgspec.Struct, frozen=True):
    """Bytes: of the record in a file, and of that with all amendments."""

    record: int
    whole: int


_decode = msgspec.json.Decoder(_Amendment).decode


def amendment(
    before: Mapping[str, Any], after: Mapping[str, Any], kept_rows: Mapping[str, int] = NOT_KNOWN
) -> bytes:
    """The line that makes the fields of a record those of its next version. What is the same object
    in both is the same; `after` may lack lists, which are empty then. `kept_rows`: of lists of
    which that is known, how many rows they begin with together.
    """
    lists = {name: after.get(name, ()) for name in LISTS if after.get(name) is not before.get(name)}
    rows = {}
    for name, now in lists.items():
        kept = kept_rows[name] if name in kept_rows else common(before.get(name, ()), now)
        rows[name] = (kept, now[kept:])
    change = _Amendment(
        set={
            name: value
            for name, value in after.items()
            if name not in LISTS and (name not in before or before[name] is not value)
        },
        gone=tuple(name for name in before if name not in after and name not in LISTS),
        rows=rows,
    )
    body = msgspec.json.encode(change)[1:]
    return _CRC % crc32(body) + body + b"\n"


def amended(data: bytes) -> Any:
    """The JSON value in a file, as its amendments leave it. Raises `msgspec.MsgspecError`, or what
    the JSON of a file may come to.
    """
    record, lines = _split(data)
    fields = msgspec.json.decode(record)
    for line in lines:
        change = _read(line)
        fields |= change.set
        for name in change.gone:
            fields.pop(name, None)
        for name, (kept, rows) in change.rows.items():
            fields[name] = [*_list(fields.get(name))[:kept], *rows]
    return fields


def extent_of(data: bytes) -> Extent | None:
    """Of a file that can be amended: None if its end is torn, or it was written by another."""
    end = data.find(_END)
    _, lines = _split(data)
    if end < 0 or end + len(_END) + sum(len(line) + 1 for line in lines) != len(data):
        return None
    return Extent(end + len(_END), len(data))


def _split(data: bytes) -> tuple[bytes, list[bytes]]:
    """The record, and its amendments without one that is torn."""
    end = data.find(_END)
    if end < 0:
        return data, []
    *lines, torn = data[end + len(_END) :].split(b"\n")
    if lines and not torn and b"\0" in lines[-1]:
        lines.pop()
    return data[: end + len(_END)], lines


def _read(line: bytes) -> _Amendment:
    body = line[_CRC_LENGTH:]
    if line[:_CRC_LENGTH] != _CRC % crc32(body):
        raise msgspec.ValidationError("an amendment cannot be read")
    return _decode(b"{" + body)


def _list(value: Any) -> list[Any]:
    """The reference reads what is no list as none."""
    return value if isinstance(value, list) else []


def common(before: Sequence[Any], after: Sequence[Any]) -> int:
    """How many rows they begin with together: the same objects."""
    if before is after:
        return len(before)
    same: Callable[[Any, Any], bool] = is_
    if len(before) <= len(after) and all(map(same, before, after)):
        return len(before)
    return sum(1 for _ in takewhile(bool, map(same, before, after)))
