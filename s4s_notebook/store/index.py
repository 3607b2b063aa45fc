"""The SQLite index: what is on disk and how far each record has been read into it.

It holds nothing that the journals do not; lost, corrupt or from a newer version, it is built
again from them. Several processes share it (WAL, busy timeout).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

from ..errors import DiskProblem, UnsafeStore
from ..private_files import Folder, disk, lock
from .journal import Record

NAME = "index.sqlite"
LOCK = ".index.lock"
VERSION = 2
_BUSY = 30.0  # seconds that another process may take
_FILES = (NAME, f"{NAME}-wal", f"{NAME}-shm", f"{NAME}-journal")
#: What a record raises that a newer version wrote, or that is damaged but still JSON.
_UNREADABLE = (LookupError, TypeError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
_PURGED = 1  # SQLite's application_id of an index from which data were purged
_OWNED = ("resource", "run", "mark", "wait", "problem", "consent", "study", "instance")
_TABLES = """
CREATE TABLE participant(id INTEGER PRIMARY KEY, folder TEXT UNIQUE, holder TEXT, patient TEXT,
  read INTEGER NOT NULL DEFAULT 0);
CREATE TABLE resource(participant INTEGER, type TEXT, key TEXT, version TEXT, offset INTEGER,
  length INTEGER, run TEXT, change TEXT, gone TEXT, PRIMARY KEY(participant, type, key));
CREATE TABLE run(participant INTEGER, type TEXT, run TEXT, since TEXT, next TEXT, upto REAL,
  full INTEGER, pages INTEGER, PRIMARY KEY(participant, type));
CREATE TABLE mark(participant INTEGER, type TEXT, upto REAL, retrieved REAL, pages INTEGER,
  state TEXT, PRIMARY KEY(participant, type));
CREATE TABLE wait(participant INTEGER, what TEXT, not_before REAL, seconds REAL,
  PRIMARY KEY(participant, what));
CREATE TABLE problem(participant INTEGER, type TEXT, resource TEXT, path TEXT, value TEXT,
  why TEXT, UNIQUE(participant, resource, path, value, why));
CREATE TABLE consent(participant INTEGER, origin TEXT, PRIMARY KEY(participant, origin));
CREATE TABLE study(participant INTEGER, study TEXT, expected INTEGER, complete INTEGER,
  patient TEXT, evidence TEXT, PRIMARY KEY(participant, study));
CREATE TABLE instance(participant INTEGER, study TEXT, series TEXT, sop TEXT, name TEXT,
  size INTEGER, sha256 TEXT, part TEXT, PRIMARY KEY(participant, study, sop));
"""


class Index:
    """A connection to the index, one for all threads of a Store."""

    def __init__(self, root: Folder) -> None:
        self._root = root
        self._guard = threading.RLock()
        self.rebuilt = False
        # One process at a time: SQLite does not wait while another changes to WAL, and an index
        # that one process builds again must not be open in another.
        with ExitStack() as undo:
            with lock(root, LOCK, limit=_BUSY):
                try:
                    self._db = undo.enter_context(closing(self._open()))
                except sqlite3.OperationalError as error:  # a full or failing disk
                    raise DiskProblem(f"The index cannot be opened: {error}.") from error
                except sqlite3.DatabaseError:
                    self._db = undo.enter_context(closing(self._rebuild()))
            undo.pop_all()  # the lock was released: the index is ours to close

    def _open(self) -> sqlite3.Connection:
        with disk("opening the index"):
            # Made here, so that SQLite finds it with mode 0600 (its WAL takes the same mode).
            os.close(self._root.open(NAME, os.O_RDWR | os.O_CREAT))
            for name in _FILES:
                if self._root.size(name) is None and name in self._root.names():
                    raise UnsafeStore("The index is a link.")
        db = sqlite3.connect(
            self._root.path / NAME, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA secure_delete=ON")
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={VERSION}")
            self.rebuilt = True
        elif version != VERSION:
            db.execute("ROLLBACK")
            raise sqlite3.DatabaseError(f"index version {version}")
        db.execute("COMMIT")
        if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("index is corrupt")

    def _rebuild(self) -> sqlite3.Connection:
        for name in _FILES:
            self._root.remove(name)
        try:
            return self._open()
        except sqlite3.Error as error:
            raise DiskProblem(f"The index cannot be built: {error}.") from error

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._guard, _sqlite():
            return self._db.execute(query, values).fetchall()

    def run(self, query: str, *values: Any) -> None:
        """Execute a statement."""
        with self._guard, _sqlite():
            self._db.execute(query, values)

    def apply(self, participant: int, positioned: Iterable[tuple[Record, int, int]]) -> None:
        """Enter records, each with its position in the journal, into the tables."""
        with self._guard, _sqlite(), self._transaction():
            read = None
            for record, offset, length in positioned:
                with suppress(*_UNREADABLE):  # such a record costs only itself
                    enter = APPLY[record["t"]]
                    enter(self._db, participant, {**record, "_at": (offset, length)})
                read = (offset + length + 1, participant)
            if read is not None:
                self._db.execute("UPDATE participant SET read=? WHERE id=?", read)

    @property
    def purged(self) -> bool:
        """Whether data were purged from this store, which may be empty for that reason."""
        return self.rows("PRAGMA application_id") == [(_PURGED,)]

    @purged.setter
    def purged(self, value: bool) -> None:
        self.run(f"PRAGMA application_id={_PURGED if value else 0}")

    def forget(self, participant: int, *, entirely: bool) -> None:
        """Remove the rows of one participant; :meth:`compact` removes their bytes."""
        with self._guard, _sqlite(), self._transaction():
            for table in _OWNED:
                self._db.execute(f"DELETE FROM {table} WHERE participant=?", (participant,))  # noqa: S608 - our own names
            if entirely:
                self._db.execute("DELETE FROM participant WHERE id=?", (participant,))
            else:
                self._db.execute("UPDATE participant SET read=0 WHERE id=?", (participant,))

    def compact(self) -> None:
        """Remove the bytes of deleted rows from the files; a purge ends with it."""
        with self._guard, _sqlite():
            for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"):
                self._db.execute(statement)
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit at the end; leave nothing begun behind where the disk is full."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have ended it already
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the database."""
        with self._guard:
            self._db.close()


@contextmanager
def _sqlite() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DiskProblem(f"The index of the store cannot be used: {error}.") from error


def _resource(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.execute(
        "INSERT INTO resource VALUES(?,?,?,?,?,?,?,?,'') ON CONFLICT DO UPDATE SET"
        " version=excluded.version, offset=excluded.offset, length=excluded.length, gone='',"
        " change=iif(run=excluded.run, change, excluded.change), run=excluded.run",
        (participant, r["type"], r["key"], r["version"], *r["_at"], r["run"], r["change"]),
    )


def _page(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.executemany(
        "UPDATE resource SET change=iif(run=:run, change, 'unchanged'), run=:run, gone=''"
        " WHERE participant=:participant AND type=:type AND key=:key",
        [
            {"run": r["run"], "participant": participant, "type": r["type"], "key": key}
            for key in r["seen"]
        ],
    )
    db.execute(
        "INSERT OR REPLACE INTO run VALUES(?,?,?,?,?,?,?,?)",
        (participant, r["type"], r["run"], r["since"], r["next"], r["upto"], r["full"], r["pages"]),
    )
    _problems(db, participant, r)


def _problems(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO problem VALUES(?,?,?,?,?,?)",
        [(participant, r["type"], *problem) for problem in r["problems"]],
    )


def _consent(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.execute("INSERT OR IGNORE INTO consent VALUES(?,?)", (participant, r["origin"]))


def _sync_point(db: sqlite3.Connection, participant: int, r: Record) -> None:
    if r["full"]:
        db.execute(
            "UPDATE resource SET gone=:run, change='gone', run=:run"
            " WHERE participant=:participant AND type=:type AND run<>:run AND gone=''",
            {"participant": participant, "type": r["type"], "run": r["run"]},
        )
    db.execute(
        "INSERT OR REPLACE INTO mark VALUES(?,?,?,?,?,?)",
        (participant, r["type"], r["upto"], r["retrieved"], r["pages"], r.get("state", "")),
    )
    db.execute("DELETE FROM run WHERE participant=? AND type=?", (participant, r["type"]))


def _wait(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.execute(
        "INSERT OR REPLACE INTO wait VALUES(?,?,?,?)",
        (participant, r["what"], r["not_before"], r["seconds"]),
    )


def _study(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.execute(
        "INSERT OR REPLACE INTO study VALUES(?,?,?,?,?,?)",
        (
            participant,
            *(r[key] for key in ("study", "expected", "complete", "patient")),
            r.get("evidence", ""),  # version 0.1 recorded none
        ),
    )


def _file(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.execute(
        "INSERT OR REPLACE INTO instance VALUES(?,?,?,?,?,?,?,?)",
        (
            participant,
            *(r[key] for key in ("study", "series", "sop", "name", "size", "sha256", "part")),
        ),
    )


def _lost(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.executemany(  # the row stays, so that exactly these are requested again
        "UPDATE instance SET size=-1 WHERE participant=? AND study=? AND sop=?",
        [(participant, r["study"], sop) for sop in r["sops"]],
    )
    db.execute(
        "UPDATE study SET complete=0 WHERE participant=? AND study=?", (participant, r["study"])
    )


def _identity(db: sqlite3.Connection, participant: int, r: Record) -> None:
    db.execute(
        "UPDATE participant SET holder=?, patient=? WHERE id=?",
        (r["holder"], r["patient"], participant),
    )


#: How each type of record in a journal is entered into the tables.
APPLY: dict[str, Callable[[sqlite3.Connection, int, Record], None]] = {
    "who": _identity,
    "resource": _resource,
    "page": _page,
    "mark": _sync_point,
    "wait": _wait,
    "study": _study,
    "file": _file,
    "lost": _lost,
    "problems": _problems,
    "consent": _consent,
}
