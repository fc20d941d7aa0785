"""Keys and tokens that somebody pasted or a tool printed: kept as they were said, shown as a mark.

Only what a provider's own form makes certain is taken for a secret: nothing else of what was said
is ever changed on its way out. Words that stream in, and what goes back into the composer, stay as
they are.
"""

import re

__all__ = ["MARK", "redacted"]

MARK = b"[secret]"

# In JSON none of these can hold a quotation mark, so what is left is JSON still.
_SECRET = re.compile(
    rb"""
      \bsk-[A-Za-z0-9_-]{20,}
    | \bgh[pousr]_[A-Za-z0-9]{36,}
    | \bgithub_pat_[A-Za-z0-9_]{40,}
    | \bAKIA[0-9A-Z]{16}\b
    | \bAIza[0-9A-Za-z_-]{35}
    | \bxox[abprs]-[0-9A-Za-z-]{10,}
    | \bhf_[A-Za-z0-9]{30,}
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[^"]*?-----END\ [A-Z ]*PRIVATE\ KEY-----
    """,
    re.VERBOSE,
)


def redacted(data: bytes) -> bytes:
    """The same bytes, with a mark for each secret."""
    return _SECRET.sub(MARK, data)
