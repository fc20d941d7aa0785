"""`greenroom sessions`: list them, show one, search, export."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click
import msgspec

from .listing import PAGE, project_named, resolved, rows_of, when
from .moving import output_to
from .server import Server, open_server_at, server_options
from .terminal import Terminal, clock, plain, run, table
from .transcript import transcript_of

__all__ = ["sessions"]

LIMIT = 20

as_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
limit_option = click.option(
    "--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most so many."
)


@click.group(short_help="List, show, search and export the sessions of a server.")
def sessions() -> None:
    """The sessions of a server that runs. An ID may be the beginning of one."""


@sessions.command("list")
@limit_option
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the first so many.")
@click.option("--archived", is_flag=True, help="Those that were put away.")
@click.option("--project", metavar="NAME", help="Those of one project.")
@as_json_option
@server_options
def list_(
    limit: int,
    offset: int,
    archived: bool,
    project: str | None,
    as_json: bool,
    url: str | None,
    data_dir: Path,
) -> int:
    """The pinned ones first, then those in which something was said last."""

    async def work() -> None:
        async with open_server_at(url, data_dir, Terminal().say) as server:
            wanted = None if project is None else await project_named(server, project)
            rows = await _rows(server, archived, wanted, offset, limit)
        if as_json:
            _write_json(rows[:limit])
            return
        _write_table(("ID", "LAST", "ROWS", "TITLE"), [_cells(row) for row in rows[:limit]])
        if len(rows) > limit:
            Terminal().aside(f"There are more: --limit {limit * 2}, or --offset {offset + limit}.")

    return run(work)


async def _rows(
    server: Server, archived: bool, project_id: str | None, offset: int, limit: int
) -> list[dict[str, Any]]:
    """One more than the limit, if there are more."""
    found: list[dict[str, Any]] = []
    start, skip = (offset, 0) if project_id is None else (0, offset)
    page = min(limit + 1, PAGE) if project_id is None else PAGE
    async with aclosing(rows_of(server.get, archived=archived, page=page, start=start)) as rows:
        async for row in rows:
            if project_id in (None, row["project_id"]):
                found.append(row)
            if len(found) > skip + limit:
                break
    return found[skip:]


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    running = "* " if row["is_streaming"] else ""
    return row["session_id"], clock(when(row)), str(row["message_count"]), running + row["title"]


def _write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        click.echo(table(head, rows))


def _write_json(data: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


@sessions.command()
@click.argument("session_id", metavar="ID")
@as_json_option
@server_options
def show(session_id: str, as_json: bool, url: str | None, data_dir: Path) -> int:
    """What was said: Markdown as it was written, each message behind a line of who and when."""

    async def work() -> None:
        async with open_server_at(url, data_dir, Terminal().say) as server:
            name = await resolved(server, session_id)
            session = (await server.get("/api/session", session_id=name))["session"]
        if as_json:
            _write_json(session)
        else:
            _write_text(transcript_of(session))

    return run(work)


@sessions.command()
@click.argument("words", nargs=-1, required=True)
@limit_option
@as_json_option
@server_options
def search(
    words: tuple[str, ...], limit: int, as_json: bool, url: str | None, data_dir: Path
) -> int:
    """The sessions in which these words were said, or that are called so. Exit code 1 for none."""

    async def work() -> int:
        async with open_server_at(url, data_dir, Terminal().say) as server:
            found = await server.get("/api/sessions/search", q=" ".join(words), limit=limit)
        rows = found["sessions"]
        if as_json:
            _write_json(rows)
        else:
            cells = [(*_cells(row), row["match_preview"] or "") for row in rows]
            kept = [(name, at, f"{title}: {said}") for name, at, _, title, said in cells]
            _write_table(("ID", "LAST", "FOUND"), kept)
        if not found["complete"]:
            Terminal().say("the search is not complete yet: some sessions are still being read")
        return 0 if rows else 1

    return run(work)


@sessions.command()
@click.argument("session_id", metavar="ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(("json", "html")),
    default="json",
    show_default=True,
    help="What `greenroom import` reads, or a page.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to; else stdout. A file that is there is left as it is.",
)
@server_options
def export(session_id: str, form: str, output: Path | None, url: str | None, data_dir: Path) -> int:
    """A session as a file. Keys that were pasted are marked as [secret]."""
    os.umask(0o077)

    async def work() -> None:
        async with open_server_at(url, data_dir, Terminal().say) as server:
            name = await resolved(server, session_id)
            data = await server.fetch("/api/session/export", session_id=name, format=form)
        if output is None and sys.stdout.isatty():
            _write_text(data.decode())
            return
        with output_to(output) as file:
            file.write(data)

    return run(work)


def _write_text(text: str) -> None:
    # Not by click: it would take the colours out of what goes to a file.
    sys.stdout.write((plain(text) if sys.stdout.isatty() else text) + "\n")
