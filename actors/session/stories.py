"""What happens in a session, step by step, while somebody watches it.

Only kinds, numbers and times: never what was said.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Literal

import trio

from actors import Feed, Gap

__all__ = ["Fact", "Step", "Stories", "Story"]

WINDOW = 512

Step = Literal["command", "event", "durable", "shown"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing takes these steps in this order, and its facts have the same `line`. `name` is the
    type of the command or event; an event of a turn's feed has the numbers of its entries.
    """

    line: int
    step: Step
    at: float  # Trio's clock
    name: str = ""
    turn_id: str | None = None
    first: int = 0
    last: int = 0


class Story:
    """The last facts of one session. Reading never waits for the session."""

    def __init__(self) -> None:
        self.watchers = 0
        self.facts: Feed[Fact] = Feed(window=WINDOW)
        self.commanded: int | None = None  # the line of the command that has come to no event yet

    def after(self, cursor: int) -> Sequence[Fact]:
        """What is still known behind `cursor`."""
        try:
            return self.facts.after(cursor)
        except Gap as gap:
            return self.facts.after(gap.first - 1)


class Stories:
    """There is a story for a session while a `watch` is open, and no trace of one else. Whoever
    tells of a step looks into one empty dictionary then.
    """

    def __init__(self) -> None:
        self.watched: dict[str, Story] = {}
        self._lines = count(1)

    @contextmanager
    def watch(self, session_id: str) -> Iterator[Story]:
        """The session's story from now on, also under the ids that it goes on with."""
        story = self.watched.setdefault(session_id, Story())
        story.watchers += 1
        try:
            yield story
        finally:
            story.watchers -= 1
            if not story.watchers:
                for name in [name for name, one in self.watched.items() if one is story]:
                    del self.watched[name]

    def moved(self, old: str, new: str) -> None:
        """The session goes on as `new`."""
        story = self.watched.get(old)
        if story is not None:
            self.watched[new] = story

    def command(self, session_id: str, name: str) -> None:
        """The session takes up a command. The next event of its record is what it comes to."""
        story = self.watched.get(session_id)
        if story is not None:
            story.commanded = next(self._lines)
            self._add(story, Fact(story.commanded, "command", trio.current_time(), name))

    def event(self, session_id: str, name: str) -> int:
        """The record is to change: a line, for `reached`; 0 if nobody watches."""
        story = self.watched.get(session_id)
        if story is None:
            return 0
        line, story.commanded = story.commanded or next(self._lines), None
        self._add(story, Fact(line, "event", trio.current_time(), name))
        return line

    def entries(
        self, session_id: str, turn_id: str, events: Iterable[object], first: int, last: int
    ) -> int:
        """The same for entries on their way into a turn's feed."""
        story = self.watched.get(session_id)
        if story is None:
            return 0
        names = " + ".join(dict.fromkeys(type(event).__name__ for event in events))
        line = next(self._lines)
        self._add(story, Fact(line, "event", trio.current_time(), names, turn_id, first, last))
        return line

    def reached(self, session_id: str, line: int, *steps: Step) -> None:
        story = self.watched.get(session_id) if line else None
        if story is not None:
            now = trio.current_time()
            self._add(story, *(Fact(line, step, now) for step in steps))

    def _add(self, story: Story, *facts: Fact) -> None:
        story.facts.publish(facts)
