"""The index file's bytes: JSON rows, and a check that they are as they were written. Pure."""

import re
from collections.abc import Iterator, Sequence
from zlib import crc32

import msgspec

from .messages import STAMP, Row

__all__ = ["checked", "decode_rows", "encode_parts"]

PART = 500
START = b"[{"
CHECK = re.compile(rb'\[\{"_check":([0-9]+),')


def encode_parts(rows: Sequence[Row]) -> Iterator[bytes]:
    """What the rows come to, part by part: there may be a hundred thousand of them."""
    yield b"["
    for start in range(0, len(rows), PART):
        part = msgspec.json.encode(rows[start : start + PART])
        yield (b"," if start else b"") + part[1:-1]
    yield b"]"


def checked(data: bytes) -> bytes:
    """The check is the first thing in the first row: who reads the rows may take no notice."""
    if not data.startswith(START):
        return data
    return b'[{"_check":%d,' % crc32(data) + data.removeprefix(START)


def decode_rows(data: bytes) -> Iterator[Sequence[Row]]:
    """What was written, part by part; or what the reference system wrote, whose rows have no stamp.

    Raises `MsgspecError`, or an error like it, for anything else. JSON may be valid and yet not
    what it was: a row might lack what a list shows.
    """
    check = CHECK.match(data)
    if check is not None:
        data = START + data[check.end() :]
        if crc32(data) != int(check[1]):
            raise msgspec.ValidationError("it is not as it was written")
    raw = msgspec.json.decode(data, type=list[msgspec.Raw])
    for start in range(0, len(raw), PART):
        part = raw[start : start + PART]
        rows = [_row(each) for each in part]
        if check is None:
            if any(STAMP in row for row in rows):
                raise msgspec.ValidationError("it is not as it was written")
            for each in part:
                _foreign(each)
        yield rows


class _Foreign(msgspec.Struct):
    """What we rely on in a row that somebody else wrote."""

    session_id: str
    updated_at: float | None = None
    last_message_at: float | None = None
    message_count: int | None = None


_foreign = msgspec.json.Decoder(_Foreign).decode
_row = msgspec.json.Decoder(dict[str, object]).decode
