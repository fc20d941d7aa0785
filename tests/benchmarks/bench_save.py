"""What a save of a long session costs, beside the way it is usually written."""

import json
import tempfile
from pathlib import Path
from statistics import quantiles

import msgspec
import trio

from actors.greenroom import open_greenroom
from actors.session.amendments import amendment
from actors.session.dumping import dump
from actors.session.messages import CreateSession, GetSession
from actors.session.record import Record, fields_of

from .bench_slope import answer, turn
from .table import compare, heading, row

MESSAGES = 5_000
TIMES = 10
OTHERS = 200  # turns


async def main() -> None:
    said = ({"role": "user", "content": "hello " * 20}, {"role": "assistant", "content": "x" * 800})
    record = Record(session_id="a", messages=said * (MESSAGES // 2))
    plain = json.loads(dump(record))
    fields = fields_of(record)

    async def after_a_turn() -> int:
        for n in range(TIMES):
            row = {"role": "user", "content": f"one more: {n}"}
            after = msgspec.structs.replace(record, messages=(*record.messages, row))
            amendment(fields, fields_of(after))
        return TIMES

    async def the_whole() -> int:
        for _ in range(TIMES):
            dump(record)
        return TIMES

    async def usual() -> int:
        for _ in range(TIMES):
            json.dumps(plain, indent=2)
        return TIMES

    heading(f"Saves of a session with {MESSAGES:,} messages, encoded")
    await compare("after a turn", after_a_turn, usual, "json.dumps(indent=2)", ">= 5x")
    await compare("the whole", the_whole, usual, "json.dumps(indent=2)", "report")
    alone, beside = await others(None), await others(record)
    row(
        "another's turn, meanwhile, p99", f"{beside:.0f} ms", f"{alone:.0f} ms, alone", "", "report"
    )


async def others(record: Record | None) -> float:
    """The p99 of a turn in a short session, while one with this record is saved whole and again."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_greenroom(Path(directory), answer) as greenroom, trio.open_nursery() as n:

            async def keep_saving(content: Record) -> None:
                while True:
                    await greenroom.new_session().ask(CreateSession(content, keep=True))

            if record is not None:
                n.start_soon(keep_saving, record)
            session = greenroom.new_session()
            await session.ask(CreateSession())
            session_id = (await session.ask(GetSession())).record.session_id
            took = []
            for _ in range(OTHERS):
                began = trio.current_time()
                await turn(greenroom, session_id)
                took.append(trio.current_time() - began)
            n.cancel_scope.cancel()
    return quantiles(took, n=100)[98] * 1000


if __name__ == "__main__":
    trio.run(main)
