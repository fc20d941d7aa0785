"""Lists of items, in pages. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ApiError
from .items import Item

__all__ = ["page_of"]

USUAL, MOST = 20, 100


def page_of(items: Sequence[Item], query: Mapping[str, str]) -> dict[str, Any]:
    """`items`, the oldest first, as the query wants them: `order`, `limit`, `after`."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise ApiError(400, "'order' must be 'asc' or 'desc'.", "order", "invalid_value")
    limit = query.get("limit", str(USUAL))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST):
        raise ApiError(400, f"'limit' must be from 1 to {MOST}.", "limit", "invalid_value")
    wanted = list(items) if order == "asc" else list(reversed(items))
    if (after := query.get("after")) is not None:
        place = next((n for n, item in enumerate(wanted) if item["id"] == after), None)
        if place is None:
            raise ApiError(404, f"Item with id '{after}' not found.", "after")
        wanted = wanted[place + 1 :]
    return list_of(wanted[: int(limit)], has_more=len(wanted) > int(limit))


def list_of(items: Sequence[Item], *, has_more: bool = False) -> dict[str, Any]:
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
