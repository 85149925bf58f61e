"""apply, rollback, remove and status: from a rule file to packets, and what stays on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rule_lab
from generators.mmdb import write_mmdb
from rule_lab import RECEIVER, Wire

from firewall import enforce, features
from firewall.enforce import Change, NoRevisionError, UnknownTenantError
from firewall.features import EnvironmentRefusedError, Need
from firewall.kernel import Kernel, OverlapError
from firewall.pins import Pins
from firewall.state import VARIABLE, State, StateError
from firewall.vlan import outermost_ids, vlan_interfaces
from rules_dsl import DiagnosticError

pytestmark = pytest.mark.kernel


@dataclass(slots=True)
class Host:
    """The receiver of a wire, with a state directory and a folder for rule files."""

    wire: Wire
    store: State
    folder: Path

    def write(self, text: str, name: str = "acme.rules") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def apply(self, text: str, name: str = "acme.rules", **more: Any) -> Change:
        return self.wire.receiver.call(enforce.apply, self.write(text, name), state=self.store, **more)

    def rollback(self, tenant: str = "acme", revision: int | None = None) -> Change:
        return self.wire.receiver.call(enforce.rollback, tenant, revision, state=self.store)

    def remove(self, tenant: str = "acme") -> Change:
        return self.wire.receiver.call(enforce.remove, tenant, state=self.store)

    def status(self) -> tuple[enforce.TenantStatus, ...]:
        return self.wire.receiver.call(enforce.status, state=self.store)

    def packets(self) -> dict[str, int]:
        return {rule.name: rule.packets for tenant in self.status() for rule in tenant.rules}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "rules").mkdir()
    with Wire() as wire:
        yield Host(wire, State(tmp_path / "state"), tmp_path / "rules")


BLOCK_A = 'block "bad a" when starts_with(udp.payload, "a")\nlog "seen b" when starts_with(udp.payload, "b")\n'
BLOCK_B = 'block "bad b" when starts_with(udp.payload, "b")\n'


def test_a_rule_file_decides_about_real_packets(host: Host) -> None:
    assert host.apply(BLOCK_A) == Change("acme", None, 1)
    for version in (4, 6):
        assert host.wire.arrived(b"a1", b"b1", b"c1", b"a2", version=version) == [b"b1", b"c1"]
    assert host.packets() == {"bad a": 4, "seen b": 2}
    (status,) = host.status()
    assert (status.tenant, status.revision, status.protects, status.hooks) == ("acme", 1, ("everything",), ("prerouting",))
    assert status.record is not None
    assert (status.record.source, status.record.default) == (str(host.folder / "acme.rules"), "allow")
    first = status.rules[0]
    assert (first.action, first.mode, first.bytes) == ("block", "enabled", 2 * 30 + 2 * 50)


def test_counters_go_on_over_an_apply_that_keeps_the_rule(host: Host) -> None:
    host.apply(BLOCK_A)
    host.wire.arrived(b"a", b"b")
    host.apply(BLOCK_A + 'block "new" when udp.dstport == 7\n')
    host.wire.arrived(b"a", b"b")
    assert host.packets() == {"bad a": 2, "seen b": 2, "new": 0}


def test_rollback_goes_back_one_by_one(host: Host) -> None:
    host.apply(BLOCK_A)
    host.apply(BLOCK_B)
    host.apply('block "all" when udp\n')
    assert host.rollback() == Change("acme", 3, 2)
    assert host.wire.arrived(b"a", b"b") == [b"a"]
    assert host.rollback() == Change("acme", 2, 1)
    assert host.wire.arrived(b"a", b"b") == [b"b"]
    with pytest.raises(NoRevisionError, match="nothing was enforced before revision 1 of acme; stored are 1, 2, 3"):
        host.rollback()
    assert host.rollback(revision=3) == Change("acme", 1, 3)
    assert host.apply(BLOCK_B) == Change("acme", 3, 4)
    assert host.rollback() == Change("acme", 4, 3)


def test_rollback_to_what_is_not_there(host: Host) -> None:
    with pytest.raises(UnknownTenantError, match="no revision of tenant acme is stored"):
        host.rollback()
    host.apply(BLOCK_A)
    with pytest.raises(NoRevisionError, match="revision 9 of acme is not stored"):
        host.rollback(revision=9)
    with pytest.raises(NoRevisionError, match="is the one that is enforced"):
        host.rollback(revision=1)


def test_rollback_needs_none_of_the_files_of_then(host: Host) -> None:
    (host.folder / "lists").mkdir()
    blocked = host.folder / "lists" / "blocked.txt"
    blocked.write_text("10.9.0.1\n")
    geo = host.folder / "geo.csv"
    geo.write_text("network,country,asn\n10.9.0.0/24,DE,64500\n")
    text = (
        'list blocked = file "lists/blocked.txt"\ngeo "geo.csv"\n'
        'block "listed" when ip.src in $blocked and ip.src.country == "DE" and udp\n'
    )
    host.apply(text)
    blocked.unlink()
    geo.unlink()
    host.apply(BLOCK_A)
    host.rollback()
    assert host.wire.arrived(b"x") == []
    assert host.wire.arrived(b"x", version=6) == [b"x"]
    assert (host.store.directory / "acme/r1/policy.rules").read_text() == text


def test_geo_files_beside_the_rule_file_are_kept_too(host: Host) -> None:
    countries = write_mmdb(host.folder / "countries.mmdb", {"10.9.0.0/24": {"country": {"iso_code": "DE"}}})
    systems = host.folder / "systems.csv"
    systems.write_text("network,country,asn\n10.9.0.0/24,FR,64500\n")
    host.apply('block "land" when ip.src.country == "DE" and ip.src.asnum == 64500 and udp\n', geo=[countries, systems])
    countries.unlink()
    systems.unlink()
    host.remove()
    host.rollback()
    assert host.wire.arrived(b"x") == []
    assert host.wire.arrived(b"x", version=6) == [b"x"]


def test_removed_rules_are_gone_and_can_come_back(host: Host) -> None:
    host.apply(BLOCK_A)
    assert host.remove() == Change("acme", 1, None)
    assert host.status() == ()
    assert host.wire.listing("nft list ruleset") == ""
    assert host.wire.arrived(b"a") == [b"a"]
    with pytest.raises(UnknownTenantError, match="no rules of tenant acme are enforced"):
        host.remove()
    assert host.rollback() == Change("acme", None, 1)
    assert host.wire.arrived(b"a", b"b") == [b"b"]


def test_tenants_beside_each_other(host: Host) -> None:
    host.apply(f"tenant acme\nprotect {RECEIVER}\n" + BLOCK_A)
    host.apply("tenant umbra\nprotect fd00:9::/64\n" + BLOCK_B.replace("bad", "other"), name="umbra.rules")
    assert host.wire.arrived(b"a", b"b") == [b"b"]
    assert host.wire.arrived(b"a", b"b", version=6) == [b"a"]
    assert [(status.tenant, status.protects) for status in host.status()] == [("acme", (RECEIVER,)), ("umbra", ("fd00:9::/64",))]
    assert host.packets() == {"bad a": 1, "seen b": 1, "other b": 1}


def test_what_another_tenant_protects_is_refused_and_nothing_is_left(host: Host) -> None:
    host.apply("tenant acme\nprotect 10.9.0.0/24\n" + BLOCK_A)
    with pytest.raises(OverlapError, match=r"umbra cannot protect 10.9.0.2 \(there 10.9.0.0/24\): tenant acme protects it already"):
        host.apply(f"tenant umbra\nprotect {RECEIVER}\n" + BLOCK_B, name="umbra.rules")
    assert not (host.store.directory / "umbra").exists()
    assert list(Pins.of(host.wire.receiver.inode).generations()) == [("acme", 1)]


def test_errors_of_the_rules_change_nothing(host: Host) -> None:
    host.apply(BLOCK_A)
    for bad in (
        'block "x" when nonsense == 1\n',
        'list l = file "missing.txt"\nblock "x" when ip.src in $l\n',
        'block "x" when ct.state == "new"\n',
    ):
        with pytest.raises(DiagnosticError):
            host.apply(bad)
    assert [(status.revision, len(status.rules)) for status in host.status()] == [(1, 2)]
    assert [revision.number for revision in host.store.revisions("acme")] == [1]
    assert host.wire.arrived(b"a", b"b") == [b"b"]


def test_old_revisions_are_dropped_but_never_the_one_to_go_back_to(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforce, "KEPT", 3)
    for number in range(1, 6):
        host.apply(f'block "rule {number}" when udp.dstport == {number}\n')
    assert [revision.number for revision in host.store.revisions("acme")] == [3, 4, 5]
    host.rollback(revision=3)
    host.apply(BLOCK_B)
    host.apply(BLOCK_A)
    assert [revision.number for revision in host.store.revisions("acme")] == [5, 6, 7]


def test_the_kernel_says_what_is_enforced_when_the_disk_does_not_know(host: Host, tmp_path: Path) -> None:
    host.apply(BLOCK_A)
    host.wire.arrived(b"a")
    host.store = State(tmp_path / "elsewhere")
    (status,) = host.status()
    assert (status.revision, status.record) == (1, None)
    assert {rule.name: rule.packets for rule in status.rules} == {"bad a": 1, "seen b": 0}
    assert host.apply(BLOCK_B) == Change("acme", 1, 2)


def test_a_damaged_manifest_is_told(host: Host) -> None:
    host.apply(BLOCK_A)
    manifest = host.store.directory / "acme/r1/manifest.json"
    manifest.write_text("{")
    with pytest.raises(StateError, match=r"manifest\.json is damaged"):
        host.status()
    manifest.write_text(json.dumps({"format": 2}))
    with pytest.raises(StateError, match="newer mantlet"):
        host.status()


def test_a_state_directory_that_cannot_be(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    host.store = State(tmp_path / "file" / "state")
    with pytest.raises(StateError, match="MANTLET_STATE_DIR"):
        host.apply(BLOCK_A)
    assert host.wire.listing("nft list ruleset") == ""


def test_changes_wait_for_each_other(host: Host) -> None:
    """Four processes apply at once: four revisions, one after the other."""
    paths = [host.write(BLOCK_A + f'block "own" when udp.dstport == {at + 1}\n', f"{at}.rules") for at in range(4)]
    for path in paths:
        path.write_text("tenant acme\n" + path.read_text())
    script = "import sys, pathlib; from firewall import enforce; enforce.apply(pathlib.Path(sys.argv[1]))"
    environment = os.environ | {VARIABLE: str(host.store.directory)}

    def start() -> list[int]:
        running = [subprocess.Popen([sys.executable, "-c", script, str(path)], env=environment) for path in paths]
        return [process.wait() for process in running]

    assert host.wire.receiver.call(start) == [0] * 4
    assert [revision.previous for revision in host.store.revisions("acme")] == [None, 1, 2, 3]
    assert host.status()[0].revision == 4


def test_vlan_interfaces_tell_their_outermost_tag() -> None:
    config = (
        "VLAN Dev name    | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n"
        "eth0.10        | 10  | eth0\nouter          | 100  | eth0\ninner          | 7  | outer\n"
    )
    assert outermost_ids(config) == {"eth0.10": 10, "outer": 100, "inner": 100}


def test_a_host_without_vlans_has_none(host: Host) -> None:
    assert host.wire.receiver.call(vlan_interfaces) == {}


def test_a_sweep_takes_the_pins_of_dead_namespaces_only(host: Host) -> None:
    host.apply(BLOCK_A)
    script = (
        "import os, signal, sys, rule_lab; from firewall.kernel import Kernel; from firewall.namespace import Namespace\n"
        "rules = rule_lab.generation('acme', 1, (rule_lab.HandRule('r', '', rule_lab.constant('rule0', 0)),))\n"
        "namespace = Namespace(); namespace.call(lambda: Kernel().install(rules)); print(namespace.inode, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    folders = [str(Path(rule_lab.__file__).parent), str(Path(enforce.__file__).parents[1])]
    killed = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": ":".join(folders)}, capture_output=True, text=True, check=False
    )
    root = Pins.of(int(killed.stdout)).root
    assert root.exists()
    swept, _ = host.wire.receiver.call(enforce.sweep, state=host.store)
    assert str(root) in swept.pins
    assert not root.exists()
    assert list(Pins.of(host.wire.receiver.inode).generations()) == [("acme", 1)]


# -- what the machine must have


def test_this_machine_has_everything() -> None:
    found = features.probe()
    assert [feature.name for feature in found if not feature.present and feature.need is not Need.COMFORT] == []
    features.require_enforcement()


def test_without_bpffs_apply_says_how_to_mount_it(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MANTLET_BPFFS", str(tmp_path))
    with pytest.raises(EnvironmentRefusedError) as refused:
        host.apply(BLOCK_A)
    assert str(refused.value) == f"bpffs: not mounted at {tmp_path} (mount -t bpf bpf {tmp_path})"
    assert not host.store.directory.exists()


def test_without_root_apply_says_so() -> None:
    script = "from firewall import features; features.require_enforcement()"
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]  # and no other user, who may not be allowed to read this checkout
    done = subprocess.run([*drop, sys.executable, "-c", script], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("privileges: root lacks CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF (run it as root)")


def test_where_the_kernel_lacks_the_match_apply_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks for a match of another name, which no kernel has."""
    monkeypatch.setattr(features, "MATCH", ("nonesuch", 1))
    with pytest.raises(EnvironmentRefusedError, match="CONFIG_NFT_COMPAT and CONFIG_NETFILTER_XT_MATCH_BPF"):
        host.apply(BLOCK_A)
    assert dict(host.wire.at(Kernel.enforced)) == {}
