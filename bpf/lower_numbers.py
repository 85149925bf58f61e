"""Lowering of tests on numbers, flags and addresses.

A test's code goes to `yes` or `no`; an absent operand goes to `no`. Few ranges become a tree of comparisons; many become a table
that is searched by halves without branches, so that the verifier has one path to follow.
"""

from __future__ import annotations

from typing import Final, assert_never

from bpf import headers
from bpf.dissectors.model import AddressOf, BitsOf, DomainName, Number, Present, Slice, View
from bpf.facts import FIRST_BYTE, LAYOUT
from bpf.ir import Label, Routine, Value
from bpf.isa import Alu, Condition
from bpf.lower_facts import PAYLOADS, Work, place_of, view_of
from bpf.prefix_set_lookup import Place, v4_function, v6_functions
from bpf.slices import PRESENT_NUMBER
from bpf.tables import TABLE
from rules_dsl.expression import AnyBit, BitSlice, FieldValue, InAddresses, InRanges, Ranges
from rules_dsl.fields import Field, Header, Type

TREE_RANGES: Final = 24
"""Ranges of 32-bit numbers up to which comparisons are quicker than a table."""
TREE_RANGES_128: Final = 8
"""The same for IPv6 addresses, whose comparisons are longer."""

MANY_RANGES: Final = 8_192
"""Ranges of addresses from which on a tree that fits the caches is quicker than a table searched by halves."""

_HIGHEST_32: Final = 0xFFFF_FFFF
_HALF: Final = 0xFFFF_FFFF_FFFF_FFFF


def lower_flag(work: Work, known: Field, yes: Label, no: Label) -> None:
    """A Boolean field used bare."""
    work.code.branch(Condition.NE, number_of_field(work, FieldValue(known), no), 0, yes)
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
    """The one header field of many values: which IPv6 extension headers are there."""
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


def number_of_field(work: Work, operand: FieldValue, absent: Label) -> Value:
    """An INT or BOOL field's value, at most 32 bits."""
    known, place = operand.field, place_of(operand)
    if place is not None:
        return _number_of_view(work, view_of(place), absent)
    if not known.at:
        return _computed(work, known, absent)
    if known in work.record.homes:
        return _unpacked(work, work.fact(known), absent)
    return work.plain_field(known, absent)


def _unpacked(work: Work, packed: Value, absent: Label) -> Value:
    work.code.branch(Condition.LT, packed, PRESENT_NUMBER, absent)
    work.code.update(Alu.AND, packed, _HIGHEST_32, 32)
    return packed


def _number_of_view(work: Work, view: View, absent: Label) -> Value:
    code = work.code
    match view:
        case Present(fact):
            code.branch(Condition.EQ, work.fact(fact), 0, absent)
            return code.copy(1)
        case Number(fact):
            return _unpacked(work, work.fact(fact), absent)
        case BitsOf(fact, start, width, scale, add):
            offset, length = work.slice_of(fact, absent)
            if start < 0:  # from the end
                code.branch(Condition.LT, length, -(start // 8), absent)
                code.update(Alu.ADD, offset, length)
                code.update(Alu.SUB, offset, -(start // 8))
                start %= 8
            else:
                code.branch(Condition.LT, length, (start + width + 7) // 8, absent)
            number = work.bits_at(offset, start, start + width, absent)
            if scale != 1:
                code.update(Alu.MUL, number, scale)
            if add:
                code.update(Alu.ADD, number, add)
            return number
        case Slice() | DomainName() | AddressOf():
            raise AssertionError("this view is no number")
        case _:
            assert_never(view)


def _computed(work: Work, known: Field, absent: Label) -> Value:
    """A field without plain bits (semantics: rules_dsl/packet.py)."""
    code = work.code
    if known.name in PAYLOADS:
        return work.slice_of(PAYLOADS[known.name], absent)[1]
    match known.name:
        case "ip":
            return code.copy(1)
        case "meta.mark":
            return code.load(4, work.context, 8)
        case "ip.proto":
            code.branch(Condition.EQ, work.layout(headers.PROTOCOL), 0, absent)
            protocol = code.alu(Alu.RSH, work.fact(LAYOUT), headers.PROTOCOL_SHIFT)
            code.update(Alu.AND, protocol, 0xFF)
            return protocol
        case "ip.opt.type":
            work.go_unless_version(4, absent)
            words = code.alu(Alu.AND, work.fact(FIRST_BYTE), 15)
            code.branch(Condition.LE, words, 5, absent)
            return work.bits(Header.IP, 160, 168, absent)
        case "ip.frag":
            return _is_fragment(work, absent)
        case "ip.checksum.valid":
            return work.call(headers.CHECKSUM)
        case "tcp":
            headers.go_unless_tcp(code, work.context, work.fact(LAYOUT), work.scratch, absent)
            return code.copy(1)
        case "tcp.options.mss":
            found = work.call(headers.MAXIMUM_SEGMENT_SIZE, work.fact(LAYOUT))
            code.branch(Condition.GT, found, 0xFFFF, absent)
            return found
        case "udp" | "icmp" | "icmpv6" | "sctp" | "gre" | "esp":
            headers.go_unless_whole(code, work.context, work.fact(LAYOUT), Header(known.name), absent)
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
    fragment = code.alu(Alu.RSH, work.fact(LAYOUT), 52)  # headers.FRAGMENT
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


def lower_addresses(work: Work, test: InAddresses, yes: Label, no: Label, absent: Label) -> None:
    code = work.code
    assert test.operand.field.type is Type.ADDRESS
    found = place_of(test.operand)
    if found is not None:
        view = view_of(found)
        assert isinstance(view, AddressOf)
        offset, length = work.slice_of(view.fact, absent)
        other = code.label()
        code.branch(Condition.NE, length, 4, other)
        _lower_v4(work, offset, 0, test.v4, yes, no)
        code.place(other)
        _lower_v6(work, offset, 0, test.v6, yes, no)
        return
    for place in test.operand.field.at:
        other = code.label()
        at = work.header(place.header, other)
        if place.width == 32:
            _lower_v4(work, at, place.offset // 8, test.v4, yes, no)
        else:
            _lower_v6(work, at, place.offset // 8, test.v6, yes, no)
        code.place(other)
    code.jump(absent)


def _lower_v4(work: Work, offset: Value | int, distance: int, ranges: Ranges, yes: Label, no: Label) -> None:
    if ranges:
        work.packet_bytes(offset, distance, 4, no)
        address = work.code.load_network(4, work.scratch)
        if len(ranges) < MANY_RANGES:
            lower_ranges(work, address, ranges, yes, no)
        else:
            _find(work, 4, ranges, (address,), yes, no)
    else:
        work.code.jump(no)


def _lower_v6(work: Work, offset: Value | int, distance: int, ranges: Ranges, yes: Label, no: Label) -> None:
    if ranges:
        work.packet_bytes(offset, distance, 16, no)
        halves = work.code.load_network(8, work.scratch), work.code.load_network(8, work.scratch, 8)
        if len(ranges) < MANY_RANGES:
            _ranges_128(work, halves, ranges, yes, no)
        else:
            _find(work, 6, ranges, halves, yes, no)
    else:
        work.code.jump(no)


def _find(work: Work, version: int, ranges: Ranges, address: tuple[Value, ...], yes: Label, no: Label) -> None:
    """The address is among very many."""
    known = work.tables.address_set(version, ranges)
    place = Place(f"addresses{known.base}", TABLE, known.base, known.size)
    routine = (
        Routine(f"{place.name}_v4", lambda _: (v4_function(place),))
        if version == 4
        else Routine(f"{place.name}_v6", lambda _: v6_functions(place))
    )
    work.code.branch(Condition.NE, work.call(routine, known.cell, *address), 0, yes)
    work.code.jump(no)


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
