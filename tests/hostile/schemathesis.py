"""Schemathesis, which makes requests of what a document promises and forbids, as a process."""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import trio

__all__ = ["attack"]

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
# Streams without an end; and a path that leads elsewhere if what stands for its variable is wrong.
LEFT_OUT = (
    r"^/api/(sessions/events|session/stream|tab/events|inspector/events)$|^/(session/{name}|login)$"
)
SESSIONS = 12


async def attack(
    url: str, *, seconds: int, seed: int | None = None, loud: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Raises nothing for what it finds: its exit code and its words say that."""
    seed = random.randrange(2**32) if seed is None else seed
    print(f"schemathesis: seed {seed}")
    names = await _sessions(url)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    command += ["--seed", str(seed), "--max-time", str(seconds), "--checks", ",".join(CHECKS)]
    command += ["--exclude-path-regex", LEFT_OUT, "--request-timeout", "30", "--no-color"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure"]
    hooks = str(Path(__file__).with_name("schemathesis_hooks.py"))
    with tempfile.TemporaryDirectory() as directory:  # it leaves files where it runs
        return await trio.run_process(
            command,
            check=False,
            capture_stdout=not loud,
            stderr=None if loud else subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, "SCHEMATHESIS_HOOKS": hooks, "HOSTILE_SESSIONS": ",".join(names)},
        )


async def _sessions(url: str) -> list[str]:
    """Some that there are, or everything would be about none: the half with something in them."""
    rows = [
        {"role": role, "content": f"{role} {n}"} for n in range(6) for role in ("user", "assistant")
    ]
    names = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for _ in range(SESSIONS):
            answer = await client.post("/api/session/import", json={"messages": rows})
            names.append(answer.json()["session"]["session_id"])
    return names
