"""`schema.json`: the version of each part of what a data directory holds.

A program that knows only older ones leaves all of it as it is. One that knows newer ones reads the
older, and says here what it writes from now on.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from actors.stores import NewerVersion, replace_file

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
            made = msgspec.json.format(msgspec.json.encode(PARTS), indent=2)
            replace_file(data_dir / SCHEMA_FILE, made)
        except OSError as error:
            log.warning("the versions of what is written could not be noted: %s", error)
