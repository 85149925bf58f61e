"""A swap under traffic: every packet is judged by the old rules or by the new ones, whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from rule_lab import PAYLOAD4, PORT, RECEIVER, HandRule, Wire, addresses, byte_is, generation

from firewall import nft
from firewall.generation import Generation
from firewall.kernel import Kernel
from rules_dsl.policy import Protect

pytestmark = pytest.mark.kernel

SEND = f"""
import select, socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("{RECEIVER}", {PORT}))
sent = 0
while not select.select([0], [], [], 0)[0]:
    for _ in range(200):
        sender.send(b"x")
        sent += 1
print(sent)
"""
"""Sends until its standard input ends, and prints how many."""

TOTAL = f"""
add table inet total
add chain inet total first {{ type filter hook prerouting priority -500; }}
add rule inet total first udp dport {PORT} counter
"""


def side(revision: int) -> Generation:
    """Even and odd revisions count every packet in counters of their own, twice: natively, and behind an eBPF match that drops it.

    Both declare all four counters, so that none is swept in between. The protected prefixes differ too."""
    own, other = ("even", "odd") if revision % 2 == 0 else ("odd", "even")
    program = byte_is("rule1", PAYLOAD4, ord("x"))
    rules = (
        HandRule(f"{own} first", f"udp dport {PORT}", verdict=""),
        HandRule(f"{own} second", f"udp dport {PORT}", program),
        HandRule(f"{other} first", "udp dport 1"),
        HandRule(f"{other} second", "udp dport 1"),
    )
    elsewhere = ("10.9.0.3", "10.9.0.5") if revision % 2 == 0 else ("10.9.0.5", "10.9.0.7")
    return generation("acme", revision, rules, protect=Protect(v4=tuple(sorted(addresses(RECEIVER, *elsewhere)))))


@contextmanager
def senders(wire: Wire, count: int) -> Iterator[list[int]]:
    """Processes that send as fast as they can; in the end how many packets each has sent."""
    sent: list[int] = []
    with ExitStack() as running:
        made = [
            running.enter_context(
                wire.sender.call(subprocess.Popen, [sys.executable, "-c", SEND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(count)
        ]
        try:
            yield sent
        finally:
            sent += [int(process.communicate()[0]) for process in made]


def swap_under_traffic(swaps: int, packets: int) -> tuple[int, int]:
    """Swaps at least so often, and until so many packets have come. Returns (swaps, packets)."""
    with Wire() as wire:
        wire.receiver.call(nft.run, TOTAL)
        wire.install(side(0))
        revision = 0
        with senders(wire, 2) as sent:
            while revision < swaps or (revision % 20 == 0 and sum(wire.counts().values()) < 2 * packets) or revision % 20:
                revision += 1
                wire.install(side(revision))
        counts = wire.counts()
        listed = wire.receiver.call(nft.listing_json, "list chain inet total first")["nftables"]
        total = next(part["counter"]["packets"] for item in listed if "rule" in item for part in item["rule"]["expr"] if "counter" in part)
        assert wire.at(Kernel.enforced)["acme"].revision == revision
    assert total > 0.9 * sum(sent), "the wire lost packets"
    assert counts["even first"] == counts["even second"]
    assert counts["odd first"] == counts["odd second"]
    assert counts["even first"] + counts["odd first"] == total
    assert min(counts["even first"], counts["odd first"]) > 0.2 * total, "traffic met one side only"
    return revision, total


def test_a_hundred_swaps_under_traffic() -> None:
    swaps, packets = swap_under_traffic(100, 0)
    print(f"{swaps} swaps, {packets:,} packets")


@pytest.mark.long
def test_a_million_packets_under_swaps() -> None:
    swaps, packets = swap_under_traffic(100, 1_000_000)
    print(f"{swaps} swaps, {packets:,} packets")
