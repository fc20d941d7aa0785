"""The composition root: one data directory, its sessions and their list, in one block."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

import trio

from actors import Kind, Ref, Rejected, Statistics, System, open_system
from actors.index.actor import Index
from actors.index.messages import Row
from actors.session.actor import Session, Shared
from actors.session.agent import Agent
from actors.session.feeds import Feeds
from actors.session.messages import CancelTurn, GetSession, SessionNotFound
from actors.session.record import is_session_id, load, summary
from actors.stores import (
    Disk,
    Journal,
    RecordStore,
    open_journal,
    open_record_store,
    own_directory,
)

__all__ = ["Greenroom", "open_greenroom"]

log = logging.getLogger("actors.greenroom")

IDLE_SECONDS = 300.0
GRACE_SECONDS = 2.0  # for turns that are nearly done when we are to end


class Greenroom:
    """Made by `open_greenroom`. Sessions are asked in the words of `actors.session.messages`."""

    def __init__(self, system: System, shared: Shared, journal: Journal) -> None:
        self.feeds = shared.feeds
        self.index = system.ref("index", "main")
        self._system = system
        self._shared = shared
        self._journal = journal

    def session(self, session_id: str) -> Ref:
        """The session's address, whether there is such a session or not.

        Raises `SessionNotFound` for what cannot be the id of one: no other characters than
        letters, digits, `_` and `-` ever reach the disk.
        """
        if not is_session_id(session_id):
            raise SessionNotFound
        return self._system.ref("session", session_id)

    def new_session(self) -> Ref:
        """An address that nobody has."""
        return self._system.ref("session", uuid4().hex[:12])

    @property
    def accepting(self) -> bool:
        """False once `settle` was called: no new turns are taken."""
        return self._shared.accepting

    def statistics(self) -> Statistics:
        return self._system.statistics()

    async def settle(self) -> None:
        """Take no more turns; let those that run finish, for a moment, then stop them and keep
        what they have shown.
        """
        self._shared.accepting = False
        with trio.move_on_after(GRACE_SECONDS):
            await self.feeds.wait_idle()
        async with trio.open_nursery() as nursery:
            for feed in self.feeds:
                cancel = CancelTurn(feed.turn_id, shutdown=True)
                nursery.start_soon(self.session(feed.session_id).ask, cancel)

    async def recover(self) -> None:
        """Wake the sessions whose turns a crash cut off; each mends itself as it starts."""
        for turn_id in self.feeds.unsettled():
            session_id = await self.feeds.session_of(turn_id)
            try:
                if session_id is not None:
                    await self.session(session_id).ask(GetSession())
            except Rejected as error:
                log.warning("session %s: %s", session_id, str(error) or type(error).__name__)
            self._journal.settle(turn_id)  # harmless if the session has done so


def _row_of(session_id: str, data: bytes) -> Row:
    return summary(load(session_id, data))


@asynccontextmanager
async def open_greenroom(
    data_dir: Path,
    agent: Agent,
    *,
    default_model: str | None = None,
    checkpoint_seconds: float = 15.0,
    disk: Disk | None = None,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[], str] = lambda: uuid4().hex,
) -> AsyncIterator[Greenroom]:
    """Own `data_dir` and run its sessions inside the block, answered by `agent`.

    Raises `DirectoryInUse` if another process owns the directory. `disk`, `clock` (epoch seconds)
    and `new_id` are for tests: with a disk of their own nothing is locked, and `data_dir` is but
    a name.
    """
    with own_directory(data_dir) if disk is None else nullcontext():
        async with (
            open_record_store(data_dir / "sessions", disk=disk) as store,
            open_journal(data_dir / "journal", disk=disk) as journal,
        ):
            shared = Shared(
                store=store,
                feeds=Feeds(journal),
                agent=agent,
                clock=clock,
                new_id=new_id,
                default_model=default_model,
                checkpoint_seconds=checkpoint_seconds,
            )
            async with open_system(*_kinds(store, shared)) as system:
                greenroom = Greenroom(system, shared, journal)
                await greenroom.recover()
                yield greenroom


def _kinds(store: RecordStore, shared: Shared) -> tuple[Kind, Kind]:
    """The list is needed to the last by the sessions, so it is named first."""
    return (
        Kind("index", lambda _: Index(store, _row_of), capacity=1 << 16),
        Kind("session", lambda key: Session(key, shared), idle_after=IDLE_SECONDS),
    )
