"""A backup: one tar file of what a data directory held at one moment. Blocks: for a thread.

Files are replaced by others, or grow; nothing that is written is changed. So hard links, and the
lengths of the files, taken while nothing is written are that moment, whatever comes after.
"""

import os
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import msgspec

from . import __version__

__all__ = [
    "BadBackup",
    "Manifest",
    "files_of",
    "link_all",
    "remove_links",
    "restore",
    "sweep_links",
    "tar_of",
]

LINKS = ".backup."
# Made anew, of one run, or fetched again.
LEFT_OUT = ("greenroom.lock", "server.json", "models", "search.sqlite", LINKS)
MANIFEST = "greenroom-backup.json"
FORMAT = 1
CHUNK = 1 << 20
_numbers = count()


class BadBackup(Exception):
    """It is no backup, not all of one, or of a version that we do not know. Nothing was changed."""


class File(NamedTuple):
    name: str  # within the data directory
    path: Path  # where it is read
    size: int  # how much of it counts
    mtime: float


class Manifest(msgspec.Struct, frozen=True):
    """The first file in the tar: how much must follow."""

    format: int
    version: str  # of the program
    made_at: float
    files: int
    bytes: int


# -- making one ---------------------------------------------------------------------------------


def files_of(data_dir: Path) -> list[File]:
    """All that belongs in a backup, where it lies: while nobody else owns the directory."""
    return list(_walk(data_dir, ""))


def _walk(directory: Path, within: str) -> Iterator[File]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if (not within and entry.name.startswith(LEFT_OUT)) or ".tmp." in entry.name:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(directory / entry.name, f"{within}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            status = entry.stat()
            path = directory / entry.name
            yield File(within + entry.name, path, status.st_size, status.st_mtime)


def link_all(data_dir: Path) -> tuple[Path, list[File]]:
    """The files as they are now, under names of their own. While nothing is written."""
    links = data_dir / f"{LINKS}{os.getpid()}.{next(_numbers)}"
    links.mkdir(mode=0o700)
    try:
        return links, [_linked(file, links / str(n)) for n, file in enumerate(files_of(data_dir))]
    except BaseException:
        remove_links(links)
        raise


def _linked(file: File, link: Path) -> File:
    try:
        os.link(file.path, link)
    except OSError:  # a file system without hard links
        shutil.copyfile(file.path, link)
    return file._replace(path=link)


def remove_links(links: Path) -> None:
    shutil.rmtree(links, ignore_errors=True)


def sweep_links(data_dir: Path) -> None:
    """What a backup left that a crash cut off."""
    for links in data_dir.glob(LINKS + "*"):
        remove_links(links)


def tar_of(files: Sequence[File]) -> Iterator[bytes]:
    """The tar file, part by part."""
    size = sum(file.size for file in files)
    manifest = msgspec.json.encode(Manifest(FORMAT, __version__, time.time(), len(files), size))
    part = bytearray(_header(MANIFEST, len(manifest), time.time()) + manifest)
    part += _padding(len(manifest))
    for file in files:
        part += _header(file.name, file.size, file.mtime)
        left = file.size
        with file.path.open("rb") as source:
            while left:
                data = source.read(min(left, CHUNK))
                if not data:
                    raise OSError(f"{file.name} has become shorter")
                left -= len(data)
                part += data
                if len(part) >= CHUNK:
                    yield bytes(part)
                    part.clear()
        part += _padding(file.size)
    yield bytes(part) + bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int, mtime: float) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, int(mtime), 0o600
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


# -- using one ----------------------------------------------------------------------------------


def restore(source: BinaryIO, target: Path) -> Manifest:
    """Make the directory `target` of a backup: all of it or none. Raises `BadBackup`, or `OSError`
    if there is something at `target`.
    """
    with _appearing(target) as directory, _reading():
        with tarfile.open(fileobj=source, mode="r|") as tar:
            members = iter(tar)
            manifest = _manifest(tar, next(members, None))
            files = size = 0
            for member in members:
                _extract(tar, member, directory)
                files, size = files + 1, size + member.size
        if (files, size) != (manifest.files, manifest.bytes):
            raise BadBackup(
                f"it is not whole: {files} of {manifest.files} files, {size} of"
                f" {manifest.bytes} bytes"
            )
        os.sync()
    return manifest


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadBackup(f"it cannot be read: {error}") from error


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A directory that becomes `target` when the block ends well, and else is gone."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"there is something in '{target}' already")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = target.with_name(f"{target.name}.restoring.{os.getpid()}")
    directory.mkdir(mode=0o700)
    try:
        yield directory
        directory.rename(target)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _manifest(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> Manifest:
    file = tar.extractfile(member) if member is not None and member.name == MANIFEST else None
    if file is None:
        raise BadBackup("it is no backup that Greenroom has made")
    manifest = msgspec.json.decode(file.read(), type=Manifest)
    if manifest.format > FORMAT:
        raise BadBackup(f"it was made by a newer Greenroom, {manifest.version}: restore it there")
    return manifest


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> None:
    parts = PurePosixPath(member.name).parts
    source = tar.extractfile(member) if member.isreg() else None
    if source is None or not parts or ".." in parts or parts[0] == "/":
        raise BadBackup(f"it holds what no backup has: {member.name[:80]!r}")
    path = directory.joinpath(*parts)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
    os.utime(path, (member.mtime, member.mtime))
