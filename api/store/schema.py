"""The tables of the SQLite store, as numbered migrations: the n-th makes version n out of version n - 1.

A migration that is released does not change any more; a new one is added."""

from __future__ import annotations

APPLICATION_ID = 0x4D4E544C
"""Tells the store's files from other databases (`PRAGMA application_id`): "MNTL"."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # One row. `compacted`: the changes up to that revision are no longer kept one by one.
        "CREATE TABLE state (revision INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT",
        "INSERT INTO state VALUES (1, 0)",
        # `expires`: seconds since 1970, for keys that are announced.
        """CREATE TABLE entries (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL,
                                 created INTEGER NOT NULL, expires REAL) STRICT""",
        "CREATE INDEX entries_expires ON entries (expires) WHERE expires IS NOT NULL",
        # `value`: NULL if the key was deleted.
        """CREATE TABLE changes (revision INTEGER NOT NULL, place INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
                                 PRIMARY KEY (revision, place)) STRICT""",
    ),
)
"""Their statements. The version of a file is its `PRAGMA user_version`."""
