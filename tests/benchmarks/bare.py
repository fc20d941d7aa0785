"""A Quart-Trio app with nothing in it, on the same server: `python -m tests.benchmarks.bare own`.

Says its port. `/same` answers what is in the file that its second argument names.
"""

import sys
from pathlib import Path

import trio
from quart import Response
from quart_trio import QuartTrio

from app import server


async def main(http: str, body: bytes) -> None:
    app = QuartTrio(__name__)

    @app.get("/same")
    async def same() -> Response:
        return Response(body, content_type="application/json")

    async with await server.bind("127.0.0.1", 0) as listener:
        print(server.address_of(listener)[1], flush=True)
        await server.serve(app, listener, stopping=trio.Event(), stock=http == "stock")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]).read_bytes())
