"""Why a chat is busy, in words. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Standing", "TurnStanding", "in_words", "why"]

SLOW = 1.0  # seconds, from which a wait is worth a word

# What a session's own tasks are for.
ERRANDS = {
    "Titling._work": "It looks for a title.",
    "Compressing._work": "It makes a summary of what is old, for the model.",
    "Turns._remind_when_left": "A stopped answer has not left yet.",
    "SideTurns._work": "It answers a question beside the conversation.",
}


@dataclass(frozen=True, slots=True)
class TurnStanding:
    """A turn whose feed is open. Seconds are from now back; None: it has not happened."""

    stream_id: str
    entries: int  # shown
    running_seconds: float | None  # None: it waits, or its agent has ended
    quiet_seconds: float | None  # since the last entry
    unshown_seconds: float  # what was said and is not on disk waits as long
    last: str | None  # the type of the newest entry


@dataclass(frozen=True, slots=True)
class Standing:
    """One session from outside: nothing here had to be asked of it."""

    lifecycle: str | None  # None: it is not in memory
    current: str | None
    current_seconds: float
    depth: int
    restarts: int
    waiting_on: Sequence[str]
    tasks: Sequence[str]
    saving_seconds: float
    turns: Sequence[TurnStanding]
    waiting: int  # prompts that wait for their turn


def why(standing: Standing) -> tuple[bool, list[str]]:
    """Whether it is busy, and with what: the most telling first."""
    said = [*_turns(standing), *_disk(standing), *_actor(standing)]
    busy = bool(said)
    if not busy:
        asleep = standing.lifecycle is None
        said = ["Idle, and put away: it is not in memory." if asleep else "Idle."]
    if standing.restarts:
        said.append(f"It crashed and was started again {_times(standing.restarts)}.")
    return busy, said


def _turns(standing: Standing) -> Iterable[str]:
    for turn in standing.turns:
        if turn.running_seconds is not None:
            yield _running(turn)
    if standing.waiting:
        wait = "waits" if standing.waiting == 1 else "wait"
        yield f"{_many(standing.waiting, 'message')} {wait} for a turn."


def _running(turn: TurnStanding) -> str:
    said = f"The agent has been answering for {in_words(turn.running_seconds or 0.0)}"
    if turn.entries <= 1 or turn.quiet_seconds is None:
        return f"{said}; it has not said anything yet."
    quiet = in_words(turn.quiet_seconds)
    if turn.last == "ToolStarted":
        return f"{said}; a tool has been at work for {quiet}."
    if turn.last == "ApprovalAsked":
        return f"{said}; it has waited for {quiet} until somebody allows a tool call."
    if turn.last == "TurnCompressing":
        return f"{said}; a summary of what is old has been in the making for {quiet}."
    return f"{said}; the last words came {quiet} ago."


def _disk(standing: Standing) -> Iterable[str]:
    waits = max([standing.saving_seconds, *(turn.unshown_seconds for turn in standing.turns)])
    if waits >= SLOW:
        yield f"It waits for the disk: {in_words(waits)}."
    elif any(turn.running_seconds is not None for turn in standing.turns):
        yield "The disk has written everything." if not waits else "The disk keeps up."


def _actor(standing: Standing) -> Iterable[str]:
    if standing.lifecycle not in (None, "running"):
        yield f"The actor is {standing.lifecycle}."
    if standing.current is not None and standing.current_seconds >= SLOW:
        yield f"It is handling {standing.current}: {in_words(standing.current_seconds)}."
    if standing.waiting_on:
        yield f"It waits for an answer from {', '.join(standing.waiting_on)}."
    if standing.depth:
        wait = "waits" if standing.depth == 1 else "wait"
        yield f"{_many(standing.depth, 'message')} {wait} in its mailbox."
    for task in dict.fromkeys(standing.tasks):
        if task in ERRANDS:
            yield ERRANDS[task]


def in_words(seconds: float) -> str:
    if seconds < SLOW:
        return "less than a second"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _many(count: int, one: str) -> str:
    return f"{count} {one}{'' if count == 1 else 's'}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
