"""Lowering of tests on numbers, flags and addresses.

A test's code goes to `yes` or `no`; an absent operand goes to `no`. Few ranges become a tree of comparisons; many become a table
that is searched by halves without branches, so that the verifier has one path to follow.
"""

from __future__ import annotations

from typing import Final, assert_never

from bpf import headers
from bpf.ir import Label, Value
from bpf.isa import Alu, Condition
from bpf.lower_facts import PAYLOADS, PRESENT_NUMBER, Fact, Work
from bpf.tables import TABLE
from rules_dsl.expression import AnyBit, BitSlice, FieldValue, InAddresses, InRanges, Ranges
from rules_dsl.fields import Field, Header, Type

TREE_RANGES: Final = 24
"""Ranges of 32-bit numbers up to which comparisons are quicker than a table."""
TREE_RANGES_128: Final = 8
"""The same for IPv6 addresses, whose comparisons are longer."""

_HIGHEST_32: Final = 0xFFFF_FFFF
_HALF: Final = 0xFFFF_FFFF_FFFF_FFFF


def lower_flag(work: Work, known: Field, yes: Label, no: Label) -> None:
    """A Boolean field used bare."""
    work.code.branch(Condition.NE, number_of_field(work, known, no), 0, yes)
    work.code.jump(no)


def lower_ranges(work: Work, value: Value, ranges: Ranges, yes: Label, no: Label) -> None:
    """`value`, of at most 32 bits, lies in one of the ranges."""
    clipped = tuple((low, min(high, _HIGHEST_32)) for low, high in ranges if low <= _HIGHEST_32)
    if len(clipped) <= TREE_RANGES:
        _tree(work, value, clipped, yes, no)
    else:
        _search_32(work, value, clipped, yes, no)


def lower_any_bit(work: Work, value: Value, mask: int, yes: Label, no: Label) -> None:
    common = work.code.alu(Alu.AND, value, mask & _HIGHEST_32, 32)
    work.code.branch(Condition.NE, common, 0, yes)
    work.code.jump(no)


def is_extension_set(operand: object) -> bool:
    """The one field of many values: which IPv6 extension headers are there."""
    return isinstance(operand, FieldValue) and operand.field.name == "ipv6.exthdr"


def lower_extension_set(work: Work, test: InRanges | AnyBit, *, every: bool, yes: Label, no: Label) -> None:
    """One of the values passes; with `every`, there is one and all do."""
    bits = [1 << (headers.EXTENSION_SHIFT + index) for index in range(len(headers.EXTENSIONS))]
    passing = sum(bit for bit, number in zip(bits, headers.EXTENSIONS, strict=True) if _passes(test, number))
    code = work.code
    if every:
        others = work.layout(sum(bits) & ~passing)
        code.branch(Condition.NE, others, 0, no)
    code.branch(Condition.NE, work.layout(passing), 0, yes)
    code.jump(no)


def _passes(test: InRanges | AnyBit, number: int) -> bool:
    match test:
        case InRanges(_, ranges):
            return any(low <= number <= high for low, high in ranges)
        case AnyBit(_, mask):
            return number & mask != 0
        case _:
            assert_never(test)


# -- values ------------------------------------------------------------------------------------------------------------


def number_of_slice(work: Work, operand: BitSlice, absent: Label) -> Value:
    return work.bits(operand.header, operand.start, operand.end, absent)


def number_of_field(work: Work, known: Field, absent: Label) -> Value:
    """An INT or BOOL field's value, at most 32 bits."""
    if not known.at:
        return _computed(work, known, absent)
    code = work.code
    if known in work.known:
        fact = work.fact(known)
        code.branch(Condition.LT, fact, PRESENT_NUMBER, absent)
        code.update(Alu.AND, fact, _HIGHEST_32, 32)
        return fact
    value, found = code.value(), code.label()
    for index, place in enumerate(known.at):
        other = absent if index == len(known.at) - 1 else code.label()
        number = work.bits(place.header, place.offset, place.offset + place.width, other)
        if place.scale != 1:
            code.update(Alu.MUL, number, place.scale)
        if place.add:
            code.update(Alu.ADD, number, place.add)
        code.set(value, number)
        code.jump(found)
        if other is not absent:
            code.place(other)
    code.place(found)
    return value


def find_field(work: Work, known: Field) -> None:
    """Find the field out for the tests that follow."""
    code = work.code
    absent, found, kept = code.label(), code.label(), code.value()
    code.set(kept, number_of_field(work, known, absent))
    code.update(Alu.OR, kept, PRESENT_NUMBER)
    code.jump(found)
    code.place(absent)
    code.set(kept, 0)
    code.place(found)
    work.keep(known, kept)


def _computed(work: Work, known: Field, absent: Label) -> Value:
    """A field without plain bits (semantics: rules_dsl/packet.py)."""
    code = work.code
    if known.name in PAYLOADS:
        return work.slice_of(known, absent)[1]
    match known.name:
        case "ip":
            return code.copy(1)
        case "meta.mark":
            return code.load(4, work.context, 8)
        case "ip.proto":
            code.branch(Condition.EQ, work.layout(headers.PROTOCOL), 0, absent)
            protocol = code.alu(Alu.RSH, work.fact(Fact.LAYOUT), headers.PROTOCOL_SHIFT)
            code.update(Alu.AND, protocol, 0xFF)
            return protocol
        case "ip.opt.type":
            work.go_unless_version(4, absent)
            words = code.alu(Alu.AND, work.fact(Fact.VERSION), 15)
            code.branch(Condition.LE, words, 5, absent)
            return work.bits(Header.IP, 160, 168, absent)
        case "ip.frag":
            return _is_fragment(work, absent)
        case "ip.checksum.valid":
            return work.call("checksum")
        case "tcp":
            headers.go_unless_tcp(code, work.context, work.fact(Fact.LAYOUT), work.scratch, absent)
            return code.copy(1)
        case "tcp.options.mss":
            found = work.call("mss", work.fact(Fact.LAYOUT))
            code.branch(Condition.GT, found, 0xFFFF, absent)
            return found
        case "udp" | "icmp" | "icmpv6" | "sctp" | "gre" | "esp":
            headers.go_unless_whole(code, work.context, work.fact(Fact.LAYOUT), Header(known.name), absent)
            return code.copy(1)
    raise AssertionError(f"{known.name} ({known.type.value}) has no lowering")


def _is_fragment(work: Work, absent: Label) -> Value:
    code = work.code
    result, version_6, found = code.value(), code.label(), code.label()
    work.go_unless_version(4, version_6)
    code.set(result, work.bits(Header.IP, 50, 64, absent))  # more fragments, or an offset
    code.jump(found)
    code.place(version_6)
    work.go_unless_version(6, absent)
    fragment = code.alu(Alu.RSH, work.fact(Fact.LAYOUT), 52)  # headers.FRAGMENT
    code.update(Alu.AND, fragment, 1)
    code.set(result, fragment)
    code.place(found)
    return result


# -- ranges of 32-bit numbers ------------------------------------------------------------------------------------------


def _tree(work: Work, value: Value, ranges: Ranges, yes: Label, no: Label) -> None:
    code = work.code
    match ranges:
        case ():
            code.jump(no)
        case ((low, high),) if low == high:
            code.branch(Condition.EQ, value, low, yes, 32)
            code.jump(no)
        case ((low, high),):
            if low > 0:
                code.branch(Condition.LT, value, low, no, 32)
            if high < _HIGHEST_32:
                code.branch(Condition.GT, value, high, no, 32)
            code.jump(yes)
        case _:
            middle = len(ranges) // 2
            below = code.label()
            code.branch(Condition.LT, value, ranges[middle][0], below, 32)
            _tree(work, value, ranges[middle:], yes, no)
            code.place(below)
            _tree(work, value, ranges[:middle], yes, no)


def _search_32(work: Work, value: Value, ranges: Ranges, yes: Label, no: Label) -> None:
    """The last range that begins at or below the value, by halves. (Shifts of one bit and no masks: at `x &= constant` with x -1 or 0
    the verifier of Linux 6.18 follows both.)"""
    code = work.code
    offset, count = work.tables.sorted_ranges(ranges, 32)
    row = code.table(TABLE, offset)
    half = count // 2
    while half:
        step = half * 8
        middle = code.copy(row)
        code.update(Alu.ADD, middle, step)
        taken = code.alu(Alu.SUB, value, code.load(4, middle))
        code.update(Alu.RSH, taken, 63)  # 1 where the value is below
        code.update(Alu.XOR, taken, 1)
        code.update(Alu.LSH, taken, step.bit_length() - 1)
        code.update(Alu.ADD, row, taken)
        half //= 2
    low, high = code.load(4, row), code.load(4, row, 4)
    code.branch(Condition.LT, value, low, no)
    code.branch(Condition.GT, value, high, no)
    code.jump(yes)


# -- addresses ---------------------------------------------------------------------------------------------------------


def lower_addresses(work: Work, test: InAddresses, yes: Label, no: Label) -> None:
    code = work.code
    assert test.operand.field.type is Type.ADDRESS
    for place in test.operand.field.at:
        ranges, other = (test.v4 if place.width == 32 else test.v6), code.label()
        offset = work.header(place.header, other)
        if ranges:
            first = place.offset // 8
            if place.width == 32:
                work.packet_bytes(offset, first, 4, no)
                lower_ranges(work, code.load_network(4, work.scratch), ranges, yes, no)
            else:
                work.packet_bytes(offset, first, 16, no)
                halves = (code.load_network(8, work.scratch), code.load_network(8, work.scratch, 8))
                _ranges_128(work, halves, ranges, yes, no)
        else:
            code.jump(no)
        code.place(other)
    code.jump(no)


Halves = tuple[Value, Value]
"""The high and the low 64 bits of an address."""


def _ranges_128(work: Work, value: Halves, ranges: Ranges, yes: Label, no: Label) -> None:
    if len(ranges) <= TREE_RANGES_128:
        _tree_128(work, value, ranges, yes, no)
    else:
        _search_128(work, value, ranges, yes, no)


def _tree_128(work: Work, value: Halves, ranges: Ranges, yes: Label, no: Label) -> None:
    code = work.code
    if len(ranges) == 1:
        ((low, high),) = ranges
        if low == high:
            code.branch(Condition.NE, value[0], low >> 64, no)
            code.branch(Condition.EQ, value[1], low & _HALF, yes)
            code.jump(no)
            return
        if low >> 64 == high >> 64:
            code.branch(Condition.NE, value[0], low >> 64, no)
        else:
            _go_if_less(work, value, low, no)
            _go_if_less(work, value, high + 1, yes)
            code.jump(no)
            return
        if low & _HALF:
            code.branch(Condition.LT, value[1], low & _HALF, no)
        if high & _HALF != _HALF:
            code.branch(Condition.GT, value[1], high & _HALF, no)
        code.jump(yes)
        return
    middle = len(ranges) // 2
    below = code.label()
    _go_if_less(work, value, ranges[middle][0], below)
    _tree_128(work, value, ranges[middle:], yes, no)
    code.place(below)
    _tree_128(work, value, ranges[:middle], yes, no)


def _go_if_less(work: Work, value: Halves, bound: int, less: Label) -> None:
    """Go to `less` where the address is below `bound`, which may be 2**128."""
    code = work.code
    if bound >> 128:
        code.jump(less)
        return
    behind = code.label()
    high, low = bound >> 64, bound & _HALF
    if high:
        code.branch(Condition.LT, value[0], high, less)
    if low:
        code.branch(Condition.NE, value[0], high, behind)
        code.branch(Condition.LT, value[1], low, less)
    code.place(behind)


def _search_128(work: Work, value: Halves, ranges: Ranges, yes: Label, no: Label) -> None:
    code = work.code
    offset, count = work.tables.sorted_ranges(ranges, 128)
    row = code.table(TABLE, offset)
    half = count // 2
    while half:
        step = half * 32
        middle = code.copy(row)
        code.update(Alu.ADD, middle, step)
        taken = _borrow(work, value, middle)
        code.update(Alu.XOR, taken, 1)
        code.update(Alu.LSH, taken, step.bit_length() - 1)
        code.update(Alu.ADD, row, taken)
        half //= 2
    below = _borrow(work, value, row)
    code.branch(Condition.NE, below, 0, no)
    high = code.load(8, row, 16)
    code.branch(Condition.LT, high, value[0], no)
    code.branch(Condition.GT, high, value[0], yes)
    code.branch(Condition.LT, code.load(8, row, 24), value[1], no)
    code.jump(yes)


def _borrow(work: Work, value: Halves, row: Value) -> Value:
    """1 where the address is below the 128-bit number at `row` (high half first), else 0: the borrow of their difference."""
    code = work.code
    borrow = code.copy(0)
    for mine, place in ((value[1], 8), (value[0], 0)):
        other = code.load(8, row, place)
        difference = code.alu(Alu.SUB, mine, other)
        code.update(Alu.SUB, difference, borrow)
        # borrow of a - b - c: (~a & b | (~a | b) & difference), highest bit (Hacker's Delight 2-13)
        inverse = code.alu(Alu.XOR, mine, -1)
        either = code.alu(Alu.OR, inverse, other)
        code.update(Alu.AND, either, difference)
        code.update(Alu.AND, inverse, other)
        code.update(Alu.OR, inverse, either)
        code.update(Alu.RSH, inverse, 63)
        code.set(borrow, inverse)
    return borrow
