"""Runs of header rules as search trees: which rules are in one, and that in the kernel the first match wins, counts and decides."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from generators.pools import V4_ADDRESSES, V6_ADDRESSES
from kernel_lab import GROUP, KernelLab, ipv4, ipv6, tcp
from test_merge import address, number, odd, random_header_packet, rule_of_shape, some_address

from firewall import nft
from firewall.kernel import Kernel
from firewall.plan import ClassifierStage, Environment, PacketClass, Pass, Plan, plan
from firewall.plan.classify import quick_boxes
from firewall.plan.known import memory
from firewall.plan.shapes import boxes_of, without_transport
from firewall.render import render
from rules_dsl.expression import And, Expression, FieldValue, InAddresses, InRanges, IsTrue, Not, Or
from rules_dsl.fields import FIELDS
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Hook, Mode, Policy, Protect, Rule
from rules_dsl.reference import matched

ENDING = (Action.ALLOW, Action.BLOCK, Action.REJECT)
OTHERS = (Pass.DEAD, Pass.REORDER)
"""Passes that leave rules out or put others together."""
PASSED = "passed"
ARRIVING = Protect(interfaces=("mantlet0",))
"""Not what the kernel says to itself."""


def policy(predicates: Sequence[Expression], actions: Sequence[Action] = (Action.BLOCK,), **settings: object) -> Policy:
    rules = [Rule(f"rule {place}", actions[place % len(actions)], Mode.ENABLED, each, "") for place, each in enumerate(predicates)]
    return Policy("acme", tuple(rules), **settings)  # type: ignore[arg-type]


def mixed(count: int) -> list[Expression]:
    """Rules that no few maps hold."""
    kinds: list[Expression] = []
    for place in range(count):
        low = 0x0A000000 + place * 256
        kinds.append(And((address("ip.src", low, low + 255), number("tcp.dstport", place))))
        kinds.append(address("ip.dst", low))
        kinds.append(number("ip.proto", place % 256))
    return kinds[:count]


def kinds(found: Plan, packets: PacketClass = PacketClass.IP4) -> list[str]:
    return [type(stage).__name__ for stage in found.stages_of(packets)]


# -- what is in a tree


def test_rules_of_many_shapes_are_one_tree_for_all_classes() -> None:
    found = plan(policy(mixed(40)), Environment(), without=OTHERS)
    for packets in PacketClass:
        (stage,) = found.stages_of(packets)
        assert isinstance(stage, ClassifierStage)
        assert stage.version == packets.version
    assert found.stages_of(PacketClass.IP4) == found.stages_of(PacketClass.IP4_LATER)
    assert len(found.stages_of(PacketClass.IP4)[0].members) == 40  # type: ignore[union-attr]
    assert "ip4.later" not in render(found, 1).nft, "the program itself finds out whether there is a transport header"


def test_few_rules_stay_native() -> None:
    assert "ClassifierStage" not in kinds(plan(policy(mixed(3)), Environment()))
    assert "ClassifierStage" not in kinds(plan(policy([number("tcp.dstport", port) for port in range(100)]), Environment()))


def test_many_rules_of_one_shape_are_a_tree_since_a_map_takes_longer_to_load() -> None:
    assert kinds(plan(policy([number("tcp.dstport", port) for port in range(1000)]), Environment())) == ["ClassifierStage"]


def test_it_can_be_left_out() -> None:
    assert "ClassifierStage" not in kinds(plan(policy(mixed(40)), Environment(), without=(Pass.CLASSIFY,)))


@pytest.mark.parametrize(
    "other",
    [
        IsTrue(FIELDS["tcp.flags.syn"]),
        And((IsTrue(FIELDS["tcp"]), number("tcp.hdr_len", 20))) if "tcp.hdr_len" in FIELDS else number("ip.ttl", 6),
        number("ip.ttl", 5),
        Not(number("tcp.dstport", 5)),
        Not(number("udp.srcport", 5, 9)),
        Or((number("ip.ttl", 1), number("ip.proto", 6))),
        IsTrue(FIELDS["ip.frag"]),
    ],
)
def test_what_asks_for_more_parts_a_run(other: Expression) -> None:
    rules = mixed(60)
    found = plan(policy([*rules[:30], other, *rules[30:]]), Environment(), without=OTHERS)
    assert [len(stage.members) for stage in found.stages_of(PacketClass.IP4) if isinstance(stage, ClassifierStage)] == [30, 30]


def test_a_rule_that_does_not_end_parts_a_run() -> None:
    rules = policy(mixed(60), [Action.BLOCK] * 30 + [Action.LOG] + [Action.BLOCK] * 29)
    assert kinds(plan(rules, Environment(), without=OTHERS)).count("ClassifierStage") == 2


def test_what_stands_behind_a_rule_for_every_packet_is_never_reached() -> None:
    every = Or((address("ip.src", 0, (1 << 32) - 1), address("ip.src", 1 << 32, (1 << 128) - 1)))
    found = plan(policy([*mixed(40), every, IsTrue(FIELDS["tcp.flags.syn"])]), Environment())
    assert kinds(found) == ["ClassifierStage"]


def test_several_verdicts_are_asked_only_where_nothing_comes_between() -> None:
    output = {"hook": Hook.OUTPUT}
    assert "ClassifierStage" not in kinds(plan(policy(mixed(40), ENDING, **output), Environment()))
    assert kinds(plan(policy(mixed(40), **output), Environment())) == ["ClassifierStage"]


def test_the_quick_way_to_boxes_is_the_long_one() -> None:
    """Of predicates drawn at random: whatever it says is what the passes make of each class of packets."""
    rng = random.Random(6)
    remembered = memory(Hook.PREROUTING, Environment())
    told = 0
    for _ in range(3000):
        predicate = drawn(rng, 1)[0] if rng.random() < 0.3 else And(tuple(plain_test(rng) for _ in range(rng.randint(1, 4))))
        quick = quick_boxes(predicate)
        if quick is None:
            continue
        told += 1
        known = remembered.of(predicate)
        for version, (whole, later) in {4: (PacketClass.IP4, PacketClass.IP4_LATER), 6: (PacketClass.IP6, PacketClass.IP6_LATER)}.items():
            terms, of_later = known.terms(whole), known.terms(later)
            assert terms is not None
            assert of_later is not None
            assert set(boxes_of(terms, version, 256) or ()) == set(quick[version]), predicate
            assert set(boxes_of(of_later, version, 256) or ()) == without_transport(quick[version]), predicate
    assert told > 1000


def plain_test(rng: random.Random) -> Expression:
    kind = rng.choice(("ip.src", "ip.dst", "tcp.dstport", "tcp.srcport", "udp.dstport", "udp.srcport", "ip.proto", "tcp", "udp", "icmp"))
    if kind in ("ip.src", "ip.dst"):
        low, other = rng.getrandbits(32), rng.getrandbits(64) << 64
        v4, v6 = ((low, min(low + 300, (1 << 32) - 1)),), ((other, other + 5),)
        return InAddresses(
            FieldValue(FIELDS[kind]), rng.choice((v4, (), ((0, (1 << 32) - 1),))), rng.choice((v6, (), ((0, (1 << 128) - 1),)))
        )
    if "." in kind:
        top = 255 if kind == "ip.proto" else 65535
        low = rng.choice((0, 6, 17, rng.randint(0, top)))
        return InRanges(FieldValue(FIELDS[kind]), rng.choice((((low, low),), ((low, top),), ((0, top),), ((0, 3), (6, 9)))))
    return IsTrue(FIELDS[kind])


# -- in the kernel


def drawn(rng: random.Random, count: int) -> list[Expression]:
    """Some with the bare name of a protocol, which wants its whole header."""
    found = [rule_of_shape(rng, rng.randrange(6)) for _ in range(count)]
    names = [name for name in ("tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "esp") if rng.random() < 0.8]
    for place in range(0, count, rng.choice((3, 7, 500))):
        header = IsTrue(FIELDS[rng.choice(names)])
        found[place] = header if rng.random() < 0.05 else And((header, some_address(rng, rng.choice(("ip.src", "ip.dst")))))
    return found


def cut_packet(rng: random.Random) -> bytes:
    """Of any protocol that has a name, its header whole or cut; TCP's length any."""
    data = rng.randbytes(rng.choice((0, 3, 4, 7, 8, 11, 12, 13, 19, 20, 40)))
    protocol = rng.choice((1, 6, 6, 6, 17, 47, 50, 58, 132))
    if rng.random() < 0.5:
        options = bytes(rng.choice((0, 0, 4)))
        return ipv4(data, protocol, options=options, src=rng.choice(V4_ADDRESSES), dst=rng.choice(V4_ADDRESSES))
    if rng.random() < 0.3:
        protocol, data = odd(rng, protocol, data)
    return ipv6(data, protocol, src=rng.choice(V6_ADDRESSES), dst=rng.choice(V6_ADDRESSES))


def packet_of(rng: random.Random) -> bytes:
    return cut_packet(rng) if rng.random() < 0.4 else random_header_packet(rng)


@pytest.mark.kernel
def test_the_rule_that_the_kernel_finds_is_the_references() -> None:
    rng = random.Random(11)
    with KernelLab() as lab:
        for count in (30, 60, 60, 120, 120, 400):
            rules = policy(drawn(rng, count), ENDING)
            found = plan(rules, Environment())
            assert kinds(found) == kinds(found, PacketClass.IP6) == ["ClassifierStage"]
            lab.install(render(found, 1, observe=GROUP))
            for _ in range(300):
                data = packet_of(rng)
                names = [rules.rules[int(prefix)].name for prefix in lab.send(data) if prefix != "default"]
                assert names == [rule.name for rule in matched(rules, Packet(data, Place("mantlet0")))], data.hex()


@pytest.mark.kernel
@pytest.mark.parametrize("default", ENDING)
@pytest.mark.parametrize("actions", [(Action.BLOCK,), (Action.ALLOW, Action.BLOCK), ENDING])
def test_each_packet_is_counted_once_and_gets_its_rules_verdict(default: Action, actions: Sequence[Action]) -> None:
    rng = random.Random(f"{default} {actions}")
    phased = [
        Rule(rule.name, rule.action, rule.mode, rule.predicate, "", phase=int(place >= 40))
        for place, rule in enumerate(policy(drawn(rng, 90), actions).rules)
    ]
    with KernelLab() as lab:
        several = [Policy("acme", tuple(phased), protect=ARRIVING)] if default is Action.ALLOW else []
        for rules in (policy(drawn(rng, 80), actions, default=default, protect=ARRIVING), *several):
            lab.install(render(plan(rules, Environment()), 1))
            lab._namespace.call(nft.run, f'add rule inet lab after log prefix "{PASSED}" group {GROUP}')
            expected: Counter[str] = Counter()
            for _ in range(250):
                data = packet_of(rng)
                met = matched(rules, Packet(data, Place("mantlet0")))
                for rule in met:
                    expected[rule.name] += 1
                    expected[f"{rule.name}, bytes"] += len(data)
                last = next((rule for rule in reversed(met) if not rules.goes_on(rule)), None)
                verdict = default if last is None else last.action
                assert (lab.send(data) == [PASSED]) is (verdict is Action.ALLOW), data.hex()
            assert counted(lab) == expected


def counted(lab: KernelLab) -> Counter[str]:
    def read() -> Counter[str]:
        with Kernel() as kernel:
            found = kernel.counters("acme")
        packets = Counter({counter.comment: counter.packets for counter in found})
        return packets + Counter({f"{counter.comment}, bytes": counter.bytes for counter in found})

    return lab._namespace.call(read)


@pytest.mark.kernel
def test_counts_go_on_over_changes_between_trees_and_maps() -> None:
    """The rules that stay keep their counts, whoever counts them."""
    few, many = mixed(3), mixed(50)
    with KernelLab() as lab:
        packet = ipv4(tcp(5, 1), 6, src=0x09000001, dst=0x0A000000)
        other = ipv6(tcp(5, 1), 6)

        def install(count: int, revision: int) -> None:
            rules = policy((few if count == 3 else many)[:count])
            with Kernel() as kernel:
                kernel.install(render(plan(rules, Environment()), revision))

        lab.install(render(plan(policy(few), Environment()), 1))
        expected = 0
        for revision, count in enumerate((50, 49, 3, 50, 3, 3, 50), 2):
            for _ in range(revision):
                lab.send(packet)
                lab.send(other)
            expected += revision
            lab._namespace.call(install, count, revision)
            assert counted(lab)["rule 1"] == expected
        lab._namespace.call(install, 49, 3)  # a number that was there before, as a rollback has it
        lab.send(packet)
        assert counted(lab)["rule 1"] == expected + 1
        lab._namespace.call(remove_and_look)


def remove_and_look() -> None:
    with Kernel() as kernel:
        kernel.remove("acme")
        assert kernel.counters() == ()
        assert not kernel._pins.root.exists()
