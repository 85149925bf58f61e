"""Runs of rules as verdict maps: what is merged, what is not, and that first-match order holds in the kernel."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import product

import pytest
from generators.pools import PORTS, V4_ADDRESSES, V6_ADDRESSES
from kernel_lab import GROUP, KernelLab, ipv4, ipv6, tcp, udp

from firewall.match import Key, PacketClass
from firewall.plan import Environment, MapStage, Pass, Plan, RuleStage, Stage, plan
from firewall.plan.boxes import DisjointBoxes, exact, flattened
from firewall.render import render
from rules_dsl.expression import And, Expression, FieldValue, InAddresses, InRanges, IsTrue, Not, Or
from rules_dsl.fields import FIELDS
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Policy, Rule
from rules_dsl.reference import matched

OTHERS = (Pass.DEAD, Pass.REORDER, Pass.CLASSIFY, Pass.ADJOIN)
"""Passes that would leave nothing to merge, or put other rules together."""


def number(name: str, low: int, high: int | None = None) -> InRanges:
    return InRanges(FieldValue(FIELDS[name]), ((low, low if high is None else high),))


def address(name: str, low: int, high: int | None = None) -> InAddresses:
    pair = ((low, low if high is None else high),)
    return InAddresses(FieldValue(FIELDS[name]), pair if low < 1 << 32 else (), pair if low >= 1 << 32 else ())


def policy(predicates: Sequence[Expression], action: Action = Action.BLOCK) -> Policy:
    rules = [Rule(f"rule {place}", action, Mode.ENABLED, each, "") for place, each in enumerate(predicates)]
    return Policy("acme", tuple(rules))


def planned(predicates: Sequence[Expression], action: Action = Action.BLOCK) -> Plan:
    return plan(policy(predicates, action), Environment(), without=OTHERS)


def stages(predicates: Sequence[Expression], packets: PacketClass = PacketClass.IP4) -> tuple[Stage, ...]:
    return planned(predicates).stages_of(packets)


# -- what becomes a map


def test_rules_of_one_port_each_are_one_map() -> None:
    (stage,) = stages([number("tcp.dstport", port) for port in (80, 443, 8080)])
    assert isinstance(stage, MapStage)
    assert (stage.keys, stage.protocol, stage.is_interval) == ((Key.DESTINATION_PORT,), 6, False)


def test_different_protocols_make_the_protocol_a_key() -> None:
    (stage,) = stages([number("tcp.dstport", 80), number("udp.dstport", 53), number("tcp.dstport", 53)])
    assert isinstance(stage, MapStage)
    assert (stage.keys, stage.protocol) == ((Key.DESTINATION_PORT, Key.PROTOCOL), None)


def test_address_and_port_are_a_concatenation() -> None:
    (stage,) = stages([And((address("ip.src", 0x0A000000 + n), number("tcp.dstport", 80 + n % 2))) for n in range(5)])
    assert isinstance(stage, MapStage)
    assert stage.keys == (Key.SOURCE, Key.DESTINATION_PORT)
    assert len(stage.elements) == 5


def test_what_the_rules_have_in_common_stands_before_the_map() -> None:
    (stage,) = stages([And((number("ip.ttl", 1), number("tcp.dstport", port))) for port in (1, 2, 3)])
    assert isinstance(stage, MapStage)
    assert [match.left for match in stage.fixed] == ["ip ttl"]


def test_two_rules_stay_lines() -> None:
    assert all(isinstance(stage, RuleStage) for stage in stages([number("tcp.dstport", 80), number("tcp.dstport", 443)]))


def test_a_rule_that_does_not_end_parts_a_run() -> None:
    rules = policy([number("tcp.dstport", port) for port in range(1, 8)]).rules
    mixed = tuple(Rule(r.name, Action.LOG if n == 3 else r.action, r.mode, r.predicate, "") for n, r in enumerate(rules))
    found = plan(Policy("acme", mixed), Environment(), without=OTHERS).stages_of(PacketClass.IP4)
    assert [type(stage) for stage in found] == [MapStage, RuleStage, MapStage]


def test_another_shape_parts_a_run() -> None:
    predicates: list[Expression] = [number("tcp.dstport", port) for port in (1, 2, 3)]
    predicates += [Not(address("ip.src", 1))]
    predicates += [address("ip.src", 0x0A000000 + n) for n in range(3)]
    assert [type(stage) for stage in stages(predicates)] == [MapStage, RuleStage, MapStage]


def test_the_first_of_equal_elements_wins() -> None:
    (stage,) = stages([number("tcp.dstport", port) for port in (80, 443, 80)])
    assert isinstance(stage, MapStage)
    assert sorted((element.box, element.index) for element in stage.elements) == [(((80, 80),), 0), (((443, 443),), 1)]


def test_overlapping_ranges_of_one_key_are_cut() -> None:
    (stage,) = stages([number("tcp.dstport", 20, 30), number("tcp.dstport", 10, 40), number("tcp.dstport", 25)])
    assert isinstance(stage, MapStage)
    assert [(element.box[0], element.index) for element in stage.elements] == [((10, 19), 1), ((20, 30), 0), ((31, 40), 1)]


def test_overlapping_boxes_begin_a_new_map() -> None:
    wide = And((address("ip.src", 0x0A000000, 0x0AFFFFFF), number("tcp.dstport", 1, 100)))
    narrow = [And((address("ip.src", 0x0B000000 + n * 256, 0x0B0000FF + n * 256), number("tcp.dstport", 5, 9))) for n in range(3)]
    crossing = And((address("ip.src", 0x0A000000, 0x0B0000FF), number("tcp.dstport", 7, 8)))
    more = [And((address("ip.src", 0x0C000000 + n * 256, 0x0C0000FF + n * 256), number("tcp.dstport", 5, 9))) for n in range(3)]
    found = stages([wide, *narrow, crossing, *more])
    assert [len(stage.members) for stage in found if isinstance(stage, MapStage)] == [4, 4]


# -- boxes


def test_flattening_keeps_the_first_rule_everywhere() -> None:
    rng = random.Random(1)
    for _ in range(300):
        ranges = []
        for target in range(rng.randint(1, 8)):
            low = rng.randrange(20)
            ranges.append((((low, min(19, low + rng.randrange(6))),), target))
        flat = flattened(ranges, 0)
        for value in range(20):
            first = next((target for ((low, high),), target in ranges if low <= value <= high), None)
            hits = [target for ((low, high),), target in flat if low <= value <= high]
            assert hits == ([] if first is None else [first])


def test_disjoint_boxes_refuse_every_overlap() -> None:
    rng = random.Random(2)
    for _ in range(200):
        taken = DisjointBoxes(0, 2)
        for target in range(12):
            box = tuple((low, min(15, low + rng.randrange(5))) for low in (rng.randrange(16), rng.randrange(16)))
            taken.take(box, target)
        for point in product(range(16), repeat=2):
            holders = [box for box, _ in taken.taken if all(low <= at <= high for at, (low, high) in zip(point, box, strict=True))]
            assert len(holders) <= 1


def test_wide_ranges_of_many_kinds_neither_slow_the_search_nor_stand_first() -> None:
    """Prefixes with port ranges, each range another one: the ports tell nearly nothing apart."""
    rng = random.Random(5)
    rules: list[Expression] = []
    for _ in range(5000):
        source, destination = rng.randrange(1 << 24) << 8, 0x0A090000 + (rng.randrange(256) << 8)
        ports = number("tcp.dstport", rng.randrange(1000), 1000 + rng.randrange(60000))
        rules.append(And((address("ip.src", source, source + 255), address("ip.dst", destination, destination + 255), ports)))
    before = time.process_time()
    found = stages(rules)
    assert time.process_time() - before < 10
    assert len(found) < 5
    assert isinstance(found[0], MapStage)
    assert found[0].keys == (Key.SOURCE, Key.DESTINATION, Key.DESTINATION_PORT)


def test_a_range_wider_than_a_machine_word_is_compared_with_all() -> None:
    boxes = DisjointBoxes(0, 0)
    assert boxes.take(((0, (1 << 128) - 1), (5, 5)), 1)
    assert not boxes.take(((7, 1 << 100), (0, 9)), 2)
    assert boxes.take(((7, 1 << 100), (6, 6)), 3)


def test_exact_boxes_keep_the_first() -> None:
    assert exact([(((1, 1),), 5), (((1, 1),), 6)]) == [(((1, 1),), 5)]


# -- size


def test_ten_thousand_rules_plan_and_render_quickly() -> None:
    rng = random.Random(3)
    predicates: list[Expression] = []
    for _ in range(10_000):
        source, destination = rng.getrandbits(32), 0x0A000000 + rng.getrandbits(8)
        predicates.append(And((address("ip.src", source), address("ip.dst", destination), number("tcp.dstport", rng.choice(PORTS)))))
    start = time.process_time()
    generation = render(planned(predicates), 1)
    assert time.process_time() - start < 12  # some 2 s on an idle machine
    assert len(generation.counters) == 10_000
    assert generation.nft.count(" vmap ") <= 8


# -- in the kernel


def some_address(rng: random.Random, name: str) -> InAddresses:
    """Prefixes that nest."""
    base = rng.choice(rng.choice((V4_ADDRESSES, V6_ADDRESSES)))
    bits = rng.choice((0, 0, 1, 8, 9, 16, 24 if base < 1 << 32 else 120))
    low = base >> bits << bits
    return address(name, low, low + (1 << bits) - 1)


def some_port(rng: random.Random, name: str) -> InRanges:
    low = rng.choice(PORTS)
    return number(name, low, min(65535, low + rng.choice((0, 0, 0, 1, 100, 30000))))


def rule_of_shape(rng: random.Random, shape: int) -> Expression:
    """Rules of one shape can make one run; their ranges overlap."""
    match shape:
        case 0:
            return some_address(rng, "ip.src")
        case 1:
            return And((some_address(rng, "ip.src"), some_address(rng, "ip.dst")))
        case 2:
            return And((some_address(rng, "ip.dst"), some_port(rng, rng.choice(("tcp.dstport", "udp.dstport")))))
        case 3:
            return And((some_address(rng, "ip.src"), some_port(rng, "udp.srcport"), some_port(rng, "udp.dstport")))
        case 4:
            return Or((some_port(rng, "tcp.dstport"), some_port(rng, "udp.dstport")))
        case 5:
            return And((number("ip.proto", rng.choice((1, 6, 17, 50)), rng.choice((50, 60, 255))), some_address(rng, "ip.src")))
        case _:
            return And((IsTrue(FIELDS["tcp.flags.syn"]), some_port(rng, "tcp.dstport"), some_port(rng, "tcp.srcport")))


def odd(rng: random.Random, protocol: int, data: bytes) -> tuple[int, bytes]:
    """Behind an authentication header, or behind two extension headers of which the first says fragment."""
    if rng.random() < 0.5:
        return 51, bytes([protocol, 4, 0, 0]) + bytes(20) + data
    return 44, bytes([60, 0, 0, rng.choice((0, 1, 8)), 0, 0, 0, 0]) + bytes([protocol, 0, 1, 4, 0, 0, 0, 0]) + data


def random_header_packet(rng: random.Random) -> bytes:
    ports = rng.choice(PORTS), rng.choice(PORTS)
    protocol, data = (6, tcp(*ports, flags=rng.choice((2, 16)))) if rng.random() < 0.5 else (17, udp(*ports))
    if rng.random() < 0.1:
        data = data[: rng.choice((0, 1, 2, 3, 4, 13, 14))]
    if rng.random() < 0.5:
        fragment = rng.choice((0, 0, 0, 0x2000, 1))
        source, destination = rng.choice(V4_ADDRESSES), rng.choice(V4_ADDRESSES)
        return ipv4(data, protocol, fragment=fragment, src=source, dst=destination)
    if rng.random() < 0.3:
        protocol, data = odd(rng, protocol, data)
    return ipv6(data, protocol, src=rng.choice(V6_ADDRESSES), dst=rng.choice(V6_ADDRESSES))


@pytest.mark.kernel
def test_maps_in_the_kernel_decide_as_the_reference_does() -> None:
    rng = random.Random(4)
    with KernelLab() as lab:
        for _ in range(12):
            predicates: list[Expression] = []
            while len(predicates) < 60:
                shape, size = rng.randrange(7), rng.choice((1, 4, 20))
                predicates += [rule_of_shape(rng, shape) for _ in range(size)]
            rules = policy(predicates, rng.choice((Action.BLOCK, Action.ALLOW)))
            found = plan(rules, Environment(), without=OTHERS)
            assert any(isinstance(stage, MapStage) for each in found.classes for stage in each.stages)
            lab.install(render(found, 1, observe=GROUP))
            for _ in range(300):
                data = random_header_packet(rng)
                names = [rules.rules[int(prefix)].name for prefix in lab.send(data) if prefix != "default"]
                assert names == [rule.name for rule in matched(rules, Packet(data, Place("mantlet0")))], data.hex()


@pytest.mark.kernel
@pytest.mark.parametrize("both", [False, True])
def test_many_ports_behind_odd_headers_take_few_programs(both: bool) -> None:
    """More ports than programs: digit by digit, and still the right rule."""
    rng = random.Random(5)
    ports = [*PORTS, *(rng.randrange(65536) for _ in range(150))]
    predicates: list[Expression] = []
    for port in ports:
        test = number(rng.choice(("tcp.dstport", "udp.dstport")), port)
        other = number(f"{test.operand.field.name[:3]}.srcport", rng.choice(PORTS))  # type: ignore[union-attr]
        predicates.append(And((test, other)) if both else test)
    rules = policy(predicates)
    generation = render(plan(rules, Environment(), without=OTHERS), 1, observe=GROUP)
    assert len(generation.programs) < len(predicates) * (2 if both else 1)
    with KernelLab() as lab:
        lab.install(generation)
        for _ in range(600):
            aimed = rng.choice(predicates)
            destination = (aimed.items[0] if isinstance(aimed, And) else aimed).ranges[0][0]  # type: ignore[union-attr]
            source = aimed.items[1].ranges[0][0] if isinstance(aimed, And) else 1  # type: ignore[union-attr]
            protocol, data = rng.choice(((6, tcp(source, destination)), (17, udp(source, destination))))
            following, rest = odd(rng, protocol, data[: rng.choice((4, 4, 3, 2, 20))])
            packet = ipv6(rest, following)
            names = [rules.rules[int(prefix)].name for prefix in lab.send(packet) if prefix != "default"]
            assert names == [rule.name for rule in matched(rules, Packet(packet, Place("mantlet0")))], packet.hex()
