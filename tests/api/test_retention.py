"""The audit log is kept for so many days, and no longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_server import UNBOUNDED, Paper, listening

from api.access.audit import newest, put_record
from api.access.retention import DAY_SECONDS, prune
from api.documents import AuditRecord, new_id
from api.node import Node
from api.store import Store, open_store

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store.db")) as opened:
        yield opened


def note(store: Store, tenant: str, days: float, now: float = NOW, count: int = 1) -> None:
    """Records of some days ago, a second apart."""
    for at in range(count):
        when = datetime.fromtimestamp(now - days * DAY_SECONDS - at, UTC)
        store.commit([put_record(AuditRecord(new_id(), when.isoformat().replace("+00:00", "Z"), tenant, "test", f"{days}", "x"))])


def left(store: Store, tenant: str) -> list[str]:
    return [record.action for record in newest(store, tenant, 1_000)]


def test_what_is_older_goes_whosever_it_is_and_the_rest_stays(store: Store) -> None:
    for tenant in ("acme", "gone", "-"):
        for days in (400.01, 399.99, 0, 5_000):
            note(store, tenant, days)
    note(store, "new", 1)
    note(store, "old", 500)
    entries = store.list("").entries
    assert prune(store, 400, NOW) == 7
    for tenant in ("acme", "gone", "-"):
        assert left(store, tenant) == ["399.99", "0"]
    assert (left(store, "new"), left(store, "old")) == (["1"], [])
    assert {entry.key for entry in store.list("").entries} < {entry.key for entry in entries}
    assert prune(store, 400, NOW) == 0


def test_more_than_one_commit_takes(store: Store) -> None:
    note(store, "acme", 500, count=250)
    note(store, "acme", 1, count=3)
    assert prune(store, 400, NOW) == 250
    assert left(store, "acme") == ["1"] * 3


def test_a_node_that_serves_prunes(store: Store) -> None:
    note(store, "acme", 401, time.time())
    note(store, "acme", 399, time.time())
    with Node(store, Paper(), "paper") as node, listening(node, UNBOUNDED):
        end = time.monotonic() + 10
        while left(store, "acme") != ["399"] and time.monotonic() < end:
            time.sleep(0.05)
        assert left(store, "acme") == ["399"]
