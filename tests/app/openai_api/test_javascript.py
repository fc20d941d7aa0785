"""The API with the official JavaScript client, unmodified. `npm install openai` has put it into the
directory that GREENROOM_OPENAI_JS names.
"""

import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.app.openai_api.house import GUARD, open_house

CLIENT = Path(__file__).with_name("client.mjs")
PACKAGES = os.environ.get("GREENROOM_OPENAI_JS")

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        PACKAGES is None or shutil.which("node") is None,
        reason="no JavaScript client: `npm install --prefix DIR openai`, GREENROOM_OPENAI_JS=DIR",
    ),
]


class Lines:
    """What a client's process tells."""

    def __init__(self, stdout) -> None:
        self._stdout = stdout
        self._rest = b""

    async def next(self):
        """None at the end."""
        with trio.fail_after(GUARD):
            while b"\n" not in self._rest:
                part = await self._stdout.receive_some(65536)
                if not part:
                    return None
                self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    async def rest(self):
        told = []
        while (one := await self.next()) is not None:
            told.append(one)
        return told


@asynccontextmanager
async def client(house, command, **asked):
    process = await trio.lowlevel.open_process(
        ["node", str(CLIENT), PACKAGES, f"{house.server.url}/v1", command, json.dumps(asked)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    async with process.stdout:
        try:
            yield Lines(process.stdout)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def test_a_stream_cut_by_kill_9_is_resumed_after_the_restart(tmp_path):
    async with open_house(tmp_path) as house:
        async with client(house, "stream", input="Count", background=True) as lines:
            turn = await house.upstream.next_turn()
            await turn.say("one ")
            events = [await lines.next() for _ in range(5)]
            await turn.say("two ")
            events.append(await lines.next())
            await house.server.kill()
        assert events[-1]["delta"] == "two "
        name, after = events[0]["response"]["id"], events[-2]["sequence_number"]
        asked = {"id": name, "starting_after": after}
        async with house.open(), client(house, "resume", **asked) as lines:
            rest = await lines.rest()
        assert rest[0] == events[-1]
        whole = [*events[:-1], *rest]
        assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
        assert rest[-1]["type"] == "response.failed"
        assert rest[-1]["response"]["output"][0]["content"][0]["text"] == "one two "


async def test_responses_conversations_chats_and_errors(tmp_path):
    async with open_house(tmp_path) as house:
        async with client(house, "whole", input="A?") as lines:
            await (await house.upstream.next_turn()).answer("a")
            response = await lines.next()
        assert (response["status"], response["output_text"]) == ("completed", "a")
        messages = [{"role": "user", "content": "A?"}]
        async with client(house, "chat", model="m", messages=messages) as lines:
            await (await house.upstream.next_turn()).answer("a")
            chunks = await lines.rest()
        assert [c["choices"][0]["delta"].get("content") for c in chunks] == ["", "a", None]
        items = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "a"}]
        async with client(house, "converse", items=items) as lines:
            made, *told, deleted = await lines.rest()
        assert [item["content"][0]["text"] for item in told] == ["A?", "a"]
        assert (deleted["id"], deleted["deleted"]) == (made["id"], True)
        async with client(house, "refused", input="A?", top_logprobs=1) as lines:
            refused = await lines.next()
        assert refused == {
            "name": "BadRequestError",
            "status": 400,
            "code": "unsupported_parameter",
            "param": "top_logprobs",
        }
