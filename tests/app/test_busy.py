"""Why a chat is busy, in words."""

import pytest

from app.busy import Standing, TurnStanding, in_words, why

IDLE = {
    "lifecycle": "running",
    "current": None,
    "current_seconds": 0.0,
    "depth": 0,
    "restarts": 0,
    "waiting_on": (),
    "tasks": (),
    "saving_seconds": 0.0,
    "turns": (),
    "waiting": 0,
}


def turn(**known):
    given = {
        "stream_id": "t",
        "entries": 5,
        "running_seconds": 12.0,
        "quiet_seconds": 3.0,
        "unshown_seconds": 0.0,
        "last": "TextDelta",
    }
    return TurnStanding(**given | known)


@pytest.mark.parametrize(
    ("known", "busy", "said"),
    [
        ({}, False, ["Idle."]),
        ({"lifecycle": None}, False, ["Idle, and put away: it is not in memory."]),
        (
            {"restarts": 2},
            False,
            ["Idle.", "It crashed and was started again twice."],
        ),
        (
            {"turns": (turn(),), "tasks": ("Turns._work",)},
            True,
            [
                "The agent has been answering for 12 s; the last words came 3.0 s ago.",
                "The disk has written everything.",
            ],
        ),
        (
            {"turns": (turn(entries=1),)},
            True,
            [
                "The agent has been answering for 12 s; it has not said anything yet.",
                "The disk has written everything.",
            ],
        ),
        (
            {"turns": (turn(last="ApprovalAsked"),)},
            True,
            [
                "The agent has been answering for 12 s; it has waited for 3.0 s until somebody"
                " allows a tool call.",
                "The disk has written everything.",
            ],
        ),
        (
            {"turns": (turn(last="ToolStarted", unshown_seconds=0.01),)},
            True,
            [
                "The agent has been answering for 12 s; a tool has been at work for 3.0 s.",
                "The disk keeps up.",
            ],
        ),
        (
            {"saving_seconds": 2.1, "current": "Rename", "current_seconds": 2.2, "depth": 2},
            True,
            [
                "It waits for the disk: 2.1 s.",
                "It is handling Rename: 2.2 s.",
                "2 messages wait in its mailbox.",
            ],
        ),
        (
            {"turns": (turn(running_seconds=None, entries=1),), "waiting": 1},
            True,
            ["1 message waits for a turn."],
        ),
        (
            {"lifecycle": "restarting", "restarts": 1},
            True,
            ["The actor is restarting.", "It crashed and was started again once."],
        ),
        ({"waiting_on": ("index/main",)}, True, ["It waits for an answer from index/main."]),
        ({"tasks": ("Titling._work",)}, True, ["It looks for a title."]),
    ],
)
def test_the_most_telling_comes_first(known, busy, said):
    assert why(Standing(**IDLE | known)) == (busy, said)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "less than a second"),
        (2.13, "2.1 s"),
        (42.0, "42 s"),
        (61.0, "1 min 1 s"),
        (7384.0, "2 h 3 min"),
    ],
)
def test_seconds_as_a_person_says_them(seconds, words):
    assert in_words(seconds) == words
