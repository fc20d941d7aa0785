"""A provider that sends whatever bytes a test wants, for as long as somebody takes them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio

from tests.app.upstream import HEAD, read_request

__all__ = ["ATTACKS", "GOOD", "HEAD", "SHOWN", "bytes_of", "endless", "open_hostile"]

Attack = Callable[[trio.SocketStream], Awaitable[object]]

GOOD = HEAD + (
    b'data: {"choices":[{"delta":{"content":"fine"}}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
SHOWN = HEAD + b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n'


def bytes_of(data: bytes) -> Attack:
    """These, and then the end."""

    async def attack(stream: trio.SocketStream) -> None:
        await stream.send_all(data)

    return attack


def endless(head: bytes, again: bytes) -> Attack:
    async def attack(stream: trio.SocketStream) -> None:
        await stream.send_all(head)
        block = again * max(1, 65536 // len(again))
        while True:
            await stream.send_all(block)

    return attack


def event(json: bytes) -> bytes:
    return SHOWN + b"data: " + json + b"\n\n"


def packed(encoding: bytes) -> bytes:
    return HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: " + encoding + b"\r\n\r\n")


MB = 1 << 20
# What is done, and a word of the error with which the turn must end.
ATTACKS: dict[str, tuple[Attack, str]] = {
    "a line without end": (endless(SHOWN + b"data: ", b"x"), "too much"),
    "a line without end or colon": (endless(SHOWN, b"x"), "too much"),
    "an event of lines without end": (endless(SHOWN, b"data: x\n"), "too much"),
    "an answer without end": (
        endless(HEAD, b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000)),
        "without end",
    ),
    "thoughts without end": (
        endless(HEAD, b'data: {"choices":[{"delta":{"reasoning":"%b"}}]}\n\n' % (b"x" * 60_000)),
        "without end",
    ),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n"), "reached"),
    "a header without end": (endless(b"HTTP/1.1 200 OK\r\nX-More: ", b"x"), "reached"),
    "a status line without end": (endless(b"HTTP/1.1 200 ", b"O"), "reached"),
    "a chunk without end": (
        endless(
            HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"f" * 15, b"f"
        ),
        "closed",
    ),
    "an error without end": (
        endless(b"HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\n\r\n", b"no "),
        "status 500",
    ),
    "no HTTP": (endless(b"", b"\0\xff\xfe"), "reached"),
    "nothing": (bytes_of(b""), "reached"),
    "a page": (
        bytes_of(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Hello</h1>"),
        "no chat completion",
    ),
    "elsewhere": (
        bytes_of(b"HTTP/1.1 302 Found\r\nLocation: /v1/elsewhere\r\nContent-Length: 0\r\n\r\n"),
        "status 302",
    ),
    "packed": (endless(packed(b"gzip"), b"\x1f\x8b\x08\0\0\0\0\0"), "compressed"),
    "packed by another": (endless(packed(b"br"), b"\0"), "compressed"),
    "half of it": (bytes_of(SHOWN), "closed"),
    "no JSON": (bytes_of(event(b"{")), "no chat completion"),
    "JSON without a floor": (bytes_of(event(b"[" * MB)), "no chat completion"),
    "an object without a floor": (
        bytes_of(event(b'{"error":' * 100_000 + b"1" + b"}" * 100_000)),
        "no chat completion",
    ),
    "a list": (bytes_of(event(b"[]")), "no chat completion"),
    "a number": (bytes_of(event(b"1e999")), "no chat completion"),
    "choices that are text": (bytes_of(event(b'{"choices":"x"}')), "no chat completion"),
    "a choice that is text": (bytes_of(event(b'{"choices":["x"]}')), "no chat completion"),
    "a delta that is a list": (
        bytes_of(event(b'{"choices":[{"delta":[]}]}')),
        "no chat completion",
    ),
    "content that is an object": (
        bytes_of(event(b'{"choices":[{"delta":{"content":{}}}]}')),
        "no chat completion",
    ),
    "half a character": (
        bytes_of(event(rb'{"choices":[{"delta":{"content":"\ud800"}}]}')),
        "no chat completion",
    ),
    "usage that is text": (bytes_of(event(b'{"usage":"much"}')), "no chat completion"),
    "an error that is a list": (bytes_of(event(b'{"error":[[[]]]}')), "reported an error"),
    "an error of a megabyte": (
        bytes_of(event(b'{"error":{"message":"%b"}}' % (b"x" * MB))),
        "reported an error",
    ),
    "an error with a code that is none": (
        bytes_of(event(b'{"error":{"code":' + b"9" * 400 + b"}}")),
        "reported an error",
    ),
}


@asynccontextmanager
async def open_hostile(attack: Attack) -> AsyncIterator[tuple[str, list[dict]]]:
    """Gives its base URL, and the requests that have come."""
    requests: list[dict] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            request = await read_request(stream)
            if request is None:
                return
            requests.append(request)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await attack(stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield f"http://127.0.0.1:{port}/v1", requests
        nursery.cancel_scope.cancel()
