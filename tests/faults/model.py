"""A session as its user sees it. Pure, and without a line of the code that it judges.

    outcomes(session, command, rules) -> what may be answered, and the session after each

A command is what a user asks, or what the session's own tasks have to say (`Ended`, `Summarised`,
`Titled`). Where the user cannot tell which of two things will happen, there are two outcomes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

UNTITLED = "Untitled"


class Prompt(NamedTuple):
    """A message, and the number by which its sender knows it."""

    text: str
    number: int


class Turn(NamedTuple):
    """A prompt in the transcript, and how its answer ended: done, cancelled, interrupted, failed;
    or cut, when an edit left half of it.
    """

    text: str
    end: str


class Seen(NamedTuple):
    """What an answer shows of the session."""

    turns: tuple[Turn, ...]
    running: str | None
    waiting: tuple[str, ...]
    title: str
    manual: bool
    pinned: bool
    name: str


class Session(NamedTuple):
    exists: bool = False
    kept: bool = False  # on disk: it outlives the process
    turns: tuple[Turn, ...] = ()
    running: Prompt | None = None
    waiting: tuple[Prompt, ...] = ()
    title: str = UNTITLED
    manual: bool = False
    pinned: bool = False
    name: str | None = None  # its present id; None if nobody has been told yet
    names: frozenset[str] = frozenset()  # all its ids so far
    version: int = 0  # of the transcript
    summarising: int | None = None  # the version that is being summarised
    ends: frozenset[tuple[Prompt, str]] = frozenset()  # how the turn of each prompt ended
    keys: frozenset[tuple[str, str]] = frozenset()  # what was answered under each key
    leaving: bool = False  # an agent that was stopped may not have left


# -- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Get:
    pass


@dataclass(frozen=True)
class Create:
    keep: bool
    name: str
    turns: tuple[Turn, ...] = ()
    title: str = UNTITLED


@dataclass(frozen=True)
class Start:
    prompt: Prompt
    if_busy: str = "reject"
    key: str | None = None


@dataclass(frozen=True)
class Cancel:
    number: int


@dataclass(frozen=True)
class Unqueue:
    number: int


@dataclass(frozen=True)
class Undo:
    pass


@dataclass(frozen=True)
class Truncate:
    """Before the turn that was number `keep`, of these `turns`."""

    keep: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Clear:
    pass


@dataclass(frozen=True)
class Rename:
    title: str


@dataclass(frozen=True)
class Pin:
    pinned: bool


@dataclass(frozen=True)
class Compress:
    pass


@dataclass(frozen=True)
class Delete:
    pass


# What the session's tasks have to say.


@dataclass(frozen=True)
class Ended:
    """The agent has returned: done or failed; or may fail any time, for want of a disk."""

    number: int
    end: str


@dataclass(frozen=True)
class Titled:
    title: str | None


@dataclass(frozen=True)
class Summarised:
    """`text` is None if the model failed."""

    made: bool


@dataclass(frozen=True)
class ShutDown:
    pass


Command = (
    Get | Create | Start | Cancel | Unqueue | Undo | Truncate | Clear | Rename | Pin | Compress
    | Delete | Ended | Titled | Summarised | ShutDown
)  # fmt: skip
OWN = (Ended, Titled, Summarised, ShutDown)
STOPS = (Undo, Truncate, Clear, Delete)


@dataclass
class Rules:
    """What is going on around the session."""

    faults: bool = False  # the disk may fail
    closing: bool = False  # the server takes no more prompts
    stubborn: frozenset[str] = frozenset()  # prompts whose agents do not leave when they must


class Outcome(NamedTuple):
    """`shown` is what an answer shows; `after` is what is true when the next one comes."""

    word: str
    shown: Session
    after: Session
    text: str = ""


# -- what changes -------------------------------------------------------------------------------


def drained(session: Session) -> Session:
    """The first prompt that waits has its turn. Whoever asks a session meets it so."""
    if session.running is not None or not session.waiting:
        return session
    first, *rest = session.waiting
    return _begun(session._replace(waiting=tuple(rest), leaving=False), first)


def _begun(session: Session, prompt: Prompt) -> Session:
    title = session.title
    if title == UNTITLED and not session.manual:
        title = next((turn.text for turn in session.turns), prompt.text)
    return session._replace(running=prompt, title=title, kept=True)


def ended(session: Session, end: str, rules: Rules | None = None) -> Session:
    """The running turn, if there is one, is over: its prompt is in the transcript."""
    prompt = session.running
    if prompt is None:
        return session
    stubborn = rules is not None and prompt.text in rules.stubborn
    return session._replace(
        turns=(*session.turns, Turn(prompt.text, end)),
        running=None,
        version=session.version + 1,
        ends=session.ends | {(prompt, end)},
        leaving=session.leaving or stubborn,
    )


def _unqueued(session: Session, *prompts: Prompt) -> Session:
    return session._replace(
        waiting=tuple(prompt for prompt in session.waiting if prompt not in prompts),
        ends=session.ends | {(prompt, "cancelled") for prompt in prompts},
    )


def restarted(session: Session) -> Iterator[Session]:
    """What a new process makes of it. The next prompt may have had its turn before."""
    if not session.kept:
        yield session._replace(exists=False, summarising=None)
        return
    for last in dict.fromkeys((session, drained(session))):
        yield ended(last, "interrupted")._replace(summarising=None, leaving=False)


def may_have_ended(session: Session, number: int, end: str) -> bool:
    """How the stream of a prompt may end. What was undone since may have been cancelled or
    interrupted, for all that a restart knows.
    """
    left = Counter(turn.text for turn in session.turns)
    left.subtract(prompt.text for prompt, _ in session.ends)
    return any(
        prompt.number == number
        and (end == e or (end in ("cancelled", "interrupted") and left[prompt.text] < 0))
        for prompt, e in session.ends
    )


def told_apart(session: Session, rules: Rules) -> Session:
    """Without what nobody will ask for, so that states that will look the same are the same."""
    if session.summarising is None:
        session = session._replace(version=0)
    return session._replace(ends=frozenset()) if rules.faults else session


# -- what may be answered -----------------------------------------------------------------------


def outcomes(session: Session, command: Command, rules: Rules) -> Iterator[Outcome]:
    """All that the user may see happen."""
    if isinstance(command, OWN):
        yield from _decided(session, command, rules)
        return
    for met in dict.fromkeys((drained(session), session)):
        if met.running is None and met.waiting and not may_wait_on(met, rules):
            continue
        yield from _decided(met, command, rules)
        if rules.faults:
            yield Outcome("StorageFailed", met, met)
            yield from _stopped_only(met, command, rules)


def may_wait_on(session: Session, rules: Rules) -> bool:
    """A prompt may wait although nothing runs."""
    return rules.faults or rules.closing or session.leaving


def _stopped_only(session: Session, command: Command, rules: Rules) -> Iterator[Outcome]:
    """The turn was stopped, and then something was in the way."""
    if stops(command) and session.running is not None:
        for end in ("cancelled", "failed") if rules.faults else ("cancelled",):
            stopped = ended(session, end, rules)
            yield Outcome("StorageFailed", stopped, stopped)


def stops(command: Command) -> bool:
    """It ends a running turn before anything else."""
    overtakes = isinstance(command, Start) and command.if_busy in ("interrupt", "rollback")
    return overtakes or isinstance(command, STOPS)


def _decided(session: Session, command: Command, rules: Rules) -> Iterator[Outcome]:
    def same(word: str) -> Outcome:
        return Outcome(word, session, session)

    def new(word: str, after: Session, text: str = "") -> Outcome:
        return Outcome(word, after, after, text)

    match command:
        case Create():
            yield same("SessionExists") if session.exists else new("seen", _created(command))
        case Delete():
            yield new("deleted", _deleted(session, rules))
        case Cancel(target):
            yield from _cancelled(session, target, rules)
        case Ended(target, end):
            current = session.running is not None and session.running.number == target
            yield new("ended", ended(session, end)) if current else same("ended")
        case Summarised(made):
            yield new("summarised", _summarised(session, made))
            if made and session.running is not None:  # which could not go on without it
                yield new("summarised", session._replace(name=None))
        case ShutDown():
            yield new("closed", ended(session, "interrupted")._replace(summarising=None))
        case Titled(title):
            yield same("titled")
            if session.exists and not session.manual and title is not None and session.turns:
                yield new("titled", session._replace(title=title))
        case _ if not session.exists:
            yield same("SessionNotFound")
            if rules.closing and isinstance(command, Start):
                yield same("ShuttingDown")
        case Get():
            yield same("seen")
        case Start():
            yield from _started(session, command, rules)
        case Unqueue(target):
            waits = [prompt for prompt in session.waiting if prompt.number == target]
            if waits:
                yield new("seen", _unqueued(session, *waits))
            else:
                yield same("MessageNotWaiting")
        case Undo():
            stopped = ended(session, "cancelled", rules)
            if stopped.turns:
                yield new("removed", _cut(stopped, stopped.turns[:-1]), stopped.turns[-1].text)
            else:
                yield same("NothingToRemove")
        case Truncate():
            for after in _truncated(ended(session, "cancelled", rules), command):
                yield new("seen", after)
        case Clear():
            after = _cut(_unqueued(ended(session, "cancelled", rules), *session.waiting), ())
            yield new("seen", after._replace(title=UNTITLED, manual=False))
        case Rename(title):
            yield new("seen", session._replace(title=title, manual=True, kept=True))
        case Pin(pinned):
            yield new("seen", session._replace(pinned=pinned, kept=True))
        case Compress():
            yield from _compressed(session)


def _created(command: Create) -> Session:
    return Session(
        exists=True,
        kept=command.keep,
        turns=command.turns,
        title=command.title,
        manual=command.title != UNTITLED,
        name=command.name,
        names=frozenset({command.name}),
    )


def _deleted(session: Session, rules: Rules) -> Session:
    """Gone; what is known of its turns' streams stays."""
    gone = _unqueued(ended(session, "cancelled", rules), *session.waiting)
    return Session(ends=gone.ends, leaving=gone.leaving, names=gone.names)


def _cancelled(session: Session, target: int, rules: Rules) -> Iterator[Outcome]:
    waits = [prompt for prompt in session.waiting if prompt.number == target]
    if session.running is not None and session.running.number == target:
        for end in ("cancelled", "failed") if rules.faults else ("cancelled",):
            after = ended(session, end, rules)
            yield Outcome("stopped", after, after)
    elif waits:
        after = _unqueued(session, *waits)
        yield Outcome("stopped", after, after)
    else:
        yield Outcome("nothing", session, session)


def _started(session: Session, command: Start, rules: Rules) -> Iterator[Outcome]:
    known = next((word for key, word in session.keys if key == command.key), None)
    if known is not None:
        yield Outcome(known, session, session)
        return
    if rules.closing:
        yield Outcome("ShuttingDown", session, session)
    if session.running is None:
        yield from _begins(session, command)
    elif command.if_busy == "reject":
        yield Outcome("TurnRunning", session, session)
    elif command.if_busy == "queue":
        after = _keyed(
            session._replace(waiting=(*session.waiting, command.prompt)), command, "waiting"
        )
        yield Outcome("waiting", after, after)
    else:
        before = session.turns
        stopped = ended(session, "cancelled", rules)
        yield from _begins(stopped, command, before)


def _begins(
    session: Session, command: Start, before: tuple[Turn, ...] | None = None
) -> Iterator[Outcome]:
    if session.leaving:
        yield Outcome("SessionBusy", session, session)
    if command.if_busy == "rollback" and before is not None:
        session = _cut(session, before)
    after = _keyed(_begun(session._replace(leaving=False), command.prompt), command, "accepted")
    yield Outcome("accepted", after, after)


def _keyed(session: Session, command: Start, word: str) -> Session:
    if command.key is None:
        return session
    return session._replace(keys=session.keys | {(command.key, word)})


def _cut(session: Session, turns: tuple[Turn, ...]) -> Session:
    changed = turns != session.turns
    return session._replace(turns=turns, version=session.version + changed, kept=True)


def _truncated(session: Session, command: Truncate) -> Iterator[Session]:
    """To the turn that was meant, if the transcript is still the one that the user saw; else to
    any place that had as many rows.
    """
    if session.turns[: len(command.turns)] == command.turns:
        yield _cut(session, session.turns[: command.keep])
        return
    for keep in range(len(session.turns) + 1):
        yield _cut(session, session.turns[:keep])
        if keep:
            text = session.turns[keep - 1].text
            yield _cut(session, (*session.turns[: keep - 1], Turn(text, "cut")))


def _compressed(session: Session) -> Iterator[Outcome]:
    if session.summarising is not None:
        yield Outcome("summarising", session, session)
    elif session.running is not None:
        yield Outcome("TurnRunning", session, session)
    else:
        if sum(turn.end == "done" for turn in session.turns) < 3:
            yield Outcome("NotCompressible", session, session)
        if session.turns:
            after = session._replace(summarising=session.version)
            yield Outcome("summarising", after, after)


def _summarised(session: Session, made: bool) -> Session:
    """It goes on under a new id, if its transcript is the one that was summarised."""
    subject, session = session.summarising, session._replace(summarising=None)
    if not made or session.running is not None or subject != session.version:
        return session
    return session._replace(name=None)


# -- what is seen -------------------------------------------------------------------------------


def observed(session: Session, seen: Seen) -> Session | None:
    """The session, if this is how it looks; with its name, if that was not known."""
    if not session.exists:
        return None
    if (
        seen.running != (session.running and session.running.text)
        or seen.waiting != tuple(prompt.text for prompt in session.waiting)
        or (seen.title, seen.manual, seen.pinned) != (session.title, session.manual, session.pinned)
        or len(seen.turns) != len(session.turns)
    ):
        return None
    for turn, row in zip(session.turns, seen.turns, strict=True):
        if turn.text != row.text or (turn.end != row.end and turn.end != "cut"):
            return None
    if session.name is None:
        if seen.name in session.names:
            return None
        return session._replace(name=seen.name, names=session.names | {seen.name})
    return session if session.name == seen.name else None
