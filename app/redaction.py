"""Keys and tokens that somebody pasted or a tool printed: kept as they were said, shown as a mark.

Only what a provider's own form makes certain is taken for a secret: nothing else of what was said
is ever changed on its way out. Words that stream in, and what goes back into the composer, stay as
they are.
"""

import re

__all__ = ["MARK", "redacted"]

MARK = b"[secret]"

# Each begins with these words, so that a text without them costs next to nothing; what must not
# stand before them is looked for behind. In JSON none can hold a quotation mark, so what is left is
# JSON still.
_SECRETS = [
    (begins, re.compile(re.escape(begins) + rb"(?<!\w" + re.escape(begins) + rb")" + rest))
    for begins, rest in (
        (b"sk-", rb"[A-Za-z0-9_-]{20,}"),
        (b"gh", rb"[pousr]_[A-Za-z0-9]{36,}"),
        (b"github_pat_", rb"[A-Za-z0-9_]{40,}"),
        (b"AKIA", rb"[0-9A-Z]{16}\b"),
        (b"AIza", rb"[0-9A-Za-z_-]{35}"),
        (b"xox", rb"[abprs]-[0-9A-Za-z-]{10,}"),
        (b"hf_", rb"[A-Za-z0-9]{30,}"),
    )
]
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*?-----END [A-Z ]*PRIVATE KEY-----"
)


def redacted(data: bytes) -> bytes:
    """The same bytes, with a mark for each secret."""
    if b"-----BEGIN " in data:
        data = _PRIVATE_KEY.sub(MARK, data)
    for begins, secret in _SECRETS:
        if begins in data:
            data = secret.sub(MARK, data)
    return data
