"""Every field that eBPF can test, and every kind of test, at the boundaries of what packets have."""

from __future__ import annotations

import random

import pytest
from generators.expressions import NATIVE_ONLY, RESOLVED_BY_CHECKER, Expressions
from generators.packets import packet

from bpf import LoweringError, Program, compile_program, load, refusal
from bpf.describe import describe
from rules_dsl.expression import (
    All,
    And,
    AnyBit,
    BitSlice,
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
    Not,
    Or,
    Order,
    StartsWith,
    Substring,
    Test,
    Wildcard,
    Xor,
)
from rules_dsl.fields import FIELDS, Field, Header, Type
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

REFUSED = RESOLVED_BY_CHECKER | NATIVE_ONLY
LOWERED = [field for field in FIELDS.values() if field.name not in REFUSED]


def some_packets(count: int, seed: int = 1) -> list[Packet]:
    rng = random.Random(seed)
    return [Packet(packet(rng, longest=3300), Place("eth0")) for _ in range(count)]


PACKETS = some_packets(150)


def check(expression: Expression, packets: list[Packet]) -> int:
    """Kernel = reference on all; how many of the packets hit."""
    with load(compile_program("check", expression)) as program:
        return sum(_check_one(program, expression, one) for one in packets)


def _check_one(program: Program, expression: Expression, one: Packet) -> bool:
    wanted = holds(expression, one)
    assert program.run(one.data) == wanted, f"reference {wanted}: {expression!r} on {one.data.hex()}"
    return wanted


def any_test(known: Field) -> Test:
    operand = FieldValue(known)
    match known.type:
        case Type.BOOL:
            return IsTrue(known)
        case Type.INT:
            return InRanges(operand, ((1, 2),))
        case Type.ADDRESS:
            return InAddresses(operand, ((1, 2),), ())
        case Type.BYTES:
            return Contains(operand, (b"a",))


@pytest.mark.parametrize("known", LOWERED, ids=lambda known: known.name)
def test_field(known: Field) -> None:
    source = Expressions(random.Random(known.name), place=False, ebpf_only=True, near=PACKETS)
    tests = [source.test_of(known) for _ in range(5)]
    for test in tests:
        assert refusal(test) is None
        check(test, PACKETS)
    # Together: the field is found out once for all of them.
    check(Xor(Or(tuple(tests)), And((Not(tests[0]), Or(tuple(reversed(tests)))))), PACKETS)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_field_that_ebpf_cannot_test_is_refused(name: str) -> None:
    test = any_test(FIELDS[name])
    reason = refusal(test)
    assert reason
    with pytest.raises(LoweringError) as caught:
        compile_program("refused", Or((Const(False), Not(test))))
    assert (caught.value.test, caught.value.reason) == (test, reason)


PAYLOAD = FieldValue(FIELDS["udp.payload"])


def udp(payload: bytes, stated: int | None = None) -> Packet:
    length = 8 + len(payload) if stated is None else stated
    total = (28 + len(payload)).to_bytes(2, "big")
    header = bytes([0x45, 0]) + total + bytes([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2])
    return Packet(header + bytes([0, 9, 0, 9]) + length.to_bytes(2, "big") + bytes(2) + payload, Place("eth0"))


TEXTS = [b"", b"a", b"b", b"A", b"ab", b"aB", b"abc", b"abcabc", b"x" * 127, b"x" * 128 + b"ab", b"x" * 127 + b"abx", b"a" * 33]
TEXTS += [b"\xff", b"\0"]


@pytest.mark.parametrize("fold", [None, False, True])
def test_bytes_of_every_length(fold: bool | None) -> None:
    operand = PAYLOAD if fold is None else Folded(PAYLOAD, fold)
    packets = [udp(text) for text in TEXTS] + [udp(b"abcd", 7), udp(b"abcd", 8), udp(b"abcd", 10), udp(b"abcd", 13)]
    values = [b"", b"A", b"ab", b"x" * 128 + b"ab", b"a" * 31, b"a" * 32, b"a" * 33]
    for value in values:
        tests: list[Test] = [CompareBytes(operand, order, value) for order in Order]
        tests += [StartsWith(operand, value), EndsWith(operand, value), Contains(operand, (value,))]
        tests += [InStrings(operand, tuple(sorted({value, b"b"}))), Wildcard(operand, (value, b""), strict=True)]
        tests += [Wildcard(operand, (value.lower()[:1], value.lower()[1:]), strict=False)]
        for test in tests:
            check(test, packets)


@pytest.mark.parametrize("start", [0, 1, 5, 6, 1 << 30, -1, -6, -7, -(1 << 30)])
@pytest.mark.parametrize("end", [None, 0, 1, 5, 6, 7, 1 << 30, -1, -6, -7])
def test_substring_is_clipped_as_a_slice(start: int, end: int | None) -> None:
    part = Substring(PAYLOAD, start, end)
    packets = [udp(b""), udp(b"abcdef")]
    for count in {len(b"abcdef"[start:end]), 0, 6}:
        check(InRanges(Length(part), ((count, count),)), packets)
    check(CompareBytes(part, Order.EQ, b"abcdef"[start:end]), packets)


@pytest.mark.parametrize("width", range(1, 33))
def test_bit_slice_of_every_width_and_place(width: int) -> None:
    one = udp(bytes(range(1, 60)))
    for start in (*range(8), 63, 64, 500, 540 - width, 541 - width, 2040):
        operand = BitSlice(Header.UDP, start, start + width)
        value = one.bits(Header.UDP, start, start + width)
        wanted = ((0, 0xFFFFFFFF),) if value is None else ((value, value),)
        assert check(InRanges(operand, wanted), [one]) == (value is not None)


@pytest.mark.parametrize(("kind", "bits"), [("ip.src", 32), ("ip.src", 128), ("udp.dstport", 16), ("tcp.seq", 32)])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 24, 25, 32, 33, 64, 1000])
def test_ranges_at_each_bound(kind: str, bits: int, count: int) -> None:
    """Ranges from 0 to the highest value, tried on and beside each of their bounds."""
    rng = random.Random(count * bits)
    bounds = sorted(rng.sample(range(1, (1 << min(bits, 60)) - 1), 2 * count - 2) if count > 1 else [])
    scale = (1 << (bits - 1)) // (1 << (min(bits, 60) - 1))
    every = [0, *(bound * scale + rng.randrange(scale) for bound in bounds), (1 << bits) - 1]
    ranges = tuple((every[2 * index], every[2 * index + 1]) for index in range(count))
    edges = {edge for pair in rng.sample(ranges, min(count, 12)) for bound in pair for edge in (bound - 1, bound, bound + 1)}
    values = sorted(value for value in edges | {0, (1 << bits) - 1} if 0 <= value < 1 << bits)
    known = FIELDS[kind]
    test: Test = InRanges(FieldValue(known), ranges)
    if known.type is Type.ADDRESS:
        test = InAddresses(FieldValue(known), ranges if bits == 32 else (), ranges if bits == 128 else ())
    hits = check(test, [with_value(kind, bits, value) for value in values])
    assert 0 < hits <= len(values)


def with_value(kind: str, bits: int, value: int) -> Packet:
    if bits == 128:
        return Packet(b"\x60" + bytes(5) + b"\x3b\x40" + value.to_bytes(16, "big") + bytes(16), Place("eth0"))
    protocol = 6 if kind == "tcp.seq" else 17
    data = bytearray(bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol]) + bytes(30))
    place = {"ip.src": 12, "udp.dstport": 22, "tcp.seq": 24}[kind]
    data[place : place + bits // 8] = value.to_bytes(bits // 8, "big")
    return Packet(bytes(data), Place("eth0"))


def test_constants_and_empty_logic() -> None:
    one = [udp(b"")]
    for expression, wanted in (
        (Const(True), 1),
        (Const(False), 0),
        (Not(Const(False)), 1),
        (And(()), 1),
        (Or(()), 0),
        (Xor(Const(True), Const(True)), 0),
        (InRanges(FieldValue(FIELDS["ip.ttl"]), ()), 0),
        (InAddresses(FieldValue(FIELDS["ip.src"]), (), ()), 0),
        (AnyBit(FieldValue(FIELDS["ip.ttl"]), 0), 0),
        (All(InRanges(FieldValue(FIELDS["ip.ttl"]), ((64, 64),))), 1),
        (InStrings(PAYLOAD, ()), 0),
        (InStrings(PAYLOAD, (b"",)), 1),
        (Contains(PAYLOAD, ()), 0),
        (And((Const(False), Contains(PAYLOAD, (b"never",)))), 0),
    ):
        assert check(expression, one) == wanted


@pytest.mark.parametrize("name", ["scan", "walk", "walk step", "part 1", "", "1", "DNS ANY", "größe", 'a"b\\c\nd', "x" * 300])
def test_a_program_bears_any_name(name: str) -> None:
    test = And((IsTrue(FIELDS["udp"]), Contains(PAYLOAD, (b"evil", b'"\n'))))
    image = compile_program(name, test, source="acme.rules")
    assert describe(test.items[1]) in image.disassemble() or len(name) > 100  # type: ignore[arg-type]  # it is a test
    with load(image) as program:
        assert program.run(udp(b"evil").data) == 1
