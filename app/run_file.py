"""`server.json`: how a command on the same machine finds the server of a data directory."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from actors.stores import replace_file

__all__ = ["RUN_FILE", "RunFile", "read_run_file", "remove_run_file", "write_run_file"]

RUN_FILE = "server.json"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class RunFile(msgspec.Struct, frozen=True):
    """`token` is of this run: who can read the file has authority over the directory."""

    url: str
    pid: int
    token: str


def write_run_file(data_dir: Path, address: tuple[str, int], token: str) -> None:
    """Replaces what a run that was killed has left. Raises `OSError`."""
    host, port = EVERYWHERE.get(address[0], address[0]), address[1]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    replace_file(data_dir / RUN_FILE, msgspec.json.encode(RunFile(url, os.getpid(), token)))


def read_run_file(data_dir: Path) -> RunFile | None:
    """What the last server wrote; it may be gone. None if there is nothing that makes sense."""
    try:
        return msgspec.json.decode((data_dir / RUN_FILE).read_bytes(), type=RunFile)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def remove_run_file(data_dir: Path) -> None:
    with suppress(OSError):
        (data_dir / RUN_FILE).unlink(missing_ok=True)
