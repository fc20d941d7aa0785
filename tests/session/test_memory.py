"""A session that is put away leaves nothing that only Python's collector could find."""

import gc

import trio

from actors.greenroom import IDLE_SECONDS
from actors.session.actor import Session
from actors.session.messages import CreateSession, DeleteSession, StartTurn
from actors.session.record import Record


def sessions():
    return [each for each in gc.get_objects() if isinstance(each, Session)]


async def answer(turn, emit):
    pass


async def test_what_is_put_away_is_freed_at_once(open_room, autojump_clock):
    async with open_room(agent=answer) as room:
        gc.collect()
        gc.disable()
        try:
            for key in ("s1", "s2"):
                session = room.session(key)
                await session.ask(CreateSession(Record(session_id="", workspace="/")))
                accepted = await session.ask(StartTurn("hello"))
                await room.events(accepted.turn_id)
            await session.ask(DeleteSession())
            assert len(sessions()) == 2
            await trio.sleep(2 * IDLE_SECONDS)
            assert not sessions()
        finally:
            gc.enable()
