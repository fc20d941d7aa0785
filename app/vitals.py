"""What can be told of everything that lives, and of one session, without asking who may be busy.

Kinds, ids, counts, times and titles.
"""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import trio

from actors import ActorError, CellStatistics
from actors.index.messages import RowsNamed
from actors.session.feeds import TurnFeed
from actors.session.messages import GetSession
from actors.session.refusals import SessionNotFound
from actors.stores import DurationsSummary, WriterStatistics

from .busy import Standing, TurnStanding, why
from .past import past_turns
from .view import View

__all__ = ["past_of", "snapshot", "standing_of"]

PATIENCE = 1.0  # seconds for who may be too busy to answer
PAST_TURNS = 20


# -- all of it ----------------------------------------------------------------------------------


async def snapshot(greenroom: View, limit: int) -> dict[str, Any]:
    statistics = await greenroom.statistics()
    journal = greenroom.journal_statistics()
    feeds = greenroom.open_feeds()
    turns = {greenroom.current_id(feed.session_id): feed for feed in feeds if feed.running}
    kinds: dict[str, list[CellStatistics]] = {}
    for cell in statistics.cells:
        kinds.setdefault(cell.address.partition("/")[0], []).append(cell)
    shown = {name: _ranked(cells)[:limit] for name, cells in kinds.items()}
    titles = await _titles(greenroom, [_key(cell) for cell in shown.get("session", ())])
    return {
        "at": round(time.time(), 3),
        "actors": {
            "live": len(statistics.cells),
            "busy": sum(_is_busy(cell) for cell in statistics.cells),
            "waiting": sum(cell.depth for cell in statistics.cells),
            "restarts": sum(cell.restarts for cell in statistics.cells),
            "activations": statistics.activations,
            "dead_letters": statistics.dead_letters,
        },
        "messages": statistics.handled,
        "turns": {"running": len(turns), "open": len(feeds)},
        "records": _writer(greenroom.record_statistics()),
        "journal": _writer(journal.writer)
        | {"entries": journal.entries, "bytes": journal.bytes, "streams": journal.streams},
        "lag": _durations(greenroom.lag())
        | {"now": round(max((feed.unshown_seconds for feed in feeds), default=0.0), 4)},
        "kinds": [_kind(name, cells, shown[name], turns, titles) for name, cells in kinds.items()],
    }


def _kind(
    name: str,
    cells: Sequence[CellStatistics],
    shown: Sequence[CellStatistics],
    turns: dict[str, TurnFeed],
    titles: dict[str, str],
) -> dict[str, Any]:
    return {
        "name": name,
        "live": len(cells),
        "busy": sum(_is_busy(cell) for cell in cells),
        "waiting": sum(cell.depth for cell in cells),
        "restarts": sum(cell.restarts for cell in cells),
        "actors": [_actor(cell, turns.get(_key(cell)), titles.get(_key(cell))) for cell in shown],
        "folded": len(cells) - len(shown),
    }


def _actor(cell: CellStatistics, feed: TurnFeed | None, title: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "key": _key(cell),
        "state": cell.lifecycle,
        "depth": cell.depth,
        "capacity": cell.capacity,
        "high_water": cell.high_water,
        "handled": cell.handled,
        "restarts": cell.restarts,
    }
    if title is not None:
        shown["title"] = title
    if cell.current is not None:
        shown |= {"current": cell.current, "seconds": round(cell.current_seconds, 3)}
    if cell.waiting_on:
        shown["waiting_on"] = cell.waiting_on
    if cell.tasks:
        shown["tasks"] = dict(Counter(_short(task) for task in cell.tasks))
    if feed is not None:
        shown["turn"] = _turn(feed)
    return shown


def _turn(feed: TurnFeed) -> dict[str, Any]:
    turn = _turn_standing(feed)
    return {
        "stream_id": turn.stream_id,
        "entries": turn.entries,
        "running_seconds": _rounded(turn.running_seconds),
        "quiet_seconds": _rounded(turn.quiet_seconds),
        "unshown_seconds": round(turn.unshown_seconds, 3),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _durations(summary: DurationsSummary) -> dict[str, Any]:
    """Seconds; the count and the total since the beginning, so that who asks twice has a rate."""
    return {
        "count": summary.count,
        "total": round(summary.total, 6),
        "median": round(summary.median, 6),
        "longest": round(summary.longest, 6),
    }


def _writer(statistics: WriterStatistics) -> dict[str, Any]:
    return _durations(statistics.commits) | {"now": round(statistics.busy_seconds, 4)}


def _key(cell: CellStatistics) -> str:
    return cell.address.partition("/")[2]


def _short(task: str) -> str:
    """`Turns._work` of `actors.session.turns.Turns._work`."""
    return ".".join(task.split(".")[-2:])


def _is_busy(cell: CellStatistics) -> bool:
    return bool(cell.current or cell.depth or cell.tasks or cell.lifecycle != "running")


def _ranked(cells: Sequence[CellStatistics]) -> list[CellStatistics]:
    """The busiest first; of those who are as busy, who was awake last. They keep their places."""
    latest_first = cells[::-1]
    return sorted(latest_first, key=_rank)


def _rank(cell: CellStatistics) -> tuple[Any, ...]:
    return (
        cell.lifecycle == "running",
        -cell.depth,
        -int(cell.current_seconds),
        not _is_busy(cell),
        -cell.restarts,
    )


async def _titles(greenroom: View, session_ids: Sequence[str]) -> dict[str, str]:
    return {row["session_id"]: row["title"] for row in await _rows(greenroom, session_ids)}


async def _rows(greenroom: View, session_ids: Sequence[str]) -> Sequence[Any]:
    """Of the list, if it has the time."""
    if session_ids:
        with trio.move_on_after(PATIENCE):
            try:
                return await greenroom.index.ask(RowsNamed(session_ids))
            except ActorError:
                pass
    return ()


# -- one session --------------------------------------------------------------------------------


async def standing_of(greenroom: View, session_id: str) -> dict[str, Any] | None:
    """Why it is busy; None if there is no such session."""
    cell = await greenroom.session_statistics(session_id)
    rows = await _rows(greenroom, [session_id])
    if cell is None and not rows:
        return None
    saving = await greenroom.saving_seconds(session_id)
    waiting = rows[0].get("waiting_count", 0) if rows else 0
    standing = _seen(greenroom, session_id, cell, waiting, saving)
    busy, said = why(standing)
    feeds = _feeds_of(greenroom, session_id)
    return {
        "session_id": session_id,
        "title": rows[0]["title"] if rows else None,
        "busy": busy,
        "why": said,
        "message_count": rows[0].get("message_count", 0) if rows else 0,
        "waiting": standing.waiting,
        "saving_seconds": round(standing.saving_seconds, 3),
        "turns": [_turn(feed) for feed in feeds],
        "actor": None if cell is None else _actor(cell, None, None),
    }


def _seen(
    greenroom: View, session_id: str, cell: CellStatistics | None, waiting: int, saving: float
) -> Standing:
    return Standing(
        lifecycle=None if cell is None else cell.lifecycle,
        current=None if cell is None else cell.current,
        current_seconds=0.0 if cell is None else cell.current_seconds,
        depth=0 if cell is None else cell.depth,
        restarts=0 if cell is None else cell.restarts,
        waiting_on=() if cell is None else cell.waiting_on,
        tasks=() if cell is None else [_short(task) for task in cell.tasks],
        saving_seconds=saving,
        turns=[_turn_standing(feed) for feed in _feeds_of(greenroom, session_id)],
        waiting=waiting,
    )


def _feeds_of(greenroom: View, session_id: str) -> Collection[TurnFeed]:
    current = greenroom.current_id
    return [f for f in greenroom.open_feeds() if current(f.session_id) == session_id]


def _turn_standing(feed: TurnFeed) -> TurnStanding:
    now = trio.current_time()
    return TurnStanding(
        stream_id=feed.turn_id,
        entries=feed.last,
        running_seconds=None if feed.running_since is None else now - feed.running_since,
        quiet_seconds=None if feed.shown_at is None else now - feed.shown_at,
        unshown_seconds=feed.unshown_seconds,
        last=None if feed.last_event is None else type(feed.last_event).__name__,
    )


async def past_of(greenroom: View, session_id: str) -> list[dict[str, Any]] | None:
    """What is durable of its turns, the latest first; None if it has no time to say."""
    with trio.move_on_after(PATIENCE), suppress(SessionNotFound):
        record = (await greenroom.session(session_id).ask(GetSession())).record
        turns = past_turns(record)[-PAST_TURNS:][::-1]
        for turn in turns:
            if turn["stream_id"] and await greenroom.feeds.last_seq(turn["stream_id"]) is not None:
                entries = await greenroom.feeds.stored(turn["stream_id"], 0)
                turn["entries"] = dict(Counter(type(e.event).__name__ for e in entries))
        return turns
    return None
