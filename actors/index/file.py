"""The index file's bytes: JSON rows, and a check that they are as they were written. Pure."""

import re
from collections.abc import Sequence
from zlib import crc32

import msgspec

from .messages import STAMP, Row

__all__ = ["decode_rows", "encode_rows"]

START = b"[{"
CHECK = re.compile(rb'\[\{"_check":([0-9]+),')


def encode_rows(rows: Sequence[Row]) -> bytes:
    """The check is the first thing in the first row: who reads the rows may take no notice."""
    data = msgspec.json.encode(rows)
    if not data.startswith(START):
        return data
    return b'[{"_check":%d,' % crc32(data) + data.removeprefix(START)


def decode_rows(data: bytes) -> list[Row]:
    """What was written; or what the reference system wrote, whose rows have no stamp.

    Raises `MsgspecError`, or an error like it, for anything else. JSON may be valid and yet not
    what it was: a row might lack what a list shows.
    """
    check = CHECK.match(data)
    if check is not None:
        data = START + data[check.end() :]
        if crc32(data) != int(check[1]):
            raise msgspec.ValidationError("it is not as it was written")
    rows = msgspec.json.decode(data, type=list[dict[str, object]])
    if check is None and any(STAMP in row for row in rows):
        raise msgspec.ValidationError("it is not as it was written")
    return [*rows]
