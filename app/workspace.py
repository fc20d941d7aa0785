"""The directory in which a session works, as a request names it."""

from contextlib import suppress

import trio

from .bodies import BadRequest

__all__ = ["checked_workspace"]


async def checked_workspace(workspace: str | None) -> str | None:
    """The directory a session works in, absolute; None for none given. Raises `BadRequest`."""
    if not workspace:
        return None
    if "\0" in workspace:
        raise BadRequest("Path does not exist: it has a NUL in it")
    with suppress(OSError, RuntimeError):  # a name that is too long, or nobody's home
        path = await trio.Path(workspace).expanduser()
        if await path.is_dir():
            return str(await path.resolve())
    raise BadRequest(f"Path does not exist: {workspace[:200]}")
