"""Which stories the checker believes."""

import pytest

from tests.faults.checker import Checker, Violation
from tests.faults.model import (
    Cancel,
    Clear,
    Create,
    Delete,
    Ended,
    Get,
    Prompt,
    Rename,
    Rules,
    Seen,
    Start,
    Summarised,
    Titled,
    Turn,
    Undo,
)


class Story:
    """A session with a past: `one` was answered."""

    def __init__(self):
        self.checker = Checker(Rules())
        self.ask, self.crash = self.checker.ask, self.checker.crash
        self.tell(1, Create(True, "s"), "seen", seen())
        self.tell(2, Start(Prompt("one", 2)), "accepted", seen(running="one", title="one"))
        self.ask(3, Ended(2, "done"))
        self.checker.saw_end(2, "done")

    def tell(self, number, command, *answer):
        self.ask(number, command)
        self.checker.answer(number, *answer)

    def refuse(self, *call):
        with pytest.raises(Violation):
            getattr(self.checker, call[0])(*call[1:])


def seen(*turns, running=None, waiting=(), title=None, manual=False, name="s"):
    title = title or ("one" if turns or running else "Untitled")
    return Seen(tuple(turns), running, waiting, title, manual, False, name)


ONE = Turn("one", "done")


@pytest.fixture
def story():
    return Story()


def test_what_was_answered_is_seen_by_all_later_questions(story):
    story.tell(4, Rename("Mine"), "seen", seen(ONE, title="Mine", manual=True))
    story.ask(5, Get())
    story.refuse("answer", 5, "seen", seen(ONE))


def test_what_overlaps_may_have_happened_in_any_order_but_only_in_one(story):
    mine, yours = (seen(ONE, title=title, manual=True) for title in ("Mine", "Yours"))
    story.ask(4, Rename("Mine"))
    story.ask(5, Rename("Yours"))
    story.checker.answer(5, "seen", yours)
    story.tell(6, Get(), "seen", yours)
    story.tell(7, Get(), "seen", mine)
    story.checker.answer(4, "seen", mine)
    story.ask(8, Get())
    story.refuse("answer", 8, "seen", yours)


def test_a_crash_loses_nothing_that_was_answered(story):
    story.tell(4, Start(Prompt("two", 4)), "accepted", seen(ONE, running="two"))
    story.crash()
    story.refuse("saw", seen(ONE))
    story.checker.saw(seen(ONE, Turn("two", "interrupted")))


def test_what_a_crash_cut_off_happened_or_did_not_but_does_not_come_later(story):
    story.ask(4, Rename("Mine"))
    story.crash()
    story.tell(5, Get(), "seen", seen(ONE))
    story.refuse("saw", seen(ONE, title="Mine", manual=True))


def test_nothing_is_doubled_or_comes_back(story):
    story.refuse("saw", seen(ONE, ONE))
    cut = Seen((), None, (), "one", False, False, "s")
    story.ask(4, Undo())
    story.checker.answer(4, "removed", cut, "one")
    story.refuse("saw", seen(ONE))
    story.tell(5, Delete(), "deleted")
    story.crash()
    story.refuse("saw", seen(ONE))
    story.checker.saw(None)


def test_a_title_of_ones_own_stays(story):
    story.ask(4, Titled("By a model"))
    story.tell(5, Rename("Mine"), "seen", seen(ONE, title="Mine", manual=True))
    story.refuse("saw", seen(ONE, title="By a model"))


def test_a_prompt_that_waits_has_its_turn(story):
    story.tell(4, Start(Prompt("two", 4)), "accepted", seen(ONE, running="two"))
    queued = seen(ONE, running="two", waiting=("three",))
    story.tell(5, Start(Prompt("three", 5), "queue"), "waiting", queued)
    story.tell(6, Cancel(4), "stopped")
    two = Turn("two", "cancelled")
    story.ask(7, Get())
    story.refuse("answer", 7, "seen", seen(ONE, two, waiting=("three",)))
    story.checker.answer(7, "seen", seen(ONE, two, running="three"))


def test_a_stream_ends_as_its_turn_does(story):
    story.tell(4, Start(Prompt("two", 4)), "accepted", seen(ONE, running="two"))
    story.tell(5, Cancel(4), "stopped")
    story.refuse("saw_end", 4, "done")
    story.checker.saw_end(4, "cancelled")


def test_a_summary_of_what_is_not_there_any_more_changes_nothing(story):
    story.tell(4, Clear(), "seen", seen())
    story.ask(5, Summarised(True))
    story.refuse("saw", seen(name="other"))


def test_a_key_stands_for_one_prompt(story):
    keyed = Start(Prompt("two", 4), "reject", "key")
    story.tell(4, keyed, "accepted", seen(ONE, running="two"))
    story.ask(5, Ended(4, "done"))
    story.checker.saw_end(4, "done")
    story.tell(6, keyed, "accepted", seen(ONE, Turn("two", "done")))
    story.refuse("saw", seen(ONE, Turn("two", "done"), running="two"))
