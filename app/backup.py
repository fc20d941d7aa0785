"""A backup: one tar file of what a data directory held at one moment. Blocks: for a thread.

Files are replaced by others, or grow; nothing that is written is changed. So hard links, and the
lengths of the files, taken while nothing is written are that moment, whatever comes after. There
may be many records: these are linked a few at a time, and before that each that is to be changed.
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
    "Snapshot",
    "files_of",
    "remove_links",
    "restore",
    "sweep_links",
    "tar_of",
]

LINKS = ".backup."
SESSIONS = "sessions"
MOMENT = 0.01  # seconds for which the saves of records wait, again and again
# Made anew, of one run, or fetched again.
LEFT_OUT = ("greenroom.lock", "users.lock", "server.json", "models", "search.sqlite", LINKS)
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


def files_of(data_dir: Path, without: str | None = None) -> list[File]:
    """All that belongs in a backup, where it lies: while nobody else owns the directory. Or all
    but what is in the directory `without`.
    """
    return list(_walk(data_dir, "", without))


def _walk(directory: Path, within: str, without: str | None = None) -> Iterator[File]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if (not within and entry.name.startswith(LEFT_OUT)) or ".tmp." in entry.name:
            continue
        if not within and entry.name == without:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(directory / entry.name, f"{within}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            status = entry.stat()
            path = directory / entry.name
            yield File(within + entry.name, path, status.st_size, status.st_mtime)


class Snapshot:
    """A directory as it was at one moment: when this was made, while nothing was written.

    From then on `keep` must be told of each record before it is changed, and `keep_some` be called
    until it says that there are no more, both while no other record is written.
    """

    def __init__(self, data_dir: Path) -> None:
        self.links = data_dir / f"{LINKS}{os.getpid()}.{next(_numbers)}"
        self.files: list[File] = []
        self.failure: OSError | None = None
        self._sessions = data_dir / SESSIONS
        self.links.mkdir(mode=0o700)
        try:
            names = os.listdir(self._sessions)
            self._left = dict.fromkeys(name for name in names if ".tmp." not in name)
            for file in files_of(data_dir, without=SESSIONS):
                self._link(file)
        except BaseException:
            remove_links(self.links)
            raise

    def keep(self, path: Path) -> None:
        """As it is, if it is of that moment and was not kept yet."""
        if path.name in self._left:
            del self._left[path.name]
            try:
                status = path.stat()
                name = f"{SESSIONS}/{path.name}"
                self._link(File(name, path, status.st_size, status.st_mtime))
            except OSError as error:
                self.failure = error  # the backup's, not theirs who change a record

    def keep_some(self) -> None:
        """For a moment: others wait."""
        end = time.perf_counter() + MOMENT
        while self._left and time.perf_counter() < end:
            self.keep(self._sessions / next(iter(self._left)))

    @property
    def complete(self) -> bool:
        return not self._left

    def _link(self, file: File) -> None:
        link = self.links / str(len(self.files))
        try:
            os.link(file.path, link)
        except OSError:  # a file system without hard links
            shutil.copyfile(file.path, link)
        # Of what a command replaces meanwhile, as it does with the users, we have one or the other.
        self.files.append(file._replace(path=link, size=link.stat().st_size))


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
