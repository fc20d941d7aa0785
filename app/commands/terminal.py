"""What a person sees: answers on stdout, all that goes with them dimmed on stderr."""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, TextIO

import trio

__all__ = ["Plain", "Terminal", "clock", "cut", "one_line", "plain", "run", "table"]

STOPPED = 130
BROKEN_PIPE = 141

# Orders to a terminal: CSI, strings such as a title or a hyperlink, and the short ones.
_CSI, _STRING = r"[0-?]*[ -/]*", r"[^\x07\x1b\x9c]*"
ORDER = re.compile(
    rf"(?:\x1b\[|\x9b){_CSI}[@-~]"
    rf"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]){_STRING}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]|\x1b(?=\x1b)"
)
BEGUN = re.compile(
    rf"(?:(?:\x1b\[|\x9b){_CSI}|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]){_STRING}\x1b?|\x1b[ -/]*)\Z"
)
LONGEST_ORDER = 4096
CONTROLS = {n: None for n in (*range(0x20), *range(0x7F, 0xA0)) if chr(n) not in "\n\t"}


class Plain:
    """Text without what steers a terminal, also if that comes in parts."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        text = ORDER.sub("", self._held + text)
        begun = BEGUN.search(text)
        at = len(text) if begun is None else begun.start()
        if len(text) - at > LONGEST_ORDER:
            at = len(text)
        text, self._held = text[:at], text[at:]
        return text.translate(CONTROLS)

    def end(self) -> str:
        text, self._held = self._held, ""
        return text.translate(CONTROLS)


def plain(text: str) -> str:
    whole = Plain()
    return whole.feed(text) + whole.end()


def one_line(text: str) -> str:
    return " ".join(plain(text).split())


class Terminal:
    """Answers go to stdout as they are, or without what steers a terminal if it is one. What
    happens beside them is shown to whoever looks; `say` is for everybody.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out, self._err = out or sys.stdout, err or sys.stderr
        self.is_person = self._out.isatty()
        self._looks = self._err.isatty()
        self._dims = self._looks and "NO_COLOR" not in os.environ
        self._plain, self._thoughts = Plain(), Plain()
        self._ended = True  # what went to stdout
        self._unfinished: TextIO | None = None  # has a line on the screen that is not at its end

    def text(self, text: str) -> None:
        """More of the answer."""
        self._put(self._plain.feed(text) if self.is_person else text)

    def end(self) -> None:
        """The answer is over: what comes next begins on a line of its own."""
        self._close_thoughts()
        self._put(self._plain.end())
        if not self._ended and not (self.is_person and self._unfinished is None):
            self._put("\n")

    def thought(self, text: str) -> None:
        if self._looks:
            if self._unfinished is self._out:
                self._break()
            shown = self._thoughts.feed(text)
            self._err.write(self._dimmed(shown))
            self._err.flush()
            if shown:
                self._unfinished = None if shown.endswith("\n") else self._err

    def aside(self, text: str) -> None:
        """A line for who looks."""
        if self._looks:
            self._break()
            self._line(self._dimmed(cut(one_line(text), _width() - 1)))

    def say(self, text: str) -> None:
        """A line that scripts may log."""
        self._break()
        self._line(self._dimmed(one_line(text)) if self._looks else one_line(text))

    def _put(self, text: str) -> None:
        if text:
            if self._unfinished is self._err:
                self._break()
            self._out.write(text)
            self._out.flush()
            self._ended = text.endswith("\n")
            self._unfinished = self._out if self.is_person and not self._ended else None

    def _close_thoughts(self) -> None:
        if self._unfinished is self._err:
            self._break()

    def _break(self) -> None:
        """Leaves stdout as it is: what is broken is the line that a person sees."""
        if self._unfinished is not None and self._looks:
            self._err.write("\n")
            self._unfinished = None

    def _line(self, text: str) -> None:
        self._err.write(text + "\n")
        self._err.flush()

    def _dimmed(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._dims and text else text


def clock(at: object) -> str:
    """Local time, to the minute; nothing if it is no time."""
    try:
        assert isinstance(at, int | float)
        return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") if at else ""
    except (AssertionError, OverflowError, ValueError, OSError):
        return ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """For a person: as wide as the terminal, the last column cut. Else tabs, and nothing is cut."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        return "\n".join("\t".join(row) for row in rows)
    rows = [list(head), *rows]
    widths = [max(map(_columns, column)) for column in list(zip(*rows, strict=True))[:-1]]
    left = max(8, _width() - sum(widths) - 2 * len(widths))
    lines = []
    for *cells, last in rows:
        padded = [
            cell + " " * (width - _columns(cell)) for cell, width in zip(cells, widths, strict=True)
        ]
        lines.append("  ".join([*padded, cut(last, left)]).rstrip())
    return "\n".join(lines)


def cut(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    ends = accumulate(_columns(character) for character in text)
    return text[: sum(end < width for end in ends)] + "…"


def _columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _width() -> int:
    return shutil.get_terminal_size().columns


def run(work: Callable[..., Any], *arguments: Any) -> int:
    """`trio.run` as a terminal expects it: quiet if who reads has gone, or pressed Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = trio.run(work, *arguments)
        sys.stdout.flush()
    except* KeyboardInterrupt:
        code = STOPPED
    except* BrokenPipeError:
        # What is left in its buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    return int(code or 0)
