"""The reference evaluator: what an expression and a policy mean for one packet, in plain Python.

Whatever the kernel decides must equal this, packet by packet. Logic is two-valued: a test on an absent operand is false, `Not` of
it is true. An operand is a sequence of values (none where absent, several for a field of many values), and a test holds where one
of them passes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import assert_never

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
    operand_of,
)
from rules_dsl.packet import Packet
from rules_dsl.policy import Judgement, Mode, Policy, Protect, Rule, judgement
from rules_dsl.python_regex import python_regex
from rules_dsl.value import Address, Keyed, Scalar


def holds(expression: Expression, packet: Packet) -> bool:
    """Whether the expression is true for the packet."""
    match expression:
        case Const(value):
            return value
        case Not(item):
            return not holds(item, packet)
        case And(items):
            return all(holds(item, packet) for item in items)
        case Or(items):
            return any(holds(item, packet) for item in items)
        case Xor(left, right):
            return holds(left, packet) != holds(right, packet)
        case All(test):
            values = values_of(operand_of(test), packet)
            return len(values) > 0 and all(passes(test, value) for value in values)
        case _:
            return any(passes(expression, value) for value in values_of(operand_of(expression), packet))


def matched(policy: Policy, packet: Packet) -> tuple[Rule, ...]:
    """The rules that match the packet, in order, up to and with the one that ends the evaluation, and in each phase up to and with the
    `allow` that ends that; disabled rules never do."""
    rules: list[Rule] = []
    over: int | None = None
    for rule in policy.rules:
        if rule.phase != over and rule.mode is not Mode.DISABLED and holds(rule.predicate, packet):
            rules.append(rule)
            if policy.goes_on(rule):
                over = rule.phase
            elif rule.ends:
                break
    return tuple(rules)


def judge(policy: Policy, packet: Packet) -> Judgement:
    """The packet's fate under the policy, whose rules see it (`protects` says whether they do)."""
    return judgement(policy, matched(policy, packet))


def protects(protect: Protect, packet: Packet) -> bool:
    """Whether the packet is among the traffic that the policy's rules see."""
    if protect.everything:
        return True
    destination = 16 if packet.version == 4 else 24
    width = 4 if packet.version == 4 else 16
    address = int.from_bytes(packet.data[destination : destination + width], "big")
    return (
        _in_ranges(protect.v4 if packet.version == 4 else protect.v6, address)
        or packet.place.interface_in in protect.interfaces
        or packet.place.mark in protect.marks
    )


def values_of(operand: Operand, packet: Packet) -> Sequence[Scalar]:
    """The operand's values in the packet: none where it is absent, several where its field has several."""
    match operand:
        case FieldValue(field, key):
            value = packet.value(field)
            if value is None:
                return ()
            several = value if isinstance(value, tuple) and not isinstance(value, Address) else (value,)
            wanted = (item for item in several if key is None or (isinstance(item, Keyed) and item.key.lower() == key.lower()))
            return [item.value if isinstance(item, Keyed) else item for item in wanted][: field.bound]
        case BitSlice(header, start, end):
            number = packet.bits(header, start, end)
            return () if number is None else (number,)
        case Length(of):
            return [len(_bytes(value)) for value in values_of(of, packet)]
        case Folded(of, upper):
            return [_bytes(value).upper() if upper else _bytes(value).lower() for value in values_of(of, packet)]
        case Substring(of, start, end):
            return [_bytes(value)[start:end] for value in values_of(of, packet)]
        case _:
            assert_never(operand)


def passes(test: Test, value: Scalar) -> bool:
    """Whether one value of the test's operand passes."""
    match test:
        case IsTrue():
            return value is True
        case InRanges(_, ranges):
            return _in_ranges(ranges, _int(value))
        case InAddresses(_, v4, v6):
            assert isinstance(value, Address)
            return _in_ranges(v4 if value.version == 4 else v6, value.number)
        case AnyBit(_, mask):
            return _int(value) & mask != 0
        case CompareBytes(_, order, other):
            return _compare(order, _bytes(value), other)
        case InStrings(_, values):
            return _bytes(value) in values
        case Contains(_, patterns):
            return any(pattern in _bytes(value) for pattern in patterns)
        case StartsWith(_, other):
            return _bytes(value).startswith(other)
        case EndsWith(_, other):
            return _bytes(value).endswith(other)
        case Wildcard(_, segments, strict):
            return _fits(segments, _bytes(value) if strict else _bytes(value).lower())
        case Matches(_, pattern):
            return python_regex(pattern).search(_bytes(value)) is not None
        case All(inner):
            return passes(inner, value)
        case _:
            assert_never(test)


def _in_ranges(ranges: Ranges, number: int) -> bool:
    index = bisect_right(ranges, number, key=lambda pair: pair[0]) - 1
    return index >= 0 and number <= ranges[index][1]


def _compare(order: Order, value: bytes, other: bytes) -> bool:
    match order:
        case Order.EQ:
            return value == other
        case Order.LT:
            return value < other
        case Order.LE:
            return value <= other
        case Order.GT:
            return value > other
        case Order.GE:
            return value >= other
        case _:
            assert_never(order)


def _fits(segments: tuple[bytes, ...], value: bytes) -> bool:
    """Whether `value` is the segments with any run of bytes between each two. The leftmost place of each middle segment leaves
    the most room for the next, so no other need be tried."""
    first, *middle = segments
    if not middle:
        return value == first
    last = middle.pop()
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    place, end = len(first), len(value) - len(last)
    for segment in middle:
        found = value.find(segment, place, end)
        if found < 0:
            return False
        place = found + len(segment)
    return True


def _bytes(value: Scalar) -> bytes:
    assert isinstance(value, bytes)
    return value


def _int(value: Scalar) -> int:
    assert isinstance(value, int)
    return value
