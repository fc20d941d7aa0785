"""The journal's bytes: one frame for each entry. Pure.

The first two bytes of a frame occur in no UTF-8 text, so no text that is an entry can be taken for
a frame when the one around it is damaged.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

__all__ = ["SETTLED", "Frame", "encode_frame", "read_frames"]

MAGIC = b"\xa7Gr\x02"
HEAD = struct.Struct(">4sII")  # magic, crc32 of the body, length of the body
BODY = struct.Struct(">IIB")  # epoch, number, length of the stream's name; then name and payload
SETTLED = 0  # the number of the frame that says: this stream gets no more


class Frame(NamedTuple):
    """The epoch grows whenever something may have been lost, so that what follows the loss is
    told from what came before it.
    """

    stream: str
    epoch: int
    seq: int
    payload: bytes


def encode_frame(stream: str, epoch: int, seq: int, payload: bytes) -> bytes:
    name = stream.encode()
    body = BODY.pack(epoch, seq, len(name)) + name + payload
    return HEAD.pack(MAGIC, crc32(body), len(body)) + body


def read_frames(data: bytes) -> Iterator[tuple[int, int, Frame | None]]:
    """All frames with where they begin and end, in order.

    A stretch that is no frame comes as one None; reading goes on at the next whole frame, so
    damage costs what it hit and nothing else. A frame whose checksum fails is never given.
    """
    position = 0
    while position < len(data):
        end, frame = _frame_at(data, position)
        if frame is not None:
            yield position, end, frame
            position = end
            continue
        after = _next_whole(data, position + 1)
        yield position, after, None
        position = after


def _next_whole(data: bytes, start: int) -> int:
    """Where the next frame that can be read begins; the end if there is none."""
    while (found := data.find(MAGIC, start)) >= 0:
        if _frame_at(data, found)[1]:
            return found
        start = found + 1
    return len(data)


def _frame_at(data: bytes, position: int) -> tuple[int, Frame | None]:
    """The frame that begins here and where it ends; (0, None) if none does."""
    body_at = position + HEAD.size
    if body_at > len(data):
        return 0, None
    magic, checksum, length = HEAD.unpack_from(data, position)
    body = data[body_at : body_at + length]
    if magic != MAGIC or len(body) != length or length < BODY.size or crc32(body) != checksum:
        return 0, None
    epoch, seq, name_length = BODY.unpack_from(body)
    name = body[BODY.size : BODY.size + name_length]
    payload = body[BODY.size + name_length :]
    return body_at + length, Frame(name.decode(errors="replace"), epoch, seq, payload)
