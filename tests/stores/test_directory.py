"""Records are replaced whole: the conformance of a record store, and its faults."""

import errno
from pathlib import Path

import pytest
import trio

from actors.stores import (
    InvalidName,
    MemoryDisk,
    RealDisk,
    RecordNotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
    open_record_store,
)
from actors.testing.faulty_disk import FaultyDisk, nth

HERE = Path("/here")


def names(disk, directory=HERE):
    return sorted(info.name for info in disk.scan(directory))


async def test_what_was_saved_is_loaded_also_after_a_reopening(place):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store:
        await store.save("a", b"one")
        await store.save("a", b"two")
        await store.save("_index", b"[]")
        assert await store.load("a") == b"two"
    async with open_record_store(directory, disk=disk) as store:
        assert await store.load("a") == b"two"
        found = {info.name: info.size for info in await store.scan()}
        assert found == {"a": 3, "_index": 2}
    assert names(disk, directory) == ["_index.json", "a.json"]


async def test_what_is_not_there_is_not_found_and_may_be_deleted(place):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store:
        for missing in ("a", "b"):
            with pytest.raises(RecordNotFound):
                await store.load(missing)
        await store.delete("a")
        await store.save("a", b"x")
        await store.delete("a")
        with pytest.raises(RecordNotFound):
            await store.load("a")


async def test_of_loads_that_wait_together_each_gets_its_own(place):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store:
        for name in ("a", "b", "c"):
            await store.save(name, name.encode())
        reads, disk.code = disk.trace.count("read"), errno.EIO
        disk.fail = lambda number, what: what == "read" and disk.trace.count("read") == reads + 3
        answers = {}

        async def load(name):
            try:
                answers[name] = await store.load(name)
            except StoreError as error:
                answers[name] = type(error)

        async with trio.open_nursery() as nursery:
            for name in ("a", "missing", "b", "c"):
                nursery.start_soon(load, name)
        found = sorted(answers[name] for name in "abc" if isinstance(answers[name], bytes))
        refused = [name for name in "abc" if answers[name] is StoreUnavailable]
        assert answers["missing"] in (RecordNotFound, StoreUnavailable)
        assert found == [name.encode() for name in "abc" if name not in refused]
        assert len(refused) + (answers["missing"] is StoreUnavailable) == 1
        assert await store.load("a") == b"a"


@pytest.mark.parametrize("name", ["", "a.b", "../a", "a/b", "a\0", "é", "a b", "a\n", "x" * 201])
async def test_a_bad_name_never_reaches_the_disk(place, name):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store:
        before = list(disk.trace)
        for attempt in (store.load(name), store.save(name, b"x"), store.delete(name)):
            with pytest.raises(InvalidName):
                await attempt
        assert disk.trace == before


async def test_a_damaged_record_is_put_aside_and_never_overwrites_another(place):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store:
        for content in (b"one", b"two"):
            await store.save("a", content)
            await store.set_aside("a")
        with pytest.raises(RecordNotFound):
            await store.set_aside("a")
        assert await store.scan() == []
    assert names(disk, directory) == ["a.json.damaged", "a.json.damaged.2"]
    assert disk.read(directory / "a.json.damaged") == b"one"


async def test_what_a_dead_writer_left_is_swept_and_nothing_else(place):
    disk, directory = place
    disk.make_directory(directory)
    for name in ("a.json.tmp.17.3", "a.json", "a.json.damaged", "notes.txt"):
        disk.create(directory / name, b"x")
    async with open_record_store(directory, disk=disk):
        pass
    assert names(disk, directory) == ["a.json", "a.json.damaged", "notes.txt"]


async def test_concurrent_saves_never_mix_and_share_their_flushes(place):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store:
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(store.save, f"r{n % 10}", b"%d" % n * 100)
        for n in range(10):
            content = await store.load(f"r{n}")
            assert content in {b"%d" % k * 100 for k in range(n, 100, 10)}
    assert disk.trace.count("flush") == 100
    assert disk.trace.count("flush_directory") < 50
    assert names(disk, directory) == sorted(f"r{n}.json" for n in range(10))


async def test_a_save_is_cancelled_before_it_has_begun_or_not_at_all():
    with trio.CancelScope() as scope:

        def cancel_in_the_middle(number, name):
            if name == "replace":
                scope.cancel()
            return False

        disk = FaultyDisk(MemoryDisk(), cancel_in_the_middle)
        async with open_record_store(HERE, disk=disk) as store:
            await store.save("a", b"whole")
            assert scope.cancel_called
            assert disk.disk.crash().read(HERE / "a.json") == b"whole"
            before = list(disk.trace)
            await store.save("b", b"never begun")
    assert scope.cancelled_caught
    assert disk.trace == before


async def scenario(disk, done):
    """Saves and a delete; `done` learns of each that was acknowledged."""
    async with open_record_store(HERE, disk=disk) as store:
        for name, content in (("a", b"1"), ("b", b"1"), ("a", b"2"), ("b", None), ("c", b"3")):
            if content is None:
                await store.delete(name)
            else:
                await store.save(name, content)
            done.append((name, content))


async def length_of_scenario():
    disk = FaultyDisk(MemoryDisk())
    await scenario(disk, [])
    return len(disk.trace)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_a_fault_at_any_operation_leaves_the_old_or_the_new_and_the_next_works(code):
    for n in range(1, await length_of_scenario() + 1):
        memory, done = MemoryDisk(), []
        disk = FaultyDisk(memory, nth(n), code)
        wanted = StoreFull if code == errno.ENOSPC else StoreUnavailable
        try:
            await scenario(disk, done)
        except* wanted:
            pass
        state = dict(done)
        async with open_record_store(HERE, disk=memory) as store:
            for name in "abc":
                await store.save("probe", b"x")
                try:
                    content = await store.load(name)
                except RecordNotFound:
                    content = None
                following = {"a": (None, b"1", b"2"), "b": (None, b"1"), "c": (None, b"3")}[name]
                assert content == state.get(name) or content in following, (n, name)
        assert not any(".tmp." in name for name in names(memory)), n


async def test_a_power_cut_after_any_operation_keeps_what_was_acknowledged():
    for n in range(1, await length_of_scenario() + 1):
        memory, done, cut = MemoryDisk(), [], []

        def fail(number, name, n=n, memory=memory, done=done, cut=cut):
            if number == n:
                cut.append((memory.crash(), dict(done), len(done)))
            return False

        await scenario(FaultyDisk(memory, fail), done)
        survivor, acknowledged, count = cut[0]
        pending = done[count] if count < len(done) else None
        async with open_record_store(HERE, disk=survivor) as store:
            for name in "abc":
                try:
                    content = await store.load(name)
                except RecordNotFound:
                    content = None
                allowed = {acknowledged.get(name)}
                if pending is not None and pending[0] == name:
                    allowed.add(pending[1])
                assert content in allowed, (n, name)


async def test_files_are_for_their_owner_only(tmp_path):
    async with open_record_store(tmp_path / "place", disk=RealDisk()) as store:
        await store.save("a", b"x")
    assert (tmp_path / "place").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "place" / "a.json").stat().st_mode & 0o777 == 0o600


async def test_every_caller_of_a_failed_batch_gets_an_error_of_its_own():
    disk = FaultyDisk(MemoryDisk(), lambda number, name: name == "flush_directory")
    errors = []
    async with open_record_store(HERE, disk=disk) as store:

        async def save(n):
            try:
                await store.save(f"r{n}", b"x")
            except StoreError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(save, n)
    assert len({id(error) for error in errors}) == 5
