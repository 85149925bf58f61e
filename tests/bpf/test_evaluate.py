"""The evaluator of many rules = the reference: which rule ends the evaluation, which others hold, and what the asking programs say.

`MANTLET_PAIRS` is the number of rule-packet pairs of the long run."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from generators.expressions import Expressions
from generators.packets import carrying, packet

from bpf import load
from bpf.evaluate import Evaluator, Member, compile_evaluators
from bpf.program import Program, shared_maps
from rules_dsl import parse_expression
from rules_dsl.expression import And, CompareBytes, Contains, FieldValue, Folded, Order
from rules_dsl.fields import FIELDS, PROTOCOLS
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds, values_of

LONGEST = 3300
"""Bytes of a packet that BPF_PROG_TEST_RUN takes, with room for its own."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an evaluation found."""

    ended: int | None
    held: tuple[int, ...]


@contextmanager
def one_cpu() -> Iterator[None]:
    """The record is a CPU's own."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(evaluator: Evaluator, members: Sequence[Member]) -> Iterator[tuple[Program, list[Program], dict[int, Program], Program]]:
    """The evaluator, and the programs that ask: the digits, who held, and whether any ended."""
    digits = [evaluator.digit(bit, 1, 1) for bit in range(max(len(members) - 1, 1).bit_length())]
    held = {number: evaluator.held(number) for number, member in enumerate(members) if not member.ends}
    images = [evaluator.image, *digits, *held.values()]
    with ExitStack() as stack, one_cpu():
        shared = stack.enter_context(shared_maps(images))
        loaded = [stack.enter_context(load(image, shared)) for image in images]
        any_ended = stack.enter_context(load(evaluator.ended_among(0, len(members)), shared))
        yield loaded[0], loaded[1 : 1 + len(digits)], dict(zip(held, loaded[1 + len(digits) :], strict=True)), any_ended


def wanted(members: Sequence[Member], one: Packet) -> Found:
    held = []
    for number, member in enumerate(members):
        if holds(member.predicate, one):
            if member.ends:
                return Found(number, tuple(held))
            held.append(number)
    return Found(None, tuple(held))


def differences(members: Sequence[Member], packets: Sequence[Packet]) -> tuple[list[str], set[int | None]]:
    """What evaluators say otherwise than the reference, each of its own members; and the members that ended an evaluation."""
    differing: list[str] = []
    ended: set[int | None] = set()
    for evaluator in compile_evaluators("test", members):
        own = members[evaluator.first : evaluator.first + len(evaluator.names)]
        with running(evaluator, own) as (program, digits, held, any_ended):
            for one in packets:
                right = wanted(own, one)
                ended.add(None if right.ended is None else evaluator.first + right.ended)
                returned = program.run(one.data)
                number = sum(digit.run(one.data) << bit for bit, digit in enumerate(digits)) if any_ended.run(one.data) else None
                found = Found(number, tuple(number for number, asking in held.items() if asking.run(one.data)))
                if found != right or returned != (right != Found(None, ())):
                    differing.append(f"reference {right}, kernel {found} ({returned}): {one.data.hex()}")
    return differing, ended


def packets_of(rng: random.Random, count: int) -> list[Packet]:
    """Whole packets, most of them with messages of protocols."""
    names = list(PROTOCOLS)
    found: list[Packet] = []
    while len(found) < count:
        data = carrying(rng, rng.choice(names)) if rng.random() < 0.7 else packet(rng, longest=LONGEST)
        if len(data) <= LONGEST and len((one := Packet(data, Place("eth0"))).data) == len(data):
            found.append(one)
    return found


def random_members(rng: random.Random, packets: Sequence[Packet], count: int) -> list[Member]:
    """Rules of every kind, and runs of rules that differ in one text."""
    source = Expressions(rng, place=False, ebpf_only=True, near=packets)
    texts = [field for field in FIELDS.values() if field in source.fields and field.type.value == "bytes" and not field.keyed]
    members: list[Member] = []
    while len(members) < count:
        if rng.random() < 0.5:
            members.append(Member(f"r{len(members)}", And((source.test(), source.expression(2))), rng.random() < 0.7))
            continue
        operand, common = FieldValue(rng.choice(texts)), source.test()
        whole, alone, ends = rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.9
        for _ in range(rng.choice((2, 4, 10, 70))):
            values = [value for value in values_of(operand, rng.choice(packets)) if isinstance(value, bytes)] or [rng.randbytes(3)]
            value = rng.choice(values)
            at = rng.randint(0, len(value))
            text = value if whole else value[at : at + rng.choice((1, 2, 5))]
            test = CompareBytes(operand, Order.EQ, text) if whole else Contains(operand, (text,))
            members.append(Member(f"r{len(members)}", test if alone else And((common, test)), ends))
    return members[:count]


def compare(count: int, seed: int) -> int:
    """How many different members ended an evaluation."""
    rng = random.Random(seed)
    seen: set[int | None] = set()
    while count > 0:
        packets = packets_of(rng, 300)
        members = random_members(rng, packets, rng.choice((2, 10, 60, 200)))
        differing, ended = differences(members, packets)
        assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
        seen |= ended
        count -= len(packets) * len(members)
    return len(seen)


def test_the_evaluator_finds_what_the_reference_finds() -> None:
    assert compare(150_000, seed=11) > 5


def plain_members(rng: random.Random, packets: Sequence[Packet], name: str, count: int) -> list[Member]:
    """Rules for texts of four bytes and more, in their own case or in either: such as a sieve can be made for."""
    operand = FieldValue(FIELDS[name])
    values = [value for one in packets for value in values_of(operand, one) if isinstance(value, bytes) and len(value) >= 20]
    members = []
    for number in range(count):
        value = rng.choice(values)
        at = rng.randrange(len(value) - 4)
        text = value[at : at + rng.choice((4, 6, 12, 40))]
        text = text if len(text) >= 4 and rng.random() < 0.5 else rng.randbytes(1) + text + rng.randbytes(4)
        test = Contains(Folded(operand, upper=False), (text.lower(),)) if rng.random() < 0.3 else Contains(operand, (text,))
        members.append(Member(f"r{number}", test, rng.random() < 0.5))
    return members


@pytest.mark.parametrize("name", ["payload", "udp.payload", "tcp.payload"])
def test_texts_behind_a_sieve_are_found(name: str) -> None:
    rng = random.Random(name)
    ended: set[int | None] = set()
    for _ in range(6):
        packets = packets_of(rng, 300)
        differing, found = differences(plain_members(rng, packets, name, rng.choice((2, 20, 300))), packets)
        assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
        ended |= found
    assert len(ended) > 5


@pytest.mark.long
def test_the_evaluator_finds_what_the_reference_finds_in_millions_of_pairs() -> None:
    assert compare(int(os.environ.get("MANTLET_PAIRS", "1000000")) * 10, seed=random.SystemRandom().randrange(1 << 32))


@pytest.mark.long
def test_the_verifier_refuses_none_of_ten_thousand_policies() -> None:
    rng = random.Random(random.SystemRandom().randrange(1 << 32))
    for number in range(int(os.environ.get("MANTLET_POLICIES", "10000"))):
        if number % 50 == 0:
            packets = packets_of(rng, 200)
        members = random_members(rng, packets, rng.choice((2, 2, 3, 3, 5, 10, 20)))
        for evaluator in compile_evaluators("test", members):
            with shared_maps([evaluator.image]) as shared, load(evaluator.image, shared):
                pass


def ladder(count: int) -> list[Member]:
    return [Member(f"r{n}", parse_expression(f'udp.payload contains "pattern{n:05d}."'), True) for n in range(count)]


def datagram(payload: bytes) -> Packet:
    udp = (5353).to_bytes(2, "big") * 2 + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload
    return Packet(
        bytes.fromhex("4500") + (20 + len(udp)).to_bytes(2, "big") + bytes.fromhex("0000000040110000") + bytes(8) + udp, Place("eth0")
    )


@pytest.mark.parametrize("count", [3, 4, 63, 64, 65, 200])
def test_each_rung_of_a_ladder_is_found(count: int) -> None:
    packets = [datagram(b"..pattern%05d.." % n) for n in range(count)]
    differing, ended = differences(ladder(count), [*packets, datagram(b"pattern"), datagram(b"")])
    assert not differing
    assert ended == {*range(count), None}


def test_the_first_of_several_patterns_wins() -> None:
    differing, ended = differences(ladder(100), [datagram(b"pattern00090.pattern00017.pattern00055.")])
    assert not differing
    assert ended == {17}


def test_a_thousand_rules_are_as_much_code_as_ten() -> None:
    few, many = (compile_evaluators("test", ladder(count))[0].image.slots for count in (10, 1000))
    assert many < 2 * few


def test_many_rules_are_divided() -> None:
    """By their number, by their instructions and by their functions."""
    evaluators = compile_evaluators("test", ladder(5000))
    assert [(each.first, len(each.names)) for each in evaluators] == [(0, 2500), (2500, 2500)]
    rng = random.Random(7)
    source = Expressions(rng, place=False, ebpf_only=True, near=packets_of(rng, 100))
    members = [Member(f"r{n}", source.expression(3), True) for n in range(400)]
    various = compile_evaluators("test", members)
    assert len(various) > 1
    assert sum(len(each.names) for each in various) == 400
    with ExitStack() as stack:
        for each in (*evaluators, *various):
            stack.enter_context(load(each.image, stack.enter_context(shared_maps([each.image]))))


def test_rules_that_look_at_many_values_are_divided() -> None:
    """The verifier follows the loop over the values of a field round by round; it refused forty such rules in one function."""
    rules = [f"tls.record.version == {number}" for number in range(60)] + [f"all(dns.resp.type != {number})" for number in range(60)]
    various = compile_evaluators("test", [Member(rule, parse_expression(rule), ends=False) for rule in rules])
    assert len(various) > 1
    assert sum(len(each.names) for each in various) == len(rules)
    with ExitStack() as stack:
        for each in various:
            stack.enter_context(load(each.image, stack.enter_context(shared_maps([each.image]))))


def query(*names: bytes) -> Packet:
    """A DNS query for the names; each after the first is the first label and a pointer to the rest of the first name."""
    first = b"".join(bytes([len(label)]) + label for label in names[0].split(b".")) + b"\0"
    rest = 12 + 1 + len(names[0].split(b".")[0])
    questions = first + b"\0\1\0\1"
    for name in names[1:]:
        questions += bytes([len(name)]) + name + (0xC000 | rest).to_bytes(2, "big") + b"\0\1\0\1"
    return datagram(b"\x12\x34\x01\x00" + len(names).to_bytes(2, "big") + bytes(6) + questions)


def test_names_of_the_domain_name_system_are_swept() -> None:
    members = [Member(f"r{n}", parse_expression(f'dns.qry.name == "host{n}.EXAMPLE.com"'), True) for n in range(100)]
    members += [Member(f"s{n}", parse_expression(f'dns.qry.name contains "ad{n}s."'), True) for n in range(100)]
    packets = [query(b"Host%d.example.COM" % n) for n in range(100)] + [query(b"x.AD%dS.net" % n) for n in range(100)]
    packets += [query(b"www.example.com", b"host33", b"HOST7"), query(b"a" * 63 + b".ad5s." + b"b" * 63), query(b"host5.example.com.x")]
    differing, ended = differences(members, packets)
    assert not differing
    assert ended == {*range(200), None}
