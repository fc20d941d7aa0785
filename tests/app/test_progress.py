"""What is told while a model is downloaded and loaded."""

import logging
from typing import Any

import pytest
import trio

from app.progress import LOOK_SECONDS, describe, show_progress

DOWNLOAD: list[dict[str, Any]] = [
    {"state": "downloading", "progress": 0.0},
    {"state": "downloading", "progress": 0.256},
    {"state": "downloading", "progress": 0.3},
    {"state": "downloading", "progress": 1.0},
    {"state": "loading", "progress": None},
    {"state": "ready"},
]


class Screen:
    def __init__(self, live):
        self.live = live
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return self.live


def looking_at(states):
    remaining = iter(states)
    return lambda: next(remaining)


async def test_a_terminal_shows_one_line_that_changes(autojump_clock, caplog):
    screen = Screen(live=True)
    await show_progress(looking_at(DOWNLOAD), trio.Event(), screen)
    lines = screen.text.split("\r\x1b[K")
    assert lines == [
        "",
        *(f"Downloading the model: {percent} %" for percent in (0, 25, 30, 100)),
        "Loading the model",
        "",
    ]
    assert caplog.records == []


async def test_elsewhere_the_log_gets_a_line_now_and_then(autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    screen = Screen(live=False)
    await show_progress(looking_at(DOWNLOAD), trio.Event(), screen)
    assert screen.text == ""
    assert [record.getMessage() for record in caplog.records] == [
        *(f"Downloading the model: {percent} %" for percent in (0, 25, 100)),
        "Loading the model",
    ]


@pytest.mark.parametrize("live", [True, False])
async def test_a_failure_is_told_whoever_looks(live, caplog, autojump_clock):
    screen = Screen(live)
    failed = {"state": "failed", "detail": "no route to host"}
    await show_progress(looking_at([failed]), trio.Event(), screen)
    said = "The model cannot be used: no route to host"
    if live:
        assert screen.text == f"\r\x1b[K{said}\n"
    else:
        (record,) = caplog.records
        assert (record.levelno, record.getMessage()) == (logging.WARNING, said)


async def test_an_agent_that_is_ready_has_nothing_to_tell(caplog):
    caplog.set_level(logging.INFO)
    screen = Screen(live=True)
    await show_progress(dict, trio.Event(), screen)
    assert screen.text == ""
    assert caplog.records == []


async def test_it_ends_with_the_server(autojump_clock):
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show_progress, lambda: DOWNLOAD[1], stopping, Screen(live=True))
        await trio.sleep(3 * LOOK_SECONDS)
        stopping.set()


def test_what_is_missing_in_a_status_is_no_harm():
    assert describe({"state": "downloading"}, 1) == "Downloading the model: 0 %"
    assert describe({"state": "failed"}, 1).endswith("no reason was given")
