"""The reference evaluator, node by node."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from generators.expressions import Expressions, normal_ranges
from generators.packets import carrying, packets, place

from rules_dsl.expression import (
    All,
    And,
    AnyBit,
    BitSlice,
    BytesOperand,
    CompareBytes,
    Const,
    Contains,
    EndsWith,
    Expression,
    FieldValue,
    Folded,
    InAddresses,
    InRanges,
    InStrings,
    IsTrue,
    Length,
    Matches,
    Not,
    Or,
    Order,
    StartsWith,
    Substring,
    Wildcard,
    Xor,
)
from rules_dsl.expression import tests_of as every_test
from rules_dsl.fields import FIELDS, PROTOCOL_OF, PROTOCOLS, Header
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Outcome, Policy, Protect, Rule, Verdict
from rules_dsl.reference import holds, judge, matched, protects

YES, NO = Const(True), Const(False)
PAYLOAD = FieldValue(FIELDS["udp.payload"])


def field(name: str) -> FieldValue:
    return FieldValue(FIELDS[name])


def udp(payload: bytes, *, mark: int = 0, source: int = 0xC0000201, interface: str = "eth0") -> Packet:
    header = (
        b"\x45\x00" + (28 + len(payload)).to_bytes(2, "big") + bytes(5) + b"\x11\x00\x00" + source.to_bytes(4, "big") + b"\xc6\x33\x64\x07"
    )
    return Packet(header + b"\x00\x35\x30\x39" + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload, Place(interface, mark=mark))


def ipv6(next_header: int, rest: bytes) -> Packet:
    header = b"\x60\x00\x00\x00" + len(rest).to_bytes(2, "big") + bytes([next_header, 64])
    return Packet(header + bytes.fromhex("20010db8" + "00" * 11 + "01") * 2 + rest, Place("eth0"))


PACKET = udp(b"Evil twin")
CHAIN = ipv6(0, b"\x2b\x00" + bytes(6) + b"\x3b\x00" + bytes(6))
"""Hop-by-hop and routing header, no next header."""


# -- logic -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (YES, True),
        (NO, False),
        (Not(YES), False),
        (Not(NO), True),
        (And((YES, YES)), True),
        (And((YES, NO)), False),
        (And(()), True),
        (Or((NO, YES)), True),
        (Or((NO, NO)), False),
        (Or(()), False),
        (Xor(YES, NO), True),
        (Xor(NO, YES), True),
        (Xor(YES, YES), False),
        (Xor(NO, NO), False),
        (Not(And((YES, Or((NO, Xor(YES, YES)))))), True),
    ],
)
def test_logic(expression: Expression, expected: bool) -> None:
    assert holds(expression, PACKET) is expected


ABSENT: dict[str, Expression] = {
    "number": InRanges(field("tcp.dstport"), ((0, 65535),)),
    "bits": AnyBit(field("tcp.flags"), 0xFF),
    "flag": IsTrue(FIELDS["tcp.flags.syn"]),
    "name": IsTrue(FIELDS["tcp"]),
    "slice of an absent header": InRanges(BitSlice(Header.TCP, 0, 8), ((0, 255),)),
    "slice beyond the packet": InRanges(BitSlice(Header.UDP, 2000, 2008), ((0, 255),)),
    "length of nothing": InRanges(Length(field("tcp.payload")), ((0, 1 << 17),)),
    "equality": CompareBytes(field("tcp.payload"), Order.EQ, b""),
    "order": CompareBytes(field("tcp.payload"), Order.GE, b""),
    "empty pattern": Contains(field("tcp.payload"), (b"",)),
    "empty prefix": StartsWith(field("tcp.payload"), b""),
    "empty suffix": EndsWith(field("tcp.payload"), b""),
    "any value": Wildcard(field("tcp.payload"), (b"", b""), strict=True),
    "function of nothing": Contains(Folded(Substring(field("tcp.payload"), 0, None), upper=True), (b"",)),
    "many values": InRanges(field("ipv6.exthdr"), ((0, 255),)),
    "all of no values": All(InRanges(field("ipv6.exthdr"), ((0, 255),))),
    "interface": InStrings(field("interface.out"), (b"", b"eth0")),
}


@pytest.mark.parametrize("case", ABSENT)
def test_a_test_on_an_absent_operand_is_false_and_its_negation_true(case: str) -> None:
    assert holds(ABSENT[case], PACKET) is False
    assert holds(Not(ABSENT[case]), PACKET) is True


# -- numbers and addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ((), False),
        (((53, 53),), True),
        (((0, 52),), False),
        (((54, 65535),), False),
        (((0, 52), (54, 65535)), False),
        (((0, 10), (50, 53), (60, 70)), True),
        (((0, 10), (53, 60), (70, 70)), True),
        (((0, 65535),), True),
    ],
)
def test_ranges(ranges: tuple[tuple[int, int], ...], expected: bool) -> None:
    assert holds(InRanges(field("udp.srcport"), ranges), PACKET) is expected


@pytest.mark.parametrize(("mask", "expected"), [(0, False), (1, True), (2, False), (0x20, True), (0xFFCA, False), (0xFFFF, True)])
def test_bits_of_port_53(mask: int, expected: bool) -> None:
    assert holds(AnyBit(field("udp.srcport"), mask), PACKET) is expected


def test_a_bit_slice_is_a_number() -> None:
    assert holds(InRanges(BitSlice(Header.UDP, 10, 16), ((0x35, 0x35),)), PACKET)
    assert holds(AnyBit(BitSlice(Header.UDP, 64, 72), 0x04), PACKET)  # "E" is 0x45


def test_a_flag_is_true_or_not() -> None:
    assert holds(IsTrue(FIELDS["udp"]), PACKET)
    assert not holds(IsTrue(FIELDS["ip.frag"]), PACKET)


LIST = InAddresses(field("ip.src"), ((0xC0000200, 0xC00002FF),), ((0x20010DB8 << 96, (0x20010DB9 << 96) - 1),))


@pytest.mark.parametrize(("source", "expected"), [(0xC00001FF, False), (0xC0000200, True), (0xC00002FF, True), (0xC0000300, False)])
def test_addresses_of_ipv4(source: int, expected: bool) -> None:
    assert holds(LIST, udp(b"", source=source)) is expected


def test_an_address_is_looked_up_in_its_own_family() -> None:
    assert holds(LIST, ipv6(59, b""))
    assert not holds(InAddresses(field("ip.src"), ((0, (1 << 32) - 1),), ()), ipv6(59, b""))
    assert not holds(InAddresses(field("ip.src"), (), ((0, (1 << 128) - 1),)), PACKET)


# -- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "true_for"),
    [
        (b"ab", "== <= >="),
        (b"a", "> >="),
        (b"abc", "< <="),
        (b"aa\xff", "> >="),
        (b"b", "< <="),
        (b"a\x80", "< <="),
        (b"", "> >="),
        (b"Ab", "> >="),
    ],
)
def test_order_is_bytewise_and_then_the_shorter_first(other: bytes, true_for: str) -> None:
    result = [order.value for order in Order if holds(CompareBytes(PAYLOAD, order, other), udp(b"ab"))]
    assert sorted(result) == sorted(true_for.split())


def test_membership_is_of_the_whole_value() -> None:
    assert holds(InStrings(PAYLOAD, (b"Evil twin", b"x")), PACKET)
    assert not holds(InStrings(PAYLOAD, (b"Evil", b"evil twin", b"twin")), PACKET)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (Contains(PAYLOAD, (b"il t",)), True),
        (Contains(PAYLOAD, (b"evil",)), False),
        (Contains(PAYLOAD, (b"evil", b"n")), True),
        (Contains(PAYLOAD, (b"",)), True),
        (Contains(PAYLOAD, (b"Evil twins",)), False),
        (StartsWith(PAYLOAD, b"Evil"), True),
        (StartsWith(PAYLOAD, b"vil"), False),
        (StartsWith(PAYLOAD, b""), True),
        (StartsWith(PAYLOAD, b"Evil twin "), False),
        (EndsWith(PAYLOAD, b"twin"), True),
        (EndsWith(PAYLOAD, b"twi"), False),
        (EndsWith(PAYLOAD, b"Evil twin"), True),
        (Matches(PAYLOAD, r"il\s+t"), True),
        (Matches(PAYLOAD, r"^vil"), False),
        (Matches(PAYLOAD, r"(?i)EVIL"), True),
        (Matches(PAYLOAD, r"twin$"), True),
    ],
)
def test_texts(test: Expression, expected: bool) -> None:
    assert holds(test, PACKET) is expected


def test_a_regular_expression_sees_bytes_and_its_end_is_the_value_s_end() -> None:
    packet = udp(b"\xff\n$\n")
    results = {
        pattern: holds(Matches(PAYLOAD, pattern), packet) for pattern in (r"\$$", r"\$\z", r"[$]\n$", r"\$\n\z", r"\xff.", r"\xff\n")
    }
    assert results == {r"\$$": False, r"\$\z": False, r"[$]\n$": True, r"\$\n\z": True, r"\xff.": False, r"\xff\n": True}


@pytest.mark.parametrize(
    ("segments", "value", "expected"),
    [
        ((b"abc",), b"abc", True),
        ((b"abc",), b"abcd", False),
        ((b"",), b"", True),
        ((b"", b""), b"", True),
        ((b"", b""), b"\x00\xff", True),
        ((b"a", b""), b"abc", True),
        ((b"a", b""), b"ba", False),
        ((b"", b"c"), b"abc", True),
        ((b"", b"c"), b"abcd", False),
        ((b"a", b"c"), b"ac", True),
        ((b"ab", b"bc"), b"abc", False),
        ((b"ab", b"bc"), b"abbc", True),
        ((b"a", b"b", b"c"), b"axbxc", True),
        ((b"a", b"b", b"c"), b"axxc", False),
        ((b"", b"aa", b"aa", b""), b"aaa", False),
        ((b"", b"aa", b"aa", b""), b"aaaa", True),
        ((b"", b"ab", b"abab"), b"ababab", True),
        ((b"", b"abab", b"ab"), b"abab", False),
        ((b"x", b"ab", b"ab"), b"xaabab", True),
    ],
)
def test_wildcard(segments: tuple[bytes, ...], value: bytes, expected: bool) -> None:
    assert holds(Wildcard(PAYLOAD, segments, strict=True), udp(value)) is expected


def test_a_wildcard_is_strict_about_case_or_not() -> None:
    assert holds(Wildcard(PAYLOAD, (b"evil", b"in"), strict=False), PACKET)
    assert not holds(Wildcard(PAYLOAD, (b"evil", b"in"), strict=True), PACKET)


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        (Folded(PAYLOAD, upper=False), b"az{@[\xc4\xe4"),
        (Folded(PAYLOAD, upper=True), b"AZ{@[\xc4\xe4"),
        (Substring(PAYLOAD, 0, 2), b"aZ"),
        (Substring(PAYLOAD, 2, None), b"{@[\xc4\xe4"),
        (Substring(PAYLOAD, -2, None), b"\xc4\xe4"),
        (Substring(PAYLOAD, -99, 1), b"a"),
        (Substring(PAYLOAD, 1, -5), b"Z"),
        (Substring(PAYLOAD, 3, 3), b""),
        (Substring(PAYLOAD, 5, 2), b""),
        (Substring(PAYLOAD, 7, None), b""),
        (Substring(PAYLOAD, 100, 200), b""),
        (Substring(Folded(PAYLOAD, upper=True), 1, 2), b"Z"),
        (Substring(Substring(PAYLOAD, 1, None), 1, -1), b"{@[\xc4"),
    ],
)
def test_functions(operand: BytesOperand, expected: bytes) -> None:
    packet = udp(b"aZ{@[\xc4\xe4")
    assert holds(CompareBytes(operand, Order.EQ, expected), packet)
    assert holds(InRanges(Length(operand), ((len(expected), len(expected)),)), packet)


# -- many values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "any_passes", "all_pass"),
    [(((0, 0),), True, False), (((43, 43),), True, False), (((0, 43),), True, True), (((44, 255),), False, False)],
)
def test_any_and_all(ranges: tuple[tuple[int, int], ...], any_passes: bool, all_pass: bool) -> None:
    test = InRanges(field("ipv6.exthdr"), ranges)
    assert (holds(test, CHAIN), holds(All(test), CHAIN)) == (any_passes, all_pass)


# -- policies ----------------------------------------------------------------------------------------------------------


def rule(name: str, action: Action, *, mode: Mode = Mode.ENABLED, predicate: Expression = YES) -> Rule:
    return Rule(name, action, mode, predicate, "true")


@pytest.mark.parametrize(
    ("rules", "names", "verdict", "outcome", "decider"),
    [
        ([], "", Verdict.DEFAULT, Outcome.PASSED, None),
        ([rule("a", Action.BLOCK)], "a", Verdict.BLOCK, Outcome.DROPPED, "a"),
        ([rule("a", Action.ALLOW), rule("b", Action.BLOCK)], "a", Verdict.ALLOW, Outcome.PASSED, "a"),
        ([rule("a", Action.LOG), rule("b", Action.REJECT)], "ab", Verdict.REJECT, Outcome.REJECTED, "b"),
        ([rule("a", Action.COUNT), rule("b", Action.LOG), rule("c", Action.LOG)], "abc", Verdict.LOG, Outcome.PASSED, "b"),
        ([rule("a", Action.COUNT)], "a", Verdict.DEFAULT, Outcome.PASSED, None),
        ([rule("a", Action.BLOCK, mode=Mode.MONITOR), rule("b", Action.COUNT)], "ab", Verdict.BLOCK, Outcome.PASSED, "a"),
        ([rule("a", Action.BLOCK, mode=Mode.DISABLED), rule("b", Action.ALLOW)], "b", Verdict.ALLOW, Outcome.PASSED, "b"),
        ([rule("a", Action.BLOCK, predicate=NO), rule("b", Action.ALLOW)], "b", Verdict.ALLOW, Outcome.PASSED, "b"),
    ],
)
def test_policies(rules: list[Rule], names: str, verdict: Verdict, outcome: Outcome, decider: str | None) -> None:
    policy = Policy("acme", tuple(rules))
    judgement = judge(policy, PACKET)
    assert "".join(each.name for each in matched(policy, PACKET)) == names
    assert (judgement.verdict, judgement.outcome, judgement.rule.name if judgement.rule else None) == (verdict, outcome, decider)


PROTECTS: Mapping[str, tuple[Protect, Packet, bool]] = {
    "everything": (Protect(), PACKET, True),
    "its destination": (Protect(v4=((0xC6336407, 0xC6336407),)), PACKET, True),
    "another destination": (Protect(v4=((0xC6336408, 0xC63364FF),)), PACKET, False),
    "the source does not count": (Protect(v4=((0xC0000201, 0xC0000201),)), PACKET, False),
    "the other family": (Protect(v6=((0, (1 << 128) - 1),)), PACKET, False),
    "its destination in IPv6": (Protect(v6=((0x20010DB8 << 96, (0x20010DB9 << 96) - 1),)), CHAIN, True),
    "its interface": (Protect(v4=((0, 0),), interfaces=("eth1", "eth0")), PACKET, True),
    "another interface": (Protect(interfaces=("eth1",)), PACKET, False),
    "its mark": (Protect(marks=(1, 16)), udp(b"", mark=16), True),
    "another mark": (Protect(marks=(1, 16)), PACKET, False),
}


@pytest.mark.parametrize("case", PROTECTS)
def test_protects(case: str) -> None:
    protect, packet, expected = PROTECTS[case]
    assert protects(protect, packet) is expected


# -- generated ---------------------------------------------------------------------------------------------------------


def test_generated_tests_are_true_and_false_for_generated_packets() -> None:
    """Every field that back ends see, and every kind of test, comes out both ways: the generators do hit."""
    rng = random.Random(9)
    near = [Packet(data, place(rng)) for data in packets(rng, 400)]
    source = Expressions(rng, near=near)
    undecided = {(field.name, answer) for field in source.fields for answer in (True, False)} - {("ip", False)}
    undecided -= {("interface.out", True)}  # absent at prerouting
    fields = {None: [field for field in source.fields if field.name not in PROTOCOL_OF]}
    fields |= {name: list(protocol.fields) for name, protocol in PROTOCOLS.items()}
    for protocol, members in fields.items():
        seen = near if protocol is None else [Packet(carrying(rng, protocol), place(rng)) for _ in range(400)]
        drawn = Expressions(rng, near=seen)
        for field in members:
            for _ in range(60):
                test = drawn.test_of(field)
                undecided -= {(field.name, holds(test, packet)) for packet in rng.sample(seen, 40)}
    assert not undecided
    kinds = {type(test) for _ in range(800) for test in every_test(source.expression())}
    assert kinds == {All, AnyBit, CompareBytes, Contains, EndsWith, InAddresses, InRanges, InStrings, IsTrue, Matches, StartsWith, Wildcard}


def test_generated_ranges_are_normal() -> None:
    assert normal_ranges([(5, 6), (1, 2), (3, 3), (6, 9), (11, 12)]) == ((1, 3), (5, 9), (11, 12))
    rng = random.Random(10)
    source = Expressions(rng)
    for _ in range(500):
        for test in every_test(source.expression()):
            if isinstance(test, InRanges):
                assert test.ranges == normal_ranges(test.ranges)


def test_the_generators_repeat_themselves_from_a_seed() -> None:
    assert Expressions(random.Random(1)).policy(5) == Expressions(random.Random(1)).policy(5)
    assert packets(random.Random(1), 50) == packets(random.Random(1), 50)
