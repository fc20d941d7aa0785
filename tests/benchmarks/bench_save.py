"""What a save of a long session costs, beside the way it is usually written."""

import json

import msgspec
import trio

from actors.session.amendments import amendment
from actors.session.dumping import dump
from actors.session.record import Record, fields_of

from .table import compare, heading

MESSAGES = 5_000
TIMES = 10


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


if __name__ == "__main__":
    trio.run(main)
