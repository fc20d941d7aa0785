"""`python -m tests.hostile --seconds 900`: what schemathesis finds in a real server.

The server is one of ours on a directory that is thrown away, with the demo agent.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import trio

from tests.app.process import running_server
from tests.hostile.schemathesis import attack


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--http", choices=("own", "stock"), default="own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        async with running_server(Path(name), "--http", given.http) as server:
            found = await attack(server.url, seconds=given.seconds, seed=given.seed, loud=True)
            sys.stderr.write(server.stderr)
    return found.returncode


if __name__ == "__main__":
    raise SystemExit(trio.run(main))
