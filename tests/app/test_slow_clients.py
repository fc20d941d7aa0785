"""Clients that take their time keep nobody else waiting, and are not waited for without end."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from app.idle import KEEP_ALIVE
from tests.app.test_server import House, ask, connected, read_to_eof, read_until, serving

MANY = 50
BODY_SECONDS = 60  # Quart's


@pytest.fixture
async def house():
    return House(False)


async def answered(address):
    """Somebody else is."""
    with trio.fail_after(KEEP_ALIVE - 1):
        async with connected(address) as stream:
            await ask(stream, "/")
            assert b"200" in await read_until(stream, b"\r\n\r\n")


async def test_who_never_ends_the_head_of_a_request_is_dropped(house, mock_clock):
    async with serving(house) as address, trio.open_nursery() as nursery:
        dropped = []

        async def drip():
            async with connected(address) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n")
                while True:
                    with trio.move_on_after(5):
                        if await stream.receive_some() == b"":
                            dropped.append(trio.current_time())
                            return
                    await stream.send_all(b"X-More: 1\r\n")

        for _ in range(MANY):
            nursery.start_soon(drip)
        await wait_all_tasks_blocked(0.05)
        await answered(address)
        for _ in range(20):
            mock_clock.jump(5)
            await wait_all_tasks_blocked(0.05)
        assert len(dropped) == MANY
        assert max(dropped) <= KEEP_ALIVE + 15


async def test_who_never_ends_the_body_is_told_and_dropped(house, mock_clock):
    async with serving(house) as address, connected(address) as stream:
        await stream.send_all(b"POST /body HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nslow")
        await wait_all_tasks_blocked(0.05)
        await answered(address)
        mock_clock.jump(BODY_SECONDS)
        await wait_all_tasks_blocked(0.05)
        mock_clock.jump(2)  # for what it may still send
        with trio.fail_after(60):
            received = await read_to_eof(stream)
        assert received.startswith(b"HTTP/1.1 408")


async def test_readers_that_never_read_keep_nobody_waiting(house, mock_clock):
    async with serving(house) as address, trio.open_nursery() as nursery:

        async def never_read():
            async with connected(address, receive_buffer=4096) as stream:
                await ask(stream, "/flood")
                await trio.sleep_forever()

        for _ in range(10):
            nursery.start_soon(never_read)
        await house.reached.wait()
        await answered(address)
        nursery.cancel_scope.cancel()
