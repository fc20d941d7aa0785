"""An MCP server that does what a test tells it to: `python fault_server.py [PORT]`.

It is one of the SDK's, over stdio or, with a port, over streamable HTTP.
"""

import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("faults")


def write(file: str, text: str) -> None:
    with Path(file).open("a") as notes:
        notes.write(f"{text}\n")


@server.tool()
async def note(file: str, text: str) -> str:
    """Write a line to a file: what was run how often."""
    write(file, text)
    return f"noted {text}"


@server.tool()
async def pid() -> str:
    """Of this process."""
    return str(os.getpid())


@server.tool()
async def hang(file: str) -> str:
    """Never answer; note when it began, and that it was cancelled."""
    write(file, "began")
    try:
        await anyio.sleep_forever()
    finally:
        write(file, "cancelled")


@server.tool()
async def die(file: str) -> str:
    """End in the middle of the call."""
    write(file, "dying")
    os._exit(3)


@server.tool()
async def flood(characters: int) -> str:
    """Say too much."""
    return "a" + "x" * (characters - 2) + "z"


@server.tool()
async def fail() -> str:
    """Fail."""
    raise ToolError("the tool says no")


@server.tool(structured_output=False)
async def picture() -> list[Any]:
    """Something that is no text."""
    return ["before", Image(data=b"\x89PNG" * 300, format="png")]


@server.tool()
async def structured() -> dict[str, int]:
    """Data."""
    return {"answer": 42}


if __name__ == "__main__":
    print(f"secret is {os.environ.get('SECRET')}, pid {os.getpid()}", file=sys.stderr)
    if starts := os.environ.get("STARTS"):
        write(starts, "start")
    if os.environ.get("BROKEN"):
        sys.exit("broken")
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
