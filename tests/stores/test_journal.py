"""One journal for all streams: what was acknowledged is there, in order, and nothing else."""

import errno
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.stores import MemoryDisk, StoreError, StoreFull, open_journal
from actors.stores.frames import encode_frame, read_frames
from actors.testing.faulty_disk import FaultyDisk, nth

HERE = Path("/journal")

names = st.text(min_size=1, max_size=40).filter(lambda name: len(name.encode()) < 255)


def entries(first, last, mark=""):
    return [(n, f"{mark}{n}".encode()) for n in range(first, last + 1)]


numbers = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(names, numbers, numbers, st.binary(max_size=50)), max_size=8))
def test_frames_come_back_as_they_were(frames):
    data = b"".join(encode_frame(*frame) for frame in frames)
    assert [tuple(frame) for _, _, frame in read_frames(data)] == frames


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_damage_costs_what_it_hit_and_never_gives_a_wrong_frame(payloads, data):
    whole = [encode_frame("s", 1, n, payload) for n, payload in enumerate(payloads, 1)]
    raw = bytearray(b"".join(whole))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    found = [frame for _, _, frame in read_frames(bytes(raw)) if frame is not None]
    hit = next(n for n in range(len(whole)) if position < sum(map(len, whole[: n + 1])))
    expected = [(n, p) for n, p in enumerate(payloads, 1) if n != hit + 1]
    assert [(frame.seq, frame.payload) for frame in found] == expected


async def test_what_was_written_is_read_also_after_a_reopening(place):
    disk, directory = place
    async with open_journal(directory, disk=disk) as journal:
        await journal.write("a", entries(1, 3))
        await journal.write("b", entries(1, 1, "b"))
        await journal.write("a", entries(4, 4))
        assert await journal.read("a", 2) == entries(3, 4)
    async with open_journal(directory, disk=disk) as journal:
        assert await journal.read("a") == entries(1, 4)
        assert journal.streams() == {"a": (4, False), "b": (1, False)}
        await journal.write("a", entries(5, 5))
        assert await journal.read("a", 3) == entries(4, 5)
        assert await journal.read("nobody") == []
        assert journal.damage == []


async def test_what_waits_shares_a_flush(place):
    disk, directory = place
    async with open_journal(directory, disk=disk) as journal:
        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(journal.write, f"s{n}", entries(1, 5))
        assert journal.statistics().entries == 1000
        assert journal.statistics().flushes < 60
        for n in range(0, 200, 50):
            assert await journal.read(f"s{n}") == entries(1, 5)


async def test_nothing_is_read_before_it_is_durable():
    disk = MemoryDisk()
    async with open_journal(HERE, disk=disk) as journal:
        order = []
        journal.append("a", entries(1, 2), lambda error: order.append(("durable", error)))
        assert journal.info("a") is None
        assert await journal.read("a") == [] or order
        while not order:
            await trio.lowlevel.checkpoint()
        assert await journal.read("a") == entries(1, 2)
        assert order == [("durable", None)]


async def test_a_hole_is_refused():
    async with open_journal(HERE, disk=MemoryDisk()) as journal:
        await journal.write("a", entries(1, 2))
        for wrong in (entries(4, 4), entries(2, 2)):
            with pytest.raises(StoreError):
                await journal.write("a", wrong)
        await journal.write("a", entries(3, 3))
        assert await journal.read("a") == entries(1, 3)


async def test_after_a_failed_append_the_same_numbers_may_come_again():
    full = [False]
    disk = FaultyDisk(MemoryDisk(), lambda number, name: full[0] and name == "append")
    async with open_journal(HERE, disk=disk) as journal:
        await journal.write("a", entries(1, 2))
        full[0] = True
        outcomes = []
        journal.append("a", entries(3, 3, "lost"), outcomes.append)
        journal.append("a", entries(4, 4, "lost"), outcomes.append)
        with pytest.raises(StoreFull):
            await journal.write("b", entries(1, 1))
        assert [isinstance(outcome, StoreError) for outcome in outcomes] == [True, True]
        full[0] = False
        await journal.write("a", entries(3, 3))
        assert await journal.read("a") == entries(1, 3)
        assert journal.info("b") is None


async def test_what_a_failed_append_left_on_the_disk_never_outranks_what_came_after():
    """The flush fails after the bytes are out, and so does the cutting back."""
    fails = [False]
    memory = MemoryDisk()
    refused = {"flush", "truncate", "remove"}
    disk = FaultyDisk(memory, lambda number, name: fails[0] and name in refused)
    async with open_journal(HERE, disk=disk) as journal:
        await journal.write("a", entries(1, 2))
        fails[0] = True
        with pytest.raises(StoreError):
            await journal.write("a", entries(3, 5, "lost"))
        fails[0] = False
        await journal.write("a", entries(3, 3))
        assert await journal.read("a") == entries(1, 3)
    async with open_journal(HERE, disk=memory) as journal:
        assert await journal.read("a") == entries(1, 3)
        await journal.write("a", entries(4, 4))
        assert await journal.read("a") == entries(1, 4)


async def test_files_of_other_names_are_none_of_its_business():
    disk = MemoryDisk()
    disk.create(HERE / "notes.journal", b"mine")
    async with open_journal(HERE, disk=disk) as journal:
        await journal.write("a", entries(1, 1))
        assert await journal.read("a") == entries(1, 1)
        assert journal.damage == []


async def scenario(disk, done):
    async with open_journal(HERE, disk=disk, segment_bytes=200) as journal:
        for n in range(1, 7):
            for stream in "ab":
                await journal.write(stream, entries(n, n, stream))
                done[stream] = n
        journal.settle("a")
        await journal.write("b", entries(7, 7, "b"))
        done["b"] = 7


async def length_of_scenario():
    disk = FaultyDisk(MemoryDisk())
    await scenario(disk, {})
    return len(disk.trace)


async def check(disk, done, context):
    """What was acknowledged is there, and what is there is a beginning of what was written."""
    async with open_journal(HERE, disk=disk, segment_bytes=200) as journal:
        for stream in "ab":
            found = await journal.read(stream)
            assert found == entries(1, len(found), stream), context
            assert len(found) >= done.get(stream, 0), context
            assert len(found) <= done.get(stream, 0) + 1, context
            await journal.write(stream, entries(len(found) + 1, len(found) + 1, stream))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_a_fault_at_any_operation_loses_nothing_that_was_acknowledged(code):
    for n in range(1, await length_of_scenario() + 1):
        memory, done = MemoryDisk(), {}
        disk = FaultyDisk(memory, nth(n), code)
        try:
            await scenario(disk, done)
        except* StoreError:
            pass
        await check(memory, done, n)


async def test_a_power_cut_after_any_operation_loses_nothing_that_was_acknowledged():
    for n in range(1, await length_of_scenario() + 1):
        memory, done, cut = MemoryDisk(), {}, []

        def fail(number, name, n=n, memory=memory, done=done, cut=cut):
            if number == n:
                cut.append((memory.crash(), dict(done)))
            return False

        await scenario(FaultyDisk(memory, fail), done)
        await check(*cut[0], n)


async def test_the_space_of_settled_streams_is_given_back_in_time(autojump_clock):
    disk = MemoryDisk()
    async with open_journal(HERE, disk=disk, retain_seconds=100) as journal:
        await journal.write("a", entries(1, 50))
        journal.settle("a")
        await trio.sleep(99)
        assert len(await journal.read("a")) == 50
        assert journal.info("a") == (50, True)
        await trio.sleep(2)
        assert await journal.read("a") == []
        assert journal.streams() == {}
        assert list(disk.scan(HERE)) == []
        assert journal.statistics().bytes == 0
        await journal.write("b", entries(1, 1))
        assert await journal.read("b") == entries(1, 1)


async def test_after_a_reopening_settled_streams_wait_their_time_again(autojump_clock):
    disk = MemoryDisk()
    async with open_journal(HERE, disk=disk, retain_seconds=100) as journal:
        await journal.write("a", entries(1, 3))
        journal.settle("a")
        await trio.sleep(99)
    async with open_journal(HERE, disk=disk, retain_seconds=100) as journal:
        await trio.sleep(99)
        assert journal.streams() == {"a": (3, True)}
        assert await journal.read("a", 1) == entries(2, 3)
        await trio.sleep(2)
        assert journal.streams() == {}


async def long_turn(disk):
    """A stream that runs on while ninety others come and go."""
    async with open_journal(HERE, disk=disk, segment_bytes=2000, retain_seconds=10) as journal:
        for n in range(1, 31):
            await journal.write("long", entries(n, n, "long"))
            for k in range(3):
                await journal.write(f"short{n}.{k}", entries(1, 3))
                journal.settle(f"short{n}.{k}")
            await trio.sleep(1)
        await trio.sleep(30)
        assert await journal.read("long") == entries(1, 30, "long")
        return journal.statistics().bytes


async def test_a_stream_that_runs_on_does_not_keep_the_others_space(autojump_clock):
    disk = MemoryDisk()
    assert await long_turn(disk) < 10_000
    async with open_journal(HERE, disk=disk.crash()) as journal:
        assert await journal.read("long") == entries(1, 30, "long")


async def test_a_power_cut_while_space_is_given_back_loses_nothing(autojump_clock):
    counting = FaultyDisk(MemoryDisk())
    await long_turn(counting)
    for n in range(1, len(counting.trace) + 1, 7):
        memory, cut = MemoryDisk(), []

        def fail(number, name, n=n, memory=memory, cut=cut):
            if number == n:
                cut.append(memory.crash())
            return False

        await long_turn(FaultyDisk(memory, fail))
        async with open_journal(HERE, disk=cut[0]) as journal:
            found = await journal.read("long")
            assert found == entries(1, len(found), "long")
            written = counting.trace[:n].count("append")
            assert len(found) >= min(30, written // 13)
