"""MCP servers for tests: real processes, as a config file names them."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

__all__ = ["FAULTS", "TIME", "faults", "serving_http"]

FAULTS = Path(__file__).with_name("fault_server.py")
# Of the registry: nobody here wrote it.
TIME: dict[str, Any] = {
    "command": sys.executable,
    "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"],
}


def faults(**more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(FAULTS)], **more}


@asynccontextmanager
async def serving_http() -> AsyncIterator[str]:
    """The fault server over streamable HTTP; gives its url."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await trio.lowlevel.open_process(
        [sys.executable, str(FAULTS), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with trio.fail_after(60):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.05)  # it says nothing when it is ready
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
