"""A chat bot over a raw socket, whose conversations survive `kill -9`.

    python chat_bot.py DIRECTORY [PORT]       then, from another terminal: nc localhost PORT

The first line that a client sends is the name of its conversation; it gets all that was said there
before. Each line after that is a prompt. An answer comes word by word, and ends with an empty line.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import trio

from actors import Rejected
from actors.greenroom import Greenroom, open_greenroom
from actors.session import (
    AgentTurn,
    CreateSession,
    Emit,
    GetSession,
    SessionExists,
    SessionNotFound,
    StartTurn,
    TextDelta,
    TurnFailed,
)

MOST = 10_000  # bytes in a line


async def parrot(turn: AgentTurn, emit: Emit) -> None:
    """Your model goes here. Whatever it emits is on disk before anybody sees it."""
    for word in turn.messages[-1]["content"].split():
        await emit(TextDelta(word + " "))
        await trio.sleep(0.05)


async def lines(stream: trio.SocketStream) -> AsyncGenerator[str, None]:
    buffer = b""
    async for chunk in stream:
        buffer += chunk
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            yield line.decode(errors="replace").strip()
        if len(buffer) > MOST:
            return


async def converse(greenroom: Greenroom, stream: trio.SocketStream) -> None:
    try:
        async with aclosing(lines(stream)) as said:
            await serve(greenroom, stream, said)
    except trio.BrokenResourceError:
        pass  # it has left; what was accepted is answered all the same
    except SessionNotFound:
        await stream.send_all(b"! a name has letters, digits, _ and -\n")


async def serve(
    greenroom: Greenroom, stream: trio.SocketStream, said: AsyncGenerator[str, None]
) -> None:
    session = greenroom.session(await anext(said, ""))
    try:
        await session.ask(CreateSession())
    except SessionExists:
        for row in (await session.ask(GetSession())).record.messages:
            await stream.send_all(f"{row['role']}: {row['content']}\n".encode())
    await stream.send_all(b"\n")
    async for prompt in said:
        try:
            accepted = await session.ask(StartTurn(prompt))  # on disk from here on
        except Rejected as refusal:
            await stream.send_all(f"! {type(refusal).__name__}\n\n".encode())
            continue
        async for entry in greenroom.follow(accepted.turn_id):
            match entry.event:
                case TextDelta(text=text):
                    await stream.send_all(text.encode())
                case TurnFailed(message=message):
                    await stream.send_all(f"! {message}".encode())
        await stream.send_all(b"\n\n")


async def main(
    directory: Path, port: int = 0, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """In a program of yours: `port = await nursery.start(main, directory)`."""
    async with open_greenroom(directory, parrot) as greenroom, trio.open_nursery() as nursery:
        serve_bot = partial(trio.serve_tcp, partial(converse, greenroom), port, host="127.0.0.1")
        (listener,) = await nursery.start(serve_bot)
        port = listener.socket.getsockname()[1]
        print("port", port, flush=True)
        task_status.started(port)


if __name__ == "__main__":
    trio.run(partial(main, Path(sys.argv[1]), *map(int, sys.argv[2:])))
