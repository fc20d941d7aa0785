"""`greenroom doctor`."""

import os
import textwrap
from pathlib import Path

import click
import msgspec

from actors.doctor import Examination, Finding, examine, mend

from .directory import directory_argument, existing, owned

__all__ = ["doctor", "looked_over"]

WIDTH = 88


@click.command(short_help="Say what is wrong in a data directory, and mend it.")
@directory_argument
@click.option("--repair", is_flag=True, help="Mend what can be mended without losing anything.")
@click.option("--json", "as_json", is_flag=True, help="Say it as JSON.")
def doctor(directory: Path, repair: bool, as_json: bool) -> int:
    """Look at everything in a data directory, and say in plain words what is wrong.

    Nothing is changed without --repair, and that sets aside what cannot be read, and deletes
    nothing that cannot be made anew. The exit code is 0 if no damage is left, else 1. A server may
    be running, but not with --repair.
    """
    return looked_over(existing(directory), repair=repair, as_json=as_json)


def looked_over(directory: Path, *, repair: bool = False, as_json: bool = False) -> int:
    from ..idempotency import decode_answer

    os.umask(0o077)
    with owned(directory) as free:
        if repair and not free:
            raise click.ClickException("a server is running here: stop it, then --repair")
        found = examine(directory, decode_answer, in_use=not free)
        if repair:
            mend(found)
    click.echo(_as_json(found) if as_json else _as_text(found))
    return int(found.damaged)


def _as_json(found: Examination) -> str:
    said = {
        "directory": str(found.data_dir),
        "ok": not found.damaged,
        "in_use": found.in_use,
        "checked": found.checked,
        "findings": found.findings,
    }
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode()


def _as_text(found: Examination) -> str:
    looked = ", ".join(f"{number} {what}" for what, number in found.checked.items())
    lines = [f"Looked at '{found.data_dir}': {looked}."]
    if found.in_use:
        lines.append("A server is running on it: what it is just writing was not looked at.")
    for finding in sorted(found.findings, key=lambda finding: not finding.damage):
        lines += ["", *_told(finding)]
    damages = [finding for finding in found.findings if finding.damage]
    mended = sum(finding.mended is not None for finding in damages)
    lines.append("")
    if not damages:
        lines.append("No damage.")
    elif mended == len(damages):
        lines.append(f"{mended} damaged, all mended.")
    else:
        lines.append(f"{len(damages)} damaged, {mended} mended.")
    return "\n".join(lines)


def _told(finding: Finding) -> list[str]:
    mark = "note" if not finding.damage else "mended" if finding.mended else "DAMAGE"
    do = f"Done: {finding.mended}." if finding.mended else f"What to do: {finding.do}"
    lines = [f"{mark}: {finding.path}: {finding.what}"]
    for text in (finding.means, do):
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines
