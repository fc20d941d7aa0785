"""All that the clients were told, and whether what they see now agrees with it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from tests.app.client import Event

from .crash_oracle import Asked, State, key_of, possible, read, restarted, seen
from .crash_provider import script

__all__ = ["Session", "Told", "Turn", "Unanswered"]

TERMINAL = frozenset({"stream_end", "cancel", "apperror"})
NEW = State()
GONE = State(gone=True)

Json = Mapping[str, Any]
Entry = tuple[str, bytes]  # the event's name and data


@dataclass(eq=False)
class Session:
    """`ids`: all that it was known by, the latest last. `state` is what it was when all was still,
    `asked` what was asked of it since. `deleted`: somebody asked for that.
    """

    number: int
    ids: list[str]
    state: State = NEW
    asked: list[Asked] = field(default_factory=list)
    rotated: int = 0
    held: bool = False
    deleted: bool = False
    streams: list[str] = field(default_factory=list)
    record: bytes = b""  # its file, when all was still

    def __repr__(self) -> str:
        return f"session {self.number} ({self.ids[-1]})"


@dataclass(eq=False)
class Unanswered:
    """A prompt that was sent with a key. `there`: it arrived, as was seen after the crash."""

    session: Session
    body: dict[str, Any]
    headers: dict[str, str]
    there: bool = False

    @property
    def key(self) -> str:
        return key_of(self.body["message"])


@dataclass(eq=False)
class Turn:
    """What readers were shown of it: entries by their numbers. When it has ended, and all of it
    was looked through, a digest of them is enough.
    """

    stream_id: str
    key: str | None = None
    acknowledged: bool = False  # somebody was told of it when it was accepted
    whole: bool = False  # somebody saw its end when it was there
    shown: dict[int, Entry] = field(default_factory=dict)
    end: Entry | None = None
    digest: bytes = b""
    rows: bytes = b""  # its rows of the transcript, once it has them

    @property
    def text(self) -> str:
        """What was shown of the answer."""
        entries = (self.shown[seq] for seq in sorted(self.shown))
        return "".join(msgspec.json.decode(e[1])["text"] for e in entries if e[0] == "token")


class Told:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.ended: list[Turn] = []
        self.prompts: dict[str, str] = {}
        self.turns: dict[str, Turn] = {}
        self.open: dict[str, Turn] = {}  # those whose streams were not looked through yet
        self.sessions: list[Session] = []
        self.graves: list[Session] = []
        self.copies: list[
            tuple[Session, str]
        ] = []  # asked for and not answered: of what, the title
        self.unanswered: list[Unanswered] = []
        self._instants = count(1)
        self._numbers = count(1)

    def wrong(self, what: str) -> None:
        self.violations.append(what)

    def instant(self) -> int:
        return next(self._instants)

    def born(self, session_id: str, state: State = NEW) -> Session:
        session = Session(next(self._numbers), [session_id], state)
        self.sessions.append(session)
        return session

    def prompt(self, filler: str) -> str:
        key = f"p{len(self.prompts) + 1}"
        self.prompts[key] = text = f"{key} {filler}"
        return text

    def turn(self, stream_id: str, key: str | None = None) -> Turn:
        if stream_id not in self.turns:
            self.turns[stream_id] = self.open[stream_id] = Turn(stream_id)
        turn = self.turns[stream_id]
        if key is not None:
            if turn.key not in (None, key):
                self.wrong(f"turn {stream_id} is of {turn.key}, and of {key}")
            turn.key = key
        return turn

    # -- streams --------------------------------------------------------------------------------

    def shown(self, stream_id: str, event: Event, after: int, mended: bool) -> None:
        """A reader that has `after` entries is shown this one. `mended`: by a server that found
        the turn as another one had left it.
        """
        turn = self.turn(stream_id)
        if event.seq != after + 1:
            self.wrong(f"stream {stream_id}: entry {event.seq} came after entry {after}")
            return
        entry = entry_of(event)
        before = turn.shown.setdefault(event.seq, entry)
        if before != entry:
            self.wrong(f"stream {stream_id}: entry {event.seq} was {before} and is {entry}")
        turn.whole = turn.whole or (not mended and event.name in TERMINAL)

    def may_run(self, stream_id: str) -> bool:
        """Nobody was told of its end."""
        turn = self.open.get(stream_id)
        return turn is not None and turn.end is None and not turn.whole

    def look_through(self, turn: Turn) -> None:
        """All of it was shown, to its end. Is there one, and only one?"""
        entries = [turn.shown[seq] for seq in sorted(turn.shown)]
        names = [name for name, _ in entries]
        ends = sum(name in TERMINAL for name in names)
        whole = names[0] == "context_status" or not turn.acknowledged
        if ends != 1 or names[-1] not in TERMINAL or not whole:
            self.wrong(f"stream {turn.stream_id} of {turn.key} has {ends} ends: {names}")
        turn.end = entries[-1]

    def put_away(self) -> None:
        """The streams that were looked through agree with the transcripts."""
        for turn in list(self.open.values()):
            if turn.end is not None:
                turn.digest, turn.shown = digest(turn.shown.values()), {}
                self.ended.append(self.open.pop(turn.stream_id))

    def check_again(self, turn: Turn, events: Sequence[Event]) -> None:
        """A stream that ended long ago is shown once more."""
        if digest(map(entry_of, events)) != turn.digest:
            names = [event.name for event in events]
            self.wrong(f"stream {turn.stream_id} of {turn.key} has changed: {names}")

    # -- transcripts ----------------------------------------------------------------------------

    def check_rows(self, session: Json) -> None:
        """Each turn in a transcript: whole, or as much of it as readers were shown."""
        where = f"session {session['session_id']}"
        blocks: list[list[dict[str, Any]]] = []
        for row in session["messages"]:
            if row["role"] == "user":
                blocks.append([row])
            elif blocks:
                blocks[-1].append(row)
            else:
                self.wrong(f"{where} begins with {row}")
        for block in blocks:
            self._check_turn(where, block)

    def _check_turn(self, where: str, block: list[dict[str, Any]]) -> None:
        text, stream_id = block[0]["content"], block[0]["_active_turn_token"].split(":")[0]
        key, answer = key_of(text), block[1:]
        where = f"{where}, {key} of turn {stream_id}"
        if self.prompts.get(key) != text:
            self.wrong(f"{where}: nobody said {text!r}")
            return
        turn, said = self.turn(stream_id, key), script(self.seed, key)
        rows = msgspec.json.encode(block)
        if turn.rows not in (b"", rows):
            self.wrong(f"{where}: the rows were {turn.rows!r} and are {rows!r}")
        turn.rows = rows
        failure = answer[-1] if answer and answer[-1].get("_error") else None
        kept = "".join(row["content"] for row in answer if not row.get("_error"))
        if not said.text.startswith(kept):
            self.wrong(f"{where}: {kept!r} is not what the provider said")
        if failure is None and not (said.may_be_done and kept == said.text):
            self.wrong(f"{where}: {kept!r} stands as a whole {said.kind} answer")
        if turn.digest:
            return  # what was shown was compared with these rows
        # What the record has and the journal had not yet is not shown after a crash but with the
        # end, which carries the session.
        shown = turn.text
        if not kept.startswith(shown) or (turn.whole and kept != shown):
            self.wrong(f"{where}: readers were shown {shown!r}, and {kept!r} is kept")
        if turn.end is not None and turn.end[0] != _end_of(failure):
            self.wrong(f"{where}: readers were told {turn.end}, and the transcript {failure}")

    # -- sessions -------------------------------------------------------------------------------

    def conclude(self, session: Session, record: Json | None) -> None:
        """After a crash, this is left of it. Could it be?"""
        state = GONE if record is None else seen(record)
        may_be = possible(session.state, session.asked)
        may_be = {after for state in may_be for after in restarted(state)}
        if not any(True for before in may_be for _ in read(state)(before)):
            self.wrong(
                f"{session} was {session.state}\n    then {session.asked}\n    and now is {state}"
                f"\n    ids {session.ids}"
            )
        session.state, session.asked = state, []
        for prompt in self.unanswered:
            if prompt.session is session:
                prompt.there = prompt.there or prompt.key in state.said + state.waits
        if state.gone:
            self.sessions.remove(session)
            self.graves.append(session)

    def agree(self, session: Session, shown: Json) -> None:
        """A restarted server shows it like this; nothing was asked of it but to be shown."""
        state = seen(shown)
        if not any(True for _ in read(state)(session.state)):
            self.wrong(f"{session} was {session.state}\n    and after the restart {state}")
        session.state = state
        self.check_rows(shown)
        for row in shown["queue"]:
            self.turn(row["id"], key_of(row["message"]))
        if shown["active_stream_id"] is not None:
            self.turn(shown["active_stream_id"], state.said[-1])

    def named(self, session: Session, session_id: str, known: int) -> None:
        """It says that this is its id. `known`: how many of its ids were, when it was asked."""
        if session_id not in session.ids:
            if known == len(session.ids):  # else nobody can say which of the new ones is the latest
                session.ids.append(session_id)
        elif session.ids.index(session_id) < known - 1:
            self.wrong(f"{session} is {session_id} again, of {session.ids}")


def entry_of(event: Event) -> Entry:
    """Without the session as it stood when it was read, which what ends a turn carries."""
    data = {k: v for k, v in event.data.items() if k not in ("session", "session_id")}
    return event.name, msgspec.json.encode(data)


def digest(entries: Iterable[Entry]) -> bytes:
    made = hashlib.sha256()
    for name, data in entries:
        made.update(b"%s %s\n" % (name.encode(), data))
    return made.digest()


def _end_of(failure: Json | None) -> str:
    if failure is None:
        return "stream_end"
    stopped = failure.get("provider_details_label") == "Cancellation details"
    return "cancel" if stopped else "apperror"
