"""A store is copied while it is served, and restored: the node makes its kernel what the copy says."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from api_lab import ServedNode
from rule_lab import Wire

from api.policy_text import ProtectText


def blocks(letter: str) -> list[dict[str, str]]:
    return [{"action": "block", "expression": f'starts_with(udp.payload, "{letter}")'}]


@pytest.mark.kernel
def test_a_backup_is_restored_and_enforced() -> None:
    with Wire() as wire, ServedNode(wire) as node:
        acme = node.client("acme")
        acme.rulesets.phases.update("magic_transit", account_id="acme", rules=blocks("a"))  # type: ignore[arg-type]
        store, backup = node.folder / "store.db", node.folder / "backup.db"
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("VACUUM INTO ?", (str(backup),))
        acme.rulesets.phases.update("magic_transit", account_id="acme", rules=blocks("b"))  # type: ignore[arg-type]
        node.tenant("later", ProtectText(("192.0.2.0/24",)))
        node.client("later").rulesets.phases.update("magic_transit", account_id="later", rules=blocks("x"))  # type: ignore[arg-type]
        assert wire.arrived(b"a", b"b") == [b"a"]

        node.kill_api()
        for path in (store, node.folder / "store.db-wal", node.folder / "store.db-shm"):
            path.unlink(missing_ok=True)
        backup.rename(store)
        assert wire.arrived(b"a", b"b") == [b"a"], "packets meet the rules as they were"
        node.start_api()
        assert wire.arrived(b"a", b"b") == [b"b"]
        assert [each.tenant for each in node.kernel.status()] == ["acme"]
        acme.rulesets.phases.update("magic_transit", account_id="acme", rules=blocks("c"))  # type: ignore[arg-type]
        assert wire.arrived(b"a", b"b", b"c") == [b"a", b"b"]
