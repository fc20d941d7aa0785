"""Is there an order of what was asked in which every answer was right?

Linearizability (Herlihy and Wing 1990), in the just-in-time manner of Lowe (2016): the checker
keeps every state that the session may be in. A command takes effect at one instant between its
question and its answer. One that was never answered may have taken effect or not; after a crash
what was answered holds, and what was not answered did or did not happen before it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .model import (
    OWN,
    Cancel,
    Command,
    Outcome,
    Rules,
    Seen,
    Session,
    drained,
    ended,
    may_have_ended,
    observed,
    outcomes,
    restarted,
    stops,
    told_apart,
)

MOST_STATES = 20_000


class Violation(AssertionError):
    """What was seen has no explanation."""


class TooManyStates(Exception):
    """So much was under way at once that the checker gives up."""


class _State(NamedTuple):
    """A possible session, and what was decided about commands that are not answered yet."""

    session: Session
    decided: frozenset[tuple[int, Outcome | None]] = frozenset()
    half: tuple[int, Session] | None = None  # a command has stopped the turn, and not gone on yet


class Checker:
    """One session's. Numbers of commands are the caller's, and never used twice."""

    def __init__(self, rules: Rules, session: Session | None = None) -> None:
        self.rules = rules
        self.phases: Counter[tuple[str, str]] = Counter()  # commands by the phase they met
        self.log: list[str] = []
        self._states = {_State(session or Session())}
        self._pending: dict[int, Command] = {}
        self._addresses: dict[int, str] = {}
        self._unheard: set[int] = set()  # of those that are under way: nobody waits for an answer

    # -- what happens -----------------------------------------------------------------------

    def ask(self, number: int, command: Command, address: str = "") -> None:
        """`address` is where it was sent: what is sent to the same one keeps its order."""
        self.log.append(f"{number}? {command}")
        self._pending[number] = command
        self._addresses[number] = address
        if isinstance(command, OWN):
            self._unheard.add(number)

    def give_up(self, number: int) -> None:
        """Nobody waits for the answer any more. It may happen yet."""
        self.log.append(f"{number}: given up")
        self._unheard.add(number)

    def answer(self, number: int, word: str, seen: Seen | None = None, text: str = "") -> None:
        """Raises `Violation`."""
        self.log.append(f"{number}! {word} {text} {seen or ''}")
        command = self._pending[number]
        right = {
            after
            for state in self._closure(lambda state: _is_decided(state, number))
            if (after := self._answered(state, number, word, seen, text)) is not None
        }
        self._keep(right, f"{command} was answered {word} {text} {seen or ''}")
        del self._pending[number]
        if not isinstance(command, Cancel):  # which overtakes
            self._forget_before(number)

    def _forget_before(self, number: int) -> None:
        """What was sent before this, and given up, has happened by now or never will."""
        address = self._addresses[number]
        for other in self._unheard & self._pending.keys():
            if other < number and address and self._addresses[other] == address:
                del self._pending[other]
        self._states = {
            state._replace(decided=frozenset(d for d in state.decided if d[0] in self._pending))
            for state in self._states
            if state.half is None or state.half[0] in self._pending
        }

    def saw_end(self, number: int, end: str) -> None:
        """A reader was told how the turn of that prompt ended."""
        self.log.append(f"{number}: its stream ended: {end}")
        if self.rules.faults:
            return  # it ends with "storage", whatever the transcript will say

        def has_ended(state: _State) -> bool:
            return may_have_ended(state.session, number, end)

        self._keep(
            set(filter(has_ended, self._closure(has_ended))), f"the stream of {number} ended {end}"
        )

    def saw(self, seen: Seen | None) -> None:
        """The session looks like this, or is not there, and nothing is under way."""
        self.log.append(f"seen: {seen}")
        right = set()
        for state in self._closure():
            if seen is None:
                session = None if state.session.exists and state.session.kept else state.session
            else:
                session = observed(drained(state.session), seen)
            if session is not None:
                right.add(state._replace(session=session))
        self._keep(right, f"the session is {seen}")

    def crash(self) -> None:
        """Nothing was ever answered to what is not answered by now."""
        self.log.append("crash")
        found = dict.fromkeys(state.session for state in self._closure())
        self._pending.clear()
        self.rules.closing = False
        self._states = {_State(after) for session in found for after in restarted(session)}

    # -- what is possible -------------------------------------------------------------------

    def _keep(self, states: set[_State], what: str) -> None:
        if not states:
            before = "\n".join(f"  {state.session}" for state in sorted(self._states, key=str))
            raise Violation(f"No order explains it: {what}\nIt could have been\n{before}")
        self._states = {
            state._replace(session=told_apart(state.session, self.rules)) for state in states
        }

    def _closure(self, enough: Callable[[_State], bool] = lambda _: False) -> set[_State]:
        """All states that the commands under way may have led to. No further than `enough`: what
        need not have happened yet may happen later.
        """
        found, fresh = set(self._states), list(self._states)
        while fresh:
            state = fresh.pop()
            if enough(state):
                continue
            for successor in self._successors(state):
                if successor not in found:
                    found.add(successor)
                    fresh.append(successor)
            if len(found) > MOST_STATES:
                raise TooManyStates
        return found

    def _successors(self, state: _State) -> Iterator[_State]:
        if state.half is not None:
            number, before = state.half
            yield from self._taken(state._replace(session=before, half=None), number)
            return
        session = state.session
        decided = {number for number, _ in state.decided}
        for number, command in self._pending.items():
            if number in decided:
                continue
            yield from self._taken(state, number)
            if stops(command) and session.running is not None:
                yield state._replace(session=ended(session, "cancelled"), half=(number, session))
        if self.rules.faults and session.running is not None:
            yield state._replace(session=ended(session, "failed", self.rules))
        if session.running is None and session.waiting:
            yield state._replace(session=drained(session))

    def _taken(self, state: _State, number: int) -> Iterator[_State]:
        """The command has its effect."""
        for outcome in outcomes(state.session, self._pending[number], self.rules):
            if number not in self._unheard:
                yield _State(outcome.after, state.decided | {(number, outcome)})
            elif outcome.after != state.session:
                yield _State(outcome.after, state.decided | {(number, None)})

    def _answered(
        self, state: _State, number: int, word: str, seen: Seen | None, text: str
    ) -> _State | None:
        outcome = next((outcome for n, outcome in state.decided if n == number), None)
        if outcome is None or outcome.word != word or outcome.text != text:
            return None
        session = state.session
        if seen is not None:
            shown = observed(outcome.shown, seen)
            if shown is None:
                return None
            if session.name is None and outcome.shown.name is None:
                session = session._replace(name=shown.name, names=session.names | shown.names)
        return state._replace(
            session=session, decided=frozenset(d for d in state.decided if d[0] != number)
        )

    def phase(self) -> str:
        """Where the session stands, as far as one can tell."""
        session = min(self._states, key=str).session
        return phase_of(session)


def phase_of(session: Session) -> str:
    if not session.exists:
        return "absent"
    if session.running is not None:
        return "waiting" if session.waiting else "running"
    return "idle" if session.summarising is None else "compressing"


def _is_decided(state: _State, number: int) -> bool:
    return any(n == number for n, _ in state.decided)
