"""A swap of ten thousand rules in a search tree, under packets as fast as the kernel makes them: each is judged by the old rules or by
the new ones, once."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bpf.traffic import trace
from firewall import nft
from firewall.bench.workload import udp_packet
from firewall.generation import Generation
from firewall.kernel import Kernel
from firewall.namespace import Namespace, enter
from firewall.plan import ClassifierStage, Environment, Plan, plan
from firewall.remembered import Remembered
from firewall.render import render
from rules_dsl import parse_policy

pytestmark = pytest.mark.kernel

RULES = 10_000
PACKETS = 1024
BURST = 50_000
"""Packets that are sent in one go."""
TOTAL = """
add table inet total
add chain inet total first { type filter hook prerouting priority -500; }
add rule inet total first udp dport 53 counter
add chain inet total last { type filter hook prerouting priority -100; }
add rule inet total last udp dport 53 counter drop
"""
"""What comes, and what the rules let through."""


def address(number: int) -> int:
    return 0x0A000000 + 7 * number


def sent_to(packet: int) -> int:
    """The rule whose address a packet of the trace has."""
    return RULES * packet // PACKETS


def rules(exchanged: Callable[[int], bool]) -> Plan:
    """A rule for each address; of the pairs that are exchanged each rule has the other's address. The even ones drop."""
    lines = ["tenant acme"]
    for number in range(RULES):
        at = address(number ^ 1 if exchanged(number // 2) else number)
        dotted = ".".join(map(str, at.to_bytes(4, "big")))
        lines.append(f'{"allow" if number % 2 else "block"} "rule {number}" when ip.dst == {dotted} and udp.dstport == 53')
    found = plan(parse_policy("\n".join(lines)), Environment())
    assert any(isinstance(stage, ClassifierStage) for each in found.classes for stage in each.stages)
    return found


@contextmanager
def traffic(namespace: Namespace) -> Iterator[list[int]]:
    """Packets for the rules' addresses, without a pause; in the end how many."""
    sent: list[int] = []
    done = threading.Event()
    packets = [udp_packet(0xC0000201, address(sent_to(at)), 53) for at in range(PACKETS)]

    def send() -> None:
        enter(namespace._file)
        with trace("swap0", packets) as made:
            while not done.is_set():
                made.send(BURST)
                sent.append(BURST)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield sent
    finally:
        done.set()
        sender.join()


def counter(chain: str) -> int:
    listed = nft.listing_json(f"list chain inet total {chain}")["nftables"]
    return next(part["counter"]["packets"] for item in listed if "rule" in item for part in item["rule"]["expr"] if "counter" in part)


def swap(swaps: int, generations: Callable[[Kernel, int], Generation]) -> int:
    """Installs the generations of so many revisions under packets. Returns how many rules met packets."""
    with Namespace() as namespace:

        def run() -> int:
            for command in ("ip link add swap0 type veth peer name swap1", "ip link set swap0 up", "ip link set swap1 up"):
                subprocess.run(command.split(), check=True, capture_output=True)
            with Kernel() as kernel:
                kernel.install(generations(kernel, 1))
                nft.run(TOTAL)
                took = []
                before = time.perf_counter()
                with traffic(namespace) as sent:
                    for revision in range(2, swaps + 2):
                        generation = generations(kernel, revision)
                        started = time.perf_counter()
                        kernel.install(generation)
                        took.append(time.perf_counter() - started)
                seconds = time.perf_counter() - before
                assert kernel.enforced()["acme"].revision == swaps + 1
                by_rule = {each.comment: each.packets for each in kernel.counters("acme")}
                arrived, passed = counter("first"), counter("last")
            rate, swapped = arrived / seconds, statistics.median(took) * 1000
            print(f"{swaps} swaps of {RULES:,} rules, {swapped:.0f} ms each; {arrived:,} packets, {rate:,.0f} a second")
            assert arrived == sum(sent), "packets were lost before the rules"
            assert sum(by_rule.values()) == arrived, "packets were judged by no rule, or by two"
            assert sum(count for name, count in by_rule.items() if int(name.split()[1]) % 2) == passed
            return sum(count > 0 for count in by_rule.values())

        return namespace.call(run)


def all_change(swaps: int) -> None:
    """Each address goes to the other rule of its pair, and nothing of the old generation is used again."""
    sides = [rules(lambda _: False), rules(lambda _: True)]
    assert swap(swaps, lambda _, revision: render(sides[revision % 2], revision)) == 2 * PACKETS


def two_change(swaps: int) -> None:
    """Two rules have each other's addresses by turns, of which packets bear one: the tree is changed in place."""
    pairs = [sent_to(at) // 2 for at in (0, 333, 666, 999)]
    sides = [rules(lambda _: False), *(rules(lambda pair, exchanged=exchanged: pair == exchanged) for exchanged in pairs)]
    remembered = Remembered()

    def generation(kernel: Kernel, revision: int) -> Generation:
        made = render(sides[revision % len(sides)], revision, remembered=remembered, base=kernel.contents("acme"))
        assert revision < 3 or (made.contents is not None and made.contents.patches), "the tree is not changed in place"
        return made

    assert swap(swaps, generation) == PACKETS + len(pairs)


def test_all_of_many_rules_change_under_packets() -> None:
    all_change(4)


def test_a_tree_of_many_rules_is_changed_under_packets() -> None:
    two_change(20)


@pytest.mark.long
def test_a_hundred_swaps_of_many_rules_under_packets() -> None:
    all_change(100)
    two_change(1000)
