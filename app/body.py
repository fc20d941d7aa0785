"""The body of the current request."""

from quart import request

from .bodies import B, decode_body
from .requests import note_session

__all__ = ["read_body", "read_bytes"]


async def read_bytes() -> bytes:
    data = await request.get_data(as_text=False)
    assert isinstance(data, bytes)
    return data


async def read_body(shape: type[B]) -> B:
    """The body as this shape. Raises `BadRequest`."""
    body = decode_body(await read_bytes(), shape)
    note_session(getattr(body, "session_id", None))
    return body
