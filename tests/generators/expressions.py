"""Random typed expressions and policies, over every field that back ends see.

The constants come from the pools that the packets are made of and, with `near`, from the values that those very packets have (and
their neighbours), so that tests are true and false about equally. The fields that the checker resolves are left out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from generators.patterns import near
from generators.pools import COLOS, INTERFACES, LISTS, MARKS, PORTS, V4_ADDRESSES, V6_ADDRESSES, V6_GROUPS, VLAN_IDS, WORDS

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
    IntOperand,
    IsTrue,
    Length,
    Matches,
    Not,
    Operand,
    Or,
    Order,
    Ranges,
    StartsWith,
    Substring,
    Test,
    Wildcard,
    Xor,
)
from rules_dsl.fields import FIELDS, Field, Header, Type
from rules_dsl.packet import Packet
from rules_dsl.policy import Action, Mode, Policy, Rule
from rules_dsl.reference import values_of
from rules_dsl.value import Address, Keyed

RESOLVED_BY_CHECKER = frozenset(
    ("ip.src.country", "ip.dst.country", "ip.geoip.country", "ip.src.asnum", "ip.dst.asnum", "ct.state", "ct.direction")
)
"""Fields that no back end sees, or that are refused so far."""

NATIVE_ONLY = frozenset(("interface.in", "interface.out", "vlan.id", "cf.colo.name", "cf.colo.region"))
"""Fields that an eBPF program is never asked for."""

SLICED_HEADERS = (Header.IP, Header.TCP, Header.UDP, Header.ICMP, Header.ICMPV6, Header.SCTP, Header.GRE, Header.ESP)

HIGHEST_SLICE_START = 2040
"""Bits; the language's bound."""


class Expressions:
    """A source of random expressions.

    `place`: with fields of the packet's place (interface, mark, VLAN, node). `ebpf_only`: nothing that eBPF cannot test.
    `near`: packets whose own values are drawn as constants in two of three tests. `only`: the fields of most tests."""

    def __init__(
        self,
        rng: random.Random,
        *,
        place: bool = True,
        ebpf_only: bool = False,
        near: Sequence[Packet] = (),
        only: Sequence[Field] = (),
    ) -> None:
        self._rng = rng
        self._near = near
        self._only = only
        fields = [field for field in FIELDS.values() if _is_wanted(field, place=place, ebpf_only=ebpf_only)]
        self.fields = tuple(fields)
        """The fields that are drawn from."""
        self._numbers = [field for field in fields if field.type is Type.INT]
        self._texts = [field for field in fields if field.type is Type.BYTES]
        self._flags = [field for field in fields if field.type is Type.BOOL]
        self._addresses = [field for field in fields if field.type is Type.ADDRESS]

    def expression(self, depth: int = 4) -> Expression:
        """A nested expression; `depth` bounds the nesting of And, Or, Not and Xor."""
        rng = self._rng
        if depth <= 0:
            return self.test()
        match rng.randrange(12):
            case 0 | 1 | 2:
                return And(self._items(depth))
            case 3 | 4 | 5:
                return Or(self._items(depth))
            case 6 | 7:
                return Not(self.expression(depth - 1))
            case 8:
                return Xor(self.expression(depth - 1), self.expression(depth - 1))
            case 9 if rng.random() < 0.2:
                return Const(rng.random() < 0.5)
            case _:
                return self.test()

    def test(self) -> Test:
        """One test, of any kind."""
        if self._only and self._rng.random() < 0.9:
            return self.test_of(self._rng.choice(self._only))
        match self._rng.randrange(10):
            case 0:
                return IsTrue(self._rng.choice(self._flags))
            case 1:
                return self._address_test(self._rng.choice(self._addresses))
            case 2 | 3 | 4:
                return self._number_test(FieldValue(self._rng.choice(self._numbers)))
            case 5:
                return self._number_test(self._slice())
            case 6:
                return self._number_test(Length(self._text()))
            case _:
                return self._text_test(self._text())

    def test_of(self, field: Field) -> Test:
        """One test of this very field."""
        match field.type:
            case Type.BOOL:
                return IsTrue(field)
            case Type.INT:
                return self._number_test(FieldValue(field))
            case Type.ADDRESS:
                return self._address_test(field)
            case Type.BYTES:
                operand = self._derived(self._field(field), 2)
                test = self._number_test(Length(operand)) if self._rng.random() < 0.15 else self._text_test(operand)
                return All(test) if field.multiple and self._rng.random() < 0.3 else test

    def _field(self, field: Field) -> FieldValue:
        """The field; of a keyed one, a key that a packet has, or any."""
        if not field.keyed:
            return FieldValue(field)
        seen = self._rng.choice(self._near).value(field) if self._near else None
        keys = [item.key for item in seen if isinstance(item, Keyed)] if isinstance(seen, tuple) else []
        key = self._rng.choice((None, b"Host", b"x-api", b"", b"not a name", *keys[:8], *(key.swapcase() for key in keys[:4])))
        return FieldValue(field, key)

    def policy(self, count: int, *, tenant: str = "acme", depth: int = 3) -> Policy:
        """A policy of `count` rules with names of their own, every action but `limit`, and every mode."""
        rng = self._rng
        rules = []
        for number in range(1, count + 1):
            action = rng.choice((Action.BLOCK, Action.BLOCK, Action.ALLOW, Action.REJECT, Action.LOG, Action.COUNT))
            mode = rng.choice((Mode.ENABLED, Mode.ENABLED, Mode.ENABLED, Mode.ENABLED, Mode.MONITOR, Mode.DISABLED))
            name = f"rule {number}"
            predicate = self.expression(depth)
            if rng.random() < 0.6:  # so that most packets come past most rules
                predicate = And((self.test(), predicate))
            rules.append(Rule(name, action, mode, predicate, f"generated {number}"))
        default = rng.choice((Action.ALLOW, Action.ALLOW, Action.BLOCK, Action.REJECT))
        return Policy(tenant, tuple(rules), default, source="generated")

    # -- tests

    def _number_test(self, operand: IntOperand) -> Test:
        rng = self._rng
        maximum = _maximum(operand)
        pool = self._numbers_for(operand, maximum)
        if rng.random() < 0.25:
            test: Test = AnyBit(operand, rng.choice((1, 1 << rng.randrange(maximum.bit_length()), rng.choice(pool), maximum)))
        else:
            test = InRanges(operand, self._ranges(pool, maximum))
        is_multiple = isinstance(operand, FieldValue) and operand.field.multiple
        return All(test) if is_multiple and rng.random() < 0.5 else test

    def _address_test(self, field: Field) -> Test:
        rng = self._rng
        operand = FieldValue(field)
        if rng.random() < 0.15:
            name = rng.choice(sorted(LISTS))
            return InAddresses(operand, *LISTS[name], list_name=name)
        seen = [value for value in self._seen(operand) if isinstance(value, Address)]
        v4 = self._address_ranges(V4_ADDRESSES, [address.number for address in seen if address.version == 4], 32)
        v6 = self._address_ranges((*V6_ADDRESSES, *V6_GROUPS), [address.number for address in seen if address.version == 6], 128)
        match rng.randrange(4):
            case 0:
                return InAddresses(operand, v4, ())
            case 1:
                return InAddresses(operand, (), v6)
            case _:
                return InAddresses(operand, v4, v6)

    def _address_ranges(self, pool: Sequence[int], seen: Sequence[int], width: int) -> Ranges:
        rng = self._rng
        pairs = []
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            address = rng.choice(seen) if seen and rng.random() < 0.6 else rng.choice(pool)
            match rng.randrange(4):
                case 0:
                    pairs.append((address, address))
                case 1 | 2:
                    host_bits = width - rng.choice((0, 1, 8, 13, 23, 24, 25, 31, 32, width // 2, width - 1, width))
                    low = address >> host_bits << host_bits if host_bits > 0 else address
                    pairs.append((low, low + (1 << max(host_bits, 0)) - 1))
                case _:
                    other = max(0, min(rng.choice((rng.choice(pool), address + 1, address - 1)), (1 << width) - 1))
                    pairs.append((min(address, other), max(address, other)))
        return normal_ranges(pairs)

    def _text_test(self, operand: BytesOperand) -> Test:
        rng = self._rng
        value = self._value_for(operand)
        match rng.randrange(8):
            case 0:
                return CompareBytes(operand, rng.choice(tuple(Order)), value)
            case 1:
                return InStrings(operand, tuple(sorted({value, *(self._piece(operand) for _ in range(rng.randrange(6)))})))
            case 2 | 3:
                patterns = [self._piece(operand) for _ in range(rng.choice((1, 1, 1, 2, 3, 8)))]
                return Contains(operand, tuple(dict.fromkeys(patterns)))
            case 4:
                return StartsWith(operand, value[: rng.randint(0, 20)] if rng.random() < 0.8 else value)
            case 5:
                return EndsWith(operand, value[-rng.randint(1, 20) :] if rng.random() < 0.8 else value)
            case 6:
                return Matches(operand, near(rng, self._piece(operand)))
            case _:
                return self._wildcard(operand, value)

    def _wildcard(self, operand: BytesOperand, value: bytes) -> Wildcard:
        """Segments that are pieces of `value` in order, or strangers."""
        rng = self._rng
        cuts = sorted(rng.randint(0, len(value)) for _ in range(2 * rng.randint(0, 3)))
        bounds = [0, *cuts, len(value)]
        segments = [value[bounds[i] : bounds[i + 1]] for i in range(0, len(bounds), 2)]
        if rng.random() < 0.3:
            segments[rng.randrange(len(segments))] = rng.choice(WORDS)
        # Only the first and the last may be empty: `**` is no pattern.
        segments = [segment for i, segment in enumerate(segments) if segment or i in (0, len(segments) - 1)]
        strict = rng.random() < 0.5
        if not strict:
            segments = [segment.lower() for segment in segments]
        return Wildcard(operand, tuple(segments), strict)

    # -- operands and constants

    def _slice(self) -> BitSlice:
        rng = self._rng
        start = rng.choice(
            (0, 1, 4, 7, 8, 13, 31, 32, 63, 64, 96, 104, 128, 159, 160, HIGHEST_SLICE_START, rng.randrange(HIGHEST_SLICE_START))
        )
        return BitSlice(rng.choice(SLICED_HEADERS), start, start + rng.choice((1, 2, 3, 7, 8, 9, 13, 16, 24, 31, 32)))

    def _text(self, depth: int = 2) -> BytesOperand:
        rng = self._rng
        return self._derived(self._field(rng.choice(self._texts)), depth)

    def _derived(self, field: FieldValue, depth: int) -> BytesOperand:
        """The field, or a part of it, or in another case."""
        rng = self._rng
        if depth <= 0 or rng.random() < 0.65:
            return field
        of = self._derived(field, depth - 1)
        if rng.random() < 0.5:
            return Folded(of, upper=rng.random() < 0.5)
        ends = (0, 1, 2, 3, 4, 8, 20, 64, 1500, -1, -2, -4, -20, -2000)
        return Substring(of, rng.choice(ends), rng.choice((None, *ends)))

    def _seen(self, operand: Operand) -> Sequence[bool | int | bytes | Address]:
        """The operand's values in one of the near packets, or nothing."""
        if not self._near or self._rng.random() < 0.33:
            return ()
        return values_of(operand, self._rng.choice(self._near))

    def _value_for(self, operand: BytesOperand) -> bytes:
        """A whole value to compare with: one that a packet has, a neighbour of it, or a word."""
        rng = self._rng
        seen = [value for value in self._seen(operand) if isinstance(value, bytes)]
        if seen:
            value = rng.choice(seen)[:256]
            return rng.choice((value, value, value[:-1], value + b"\x00", value.swapcase(), value[:-1] + b"\xff"))
        names = [text.encode() for colo in COLOS for text in colo] + [name.encode() for name in INTERFACES]
        return rng.choice((rng.choice(WORDS), rng.choice(WORDS), rng.choice(names), b""))

    def _piece(self, operand: BytesOperand) -> bytes:
        """A run of bytes to look for."""
        rng = self._rng
        value = self._value_for(operand)
        if rng.random() < 0.5 or not value:
            return rng.choice(WORDS) if rng.random() < 0.97 else b""
        start = rng.randrange(len(value))
        return value[start : start + rng.choice((1, 2, 3, 4, 8, 16, 32))]

    def _numbers_for(self, operand: IntOperand, maximum: int) -> list[int]:
        rng = self._rng
        pool = [0, 1, maximum - 1, maximum, maximum // 2, rng.randint(0, maximum)]
        if isinstance(operand, FieldValue):
            name = operand.field.name
            if name.endswith("port"):
                pool += PORTS
            elif operand.field.names is not None:
                pool += [rng.choice(sorted(operand.field.names.values())) for _ in range(4)] + [6, 17, 44]
            elif name == "meta.mark":
                pool += MARKS
            elif name == "vlan.id":
                pool += VLAN_IDS
        else:
            pool += [2, 3, 4, 8, 16, 20, 40, 64, 100, 1460]
        for value in self._seen(operand):
            pool += [int(value), int(value), int(value), int(value) + 1, int(value) - 1] * 4 if isinstance(value, int) else []
        return [min(max(number, 0), maximum) for number in pool]

    def _ranges(self, pool: Sequence[int], maximum: int) -> Ranges:
        rng = self._rng
        if rng.random() < 0.03:
            return rng.choice(((), ((0, maximum),)))
        pairs = []
        for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 8))):
            low = rng.choice(pool)
            high = rng.choice((low, low, low, rng.choice(pool), min(low + 1, maximum), 0, maximum))
            pairs.append((min(low, high), max(low, high)))
        return normal_ranges(pairs)

    def _items(self, depth: int) -> tuple[Expression, ...]:
        return tuple(self.expression(depth - 1) for _ in range(self._rng.choice((2, 2, 2, 3, 4))))


def random_expression(
    rng: random.Random, *, place: bool = True, ebpf_only: bool = False, near: Sequence[Packet] = (), depth: int = 4
) -> Expression:
    """One expression; see `Expressions`, which is quicker for many."""
    return Expressions(rng, place=place, ebpf_only=ebpf_only, near=near).expression(depth)


def random_policy(
    rng: random.Random, count: int, *, place: bool = True, ebpf_only: bool = False, near: Sequence[Packet] = (), depth: int = 3
) -> Policy:
    """One policy of `count` rules; see `Expressions`."""
    return Expressions(rng, place=place, ebpf_only=ebpf_only, near=near).policy(count, depth=depth)


def normal_ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """The pairs as sorted, disjoint, non-adjacent ranges."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _is_wanted(field: Field, *, place: bool, ebpf_only: bool) -> bool:
    if field.name in RESOLVED_BY_CHECKER or (ebpf_only and field.name in NATIVE_ONLY):
        return False
    return place or field.group != "place"


def _maximum(operand: IntOperand) -> int:
    match operand:
        case FieldValue(field):
            return field.maximum
        case BitSlice(_, start, end):
            return (1 << (end - start)) - 1
        case Length():
            return 0x1FFFF
