"""Rules that no packet reaches: which are told, by which rules and with which packet, against brute force and the reference evaluator."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from generators.expressions import Expressions
from generators.packets import packets, place
from kernel_lab import ipv4, ipv6, tcp, udp
from test_merge import address, number, random_header_packet, rule_of_shape

from firewall.bench.classbench import rule_set
from firewall.cli import main
from firewall.plan.cover import Cover
from firewall.plan.header_part import header_part
from firewall.plan.model import Box
from firewall.plan.shadow import Shadow, Witness, shadows
from rules_dsl import parse_policy
from rules_dsl.expression import And, Expression, IsTrue, Not, Or
from rules_dsl.fields import FIELDS
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Policy, Rule
from rules_dsl.reference import holds, matched, protects

HERE = Place("eth0")
EXAMPLES = Path(__file__).parents[2] / "examples"


def told(text: str) -> dict[str, list[str]]:
    """The rules that are shadowed, each with those that do it."""
    return by_name(parse_policy(f"tenant acme\n{text}\n"))


def by_name(policy: Policy) -> dict[str, list[str]]:
    return {shadow.rule.name: [rule.name for rule in shadow.by] for shadow in shadows(policy).found}


def phased(*texts: str) -> Policy:
    parts = [parse_policy(f"tenant acme\n{text}\n") for text in texts]
    return replace(parts[0], rules=tuple(replace(rule, phase=phase) for phase, part in enumerate(parts) for rule in part.rules))


def packet_of(witness: Witness) -> Packet:
    ports = witness.source_port or 0, witness.destination_port or 0
    transport = {6: tcp(*ports), 17: udp(*ports)}.get(witness.protocol or 0, bytes(20))
    if witness.protocol == 132:
        transport = ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big") + bytes(8)
    addresses = {"src": witness.source, "dst": witness.destination}
    assert witness.protocol is not None
    data = ipv4(transport, witness.protocol, **addresses) if witness.version == 4 else ipv6(transport, witness.protocol, **addresses)
    return Packet(data, HERE)


# -- boxes


def random_boxes(rng: random.Random, count: int, size: int) -> list[Box]:
    def side() -> tuple[int, int]:
        low = rng.randrange(size)
        return rng.choice(((0, size - 1), (low, min(size - 1, low + rng.randrange(3))), (low, size - 1), (low, low)))

    return [(side(), side(), side()) for _ in range(count)]


def points(box: Box) -> set[tuple[int, ...]]:
    return set(product(*(range(low, high + 1) for low, high in box)))


def test_what_is_covered_is_what_brute_force_finds() -> None:
    rng = random.Random(1)
    found = {True: 0, False: 0}
    for _ in range(500):
        size = rng.choice((2, 3, 5))
        boxes = random_boxes(rng, rng.randrange(1, 14), size)
        cover = Cover(boxes, len(boxes))
        before: list[Box] = []
        for owner, box in enumerate(boxes):
            left = points(box).difference(*map(points, before))
            owners = cover.owners_of(box)
            assert (owners is not None) is (not left)
            if owners is not None:
                assert not points(box).difference(*(points(before[each]) for each in owners))
                point = rng.choice(sorted(points(box)))
                assert cover.first_at(point) == next(each for each, other in enumerate(before) if point in points(other))
            assert cover.meeting(box) == {each for each, other in enumerate(before) if points(box) & points(other)}
            found[owners is not None and len(owners) > 1] += 1
            cover.take(box, owner)
            before.append(box)
    assert min(found.values()) > 100


def test_what_is_let_go_covers_nothing() -> None:
    boxes: list[Box] = [((0, 5), (0, 9)), ((6, 9), (0, 9)), ((0, 9), (0, 9))]
    cover = Cover(boxes, 2)
    cover.take(boxes[0], 0)
    cover.take(boxes[1], 1)
    assert cover.owners_of(boxes[2]) == {0, 1}
    cover.keep([1])
    assert cover.owners_of(boxes[2]) is None
    assert cover.owners_of(boxes[1]) == {1}


# -- which rules are told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('block "a" when ip.src == 192.0.2.0/24\nallow "b" when ip.src == 192.0.2.9', {"b": ["a"]}),
        ('block "a" when ip.src == 192.0.2.9\nallow "b" when ip.src == 192.0.2.0/24', {}),
        ('block "a" when ip.src == 10.0.0.0/9\nblock "b" when ip.src == 10.128.0.0/9\nlog "c" when ip.src == 10.0.0.0/8', {"c": [*"ab"]}),
        ('block "a" when tcp\nallow "b" when tcp.dstport == 80', {}),  # which may stand in less than a TCP header
        ('block "a" when ip.proto == "tcp"\nallow "b" when tcp.dstport == 80', {"b": ["a"]}),
        ('block "a" when ip.proto == "tcp"\nallow "b" when tcp', {"b": ["a"]}),
        ('block "a" when tcp.dstport in {0..65535}\nallow "b" when tcp', {"b": ["a"]}),
        ('block "a" when tcp.dstport in {0..65535}\nallow "b" when ip.proto == "tcp"', {}),  # later fragments have no port
        ('block "a" when tcp.srcport in {0..65535}\nallow "b" when tcp.dstport in {1..2}', {"b": ["a"]}),
        ('block "a" when tcp.dstport in {0..65535}\nallow "b" when tcp.srcport in {1..2}', {}),  # a packet may end between them
        ('block "a" when tcp.dstport == 80\nallow "b" when tcp.dstport == 80 and tcp.flags.syn', {"b": ["a"]}),
        ('block "a" when ip.proto == "udp"\nblock "b" when dns.qry.type == 255', {}),  # over TCP too
        ('block "a" when ip.proto in {"udp" "tcp"}\nblock "b" when dns.qry.type == 255', {"b": ["a"]}),
        ('block "a" when tcp.flags.syn\nblock "b" when tcp.flags.syn and tcp.dstport == 80', {}),  # not known
        ('block "a" when ip.src == 192.0.2.0/24\nblock "b" when ip.src == 192.0.2.1 or http', {}),
        ('block "a" when ip.src == 192.0.2.0/24\nblock "b" when ip.src == 192.0.2.1 and not http', {"b": ["a"]}),
        ('block "a" when ip.version == 4\nblock "b" when ip.src == 192.0.2.1\nblock "c" when ip.src == 2001:db8::1', {"b": ["a"]}),
        ('block "a" when ip.proto in {0..255}\nblock "b" when ip.src == 192.0.2.1\nblock "c" when ip.src == 2001:db8::1', {"b": ["a"]}),
        ('block "a" when ip\nblock "b" when tcp.dstport == 1 and tcp.dstport == 2', {}),  # of no packet
        ('log "a" when udp\ncount "b" when udp\nblock "c" when udp', {}),
        ('monitor block "a" when udp\ndisabled block "b" when udp\nallow "c" when udp', {}),
        ('block "a" when udp\nmonitor block "b" when udp\ndisabled block "c" when udp\nlog "d" when udp', {"b": ["a"], "d": ["a"]}),
        ('block "a" when udp\nblock "b" when udp\nblock "c" when udp.dstport == 1 and udp', {"b": ["a"], "c": ["a"]}),
        ('allow "a" when ip.dst == 203.0.113.0/24\nblock "b" when tcp', {}),
        ('protect 203.0.113.0/25\nallow "a" when ip.dst == 203.0.113.0/24\nblock "b" when tcp', {"b": ["a"]}),
        ('protect 203.0.113.0/25 2001:db8::/32\nallow "a" when ip.dst == 203.0.113.0/24\nblock "b" when tcp', {}),
        ('protect 203.0.113.0/25\nprotect interface "eth0"\nallow "a" when ip.dst == 203.0.113.0/24\nblock "b" when tcp', {}),
        ('allow "a" when not cf.colo.name == "x"\nblock "b" when tcp', {}),  # elsewhere it may be called x
        ('allow "a" when not vlan.id == 5\nblock "b" when tcp', {}),
        ('allow "a" when udp\nblock "b" when udp and vlan.id == 5', {"b": ["a"]}),
        ('hook output\nallow "a" when not interface.in == "eth0"\nblock "b" when tcp', {"b": ["a"]}),
        ('allow "a" when not interface.in == "eth0"\nblock "b" when tcp', {}),
    ],
)  # fmt: skip
def test_what_is_told(text: str, expected: dict[str, list[str]]) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (('allow "a" when udp\nlog "b" when udp', 'block "c" when udp'), {"b": ["a"]}),
        (('block "a" when udp', 'block "c" when udp'), {"c": ["a"]}),
        (('allow "a" when udp.dstport == 1\nblock "b" when udp', 'block "c" when udp'), {}),
        (('allow "a" when tcp\nblock "b" when udp', 'block "c" when udp'), {"c": ["b"]}),
        (('allow "a" when http\nblock "b" when udp', 'block "c" when udp'), {}),  # what "a" allows is not known
        (('block "b" when udp\nallow "a" when http', 'block "c" when udp'), {"c": ["b"]}),
        (('block "b" when udp', 'allow "a" when udp', 'block "c" when udp'), {"a": ["b"], "c": ["b"]}),
        (('allow "a" when udp\nblock "b" when udp', 'block "c" when udp', 'block "d" when udp'), {"b": ["a"], "d": ["c"]}),
    ],
)
def test_an_allow_takes_packets_from_its_own_phase_alone(texts: tuple[str, ...], expected: dict[str, list[str]]) -> None:
    assert by_name(phased(*texts)) == expected


def test_a_witness_is_a_packet_as_one_meets_it() -> None:
    text = 'tenant t\nblock "a" when ip.dst == 10.0.0.0/8\nallow "b" when tcp.dstport == 22 and ip.dst == 10.1.0.0/16\n'
    (shadow,) = shadows(parse_policy(text)).found
    assert shadow == Shadow(shadow.rule, shadow.by, Witness(4, 0xC0000201, 0x0A010001, 6, 49152, 22), shadow.by[0], True)


# -- random rules


def random_rules(rng: random.Random, count: int) -> Policy:
    def predicate() -> Expression:
        one = rule_of_shape(rng, rng.randrange(7))
        match rng.randrange(8):
            case 0:
                return And((one, IsTrue(FIELDS[rng.choice(("tcp", "udp", "http", "ip.frag"))])))
            case 1:
                return Or((one, rule_of_shape(rng, rng.randrange(6))))
            case 2:
                return And((one, Not(rule_of_shape(rng, 0))))
            case 3 | 4:
                return number("udp.dstport", *rng.choice(((0, 1023), (1024, 32767), (32768, 65535), (53, 60000))))
            case _:
                return one

    actions = (Action.BLOCK, Action.BLOCK, Action.ALLOW, Action.REJECT, Action.LOG, Action.COUNT)
    modes = (Mode.ENABLED,) * 6 + (Mode.MONITOR, Mode.DISABLED)
    last = rng.choice((0, 0, 1, 2))
    rules = [
        Rule(f"rule {index}", rng.choice(actions), rng.choice(modes), predicate(), "", phase=index * (last + 1) // count)
        for index in range(count)
    ]
    return Policy("acme", tuple(rules))


def test_no_packet_reaches_a_rule_that_is_told() -> None:
    """Nor does one that is aimed at it: each witness goes to it alone, and to the rule that is named, before it."""
    rng = random.Random(2)
    counts = {"whole": 0, "header": 0, "several": 0, "phases": 0}
    for _ in range(60):
        policy = random_rules(rng, rng.choice((20, 60)))
        found = shadows(policy).found
        dead = {shadow.rule for shadow in found}
        for shadow in found:
            packet = packet_of(shadow.witness)
            assert holds(shadow.taker.predicate, packet)
            assert policy.rules.index(shadow.taker) < policy.rules.index(shadow.rule)
            assert not shadow.is_whole or holds(shadow.rule.predicate, packet)
            assert shadow.rule not in matched(policy, packet)
            counts["whole" if shadow.is_whole else "header"] += 1
            counts["several"] += len(shadow.by) > 1
            counts["phases"] += shadow.rule.phase > 0
        for _ in range(150):
            reached = matched(policy, Packet(random_header_packet(rng), Place("eth0")))
            assert not dead.intersection(reached)
    assert min(counts.values()) > 20, counts


def test_every_rule_that_is_dead_by_one_address_and_port_is_told() -> None:
    """On a small universe, where all packets can be tried."""
    rng = random.Random(3)
    least = 0
    for _ in range(40):
        predicates: list[Expression] = []
        for _ in range(12):
            low, port = rng.randrange(4), rng.randrange(3)
            one = address("ip.src", 0x0A000000 + low, 0x0A000000 + min(3, low + rng.randrange(3)))
            predicates.append(rng.choice((one, And((one, number("udp.dstport", port, min(2, port + rng.randrange(2))))))))
        policy = Policy("acme", tuple(Rule(f"{n}", Action.BLOCK, Mode.ENABLED, each, "") for n, each in enumerate(predicates)))
        cases = [
            Packet(ipv4(data, 17, src=0x0A000000 + low), HERE)
            for low in range(4)
            for data in (udp(5, 0), udp(5, 1), udp(5, 2), udp(5, 3), udp(5, 1)[:3], b"")
        ]
        reached = {rule.name for packet in cases for rule in matched(policy, packet)}
        assert {shadow.rule.name for shadow in shadows(policy).found} == {rule.name for rule in policy.rules} - reached
        least += len(policy.rules) - len(reached)
    assert least > 100


def test_the_header_part_holds_for_no_fewer_packets() -> None:
    rng = random.Random(4)
    judged = [Packet(data, place(rng)) for data in packets(rng, 150)]
    wanted = Expressions(rng, near=judged)
    narrow = 0
    for _ in range(600):
        expression = wanted.expression(3)
        part = header_part(expression, 4)
        for packet in rng.sample(judged, 30):
            if holds(expression, packet):
                assert holds(part, packet), expression
            narrow += not holds(part, packet)
    assert narrow > 1000


def test_a_witness_is_among_the_protected() -> None:
    policy = parse_policy('tenant t\nprotect 203.0.113.64/26\nallow "a" when ip.dst == 203.0.113.0/24\nblock "b" when udp\n')
    (shadow,) = shadows(policy).found
    assert protects(policy.protect, packet_of(shadow.witness))


# -- size


@pytest.mark.parametrize("seed", ["acl1", "fw1", "ipc1"])
def test_ten_thousand_rules_take_seconds(seed: str) -> None:
    predicates: list[Expression] = []
    for rule in rule_set(seed, 10_000).filters:
        tests: list[Expression] = [
            address(name, first, first | 0xFFFFFFFF >> length)
            for name, first, length in (("ip.src", rule.source, rule.source_length), ("ip.dst", rule.destination, rule.destination_length))
            if length
        ]
        if rule.protocol is not None:
            tests.append(number("ip.proto", rule.protocol))
        if rule.protocol in (6, 17):
            name = "tcp" if rule.protocol == 6 else "udp"
            tests += [
                number(f"{name}.{key}", *ports)
                for key, ports in (("srcport", rule.source_ports), ("dstport", rule.destination_ports))
                if ports != (0, 65535)
            ]
        predicates.append(And(tuple(tests)) if len(tests) > 1 else tests[0] if tests else IsTrue(FIELDS["ip"]))
    rules = tuple(Rule(f"{index}", Action.BLOCK, Mode.ENABLED, each, "") for index, each in enumerate(predicates))
    start = time.process_time()
    shadows(Policy("acme", rules))
    assert time.process_time() - start < 25  # 2 to 3 s on an idle machine


def test_many_rules_together_shadow_one() -> None:
    one_each = [number("tcp.dstport", port) for port in range(2000)]
    policy = Policy(
        "acme",
        tuple(
            Rule(f"{index}", Action.BLOCK, Mode.ENABLED, each, "")
            for index, each in enumerate([*one_each, number("tcp.dstport", 0, 1999), number("tcp.dstport", 0, 2000)])
        ),
    )
    (shadow,) = shadows(policy).found
    assert (shadow.rule.name, len(shadow.by)) == ("2000", 2000)


def test_what_is_too_much_work_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.rules"
    path.write_text(SHADOWED + "".join(f'block "n{port}" when tcp.dstport == {port}\n' for port in range(5)))
    monkeypatch.setattr("firewall.plan.cover.MOST_WORK", -1)
    assert main(["check", "--strict", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"{path}: 8 rules, no findings\n"
        f'note: {path}: whether a packet reaches "low", "high", "web" and 5 more was too much work to find out\n'
    )
    main(["check", "--format", "json", str(path)])
    (entry,) = json.loads(capsys.readouterr().out)["files"]
    assert entry["not_known_whether_shadowed"] == ["low", "high", "web", *(f"n{port}" for port in range(5))]


# -- the command


SHADOWED = """tenant acme
block "low"    when ip.dst == 203.0.113.0/25
block "high"   when ip.dst == 203.0.113.128/25
allow "web"    when tcp.dstport == 80 and ip.dst == 203.0.113.0/24
"""


def test_check_shows_what_shadows_a_rule_and_a_packet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.rules"
    path.write_text(SHADOWED)
    assert main(["check", str(path)]) == 0
    assert (
        capsys.readouterr().out
        == f"""\
warning[W0504]: no packet reaches the rule "web": "low" and "high" take all of its packets
 --> {path}:4:1
  |
2 | block "low"    when ip.dst == 203.0.113.0/25
  | -------------------------------------------- takes some of them
3 | block "high"   when ip.dst == 203.0.113.128/25
  | ---------------------------------------------- takes some of them
4 | allow "web"    when tcp.dstport == 80 and ip.dst == 203.0.113.0/24
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ never reached
  = help: TCP from 192.0.2.1 port 49152 to 203.0.113.1 port 80 ends at "low"; move the rule up, or remove it

0 errors, 1 warning in 1 file
"""
    )
    assert main(["check", "--strict", str(path)]) == 1


def test_check_as_json_has_the_rules_and_the_packet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.rules"
    path.write_text(SHADOWED)
    assert main(["check", "--format", "json", str(path)]) == 0
    document = json.loads(capsys.readouterr().out)
    (entry,) = document["files"]
    assert (document["warnings"], [each["code"] for each in entry["diagnostics"]]) == (1, ["W0504"])
    witness = {"source": "192.0.2.1", "destination": "203.0.113.1", "protocol": 6, "source_port": 49152, "destination_port": 80}
    assert entry["shadowed"] == [{"rule": "web", "by": ["low", "high"], "witness": witness, "taken_by": "low"}]


def test_behind_a_rule_for_every_packet_the_first_alone_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.rules"
    path.write_text('tenant t\nblock "u" when udp\nlog "v" when udp\nallow "all" when true\nblock "w" when tcp\nblock "x" when tcp\n')
    assert main(["check", "--format", "json", str(path)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["files"]
    assert sorted((each["code"], each["line"]) for each in entry["diagnostics"]) == [("W0502", 5), ("W0504", 3)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.rules")), ids=lambda path: path.stem)
def test_the_examples_have_no_such_rule(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--strict", str(path)]) == 0, capsys.readouterr().out
