"""How far the local model is, told on stderr while it is downloaded and loaded."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import trio

__all__ = ["Terminal", "show_progress"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
STEP = 25  # per cent between two lines of a log
DONE = ("ready", "failed")


class Terminal(Protocol):
    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


async def show_progress(
    status: Callable[[], Mapping[str, Any]],
    stopping: trio.Event,
    terminal: Terminal | None = None,
) -> None:
    """Look at `status` until the model is ready or failed: one line that changes on a terminal,
    now and then a line of the log elsewhere.
    """
    terminal = terminal if terminal is not None else sys.stderr
    live = terminal.isatty()
    told = ""
    while not stopping.is_set():
        now = status()
        state = now.get("state", "ready")
        text = describe(now, 1 if live else STEP)
        if text != told:
            told = text
            if live:
                terminal.write(f"\r\x1b[K{text}")
                terminal.flush()
            elif text:
                logger.log(logging.WARNING if state == "failed" else logging.INFO, "%s", text)
        if state in DONE:
            break
        with trio.move_on_after(LOOK_SECONDS):
            await stopping.wait()
    if live and told:
        terminal.write("\n")
        terminal.flush()


def describe(status: Mapping[str, Any], step: int) -> str:
    """One line, with the per cent in steps; empty if there is nothing to tell."""
    percent = int(100 * (status.get("progress") or 0)) // step * step
    match status.get("state", "ready"):
        case "downloading":
            return f"Downloading the model: {percent} %"
        case "loading":
            return "Loading the model"
        case "failed":
            return f"The model cannot be used: {status.get('detail') or 'no reason was given'}"
    return ""
