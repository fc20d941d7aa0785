"""`greenroom backup` and `greenroom restore`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import trio

from ..backup import BadBackup, files_of, tar_of
from ..backup import restore as restored
from .directory import owned, running_server, split_places

__all__ = ["backup", "restore"]


@click.command(short_help="Write all that a data directory holds to a file.")
@click.argument("places", nargs=-1, type=click.Path(path_type=Path), metavar="[DIR] FILE.tar")
@click.option("--force", is_flag=True, help="Replace FILE.tar if it is there.")
def backup(places: tuple[Path, ...], force: bool) -> int:
    """Write all that a data directory holds to FILE.tar, or to stdout for "-".

    A server may be running on it: what was accepted before is in the backup, and nothing by half.
    The model, the search and what belongs to a run are left out; they are made anew.
    """
    directory, file = split_places(places)
    if file.exists() and not force:
        raise click.ClickException(f"'{file}' is there already; --force replaces it")
    with owned(directory) as free, _written(file) as target:
        if free:
            for part in tar_of(files_of(directory)):
                target.write(part)
        else:
            trio.run(_download, directory, target)
    return 0


async def _download(directory: Path, target: BinaryIO) -> None:
    async with running_server(directory) as client, client.stream("GET", "/api/backup") as response:
        if response.status_code != 200:
            raise click.ClickException(f"the server refused: {response.status_code}")
        async for part in response.aiter_bytes():
            target.write(part)


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """A file that is there when all of it is."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    temporary = file.with_name(f"{file.name}.tmp.{os.getpid()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as target:
                yield target
                target.flush()
                os.fsync(target.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise click.ClickException(f"cannot write '{file}': {error.strerror or error}") from error


@click.command(short_help="Make a data directory of a backup.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tar")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
def restore(file: Path, directory: Path) -> int:
    """Make the data directory DIR of a backup; "-" reads it from stdin. DIR must be new or empty.

    It is looked over afterwards, as `greenroom doctor` does.
    """
    from .doctor import looked_over

    try:
        if str(file) == "-":
            manifest = restored(sys.stdin.buffer, directory.absolute())
        else:
            with file.open("rb") as source:
                manifest = restored(source, directory.absolute())
    except BadBackup as error:
        raise click.ClickException(f"'{file}' cannot be restored: {error}") from error
    except OSError as error:
        raise click.ClickException(f"cannot restore: {error}") from error
    click.echo(f"{manifest.files} files, {manifest.bytes} bytes, in '{directory}'")
    return looked_over(directory.absolute())
