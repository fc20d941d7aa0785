"""What a tool gave, as text that the model reads. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["LONGEST", "Outcome", "shortened", "text_of_result"]

LONGEST = 20_000  # characters of one result


@dataclass(frozen=True, slots=True)
class Outcome:
    text: str
    is_error: bool = False


def text_of_result(content: Iterable[Any], structured: Any = None) -> str:
    """The blocks of an MCP result, one after the other. What is no text is named, not shown."""
    texts = [_text_of_block(block) for block in content]
    if not texts and structured is not None:
        return msgspec.json.encode(structured).decode()
    return "\n".join(texts) or "(the tool gave nothing)"


def _text_of_block(block: Any) -> str:
    kind = getattr(block, "type", "")
    if kind == "text":
        return str(block.text)
    if kind in ("image", "audio"):
        size = len(block.data) * 3 // 4
        return f"[{kind}: {block.mime_type}, about {size} bytes, not shown to the model]"
    if kind == "resource_link":
        return f"[link: {block.uri}]"
    if kind == "resource":
        text = getattr(block.resource, "text", None)
        return f"[resource: {block.resource.uri}]" + ("" if text is None else f"\n{text}")
    return f"[{kind or 'something'} that cannot be shown]"


def shortened(text: str, most: int = LONGEST) -> str:
    """The beginning and the end of what is too long, and a note of what was left out."""
    if len(text) <= most:
        return text
    half = most // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters of the result left out ...]\n{text[-half:]}"
