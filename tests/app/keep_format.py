"""Keep an example of what today's server writes: `python -m tests.app.keep_format NAME`, before
each release and when a version in `actors.schema` changes. `test_doctor` reads them all for ever.
"""

import os
import sys
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from app.authority.gate import new_user
from app.authority.users import change_users
from tests.app.client import open_client, text_of
from tests.app.process import running_server

FORMATS = Path(__file__).with_name("formats")
KEPT = ("sessions/*.json", "journal/*.journal", "answers/*.journal", "*.json")


async def fill(data: Path, name: str) -> None:
    """It is killed in the middle of its last answer."""
    async with (
        running_server(data, "--limit", "tokens=1000000") as server,
        open_client(server.url) as client,
    ):
        plans = (await client.post("/api/projects/create", name="Plans"))["project"]
        whole = await client.new()
        await client.post("/api/session/move", session_id=whole, project_id=plans["project_id"])
        body = {"session_id": whole, "message": f"whole of {name}"}
        keyed = {"Idempotency-Key": "k"}
        started = await client.http.post("/api/chat/start", json=body, headers=keyed)
        await client.events(started.json()["stream_id"])
        await client.post("/api/session/rename", session_id=whole, title=f"whole of {name}")
        stream_id = await client.start(await client.new(), "cut off")
        seen = []
        async with aclosing(client.follow(stream_id)) as events:
            async for event in events:
                seen.append(event)
                if "You said 2 words" in text_of(seen):
                    break
        ann = new_user("ann", "$argon2id$no-hash", admin=True)
        change_users(data, lambda users: users.add(ann))
        await server.kill()
    (data / "server.json").unlink()


def main(name: str) -> None:
    os.chdir("/")  # records name the directory that the server was started in
    with TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        trio.run(fill, data, name)
        for pattern in KEPT:
            for path in data.glob(pattern):
                kept = FORMATS / name / path.relative_to(data)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(path.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1])
