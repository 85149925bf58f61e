"""The store in one SQLite file: for one machine, and any number of its processes and threads."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from api.store.address import HISTORY
from api.store.model import (
    Change,
    Check,
    CompactedError,
    ConflictError,
    Delete,
    Entry,
    Event,
    Listing,
    Put,
    StoreError,
    check_changes,
    first_key,
    prefix_end,
)
from api.store.schema import APPLICATION_ID, MIGRATIONS

BUSY_SECONDS = 30.0
"""How long a writer waits for those of other processes."""
_POLL_SECONDS = 0.05
"""How often a watch looks for commits of other processes; those of its own store wake it."""
_BATCH = 100
"""Revisions that a watch reads at once."""

_Groups = tuple[tuple[Event, ...], ...]


class SqliteStore:
    """A store in a file. See `api.store.model.Store`.

    `history` is the least number of revisions that are kept for watches; up to twice as many are there."""

    def __init__(self, path: Path, *, history: int = HISTORY) -> None:
        self._path = path
        self._history = history
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._writer = threading.Lock()
        self._committed = threading.Condition()
        with self._errors():
            _create(path)
            with self._connection() as connection:
                self._migrate(connection)

    def get(self, key: str) -> Entry | None:
        with self._connection() as connection:
            row = connection.execute(
                "SELECT key, value, revision, created FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)", (key, time.time())
            ).fetchone()
        return None if row is None else Entry(*row)

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Listing:
        with self._connection() as connection, _transaction(connection, "DEFERRED"):
            revision = _number(connection, "SELECT revision FROM state")
            rows = connection.execute(
                """SELECT key, value, revision, created FROM entries
                   WHERE key >= ? AND key < ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?""",
                (first_key(prefix, after), _end(prefix), time.time(), -1 if limit is None else limit),
            ).fetchall()
        return Listing(tuple(Entry(*row) for row in rows), revision)

    def commit(self, changes: Sequence[Change]) -> int:
        check_changes(changes)
        with self._writing() as transaction:
            for change in changes:
                found = transaction.found(change.key)
                if change.expected is not None and change.expected != found:
                    raise ConflictError(change.key, change.expected, found)
            for change in changes:
                match change:
                    case Put(key, value):
                        transaction.put(key, value)
                    case Delete(key):
                        transaction.delete(key)
                    case Check():
                        pass
        return transaction.revision

    def announce(self, key: str, value: bytes, ttl_seconds: int) -> None:
        check_changes([Put(key, value)])
        with self._writing() as transaction:
            transaction.announce(key, value, time.time() + ttl_seconds)

    def watch(self, prefix: str, after: int, *, stop: threading.Event | None = None) -> Iterator[tuple[Event, ...]]:
        if after > (revision := self.revision()):
            raise CompactedError(revision)
        with self._connection() as connection:  # one for the whole watch: `data_version` tells of changes made through others
            seen: int | None = None
            expiry: float | None = None
            while not self._closed and not (stop is not None and stop.is_set()):
                version = _number(connection, "PRAGMA data_version")
                if version != seen:
                    groups, after, expiry, more = self._changes(connection, prefix, after)
                    seen = None if more else version
                    yield from groups
                    continue
                if expiry is not None and expiry <= time.time():
                    with self._writing():  # which deletes what has expired
                        continue
                with self._committed:
                    self._committed.wait(_POLL_SECONDS)

    def revision(self) -> int:
        with self._connection() as connection:
            return _number(connection, "SELECT revision FROM state")

    def compact(self, before: int) -> None:
        with self._writing() as transaction:
            transaction.compact(min(before - 1, transaction.revision))

    def close(self) -> None:
        self._closed = True
        with self._committed:
            self._committed.notify_all()
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _changes(self, connection: sqlite3.Connection, prefix: str, after: int) -> tuple[_Groups, int, float | None, bool]:
        """The next changes after a revision, the revision up to which these are all, when the next key expires, whether there are more."""
        with _transaction(connection, "DEFERRED"):
            revision, compacted = connection.execute("SELECT revision, compacted FROM state").fetchone()
            if after < compacted:
                raise CompactedError(compacted)
            upto = min(revision, after + _BATCH)
            rows = connection.execute(
                """SELECT key, value, revision FROM changes
                   WHERE revision > ? AND revision <= ? AND key >= ? AND key < ? ORDER BY revision, place""",
                (after, upto, prefix, _end(prefix)),
            ).fetchall()
            (expiry,) = connection.execute("SELECT min(expires) FROM entries WHERE expires IS NOT NULL").fetchone()
        events = [Event(*row) for row in rows]
        groups = tuple(tuple(group) for _, group in groupby(events, lambda event: event.revision))
        return groups, upto, expiry, upto < revision

    @contextmanager
    def _writing(self) -> Iterator[_Transaction]:
        """A transaction that no other writer is beside, in which nothing expired is left; committed at the end, or all undone."""
        with self._connection() as connection, self._writer, _transaction(connection, "IMMEDIATE"):
            transaction = _Transaction(connection)
            transaction.expire(time.time())
            yield transaction
            transaction.finish(self._history)
        with self._committed:
            self._committed.notify_all()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no one else uses meanwhile; what SQLite raises becomes a `StoreError`."""
        if self._closed:
            raise StoreError(f"{self._path}: the store is closed; open it again")
        with self._errors():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            except sqlite3.Error:
                connection.close()  # it may be of no more use
                raise
            except BaseException:
                self._put_back(connection)
                raise
            self._put_back(connection)

    def _put_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Brings the file's tables up to this program's version. Raises `StoreError` if they are newer, or not a store's at all."""
        with _transaction(connection, "IMMEDIATE"):
            application = _number(connection, "PRAGMA application_id")
            version = _number(connection, "PRAGMA user_version")
            tables = _number(connection, "SELECT count(*) FROM sqlite_schema")
            if application != APPLICATION_ID and (application or version or tables):
                raise StoreError(f"{self._path} is the database of another program; give the store a file of its own")
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"{self._path} has version {version}, and this program knows versions up to {len(MIGRATIONS)}: "
                    "a newer Mantlet wrote it; start that one, or restore the copy made before the upgrade"
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            if version < len(MIGRATIONS):
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        # Kept in the file. Another process that opens it at the same time may be in the way, and SQLite does not wait for it here.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What SQLite or the file system raises, as `StoreError`."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; {_advice(error)}") from error
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}; give a path of a file that this user may write") from error


class _Transaction:
    """Changes to the tables. The first one takes the next revision."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.revision: int
        self._compacted: int
        self.revision, self._compacted = connection.execute("SELECT revision, compacted FROM state").fetchone()
        self._before = self.revision
        self._place = 0

    def found(self, key: str) -> int:
        row = self._connection.execute("SELECT revision FROM entries WHERE key = ?", (key,)).fetchone()
        return 0 if row is None else int(row[0])

    def put(self, key: str, value: bytes, expires: float | None = None) -> None:
        self._log(key, value)
        self._connection.execute(
            """INSERT INTO entries (key, value, revision, created, expires) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
               SET value = excluded.value, revision = excluded.revision, expires = excluded.expires""",
            (key, value, self.revision, self.revision, expires),
        )

    def delete(self, key: str) -> None:
        if self._connection.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount:
            self._log(key, None)

    def announce(self, key: str, value: bytes, expires: float) -> None:
        renewed = "UPDATE entries SET expires = ? WHERE key = ? AND value = ? AND expires IS NOT NULL"
        if not self._connection.execute(renewed, (expires, key, value)).rowcount:
            self.put(key, value, expires)

    def expire(self, now: float) -> None:
        """Deletes what has expired, at a revision of its own."""
        for (key,) in self._connection.execute("SELECT key FROM entries WHERE expires <= ? ORDER BY key", (now,)).fetchall():
            self.delete(key)
        self._write_revision()
        self._before, self._place = self.revision, 0

    def compact(self, revision: int) -> None:
        if revision > self._compacted:
            self._connection.execute("DELETE FROM changes WHERE revision <= ?", (revision,))
            self._connection.execute("UPDATE state SET compacted = ?", (revision,))
            self._compacted = revision

    def finish(self, history: int) -> None:
        self._write_revision()
        if self.revision - self._compacted >= 2 * history:
            self.compact(self.revision - history)

    def _log(self, key: str, value: bytes | None) -> None:
        self.revision = self._before + 1
        self._connection.execute(
            "INSERT INTO changes (revision, place, key, value) VALUES (?, ?, ?, ?)", (self.revision, self._place, key, value)
        )
        self._place += 1

    def _write_revision(self) -> None:
        if self.revision != self._before:
            self._connection.execute("UPDATE state SET revision = ?", (self.revision,))


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _end(prefix: str) -> str | bytes:
    """What is greater than all keys with a prefix; where no text is, a blob: SQLite orders blobs after all text."""
    return prefix_end(prefix) or b""


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _create(path: Path) -> None:
    """Makes the file, if there is none, and its directory, for their owner only.

    The file gets its name when it is already closed: to close a file takes away the locks that SQLite has on it in this process."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        if path.is_file() and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
    os.close(descriptor)
    try:
        os.link(name, path)
    except FileExistsError:
        pass  # another process was quicker
    finally:
        os.unlink(name)


def _advice(error: sqlite3.Error) -> str:
    """What to do next, by SQLite's primary result code (https://sqlite.org/rescode.html)."""
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another process has been writing for {BUSY_SECONDS:.0f} seconds: find it with `fuser`, and end it"
        case sqlite3.SQLITE_FULL:
            return "make room on its file system"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISMATCH:
            return "the file is damaged: move it away with its -wal and -shm files, and restore a copy"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return "let this user write the file and its directory"
        case sqlite3.SQLITE_IOERR:
            return "look for failures of the disk in the kernel's log"
        case _:
            return "try again"
