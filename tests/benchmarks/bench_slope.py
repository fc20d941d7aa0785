"""What a turn costs in a session that has had ten, and in one that has had ten thousand."""

import tempfile
import time
from pathlib import Path
from statistics import median

import trio

from actors.greenroom import Greenroom, open_greenroom
from actors.session.agent import AgentTurn, Emit, TextDelta
from actors.session.messages import CreateSession, GetSession, StartTurn
from actors.session.record import Record
from actors.stores import FileInfo
from actors.stores.disk import RealDisk

from .table import PAIRS, heading, row

SAID = ({"role": "user", "content": "hello " * 20}, {"role": "assistant", "content": "x" * 800})
SIZES = (10, 1_000, 10_000)
TURNS = 40


class CountingDisk(RealDisk):
    written = 0

    def create(self, path: Path, data: bytes) -> FileInfo:
        self.written += len(data)
        return super().create(path, data)

    def append(self, path: Path, data: bytes) -> FileInfo:
        self.written += len(data)
        return super().append(path, data)


async def answer(turn: AgentTurn, emit: Emit) -> None:
    await emit(TextDelta("x" * 800))


async def turn(greenroom: Greenroom, session_id: str) -> None:
    accepted = await greenroom.session(session_id).ask(StartTurn("hello " * 20))
    reader = greenroom.feeds.read(accepted.turn_id)
    assert reader is not None
    while await reader.next():
        pass


async def costs(before: int) -> tuple[float, float]:
    """Of a turn after so many: milliseconds of CPU, and bytes to the disk."""
    disk = CountingDisk()
    with tempfile.TemporaryDirectory() as directory:
        async with open_greenroom(Path(directory), answer, disk=disk) as greenroom:
            session = greenroom.new_session()
            # What the model sees has an end: before that, what is old is summarised.
            content = Record(
                session_id="",
                title="Mine",
                manual_title=True,
                messages=SAID * before,
                context_messages=SAID * 10,
            )
            await session.ask(CreateSession(content, keep=True))
            session_id = (await session.ask(GetSession())).record.session_id
            await turn(greenroom, session_id)
            written, cpu = disk.written, time.process_time()
            for _ in range(TURNS):
                await turn(greenroom, session_id)
            cpu = time.process_time() - cpu
            return cpu / TURNS * 1000, (disk.written - written) / TURNS


async def main() -> None:
    heading("A turn, in a session that has had so many")
    rounds = [[await costs(size) for size in SIZES] for _ in range(PAIRS)]
    for n, size in enumerate(SIZES):
        cpu, written = (median(values) for values in zip(*(r[n] for r in rounds), strict=True))
        ratio = median(r[n][0] / r[0][0] for r in rounds)
        more = median(r[n][1] / r[0][1] for r in rounds)
        row(f"{size:,} turns: CPU", f"{cpu:.2f} ms", f"{SIZES[0]:,} turns", f"{ratio:.2f}x", "1x")
        row(f"{size:,} turns: disk", f"{written:,.0f} bytes", "", f"{more:.2f}x", "1x")


if __name__ == "__main__":
    trio.run(main)
