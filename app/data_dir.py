"""Whether the data directory can be ours, told before anything else is opened."""

import tempfile
from pathlib import Path

from actors.stores import DirectoryInUse, StoreError, own_directory

from .config import ConfigError

__all__ = ["check_data_dir", "refusal"]


def check_data_dir(data_dir: Path) -> None:
    """Make the directory if there is none, and see that we can write and own it."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"cannot write to the data directory '{data_dir}': {why}") from error
    try:
        with own_directory(data_dir):
            pass  # It is taken for good where it is used; this is for a clear word in time.
    except DirectoryInUse as error:
        raise refusal(data_dir, error) from error


def refusal(data_dir: Path, error: DirectoryInUse | StoreError) -> ConfigError:
    """What the person who started the server is told."""
    if isinstance(error, DirectoryInUse):
        owner = "another server" if error.pid is None else f"the server with process id {error.pid}"
        return ConfigError(f"the data directory '{data_dir}' is in use by {owner}")
    return ConfigError(f"cannot use the data directory '{data_dir}': {error}")
