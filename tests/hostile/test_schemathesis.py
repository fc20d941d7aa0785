"""What the published document promises is true, also for who holds it to that by the thousand.

For longer: `python -m tests.hostile --seconds 900`.
"""

import os
import sys

import pytest

from tests.app.process import running_server
from tests.hostile.schemathesis import attack

pytestmark = pytest.mark.process

SECONDS = 10


@pytest.mark.timeout(400)
async def test_the_document_is_true(tmp_path):
    seed = os.environ.get("HOSTILE_SEED")
    async with running_server(tmp_path) as server:
        found = await attack(server.url, seconds=SECONDS, seed=int(seed) if seed else None)
        assert found.returncode == 0, found.stdout.decode()[-20_000:]
        assert "Traceback" not in server.stderr, server.stderr
    sys.stdout.write(found.stdout.decode()[-1000:])
