"""Random rules and random packets: what the compiled rules decide in the kernel is what the reference evaluator says."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from generators.expressions import Expressions
from generators.packets import packets
from generators.pools import COLOS, INTERFACES, MARKS
from kernel_lab import GROUP, KernelLab

from firewall.plan import Environment, Node, plan
from firewall.render import render
from firewall.replay.admission import refusal
from rules_dsl.diagnostics import DiagnosticError
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Policy
from rules_dsl.reference import matched

VLAN_INTERFACES = {"eth0.10": 10, "eth0.100.200": 100}
NODE = Node(*COLOS[0])
ENVIRONMENT = Environment(NODE, VLAN_INTERFACES)
RULES, PACKETS = 40, 250

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab() -> Iterator[KernelLab]:
    with KernelLab((*INTERFACES, *VLAN_INTERFACES)) as opened:
        yield opened


def is_enforceable(policy: Policy) -> bool:
    """False for what alone random rules may not do: search the bytes of an interface's name (E0905)."""
    try:
        plan(policy, ENVIRONMENT)
    except DiagnosticError as error:
        if {diagnostic.code for diagnostic in error.diagnostics} != {"E0905"}:
            raise
        return False
    return True


def random_packets(rng: random.Random, count: int) -> list[Packet]:
    found: list[Packet] = []
    while len(found) < count:
        for data in packets(rng, count):
            if refusal(data) is None:
                name = rng.choice((*INTERFACES, *VLAN_INTERFACES))
                place = Place(name, mark=rng.choice(MARKS), vlan_id=VLAN_INTERFACES.get(name), colo_name=NODE.name, colo_region=NODE.region)
                found.append(Packet(data, place))
    return found[:count]


def decided(lab: KernelLab, policy: Policy, tried: list[Packet]) -> list[list[str]]:
    """The names of the rules that matched each packet in the kernel, in order."""
    lab.install(render(plan(policy, ENVIRONMENT), 1, observe=GROUP))
    sent = [(packet.data, packet.place.interface_in or "", packet.place.mark) for packet in tried]
    return [[policy.rules[int(prefix)].name for prefix in prefixes if prefix != "default"] for prefixes in lab.send_all(sent)]


def compare(lab: KernelLab, policy: Policy, tried: list[Packet], seed: int) -> None:
    for packet, names in zip(tried, decided(lab, policy, tried), strict=True):
        expected = [rule.name for rule in matched(policy, packet)]
        if names != expected:
            wrong = [rule for rule in policy.rules if (rule.name in names) != (rule.name in expected)]
            texts = "\n".join(f"{rule.name}: {rule.predicate}" for rule in wrong[:3])
            pytest.fail(f"seed {seed}: kernel {names}, reference {expected}\n{packet.data.hex()} {packet.place}\n{texts}")


def counting_rules(lab: KernelLab, seed: int) -> None:
    """Rules that do not end: every one is asked about every packet, and counts it once."""
    rng = random.Random(seed)
    tried = random_packets(rng, PACKETS)
    policy = Expressions(rng, near=tried).policy(RULES)
    rules = tuple(replace(rule, action=Action.COUNT, mode=Mode.ENABLED) for rule in policy.rules)
    rules = tuple(rule for rule in rules if is_enforceable(replace(policy, rules=(rule,))))
    compare(lab, replace(policy, rules=rules), tried, seed)


def whole_policies(lab: KernelLab, seed: int) -> None:
    """Rules of every action and mode: the same ones match, in the same order, up to the one that ends."""
    rng = random.Random(seed)
    tried = random_packets(rng, PACKETS)
    policy = Expressions(rng, near=tried).policy(RULES)
    policy = replace(policy, rules=tuple(rule for rule in policy.rules if is_enforceable(replace(policy, rules=(rule,)))))
    compare(lab, policy, tried, seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("judged", [counting_rules, whole_policies])
def test_the_kernel_decides_as_the_reference_does(lab: KernelLab, judged: Callable[[KernelLab, int], None], seed: int) -> None:
    judged(lab, seed)


@pytest.mark.long
def test_a_million_pairs_of_rule_and_packet(lab: KernelLab) -> None:
    """Half in rules that count, half in whole policies. MANTLET_PAIRS: how many; MANTLET_SEED: where the random numbers begin."""
    begin = int(os.environ.get("MANTLET_SEED") or random.SystemRandom().randrange(1 << 32))
    for seed in range(begin, begin + int(os.environ.get("MANTLET_PAIRS", "1000000")) // (2 * RULES * PACKETS)):
        counting_rules(lab, seed)
        whole_policies(lab, seed)
