"""A test as one line of text, for the source lines of a program."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import assert_never

from rules_dsl.expression import (
    All,
    AnyBit,
    BitSlice,
    CompareBytes,
    Contains,
    EndsWith,
    FieldValue,
    Folded,
    InAddresses,
    InRanges,
    InStrings,
    IsTrue,
    Length,
    Matches,
    Operand,
    Ranges,
    StartsWith,
    Substring,
    Test,
    Wildcard,
)

_SHOWN = 8
"""Items of a set that are written out."""


def describe(test: Test) -> str:
    """As the rule language writes it, long sets cut."""
    match test:
        case IsTrue(field):
            return field.name
        case InRanges(operand, ((low, high),)) if low == high:
            return f"{_operand(operand)} == {low}"
        case InRanges(operand, ranges):
            return f"{_operand(operand)} in {_set(_range(str(low), str(high)) for low, high in ranges)}"
        case InAddresses(operand, v4, v6, list_name):
            return f"{_operand(operand)} in {f'${list_name}' if list_name else _set(_addresses(v4, v6))}"
        case AnyBit(operand, mask):
            return f"{_operand(operand)} & {mask:#x}"
        case CompareBytes(operand, order, value):
            return f"{_operand(operand)} {order.value} {_text(value)}"
        case InStrings(operand, values):
            return f"{_operand(operand)} in {_set(map(_text, values))}"
        case Contains(operand, (pattern,)):
            return f"{_operand(operand)} contains {_text(pattern)}"
        case Contains(operand, patterns):
            return f"{_operand(operand)} contains any {_set(map(_text, patterns))}"
        case StartsWith(operand, value):
            return f"starts_with({_operand(operand)}, {_text(value)})"
        case EndsWith(operand, value):
            return f"ends_with({_operand(operand)}, {_text(value)})"
        case Wildcard(operand, segments, strict):
            return f"{_operand(operand)} {'strict ' if strict else ''}wildcard {_text(b'*'.join(segments))}"
        case Matches(operand, pattern):
            return f"{_operand(operand)} matches {_text(pattern.encode())}"
        case All(inner):
            return f"all({describe(inner)})"
        case _:
            assert_never(test)


def _operand(operand: Operand) -> str:
    match operand:
        case FieldValue(field, None):
            return field.name
        case FieldValue(field, key):
            return f"{field.name}[{_text(key or b'')}]"
        case BitSlice(header, start, end):
            return f"bit_slice({header.value}, {start}, {end})"
        case Length(of):
            return f"len({_operand(of)})"
        case Folded(of, upper):
            return f"{'upper' if upper else 'lower'}({_operand(of)})"
        case Substring(of, start, None):
            return f"substring({_operand(of)}, {start})"
        case Substring(of, start, end):
            return f"substring({_operand(of)}, {start}, {end})"
        case _:
            assert_never(operand)


def _set(items: Iterable[str]) -> str:
    told = list(items)
    return f"{{{' '.join(told[:_SHOWN])}{' ...' if len(told) > _SHOWN else ''}}}"


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low}..{high}"


def _addresses(v4: Ranges, v6: Ranges) -> Iterable[str]:
    for ranges, family in ((v4, IPv4Address), (v6, IPv6Address)):
        for low, high in ranges[: _SHOWN + 1]:
            networks = list(summarize_address_range(family(low), family(high)))
            if low == high:
                yield str(family(low))
            else:
                yield str(networks[0]) if len(networks) == 1 else f"{family(low)}..{family(high)}"


def _text(value: bytes) -> str:
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in value[:64])
    return f'"{shown}{"..." if len(value) > 64 else ""}"'
