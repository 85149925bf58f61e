"""What every store of the API can do: entries with revisions, commits that are all or nothing, and a watch on what was committed.

A store is a map from keys to values with one number, its revision, that every commit raises. An entry's revision says which commit
wrote it, so a writer that read revision N and writes with `expected=N` overwrites nothing that it has not seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

MAX_CHANGES = 100
"""Changes in one commit. etcd takes 128 operations in a transaction (`--max-txn-ops`), some of which are the store's own."""
MAX_BYTES = 1 << 20
"""Bytes of all keys and values in one commit. etcd takes requests of 1.5 MiB (`--max-request-bytes`)."""


class StoreError(Exception):
    """The store cannot be reached, or is damaged; the message says what to do next."""


class TooLargeError(StoreError):
    """A commit has more than `MAX_CHANGES` changes or `MAX_BYTES` bytes. Nothing of it was stored."""


class ConflictError(Exception):
    """A condition of a commit does not hold: `key` has the revision `found` (0: there is no such key), not the one `expected`."""

    def __init__(self, key: str, expected: int, found: int) -> None:
        self.key = key
        self.expected = expected
        self.found = found
        super().__init__(f"{key} {_state(found)}, and was expected to {_expectation(expected)}")


class CompactedError(Exception):
    """The history that a watch asked for is gone. List, and watch from the listing's revision.

    `revision` is the least one after which the store can still be watched."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        super().__init__(f"the changes up to revision {revision} are no longer kept one by one: list, and watch from there")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value."""

    key: str
    value: bytes
    revision: int
    """The store's revision at which the key was last written."""
    created: int
    """The store's revision at which the key came to be; later writes leave it, a deletion ends it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries in the order of their keys, as they stood together at a revision of the store."""

    entries: tuple[Entry, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value."""

    key: str
    value: bytes
    expected: int | None = None
    """The revision that the key must have: 0 if it must not exist, None if that does not matter."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key; without a condition it need not exist."""

    key: str
    expected: int | None = None
    """As in `Put`."""


@dataclass(frozen=True, slots=True)
class Check:
    """Change nothing, but let the whole commit depend on a key."""

    key: str
    expected: int
    """As in `Put`."""


Change = Put | Delete | Check


@dataclass(frozen=True, slots=True)
class Event:
    """What a commit did to a key."""

    key: str
    value: bytes | None
    """None: the key was deleted, or it was announced and not renewed."""
    revision: int


class Store(Protocol):
    """A store. Every method may be called from any thread, and raises `StoreError` where the store cannot be reached or read."""

    def get(self, key: str) -> Entry | None:
        """The entry of a key, as of the last commit that was acknowledged to anyone."""

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Listing:
        """The entries whose keys begin with a prefix, those with keys greater than `after`, at most `limit`.

        Keys are ordered by their characters' code points. The listing is consistent: nothing in it is newer than its revision."""

    def commit(self, changes: Sequence[Change]) -> int:
        """Makes all changes, or none; the revision at which they can be read, which is one that no other commit has if anything changed.

        All conditions are looked at before anything is changed. Once this returns, the changes survive the end of the process and of
        the machine. No key may be written twice in one commit. Raises `ConflictError` for the first condition that does not hold,
        `TooLargeError`; after any other `StoreError` it is unknown whether the changes were made, and they are made whole or not at all."""

    def announce(self, key: str, value: bytes, ttl_seconds: int) -> None:
        """Writes a key that disappears, with an event, when it is not announced again for so many seconds (etcd: at least 2, usually).

        Announcing the same value again writes nothing. `commit` may write such a key too, after which it stays."""

    def watch(self, prefix: str, after: int, *, stop: threading.Event | None = None) -> Iterator[tuple[Event, ...]]:
        """Every change of keys with a prefix at a revision greater than `after`, one tuple for a revision, in order; waits for more.

        Ends when `stop` is set (within half a second) or the store is closed. The iteration raises `CompactedError` where the history
        is gone, or where the store has not come to `after` yet (it was restored from an older copy)."""

    def revision(self) -> int:
        """The revision of the last commit."""

    def compact(self, before: int) -> None:
        """Forgets the history before a revision; entries stay. A watch from there on (`after=before - 1`) is still possible."""

    def close(self) -> None:
        """Ends all watches, and frees what the store holds. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def check_changes(changes: Sequence[Change]) -> None:
    """Refuses a commit that some store cannot take, so that all refuse the same ones. Raises `TooLargeError`."""
    written = [change.key for change in changes if not isinstance(change, Check)]
    assert len(set(written)) == len(written), f"a key is written twice in one commit: {sorted(written)}"
    assert all(change.key for change in changes), "a key is empty"
    if len(changes) > MAX_CHANGES:
        raise TooLargeError(f"a commit has {len(changes)} changes, and may have {MAX_CHANGES}: divide it")
    size = sum(len(change.key.encode()) + len(change.value if isinstance(change, Put) else b"") for change in changes)
    if size > MAX_BYTES:
        raise TooLargeError(f"a commit has {size:,} bytes, and may have {MAX_BYTES:,}: divide its values among several keys and commits")


def prefix_end(prefix: str) -> str | None:
    """The least string greater than all that begin with a prefix; None: there is no such string.

    By code points, which is the order of UTF-8 as well; surrogates (U+D800 to U+DFFF) cannot stand in a key."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    last = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if last == 0xD800 else last)


def first_key(prefix: str, after: str) -> str:
    """The least key that a listing of a prefix after a key may have: after "a" comes "a" with one more character, the least."""
    return max(prefix, after + "\0") if after else prefix


def _state(found: int) -> str:
    return f"has revision {found}" if found else "does not exist"


def _expectation(expected: int) -> str:
    return f"have revision {expected}" if expected else "not exist"
