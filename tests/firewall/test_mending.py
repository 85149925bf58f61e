"""What somebody else does to our table, or to the disk, is told truly and mended by the next change or sweep."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rule_lab import Wire

from firewall import enforce, nft
from firewall.enforce import Change
from firewall.state import State, StateError

pytestmark = pytest.mark.kernel

RULES = 'tenant {}\nprotect {}\nblock "bad a" when starts_with(udp.payload, "a")\n'


class Host:
    def __init__(self, wire: Wire, folder: Path) -> None:
        self.wire = wire
        self.store = State(folder / "state")
        self._folder = folder

    def apply(self, tenant: str = "acme", protect: str = "all") -> Change:
        path = self._folder / "rules"
        path.write_text(RULES.format(tenant, protect))
        return self.wire.receiver.call(enforce.apply, path, state=self.store)

    def protects(self) -> dict[str, tuple[str, ...]]:
        return {entry.tenant: entry.protects for entry in self.wire.receiver.call(enforce.status, state=self.store)}

    def nft(self, text: str) -> None:
        self.wire.receiver.call(nft.run, text)

    def sweep(self) -> None:
        self.wire.receiver.call(enforce.sweep, state=self.store)

    def works(self) -> bool:
        return self.wire.arrived(b"a1", b"b1") == [b"b1"]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Wire() as wire:
        yield Host(wire, tmp_path)


def test_a_flushed_rule_set_is_told_and_applied_anew(host: Host) -> None:
    host.apply()
    host.nft("flush ruleset")
    assert host.protects() == {}
    assert host.apply() == Change("acme", None, 2)
    assert host.works()


@pytest.mark.parametrize(
    "damage",
    ["flush chain inet mantlet prerouting.base", "flush chain inet mantlet prerouting.base\ndelete chain inet mantlet prerouting.base"],
)
def test_without_its_look_ups_a_tenant_protects_nothing_and_a_sweep_brings_them_back(host: Host, damage: str) -> None:
    host.apply()
    host.nft(damage)
    assert host.protects() == {"acme": ()}
    assert not host.works()
    host.sweep()
    assert host.protects() == {"acme": ("everything",)}
    assert host.works()


def test_claims_of_a_tenant_that_was_emptied_go(host: Host) -> None:
    host.apply("other", "192.0.2.0/24")
    host.apply("acme", "198.51.100.0/24")
    host.nft("flush chain inet mantlet acme")
    host.apply("third", "198.51.100.0/25")
    assert host.protects() == {"other": ("192.0.2.0/24",), "third": ("198.51.100.0/25",)}


def test_a_damaged_revision_does_not_hinder_the_next(host: Host) -> None:
    host.apply()
    (host.store.directory / "acme" / "r1" / "manifest.json").write_text("{")
    host.apply()
    assert host.apply() == Change("acme", 2, 3)
    assert host.wire.receiver.call(enforce.rollback, "acme", state=host.store) == Change("acme", 3, 2)
    (host.store.directory / "acme" / "r1" / "manifest.json").unlink()
    with pytest.raises(StateError, match=r"manifest\.json is missing"):
        host.wire.receiver.call(enforce.rollback, "acme", 1, state=host.store)
    assert host.works()


def test_a_full_disk_is_told_and_changes_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.apply()
    with monkeypatch.context() as changed:
        # What a full file system does, at the place where it is met.
        changed.setattr(os, "fsync", _no_space)
        with pytest.raises(StateError, match=r"revision 2 of acme cannot be stored in .*: No space left on device"):
            host.apply()
    assert [entry.name for entry in (host.store.directory / "acme").iterdir()] == ["r1"]
    assert host.works()


def _no_space(_: int) -> None:
    raise OSError(28, os.strerror(28))


def test_status_and_remove_need_no_bpffs(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host.apply()
    monkeypatch.setenv("MANTLET_BPFFS", str(tmp_path))
    assert host.protects() == {"acme": ("everything",)}
    host.wire.receiver.call(enforce.remove, "acme", state=host.store)
    assert host.protects() == {}
