"""What is wrong with a data directory, in plain words, and what can be mended without a loss.

Blocks: for a command. Only `mend` changes anything, and only for the owner of the directory.
"""

import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from actors.index.actor import INDEX
from actors.index.file import checked, decode_rows, encode_parts
from actors.index.messages import STAMP
from actors.projects.actor import dump_projects, load_projects
from actors.projects.messages import ProjectsDamaged
from actors.schema import SCHEMA_FILE, check_schema, read_schema
from actors.search.database import VERSION as SEARCH_VERSION
from actors.session.amendments import extent_of
from actors.session.entries import decode
from actors.session.record import Record, RecordDamaged, is_session_id, load, summary
from actors.stores import NewerVersion, RecordInfo, replace_file
from actors.stores.frames import SETTLED, encode_frame, read_frames

__all__ = ["Examination", "Finding", "examine", "mend"]

SUFFIX = ".json"
OURS = {"sessions", "journal", "answers", "models"}
SEARCH = "search.sqlite"

Mend = Callable[[Path], str]
"""Given the data directory; says what it has done."""

Payload = Callable[[bytes], object]
"""Decodes what an entry holds; raises `MsgspecError`."""


class Finding(msgspec.Struct):
    """`damage`: something is lost, or may be; else it is only worth knowing. `mended` says what was
    done about it.
    """

    kind: str
    path: str  # within the data directory
    what: str
    means: str
    do: str
    damage: bool = True
    mended: str | None = None


class Examination:
    """Everything that was found, and how much was looked at."""

    def __init__(self, data_dir: Path, *, in_use: bool) -> None:
        self.data_dir = data_dir
        self.in_use = in_use
        self.findings: list[Finding] = []
        self.checked = {"records": 0, "index rows": 0, "projects": 0, "journal entries": 0}
        self.checked |= {"kept answers": 0}
        self.records: dict[str, Record] = {}
        self._mends: list[tuple[Finding, Mend]] = []

    @property
    def damaged(self) -> bool:
        return any(finding.damage and finding.mended is None for finding in self.findings)

    def find(self, finding: Finding, mend: Mend | None = None) -> None:
        self.findings.append(finding)
        if mend is not None:
            self._mends.append((finding, mend))

    @property
    def mends(self) -> Sequence[tuple[Finding, Mend]]:
        return self._mends


def examine(data_dir: Path, answer: Payload, *, in_use: bool = False) -> Examination:
    """Look at all of it. `in_use`: somebody writes there meanwhile, so what is half done is fine.

    `answer` decodes what is kept for an `Idempotency-Key`.
    """
    found = Examination(data_dir, in_use=in_use)
    if not _schema(found):
        return found  # what else would be said of it might be wrong
    _modes(found)  # first: what is set aside later keeps its mode
    _records(found)
    _index(found)
    _projects(found)
    _journal(found, "journal", "journal entries", decode, RUNNING)
    _journal(found, "answers", "kept answers", answer, ANSWERS)
    _search(found)
    _other_files(found)
    return found


def mend(found: Examination) -> None:
    """Do what can be done. What cannot be read is set aside, never deleted."""
    for finding, repair in found.mends:
        try:
            finding.mended = repair(found.data_dir)
        except OSError as error:
            finding.do = f"could not be mended: {error.strerror or error}"


# -- versions -----------------------------------------------------------------------------------


def _schema(found: Examination) -> bool:
    """Whether we understand what is here."""
    path = found.data_dir / SCHEMA_FILE
    try:
        check_schema(found.data_dir)
    except NewerVersion as error:
        means = "This program would not understand what is here, and does not start on it."
        found.find(Finding("newer version", SCHEMA_FILE, str(error), means, "Use the newer one."))
        return False
    if not read_schema(found.data_dir):
        what = "it cannot be read" if path.exists() else "it is not there"
        means = "The directory is from before versions were noted; all of those can be read."
        do = "Nothing: the next start writes it."
        found.find(Finding("no version", SCHEMA_FILE, what, means, do, damage=False))
    return True


# -- records ------------------------------------------------------------------------------------


def _records(found: Examination) -> None:
    for path in _files(found.data_dir / "sessions"):
        name, within = path.name.removesuffix(SUFFIX), f"sessions/{path.name}"
        if ".json.tmp." in path.name:
            _leftover(found, path)
        elif ".json.damaged" in path.name:
            what = "it was set aside because it could not be read"
            means = "Its session is not listed. Nothing else depends on it."
            do = "Look what is in it; delete it when you need it no more."
            found.find(Finding("set aside", within, what, means, do, damage=False))
        elif path.name == INDEX + SUFFIX:
            continue
        elif not path.name.endswith(SUFFIX) or not is_session_id(name):
            means = "It is no record, and is left alone."
            do = "Nothing, or move it elsewhere."
            what = "a file that is not ours"
            found.find(Finding("foreign file", within, what, means, do, damage=False))
        else:
            _record(found, name, path)
    for name, record in found.records.items():
        _left_by_a_crash(found, name, record)


def _record(found: Examination, name: str, path: Path) -> None:
    found.checked["records"] += 1
    within = f"sessions/{path.name}"
    try:
        data = path.read_bytes()
        found.records[name] = load(name, data)
        _torn(found, within, data)
    except FileNotFoundError:
        found.checked["records"] -= 1  # deleted meanwhile
    except OSError as error:
        means = "The session cannot be opened."
        do = "Look after the disk, or who may read the file."
        found.find(Finding("unreadable", within, error.strerror or str(error), means, do))
    except RecordDamaged as error:
        what = str(error.__cause__ or error)
        if "newer" in what:
            means = "The session cannot be opened by this program. It is left as it is."
            found.find(Finding("newer version", within, what, means, "Use the newer one."))
            return
        size = f"{len(data)} bytes, " if data else "empty, "
        means = (
            "This session cannot be opened and is not listed; all others work. What it held is"
            " in the file as far as it goes."
        )
        do = "--repair sets the file aside, so that nothing stumbles over it; take it from a backup"
        finding = Finding("damaged record", within, size + what, means, do)
        found.find(finding, lambda _: _set_aside(path))


def _torn(found: Examination, within: str, data: bytes) -> None:
    if extent_of(data) is None and not data.endswith(b"}") and not found.in_use:
        what = "its last line is not whole, as a power cut leaves it"
        means = "Nobody was told that it was saved; the record is what it was before."
        do = "Nothing: the next save writes it whole."
        found.find(Finding("torn end", within, what, means, do, damage=False))


def _left_by_a_crash(found: Examination, name: str, record: Record) -> None:
    within, to = f"sessions/{name}{SUFFIX}", record.continuation_session_id
    if record.busy and not found.in_use:
        means = "What was shown of the answer is kept; the next start puts it into the transcript."
        what = "a turn was running when the server was cut off"
        do = "Nothing: start the server."
        found.find(Finding("cut off", within, what, means, do, damage=False))
    if to is not None and to not in found.records and not _exists(found, to):
        means = "An older id of a session that is gone; who asks for it hears that there is none."
        what = f"it leads to {to}, which is not there"
        do = "If you did not delete that session, take it from a backup."
        found.find(Finding("leads nowhere", within, what, means, do, damage=False))


def _exists(found: Examination, name: str) -> bool:
    return (found.data_dir / "sessions" / f"{name}{SUFFIX}").exists()


# -- the list and the projects ------------------------------------------------------------------


def _index(found: Examination) -> None:
    path, within = found.data_dir / "sessions" / (INDEX + SUFFIX), f"sessions/{INDEX}{SUFFIX}"
    means = "Nothing is lost: the list is made from the records."
    do = "Nothing: the next start makes it anew. --repair does it now."

    def anew(data_dir: Path) -> str:
        _write_index(data_dir, found.records)
        return f"made anew of {len(found.records)} records"

    def set_aside(data_dir: Path) -> str:
        return f"{_set_aside(path)}; {anew(data_dir)}"

    try:
        rows = [row for part in decode_rows(path.read_bytes()) for row in part]
        found.checked["index rows"] = len(rows)
        known = {str(row["session_id"]): row.get(STAMP) for row in rows}
    except FileNotFoundError:
        if found.records:
            what = "it is not there"
            found.find(Finding("no index", within, what, means, do, damage=False), anew)
        return
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError, OSError) as error:
        if _is_of_an_older_program(path):
            what = "it was written before lists had a check"
            found.find(Finding("old index", within, what, means, do, damage=False), anew)
        else:
            found.find(Finding("damaged index", within, str(error), means, do), set_aside)
        return
    if found.in_use:
        return  # it is a moment behind
    stale = [name for name in found.records if known.get(name) != _stamp(found.data_dir, name)]
    gone = known.keys() - found.records.keys()
    if stale or gone:
        what = f"{len(stale)} records have changed since it was written, {len(gone)} are gone"
        found.find(Finding("old index", within, what, means, do, damage=False), anew)


def _is_of_an_older_program(path: Path) -> bool:
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError):
        return False
    return all(STAMP in row and "_check" not in row for row in rows)


def _stamp(data_dir: Path, name: str) -> str:
    status = (data_dir / "sessions" / f"{name}{SUFFIX}").stat()
    return RecordInfo(name, status.st_mtime_ns, status.st_size, status.st_ino).stamp


def _write_index(data_dir: Path, records: Mapping[str, Record]) -> None:
    rows = [{**summary(record), STAMP: _stamp(data_dir, name)} for name, record in records.items()]
    replace_file(data_dir / "sessions" / (INDEX + SUFFIX), checked(b"".join(encode_parts(rows))))


def _projects(found: Examination) -> None:
    path = found.data_dir / "projects.json"
    try:
        projects = load_projects(path.read_bytes())
        found.checked["projects"] = len(projects)
    except FileNotFoundError:
        return
    except (ProjectsDamaged, OSError) as error:
        named = {record.project_id: record for record in found.records.values()}
        named.pop(None, None)
        means = (
            "Projects cannot be listed or changed. The sessions are whole, and each knows its"
            f" project: {len(named)} of them."
        )
        do = "--repair sets it aside and makes the projects anew, with names that you may change"

        def anew(_: Path) -> str:
            aside = _set_aside(path)
            made: list[dict[str, Any]] = [
                {"project_id": project_id, "name": f"Recovered project {n}", "color": None}
                | {"created_at": named[project_id].created_at}
                for n, project_id in enumerate(sorted(filter(None, named)), 1)
            ]
            replace_file(path, dump_projects(made))
            return f"{aside}; {len(made)} projects made anew"

        what = str(error)
        found.find(Finding("damaged projects", "projects.json", what, means, do), anew)


# -- the journals -------------------------------------------------------------------------------

RUNNING = (
    "Entries of turns that were running then cannot be shown again. Transcripts of turns that"
    " have ended are in the records, and whole."
)
ANSWERS = (
    "A request that is repeated with the same Idempotency-Key may be done again instead of being"
    " answered from here."
)


def _journal(
    found: Examination, directory: str, counted: str, payload: Payload, means: str
) -> None:
    segments = []
    for path in _files(found.data_dir / directory):
        if path.suffix == ".journal" and len(path.stem) == 8 and path.stem.isdigit():
            segments.append(path)
        elif ".journal.damaged" not in path.name:
            what = "a file that is not ours"
            left = "It is left alone."
            within = f"{directory}/{path.name}"
            do = "Nothing, or move it elsewhere."
            found.find(Finding("foreign file", within, what, left, do, damage=False))
    for path in segments:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # given back meanwhile
        last = path == segments[-1]
        _segment(found, path, f"{directory}/{path.name}", data, last, counted, payload, means)


def _segment(
    found: Examination,
    path: Path,
    within: str,
    data: bytes,
    last: bool,
    counted: str,
    payload: Payload,
    means: str,
) -> None:
    lost = torn = 0
    unknown = 0
    for start, end, frame in read_frames(data):
        if frame is None:
            if last and end == len(data):
                torn = end - start
            else:
                lost += end - start
            continue
        if frame.seq != SETTLED:
            found.checked[counted] += 1
            try:
                payload(frame.payload)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                unknown += 1

    def whole(_: Path) -> str:
        frames = [frame for _, _, frame in read_frames(data) if frame is not None]
        aside = _set_aside(path)
        replace_file(path, b"".join(encode_frame(*frame) for frame in frames))
        return f"{aside}; {len(frames)} whole entries kept"

    if lost:
        what = f"{lost} of {len(data)} bytes cannot be read"
        do = "--repair keeps every whole entry, and a copy of the file as it is"
        found.find(Finding("damaged journal", within, what, means, do), whole)
    if torn and not found.in_use:
        what = f"its last {torn} bytes are no whole entry, as a power cut leaves it"
        left = "Nobody was shown them."
        do = "Nothing: the next start cuts them off."
        found.find(Finding("torn end", within, what, left, do, damage=False))
    if unknown:
        what = f"{unknown} entries are whole, and make no sense to this program"
        do = "If a newer Greenroom wrote them, use that."
        found.find(Finding("unknown entries", within, what, means, do))


# -- the search, and what lies about ------------------------------------------------------------


def _search(found: Examination) -> None:
    path = found.data_dir / SEARCH
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
        if said == "ok" and version in (0, SEARCH_VERSION):
            return
        what = said if said != "ok" else f"its version is {version}, not {SEARCH_VERSION}"
    except sqlite3.Error as error:
        if found.in_use and "locked" in str(error):
            return
        what = str(error)
    means = "Nothing is lost: the search is made from the records."
    do = "Nothing: it is made anew when it is needed. --repair removes it now."

    def remove(data_dir: Path) -> str:
        for suffix in ("", "-wal", "-shm", "-journal"):
            (data_dir / (SEARCH + suffix)).unlink(missing_ok=True)
        return "removed; it is made anew"

    found.find(Finding("damaged search", SEARCH, what, means, do), remove)


def _other_files(found: Examination) -> None:
    for path in _files(found.data_dir):
        if ".tmp." in path.name:
            _leftover(found, path)
    for path in sorted(found.data_dir.glob(".backup.*")):
        if not found.in_use:
            what = "a backup was cut off while it was made"
            means = "They are second names of files that are here, and take no room until those go."
            do = "Nothing: the next start removes them. --repair does it now."
            finding = Finding("leftover", f"{path.name}/", what, means, do, damage=False)
            found.find(finding, lambda _, path=path: _removed_tree(path))  # type: ignore[misc]


def _leftover(found: Examination, path: Path) -> None:
    if found.in_use:
        return
    within = path.relative_to(found.data_dir).as_posix()
    what = "a file that was being written when the server was cut off"
    means = "Nobody was told that it was saved; the file that it was to replace is whole."
    do = "Nothing: the next start removes it. --repair does it now."
    finding = Finding("leftover", within, what, means, do, damage=False)
    found.find(finding, lambda _: _removed(path))


def _modes(found: Examination) -> None:
    loose = [path for path in (found.data_dir, *_ours(found.data_dir)) if _is_loose(path)]
    if not loose:
        return
    names = ", ".join(_within(found.data_dir, path) for path in loose[:5])
    more = f" and {len(loose) - 5} more" if len(loose) > 5 else ""
    what = f"others on this machine may open it: {names}{more}"
    means = "What was said, and keys that were pasted, can be read by other users."
    do = "--repair makes directories 0700 and files 0600"

    def tighten(_: Path) -> str:
        for path in loose:
            path.chmod(0o700 if path.is_dir() else 0o600)
        return f"{len(loose)} made private"

    found.find(Finding("loose modes", _within(found.data_dir, loose[0]), what, means, do), tighten)


def _ours(data_dir: Path) -> Iterator[Path]:
    for path in sorted(data_dir.rglob("*")):
        if not path.is_symlink() and path.relative_to(data_dir).parts[0] != "models":
            yield path


def _is_loose(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except FileNotFoundError:
        return False


def _within(data_dir: Path, path: Path) -> str:
    return path.relative_to(data_dir).as_posix()


# -- files --------------------------------------------------------------------------------------


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return [path for path in sorted(directory.iterdir()) if path.is_file()]


def _set_aside(path: Path) -> str:
    names = (f"{path.name}.damaged{'' if n == 1 else f'.{n}'}" for n in count(1))
    target = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(target)
    return f"set aside as {target.name}"


def _removed(path: Path) -> str:
    path.unlink(missing_ok=True)
    return "removed"


def _removed_tree(path: Path) -> str:
    shutil.rmtree(path, ignore_errors=True)
    return "removed"
