"""Where the API keeps what tenants gave it: a revisioned map, in an SQLite file or in etcd.

`open_store` opens one by its address; `Store` says what both can do."""

from __future__ import annotations

from typing import assert_never

from api.store.address import EtcdAddress, SqliteAddress, parse_address
from api.store.model import (
    MAX_BYTES,
    MAX_CHANGES,
    Change,
    Check,
    CompactedError,
    ConflictError,
    Delete,
    Entry,
    Event,
    Listing,
    Put,
    Store,
    StoreError,
    TooLargeError,
)

__all__ = [
    "MAX_BYTES",
    "MAX_CHANGES",
    "Change",
    "Check",
    "CompactedError",
    "ConflictError",
    "Delete",
    "Entry",
    "Event",
    "Listing",
    "Put",
    "Store",
    "StoreError",
    "TooLargeError",
    "open_store",
]


def open_store(url: str) -> Store:
    """The store at an address; its forms are in `api.store.address`.

    Raises `StoreError` if the address is wrong, or no store can be opened there."""
    match parse_address(url):
        case SqliteAddress() as address:
            from api.store.sqlite import SqliteStore  # noqa: PLC0415 - the other store's libraries are not needed

            return SqliteStore(address.path, history=address.history)
        case EtcdAddress() as address:
            from api.store.etcd import EtcdStore  # noqa: PLC0415 - as above

            return EtcdStore(address)
        case never:
            assert_never(never)
