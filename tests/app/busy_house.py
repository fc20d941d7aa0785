"""A server process whose house is under the test's control: `python busy_house.py [WORD...]`.

Words: `unsettled` never settles, `stuck` blocks the whole process while it settles, `slow-start`
takes for ever to open; `short-settle` and `short-last-resort` shorten the times these are given.
"""

import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from quart_trio import QuartTrio

import app.run
from app.config import make_config

BLOCK = b"x" * 65536


@asynccontextmanager
async def open_busy_house(config, stopping):
    busy = QuartTrio(__name__)

    @busy.get("/")
    async def hello():
        return "hello"

    @busy.get("/flood")
    async def flood():
        async def parts():
            while True:
                yield BLOCK

        return parts()

    @busy.get("/stream")
    async def stream():
        async def parts():
            yield b"event: first\n\n"
            await stopping.wait()
            yield b"event: last\n\n"

        return parts()

    @busy.get("/endless")
    async def endless():
        async def parts():
            yield b"event: first\n\n"
            await trio.sleep_forever()

        return parts()

    async def settle():
        print("settling", file=sys.stderr, flush=True)
        if "stuck" in sys.argv:
            time.sleep(600)  # noqa: ASYNC251 - the fault that is to be survived
        if "unsettled" in sys.argv:
            await trio.sleep_forever()

    if "slow-start" in sys.argv:
        print("opening", file=sys.stderr, flush=True)
        await trio.sleep_forever()
    yield app.run.House(busy, settle, lambda: {"state": "ready"})


if __name__ == "__main__":
    if "short-settle" in sys.argv:
        app.run.SETTLE_SECONDS = 0.1
    if "short-last-resort" in sys.argv:
        app.run.LAST_RESORT_SECONDS = 0.1
    config = make_config(port=0, data_dir=Path(sys.argv[1]), agent="demo")
    sys.exit(trio.run(app.run.run, config, open_busy_house))
