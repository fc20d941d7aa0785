"""What a session may be, after what was asked of it and what was answered. Pure.

A request takes effect at one instant between its question and its answer; one without an answer
did or did not. Prompts are named by their first word, which no other prompt has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "Asked",
    "Effect",
    "State",
    "accepted",
    "cancelled",
    "cleared",
    "copied",
    "deleted",
    "gone",
    "key_of",
    "not_waiting",
    "nothing",
    "nothing_said",
    "possible",
    "read",
    "removed",
    "restarted",
    "seen",
    "taken_back",
    "truncated",
    "with_fields",
]


class State(NamedTuple):
    """`said`: the prompts that have had their turns, and the one that has it now. `title` is one
    that somebody chose. What was never `kept` on disk may be lost in a crash.
    """

    said: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    title: str | None = None
    pinned: bool = False
    archived: bool = False
    kept: bool = False
    gone: bool = False


Effect = Callable[[State], Iterator[State]]


def key_of(text: str) -> str:
    return text.split(" ", 1)[0]


def seen(session: Mapping[str, Any]) -> State:
    """What a record says, or a session as the server shows it."""
    rows = [row["content"] for row in session["messages"] if row["role"] == "user"]
    if session["pending_user_message"] is not None:
        rows.append(session["pending_user_message"])
    waiting = session.get("queue") or session.get("waiting") or ()
    return State(
        said=tuple(map(key_of, rows)),
        waits=tuple(key_of(row["message"]) for row in waiting),
        title=session["title"] if session["manual_title"] else None,
        pinned=session["pinned"],
        archived=session["archived"],
        kept=True,
    )


# -- what happens -------------------------------------------------------------------------------


def _later(state: State) -> Iterator[State]:
    """What it may have become by itself: those that wait have their turns, in their order."""
    if not state.gone:
        for count in range(len(state.waits) + 1):
            waits = state.waits
            yield state._replace(said=state.said + waits[:count], waits=waits[count:])


def _change(happen: Callable[[State], Iterator[State]]) -> Effect:
    def effect(state: State) -> Iterator[State]:
        for now in _later(state):
            for after in happen(now):
                yield after._replace(kept=True)

    return effect


def nothing(state: State) -> Iterator[State]:
    """It was refused, or concerned something else."""
    yield state


def gone(state: State) -> Iterator[State]:
    """It was answered that there is no such session."""
    if state.gone:
        yield state


def deleted(state: State) -> Iterator[State]:
    yield State(gone=True)


def restarted(state: State) -> Iterator[State]:
    yield state
    if not state.kept:
        yield State(gone=True)


def accepted(key: str, if_busy: str, queued: bool | None) -> Effect:
    """A prompt has its turn, or waits for it; None if nobody was told which."""

    @_change
    def effect(now: State) -> Iterator[State]:
        if queued is not False and now.said and if_busy == "queue":
            yield now._replace(waits=(*now.waits, key))
        if queued is not True and (if_busy in ("interrupt", "rollback") or not now.waits):
            yield now._replace(said=(*now.said, key))
            if if_busy == "rollback" and now.said:
                yield now._replace(said=(*now.said[:-1], key))

    return effect


def taken_back(key: str | None) -> Effect:
    """The last turn is undone: that of this prompt, if anybody was told."""

    @_change
    def effect(now: State) -> Iterator[State]:
        if now.said and key in (None, now.said[-1]):
            yield now._replace(said=now.said[:-1])

    return effect


def truncated(keep: int, left: State | None) -> Effect:
    """Only so many turns are left; and `left` was shown then, if anything was."""

    @_change
    def effect(now: State) -> Iterator[State]:
        cut = now._replace(said=now.said[:keep], kept=True)
        if left in (None, cut):
            yield cut

    return effect


@_change
def cleared(now: State) -> Iterator[State]:
    yield now._replace(said=(), waits=(), title=None)


def cancelled(key: str) -> Effect:
    """Stopped while it ran, or taken back while it waited."""

    @_change
    def effect(now: State) -> Iterator[State]:
        if key in now.waits:
            yield now._replace(waits=tuple(other for other in now.waits if other != key))
        elif now.said and now.said[-1] == key:
            yield now

    return effect


def removed(key: str) -> Effect:
    """It does not wait any more."""

    @_change
    def effect(now: State) -> Iterator[State]:
        if key in now.waits:
            yield now._replace(waits=tuple(other for other in now.waits if other != key))

    return effect


def not_waiting(key: str) -> Effect:
    """It had its turn, or was taken back; or went with the session."""

    def effect(state: State) -> Iterator[State]:
        if state.gone:
            yield state
        for now in _later(state):
            if key not in now.waits:
                yield now

    return effect


def nothing_said(state: State) -> Iterator[State]:
    """There was nothing to take back."""
    if not state.said and not state.gone:
        yield state


def with_fields(**fields: Any) -> Effect:
    @_change
    def effect(now: State) -> Iterator[State]:
        yield now._replace(**fields)

    return effect


def read(shown: State) -> Effect:
    """It was shown like this."""

    def effect(state: State) -> Iterator[State]:
        if shown.gone and state.gone:
            yield state
        for now in _later(state):
            if now._replace(kept=True) == shown:
                yield now

    return effect


def copied(rows: Sequence[str] | None, keep: int | None) -> Effect:
    """These prompts are in a copy of its transcript, which a running turn is not in yet."""

    def effect(state: State) -> Iterator[State]:
        for now in _later(state):
            whole = (now.said[:keep], now.said[:-1][:keep])
            if rows is None or tuple(rows) in whole:
                yield now

    return effect


# -- in which order -----------------------------------------------------------------------------


@dataclass(eq=False)
class Asked:
    """A request, the instants of its question and its answer, and what it does if it happens."""

    words: str
    effect: Effect
    sent: int
    answered: int | None = None
    answer: Mapping[str, Any] | None = None  # if it was a yes

    def __repr__(self) -> str:
        return f"{self.sent}-{self.answered or '?'} {self.words}"


def possible(first: State, asked: Sequence[Asked]) -> set[State]:
    """Every state that some order leads to in which each answer was right."""
    found: set[State] = set()
    start = (first, frozenset(range(len(asked))))
    known, todo = {start}, [start]
    while todo:
        state, left = todo.pop()
        ends = [end for n in left if (end := asked[n].answered) is not None]
        if not ends:
            found.add(state)
        first_end = min(ends, default=None)
        for n in left:
            if first_end is not None and asked[n].sent > first_end:
                continue
            for after in asked[n].effect(state):
                step = (after, left - {n})
                if step not in known:
                    known.add(step)
                    todo.append(step)
    return found
