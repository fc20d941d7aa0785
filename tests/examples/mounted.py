"""Greenroom under a prefix of another ASGI app, in one process, on Hypercorn's Trio worker.

python mounted.py DIRECTORY [PORT]        then open http://localhost:PORT/chat/
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from actors.session import AgentTurn, Emit, TextDelta
from app.mounting import open_app

PREFIX = "/chat"


async def parrot(turn: AgentTurn, emit: Emit) -> None:
    for word in turn.messages[-1]["content"].split():
        await emit(TextDelta(word + " "))


def host(chat: Any) -> Any:
    """Your app. Starlette's `Mount("/chat", app=chat)` does the same as the branch below."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(f"{PREFIX}/"):
            mounted = scope | {"root_path": scope.get("root_path", "") + PREFIX}
            await chat(mounted, receive, send)
        elif scope["type"] == "http":
            status, location = (307, f"{PREFIX}/") if path == PREFIX else (200, "")
            headers = [(b"location", location.encode())] if location else []
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b"the host itself\n"})
        else:
            raise NotImplementedError(scope["type"])  # a host without a lifespan of its own

    return app


async def main(
    directory: Path,
    port: int = 0,
    *,
    host: Callable[[Any], Any] = host,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    async with open_app(directory, parrot) as chat, trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(serve, host(chat), config, mode="asgi"))
        print("open", f"{url}{PREFIX}/", flush=True)
        task_status.started(url)


if __name__ == "__main__":
    trio.run(partial(main, Path(sys.argv[1]), *map(int, sys.argv[2:])))
