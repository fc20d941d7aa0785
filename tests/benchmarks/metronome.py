"""The server of `python -m app`, with an agent that says what time it is, so many times a second.

A prompt is `COUNT RATE BEGIN`; a rate of 0 is as fast as it goes. Times are of the machine's
monotonic clock: when to begin, and each token, which is the time when it was due: so a reader knows
how late it is. One task wakes all who speak, in turns, so that they are not what is measured; who
speaks faster than ten times a second wakes by itself.
"""

import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import cycle

import trio

from actors.session.agent import AgentTurn, Emit, TextDelta

TICK = 0.005
GROUPS = 20


class Metronome:
    def __init__(self) -> None:
        self._groups = [trio.lowlevel.ParkingLot() for _ in range(GROUPS)]
        self._turns = cycle(self._groups)

    async def tick(self) -> None:
        """Where nobody waits it does not wake."""
        began = trio.current_time()
        while True:
            for n, group in enumerate(self._groups):
                if group:
                    await trio.sleep_until(began + n * TICK)
                    group.unpark_all()
            began += GROUPS * TICK
            await trio.sleep_until(began)

    async def __call__(self, turn: AgentTurn, emit: Emit) -> None:
        words = str(turn.messages[-1]["content"]).split()
        number, rate, begin = int(words[0]), float(words[1]), float(words[2])
        if not rate:
            await trio.sleep(max(begin - time.monotonic(), 0))
            for _ in range(number):
                await emit(TextDelta(f"{time.monotonic():.4f} "))
            return
        if rate * GROUPS * TICK > 1:
            await trio.sleep(max(begin - time.monotonic(), 0))
            begin = trio.current_time()
            for said in range(number):
                await trio.sleep_until(begin + said / rate)
                await emit(TextDelta(f"{time.monotonic():.4f} "))
            return
        group, said = next(self._turns), 0
        while time.monotonic() < begin:
            await group.park()
        begin = time.monotonic()
        while said < number:
            while said < number and (due := begin + said / rate) <= time.monotonic() + TICK / 2:
                await emit(TextDelta(f"{min(due, time.monotonic()):.4f} "))
                said += 1
            await group.park()


def serve() -> int:
    import app.house
    from app.cli import main

    open_agent = app.house.open_agent

    @asynccontextmanager
    async def opened(config):
        metronome = Metronome()
        async with open_agent(config) as found, trio.open_nursery() as nursery:
            nursery.start_soon(metronome.tick)
            yield replace(found, agent=metronome)
            nursery.cancel_scope.cancel()

    app.house.open_agent = opened
    return main([])


if __name__ == "__main__":
    sys.exit(serve())
