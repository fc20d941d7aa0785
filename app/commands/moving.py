"""`greenroom export` and `greenroom import`: conversations, as `/api/session/export` gives them."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click
import httpx
import msgspec
import trio

from .directory import data_dir_option, directory_argument, existing, open_server
from .listing import rows_of
from .server import error_of

__all__ = ["export", "import_", "output_to"]

FORMATS = ("jsonl", "json", "html")


@click.command(short_help="Write conversations as JSON Lines, JSON or HTML.")
@directory_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="jsonl",
    show_default=True,
    help="jsonl: a session a line. json and html: a session a file.",
)
@click.option(
    "--session", "session_ids", multiple=True, metavar="ID", help="Only this one; may be repeated."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Where to: a file for jsonl (else stdout), a directory for json and html (else here).",
)
def export(directory: Path, form: str, session_ids: tuple[str, ...], output: Path | None) -> int:
    """Write all conversations of a data directory, or some, for other programs or for people.

    Keys that were pasted are marked as [secret], as on the page. To keep everything, as it is, use
    `greenroom backup`. A server may be running.
    """
    os.umask(0o077)
    written = trio.run(_export, existing(directory), form, session_ids, output)
    click.echo(f"{written} sessions", err=True)
    return 0


async def _export(
    directory: Path, form: str, session_ids: tuple[str, ...], output: Path | None
) -> int:
    written = 0
    with ExitStack() as files:
        lines = files.enter_context(output_to(output)) if form == "jsonl" else None
        async with open_server(directory) as client:
            for name in session_ids or await _all_ids(client):
                wanted = {"session_id": name, "format": "html" if form == "html" else "json"}
                response = await client.get("/api/session/export", params=wanted)
                if response.status_code == 404 and not session_ids:
                    continue  # deleted meanwhile
                _check(response, f"session {name}")
                if lines is not None:
                    lines.write(msgspec.json.format(response.content, indent=-1) + b"\n")
                else:
                    _put(output or Path(), f"{name}.{form}", response.content)
                written += 1
    return written


@contextmanager
def output_to(output: Path | None) -> Iterator[BinaryIO]:
    """A new file, or stdout."""
    if output is None:
        yield sys.stdout.buffer
        return
    try:
        with output.open("xb") as file:
            yield file
    except OSError as error:
        raise click.ClickException(f"cannot write '{output}': {error.strerror}") from error


def _put(directory: Path, name: str, data: bytes) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    except OSError as error:
        raise click.ClickException(f"cannot write '{name}': {error.strerror}") from error


async def _all_ids(client: httpx.AsyncClient) -> list[str]:
    """Of all that the list shows, the archived ones last."""

    async def get(path: str, **params: Any) -> dict[str, Any]:
        response = await client.get(path, params=params)
        _check(response, "the list")
        page: dict[str, Any] = response.json()
        return page

    ids: dict[str, None] = {}
    for archived in (False, True):
        async with aclosing(rows_of(get, archived=archived)) as rows:
            ids |= {row["session_id"]: None async for row in rows}
    return list(ids)


def _check(response: httpx.Response, what: str) -> None:
    if response.status_code != 200:
        raise click.ClickException(f"{what}: {error_of(response)}")


@click.command("import", short_help="Take in conversations that were exported.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@data_dir_option
def import_(files: tuple[Path, ...], data_dir: Path) -> int:
    """Take in conversations that an export has written: JSON, or JSON Lines; "-" is stdin.

    Each becomes a new session. A server may be running.
    """
    os.umask(0o077)
    sessions = [(str(file), data) for file in files for data in _sessions_in(file)]
    taken = trio.run(_import, data_dir.expanduser().absolute(), sessions)
    click.echo(f"{taken} sessions", err=True)
    return 0


async def _import(directory: Path, sessions: Sequence[tuple[str, bytes]]) -> int:
    async with open_server(directory) as client:
        for n, (file, data) in enumerate(sessions):
            headers = {"Content-Type": "application/json"}
            response = await client.post("/api/session/import", content=data, headers=headers)
            _check(response, f"{file}, after {n} sessions were taken in")
            click.echo(response.json()["session"]["session_id"])
    return len(sessions)


def _sessions_in(file: Path) -> list[bytes]:
    """A file is one JSON object, or one on each line."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read '{file}': {error.strerror}") from error
    try:
        msgspec.json.decode(data)
        return [data]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        lines = [line for line in data.splitlines() if line.strip()]
    for n, line in enumerate(lines, 1):
        try:
            msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise click.ClickException(f"'{file}', line {n}, is not JSON: {error}") from error
    return lines
