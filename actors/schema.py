"""`schema.json`: the version of each part of what a data directory holds.

A program that knows only older ones leaves all of it as it is. One that knows newer ones reads the
older, and says here what it writes from now on.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from actors.stores import NewerVersion

__all__ = ["PARTS", "SCHEMA_FILE", "check_schema", "read_schema", "settle_schema"]

log = logging.getLogger("actors.greenroom")

SCHEMA_FILE = "schema.json"
PARTS = {"records": 2, "index": 1, "journal": 2, "projects": 1, "answers": 2, "search": 2}


def read_schema(data_dir: Path) -> Mapping[str, int]:
    """What the directory says of itself; nothing before it said so, or if that makes no sense."""
    try:
        return msgspec.json.decode((data_dir / SCHEMA_FILE).read_bytes(), type=dict[str, int])
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def check_schema(data_dir: Path) -> None:
    """Raises `NewerVersion`. A part that we have never heard of is newer, too."""
    found = read_schema(data_dir)
    newer = [f"{part} {found[part]}" for part in found if found[part] > PARTS.get(part, 0)]
    if newer:
        known = ", ".join(f"{part} {PARTS[part]}" for part in found if part in PARTS)
        raise NewerVersion(
            f"it was written by a newer Greenroom ({', '.join(newer)}; this one knows {known}):"
            " use that one. Nothing was changed"
        )


def settle_schema(data_dir: Path) -> None:
    """Check, then say what we write. By the owner of the directory. Raises `NewerVersion`."""
    check_schema(data_dir)
    if read_schema(data_dir) != PARTS:
        try:
            _write(data_dir)
        except OSError as error:
            log.warning("the versions of what is written could not be noted: %s", error)


def _write(data_dir: Path) -> None:
    temporary = data_dir / f"{SCHEMA_FILE}.tmp.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(PARTS), indent=2))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(data_dir / SCHEMA_FILE)
    finally:
        temporary.unlink(missing_ok=True)
