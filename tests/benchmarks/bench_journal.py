"""The journal against SQLite: the same group commit, the same durability."""

import tempfile
import time
from pathlib import Path
from statistics import median

import apsw
import trio

from actors.stores import RealDisk, open_journal
from actors.stores.writer import open_writer

from .table import PAIRS, heading, row

PAYLOAD = b'["text","a token or two"]'
SECONDS = 0.7


async def drive(write, streams: int, together: int) -> float:
    """Each stream writes its next entries when the last ones are durable; entries a second."""
    written = 0

    async def stream(name: str) -> None:
        nonlocal written
        seq = 1
        while True:
            await write(name, [(n, PAYLOAD) for n in range(seq, seq + together)])
            seq += together
            written += together

    began = time.perf_counter()
    with trio.move_on_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for n in range(streams):
                nursery.start_soon(stream, f"{n:032x}")
    return written / (time.perf_counter() - began)


async def ours(streams: int, together: int) -> tuple[float, float]:
    """Entries a second, and bytes on disk for each."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_journal(Path(directory)) as journal:
            rate = await drive(journal.write, streams, together)
            statistics = journal.statistics()
            return rate, statistics.bytes / statistics.entries


async def sqlite(streams: int, together: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        database = apsw.Connection(str(Path(directory) / "journal.db"))
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = full")
        database.execute(
            "create table entry (stream text, seq integer, payload blob,"
            " primary key (stream, seq)) without rowid"
        )

        def commit(jobs):
            with database:
                for job in jobs:
                    database.executemany("insert into entry values (?, ?, ?)", job)
            return [None] * len(jobs)

        async with open_writer(commit, RealDisk()) as writer:

            async def write(name, entries):
                await writer.do([(name, seq, payload) for seq, payload in entries])

            rate = await drive(write, streams, together)
        database.close()
        return rate


async def main() -> None:
    heading("The journal: durable entries")
    for streams, together in ((1, 1), (32, 1), (1000, 1), (1, 100), (32, 100)):
        pairs = []
        for _ in range(PAIRS):
            mine, size = await ours(streams, together)
            pairs.append((mine, await sqlite(streams, together)))
        ratio = median(mine / theirs for mine, theirs in pairs)
        mine, theirs = (median(column) for column in zip(*pairs, strict=True))
        name = f"{streams} streams, {together} entries together"
        row(name, f"{mine:,.0f}/s", f"{theirs:,.0f}/s SQLite, WAL, FULL", f"{ratio:.2f}x", "report")
    row("bytes for each entry", f"{size:.0f}", f"{len(PAYLOAD)} of payload", "", "report")


if __name__ == "__main__":
    trio.run(main)
