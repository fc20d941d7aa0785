"""Between two batches the disk can be held."""

import trio
import trio.testing

from actors.stores import open_record_store


async def test_nothing_is_written_while_it_is_held_and_all_of_it_afterwards(place):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.save, "before", b"1")
        await trio.testing.wait_all_tasks_blocked()
        async with store.held():
            assert await store.load("before") == b"1"
            written = len(disk.trace)
            for n in range(3):
                nursery.start_soon(store.save, f"meanwhile{n}", b"2")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert disk.trace[written:] == []
        await store.save("after", b"3")
        assert len(await store.scan()) == 5


async def test_who_gives_up_holding_lets_go(place):
    disk, directory = place
    async with open_record_store(directory, disk=disk) as store:
        with trio.CancelScope() as scope:
            async with store.held():
                scope.cancel()
                await trio.lowlevel.checkpoint()
        await store.save("a", b"1")
        with trio.CancelScope() as scope:
            scope.cancel()
            async with store.held():
                raise AssertionError("it was cancelled before")
        await store.save("a", b"2")
        assert await store.load("a") == b"2"
