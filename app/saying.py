"""What was said in a session, as it goes out."""

import msgspec
from quart import Response

from .http_errors import json_body
from .redaction import redacted

__all__ = ["said"]


def said(data: object) -> Response:
    """With a mark for each secret, as in every view of a session."""
    return json_body(redacted(msgspec.json.encode(data)))
