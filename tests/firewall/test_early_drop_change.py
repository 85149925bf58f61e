"""Changing rules that are judged early: killed at every step, and under traffic, each packet is judged by the old rules or the new ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_kill
from early_lab import INTERFACE, EarlyLab, frame
from kernel_lab import ipv4, ipv6, udp
from rule_lab import PORT, RECEIVER, Wire
from test_atomic import senders

from bpf.maps import Map
from bpf.xdp import Link, Mode
from firewall import enforce, nft
from firewall.early_drop import pinned
from firewall.generation import Generation
from firewall.kernel import Kernel
from firewall.pins import Pins
from firewall.plan import Environment, plan
from firewall.render import render
from firewall.state import State
from rules_dsl import parse_policy

pytestmark = pytest.mark.kernel

OLD, NEW, NONE = (False, True), (True, False), (True, True)
"""Whether a packet of IPv4 passes, and one of IPv6."""


def rules(folder: Path, blocked: str) -> Path:
    path = folder / f"{blocked.replace(':', '-')}.rules"
    path.write_text(f'tenant acme\nearly_drop {INTERFACE}\nprotect 10.0.0.0/8 2001:db8::/32\nblock "bad" when ip.src == {blocked}\n')
    return path


class Host:
    """A host under test; all that is dropped there is counted."""

    def __init__(self, lab: EarlyLab, folder: Path) -> None:
        self.lab = lab
        self.store = State(folder / "state")
        self.old, self.new = rules(folder, "10.0.0.1"), rules(folder, "2001:db8::1")
        self.dropped = 0

    def apply(self, path: Path) -> None:
        self.lab.namespace.call(enforce.apply, path, state=self.store)

    def stands(self) -> tuple[bool, bool]:
        found = self.lab.passes(frame(ipv4(udp()))), self.lab.passes(frame(ipv6(udp())))
        self.dropped += found.count(False)
        return found

    def is_counted(self) -> bool:
        return self.lab.counters().get("bad", (0, 0))[0] == self.dropped


def test_killed_at_every_step_of_a_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_kill, "STEPS", (*test_kill.STEPS, (Map, "update"), (Link, "pin"), (Link, "update")))
    with EarlyLab() as lab:
        host = Host(lab, tmp_path)
        host.apply(host.old)
        steps = lab.namespace.call(test_kill.fork, lambda: enforce.apply(host.new, state=host.store), None)
        assert steps is not None
        seen = set()
        for last in range(steps):
            host.apply(host.old)
            assert host.stands() == OLD
            assert lab.modes("acme") == [(INTERFACE, "native")]
            lab.namespace.call(test_kill.fork, lambda: enforce.apply(host.new, state=host.store), last)
            stands = host.stands()
            assert stands in (OLD, NEW), f"killed before step {last} of {steps}"
            assert host.is_counted(), f"killed before step {last} of {steps}"
            seen.add(stands)
            lab.namespace.call(enforce.sweep, state=host.store)
            assert host.stands() == stands
            assert host.is_counted(), f"swept after step {last} of {steps}"
            assert lab.modes("acme") == [(INTERFACE, "native")]
        assert seen == {OLD, NEW}


@pytest.mark.long
def test_killed_at_every_step_of_a_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_kill, "STEPS", (*test_kill.STEPS, (Map, "update"), (Link, "pin"), (Link, "update")))
    with EarlyLab() as lab:
        host = Host(lab, tmp_path)
        host.apply(host.old)
        steps = lab.namespace.call(test_kill.fork, lambda: enforce.remove("acme", state=host.store), None)
        assert steps is not None
        for last in range(steps):
            host.apply(host.old)
            lab.namespace.call(test_kill.fork, lambda: enforce.remove("acme", state=host.store), last)
            stands = host.stands()
            assert stands in (OLD, NONE), f"killed before step {last} of {steps}"
            lab.namespace.call(enforce.sweep, state=host.store)
            assert host.stands() == stands


def test_a_swap_under_traffic() -> None:
    """Even and odd revisions each block every packet, by a rule of their own."""
    surroundings = f"""
    add table inet total
    add counter inet total before
    add counter inet total behind
    add chain inet total first {{ type filter hook prerouting priority -500; }}
    add chain inet total last {{ type filter hook prerouting priority -400; }}
    add rule inet total first udp dport {PORT} counter name before
    add rule inet total last udp dport {PORT} counter name behind
    """
    with Wire() as wire:
        wire.receiver.call(nft.run, surroundings)
        wire.install(side(0))
        early = 0
        with senders(wire, 2) as sent:
            for revision in range(1, 61):
                wire.install(side(revision))
                if revision % 10 == 0:
                    folder = Pins.of(wire.receiver.inode).folder("acme", revision)
                    early = max(early, sum(packets for _, (packets, _) in pinned.counted(folder)))
        assert [each.mode for each in wire.at(Kernel.early_drop, "acme")] == [Mode.NATIVE]
        assert early > 0
        counters = wire.counts()
        total = {counter.name: counter.packets for counter in wire.at(lambda kernel: kernel.netlink.counters("total"))}
        assert total["behind"] == 0, "packets were judged by neither"
        assert counters["even"] + counters["odd"] <= sum(sent), "packets were judged by both"
        assert counters["even"] + counters["odd"] > total["before"], "some were dropped before they came there"


def side(revision: int) -> Generation:
    """Both have both rules, so that neither's counter goes."""
    own, other = ("even", "odd") if revision % 2 == 0 else ("odd", "even")
    said = (
        f'tenant acme\nearly_drop wire0\nprotect {RECEIVER} 10.9.0.{4 + revision % 2}\nblock "{own}" when udp.dstport == {PORT}\n'
        f'block "{other}" when udp.dstport == 1\n'
    )
    return render(plan(parse_policy(said), Environment()), revision)
