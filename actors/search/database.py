"""The sqlite database of the search: each session's text, and which state of its file that is."""

import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from actors.stores import RecordInfo
from actors.viewer import EVERYBODY, Viewer

from .messages import Hit
from .text import Document, body_of, expression_of, folded, is_short, patterns_of, preview

__all__ = ["Database", "is_full", "open_database", "renew_database"]

log = logging.getLogger("actors.search")

VERSION = 3  # of all that decides what is in the file; another one's file is made anew
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
TITLE_WEIGHT = 10.0
PATIENCE_SECONDS = 1.0  # with whoever else looks into the file

# A session that is hidden or damaged has no row in `texts`: its file is known, and not read again.
_SCHEMA = f"""
BEGIN;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    mtime_ns INTEGER NOT NULL, stamp TEXT NOT NULL, owner TEXT
);
CREATE VIRTUAL TABLE texts USING fts5(title, body, tokenize='trigram');
PRAGMA user_version = {VERSION};
COMMIT;
"""

# The row is the same afterwards: its id is that of the text.
_SEEN = """
INSERT INTO sessions (name, mtime_ns, stamp, owner) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET
    mtime_ns = excluded.mtime_ns, stamp = excluded.stamp, owner = excluded.owner
RETURNING id
"""


class Database:
    """Blocks: for a thread, and for one at a time. Everything in it can be made anew.

    All but `close` raise `sqlite3.Error`, and have then changed nothing.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            _make_private(path)
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=PATIENCE_SECONDS,
            check_same_thread=False,
        )
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last of it, no more
        execute("PRAGMA secure_delete = ON")  # what was removed is not left in the file
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not version and not tables:
            self._connection.executescript(_SCHEMA)
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"its version is {version}, not {VERSION}")

    def close(self) -> None:
        self._connection.close()

    def __del__(self) -> None:
        """After a crash nobody else closes it."""
        with suppress(AttributeError):  # it was never opened
            self.close()

    # -- the files --------------------------------------------------------------------------

    def compare(self, infos: Iterable[RecordInfo]) -> list[RecordInfo]:
        """Forget the sessions that are gone; those that are new or have changed, newest first."""
        files = {info.name: info for info in infos}
        known = dict(self._connection.execute("SELECT name, stamp FROM sessions").fetchall())
        with self._connection:
            for name in known.keys() - files.keys():
                self._forget(name)
        stale = (info for name, info in files.items() if known.get(name) != info.stamp)
        return sorted(stale, key=lambda info: info.mtime_ns, reverse=True)

    def forget(self, names: Iterable[str]) -> None:
        """Nothing of these stays in any file of ours."""
        with self._connection:
            for name in names:
                self._forget(name)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _forget(self, name: str) -> None:
        execute = self._connection.execute
        execute("DELETE FROM texts WHERE rowid = (SELECT id FROM sessions WHERE name = ?)", (name,))
        execute("DELETE FROM sessions WHERE name = ?", (name,))

    def put(self, files: Iterable[tuple[RecordInfo, Document | None]]) -> None:
        """All of these or, if it raises, none. A file without a document is damaged."""
        execute = self._connection.execute
        with self._connection:
            for info, document in files:
                owner = None if document is None else document.owner
                seen = (info.name, info.mtime_ns, info.stamp, owner)
                (row_id,) = execute(_SEEN, seen).fetchone()
                execute("DELETE FROM texts WHERE rowid = ?", (row_id,))
                if document is not None and not document.hidden:
                    execute(
                        "INSERT INTO texts (rowid, title, body) VALUES (?, ?, ?)",
                        (row_id, folded(document.title), body_of(document)),
                    )

    # -- the search -------------------------------------------------------------------------

    def find(
        self, terms: Sequence[str], content: bool, limit: int, viewer: Viewer = EVERYBODY
    ) -> list[Hit]:
        """Those whose title has all terms, then those that have them anywhere; best first."""
        titles = self._matching(terms, ("title",), limit, viewer)
        hits = [self._title_hit(row_id) for row_id in titles]
        if content and len(hits) < limit:
            anywhere = self._matching(terms, ("title", "body"), limit, viewer)
            others = [row_id for row_id in anywhere if row_id not in set(titles)]
            hits += [self._content_hit(row_id, terms) for row_id in others[: limit - len(hits)]]
        return hits

    def _matching(
        self, terms: Sequence[str], columns: Sequence[str], limit: int, viewer: Viewer
    ) -> list[int]:
        """Nothing of the user's becomes SQL: terms are bound, and quoted for what reads them."""
        indexed = [term for term in terms if not is_short(term)]
        conditions: list[str] = []
        values: list[str | int] = []
        if indexed:
            conditions.append("texts MATCH ?")
            values.append(expression_of(indexed, columns))
        for term in filter(is_short, terms):
            ways = [(column, pattern) for column in columns for pattern in patterns_of(term)]
            likes = (f"{column} LIKE ? ESCAPE '\\'" for column, _ in ways)
            conditions.append(f"({' OR '.join(likes)})")
            values += [pattern for _, pattern in ways]
        if viewer.sees is not None:
            owners = sorted(owner for owner in viewer.sees if owner is not None)
            nobody = " OR sessions.owner IS NULL" if None in viewer.sees else ""
            conditions.append(f"(sessions.owner IN ({', '.join('?' * len(owners))}){nobody})")
            values += owners
        rank = f"bm25(texts, {TITLE_WEIGHT}, 1.0), " if indexed else ""
        # CROSS: look through the texts first, whatever sqlite thinks of the tables' sizes.
        query = f"""
            SELECT texts.rowid FROM texts CROSS JOIN sessions ON sessions.id = texts.rowid
            WHERE {" AND ".join(conditions)} ORDER BY {rank} sessions.mtime_ns DESC LIMIT ?
        """
        return [row_id for (row_id,) in self._connection.execute(query, (*values, limit))]

    def _title_hit(self, row_id: int) -> Hit:
        name, title = self._fetch("title", row_id)
        return Hit(name, "title", title)

    def _content_hit(self, row_id: int, terms: Sequence[str]) -> Hit:
        name, body = self._fetch("body", row_id)
        return Hit(name, "content", preview(body, terms))

    def _fetch(self, column: str, row_id: int) -> tuple[str, str]:
        query = f"""
            SELECT name, {column} FROM sessions JOIN texts ON texts.rowid = sessions.id
            WHERE sessions.id = ?
        """
        match self._connection.execute(query, (row_id,)).fetchone():
            case (str(name), str(text)):
                return name, text
        raise sqlite3.DatabaseError("a text is missing")


def is_full(error: sqlite3.Error) -> bool:
    """No fault of the database: it is to be kept until there is room, or the other has let go."""
    full_or_busy = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in full_or_busy


def open_database(path: Path | None) -> Database:
    """The one at `path`, or a new one; None is one in memory. What cannot be used is replaced."""
    try:
        return Database(path)
    except sqlite3.DatabaseError as error:
        if path is None or is_full(error):
            raise
        return renew_database(path, error)


def renew_database(path: Path | None, error: sqlite3.Error) -> Database:
    """An empty one in place of one that `error` shows to be damaged or not ours."""
    log.warning("the search database is made anew: %s", error)
    if path is not None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    return Database(path)


def _make_private(path: Path) -> None:
    """It holds all that was said. What sqlite puts beside it gets the same mode."""
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
