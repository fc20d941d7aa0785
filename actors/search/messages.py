"""What the search can be asked, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actors import Message, Rejected
from actors.viewer import EVERYBODY, Viewer

__all__ = ["Forget", "Found", "Hit", "Search", "SearchUnavailable"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One session. `match_type` is "title" when the title alone has all that was asked for.

    `preview` is plain text: the title, or what stands around the first match.
    """

    session_id: str
    match_type: Literal["title", "content"]
    preview: str


@dataclass(frozen=True, slots=True)
class Found:
    """Best first. `complete` is False while records are still being read: ask again for more."""

    results: Sequence[Hit]
    complete: bool


@dataclass(frozen=True, slots=True)
class Search(Message[Found]):
    """The sessions in which every word of `query` occurs, be it as a part of another word.

    There are no operators: whatever the query holds is text to be found. With `content` False
    only titles are looked at. Raises `SearchUnavailable`.
    """

    query: str
    content: bool = True
    limit: int = 50
    viewer: Viewer = EVERYBODY


@dataclass(frozen=True, slots=True)
class Forget(Message[None]):
    """What was said in these sessions is gone, or some of it. The next search reads again what is
    there. Raises `SearchUnavailable`.
    """

    session_ids: Sequence[str]


class SearchUnavailable(Rejected):
    """The records or the search database cannot be used. Ask again when the disk is mended."""
