"""The loop behind an event stream."""

import pytest
import trio

from app.sse import KEEPALIVE_SECONDS, cursor_of, frame, kept_alive


async def test_what_is_ready_together_goes_out_in_one_write_and_silence_is_filled(autojump_clock):
    send, receive = trio.open_memory_channel(10)

    async def render(batch):
        await trio.sleep(KEEPALIVE_SECONDS * 3)  # the deadline covers the wait, never this
        return b"".join(batch)

    async def feed():
        await send.send([b"a", b"b", b"c"])
        await trio.sleep(KEEPALIVE_SECONDS * 5.5)
        await send.send([b"d"])
        await send.send([])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        written = [chunk async for chunk in kept_alive(receive.receive, render, b":\n\n")]
    assert written == [b":\n\n", b"abc", b":\n\n", b":\n\n", b"d"]


def test_an_event_is_one_line_of_json():
    assert frame("token", {"text": "a\nb"}, "s:1") == (
        b'id: s:1\nevent: token\ndata: {"text":"a\\nb"}\n\n'
    )
    assert frame("bye", {}) == b"event: bye\ndata: {}\n\n"


@pytest.mark.parametrize(
    ("query", "header", "cursor"),
    [
        ({}, None, 0),
        ({}, "s:4", 4),
        ({}, "other:4", 0),
        ({}, "4", 0),
        ({"after_seq": "7"}, "s:4", 7),
        ({"after_event_id": "s:8", "after_seq": "7"}, "s:4", 8),
        ({"after_event_id": "other:8"}, "s:4", 0),
        ({"replay": "1"}, "s:4", 0),
        ({"after_seq": "-1"}, None, 0),
        ({"after_seq": "1e3"}, None, 0),
        ({"after_seq": "9" * 30}, None, 0),
    ],
)
def test_the_query_beats_the_header_and_nonsense_starts_at_the_beginning(query, header, cursor):
    assert cursor_of(query, header, "s") == cursor
