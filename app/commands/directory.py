"""The data directory that a command is for, and the server that may be running on it."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import click
import httpx
import platformdirs
import trio

from actors.stores import DirectoryInUse, own_directory

from ..config import make_config
from ..run_file import read_run_file

__all__ = [
    "data_dir_option",
    "directory_argument",
    "existing",
    "open_server",
    "owned",
    "running_server",
    "split_places",
]

F = TypeVar("F", bound=Callable[..., object])
DIRECTORY = "GREENROOM_DATA_DIR"


def default_data_dir() -> Path:
    named = os.environ.get(DIRECTORY)
    return Path(named) if named else platformdirs.user_data_path("greenroom", appauthor=False)


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar=DIRECTORY,
    default=default_data_dir,
    show_default="your data directory",
    help="Where the sessions are kept. One server at a time.",
)


def directory_argument(command: F) -> F:
    return click.argument(
        "directory",
        required=False,
        type=click.Path(path_type=Path),
        default=default_data_dir,
        metavar="[DIR]",
    )(command)


def split_places(places: tuple[Path, ...]) -> tuple[Path, Path]:
    """Of `[DIR] FILE` both."""
    match places:
        case (file,):
            return existing(default_data_dir()), file
        case (directory, file):
            return existing(directory), file
    raise click.UsageError("say to which file: [DIR] FILE")


def existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise click.ClickException(f"there is no directory '{directory}'")
    return directory.absolute()


@contextmanager
def owned(directory: Path) -> Iterator[bool]:
    """Whether nobody else has the directory; then we have it inside the block."""
    with ExitStack() as stack:
        free = True
        try:
            stack.enter_context(own_directory(directory))
        except DirectoryInUse:
            free = False
        except OSError as error:
            raise click.ClickException(f"cannot use '{directory}': {error.strerror}") from error
        yield free


@asynccontextmanager
async def open_server(directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server that has the directory; if none has, of one in this process."""
    with owned(directory) as free:
        pass
    if free:
        async with _in_process(directory) as client:
            yield client
    else:
        async with running_server(directory) as client:
            yield client


@asynccontextmanager
async def running_server(directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    found = read_run_file(directory)
    if found is None:
        raise click.ClickException(f"'{directory}' is in use, and there is no server to be asked")
    headers = {"Authorization": f"Bearer {found.token}"}
    async with httpx.AsyncClient(
        base_url=found.url, headers=headers, timeout=None, trust_env=False
    ) as client:
        try:
            yield client
        except httpx.HTTPError as error:
            raise click.ClickException(f"the server at {found.url} broke off: {error}") from error


@asynccontextmanager
async def _in_process(directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The same endpoints, without a port."""
    from ..house import open_house

    config = make_config(data_dir=directory, agent="demo", titles="local")
    async with open_house(config, trio.Event()) as house:
        transport = httpx.ASGITransport(app=house.app)  # type: ignore[arg-type]
        headers = {"Authorization": f"Bearer {house.token}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers, timeout=None
        ) as client:
            yield client
