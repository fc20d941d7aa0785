"""What the C library keeps of memory that was freed."""

import ctypes
import os

__all__ = ["keep_little"]

# The parameters of glibc's `mallopt(3)`.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
SETTINGS = {M_ARENA_MAX: 2, M_MMAP_THRESHOLD: 128 * 1024, M_TRIM_THRESHOLD: 1024 * 1024}


def keep_little() -> None:
    """Call it before there are threads. By itself glibc gives each its own heap, and learns from
    each large block to give less back: of 300 MB that a busy server had, 160 were free. Other
    libraries, and who has set one of its variables, keep theirs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return
    for parameter, value in SETTINGS.items():
        mallopt(parameter, value)
