"""Ours and a peer's, in turns in one run, and their ratio."""

import gc
import time
from collections.abc import Awaitable, Callable
from statistics import median

PAIRS = 5

Work = Callable[[], Awaitable[int]]
"""Does some operations, and says how many."""


async def rate(work: Work) -> float:
    """Operations for a second of this process's CPU: others on the machine count less then."""
    gc.collect()
    began = time.process_time()
    return await work() / (time.process_time() - began)


async def compare(name: str, ours: Work, peer: Work, peer_name: str, goal: str) -> None:
    """Print the medians of pairs, and the median of their ratios."""
    pairs = [(await rate(ours), await rate(peer)) for _ in range(PAIRS)]
    ratio = median(mine / theirs for mine, theirs in pairs)
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    row(name, f"{mine:,.0f}/s", f"{theirs:,.0f}/s {peer_name}", f"{ratio:.2f}x", goal)


def row(*cells: str) -> None:
    widths = (34, 16, 44, 10, 12)
    print(
        " ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), flush=True
    )


def heading(title: str) -> None:
    print(f"\n{title}")
    row("work", "ours", "peer", "ratio", "goal")
