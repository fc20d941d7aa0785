"""Why bytes could not be kept or found, named by who must act."""

import errno

__all__ = [
    "InvalidName",
    "NewerVersion",
    "RecordNotFound",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "store_error",
]


class StoreError(Exception):
    """Anything a store answers instead of doing it."""


class StoreFull(StoreError):
    """Make room, then try again. Nothing was changed."""


class StoreUnavailable(StoreError):
    """The disk or its permissions must be mended. Nothing was changed."""


class RecordNotFound(StoreError):
    """There is no record of that name."""


class NewerVersion(StoreError):
    """A newer program wrote it: use that one. Nothing was changed."""


class InvalidName(StoreError):
    """No record can have that name."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def store_error(error: BaseException) -> StoreError:
    """What a failed system call means to the caller. Names no path; a fresh one for each caller."""
    if isinstance(error, StoreError):
        return error  # it was said before
    if isinstance(error, OSError) and error.errno in _FULL:
        mapped: StoreError = StoreFull("There is no room left on the disk")
    else:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        mapped = StoreUnavailable(f"The disk cannot be used: {reason or type(error).__name__}")
    mapped.__cause__ = error
    return mapped
