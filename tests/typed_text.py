"""Typed expressions as short text, for cases and failures: fields by name, addresses as addresses."""

from __future__ import annotations

from typing import assert_never

from rules_dsl import expression as ex
from rules_dsl.literals import address_text, quoted


def typed_text(expression: ex.Expression) -> str:
    match expression:
        case ex.Const(value):
            return str(value)
        case ex.Not(item):
            return f"Not({typed_text(item)})"
        case ex.And(items):
            return f"And({', '.join(map(typed_text, items))})"
        case ex.Or(items):
            return f"Or({', '.join(map(typed_text, items))})"
        case ex.Xor(left, right):
            return f"Xor({typed_text(left)}, {typed_text(right)})"
        case ex.IsTrue(field):
            return field.name
        case ex.All(test):
            return f"All({typed_text(test)})"
        case ex.InRanges(operand, ranges):
            return f"InRanges({operand_text(operand)}, {_ranges(ranges)})"
        case ex.InAddresses(operand, v4, v6, list_name):
            parts = [_range(address_text(4, low), address_text(4, high)) for low, high in v4]
            parts += [_range(address_text(6, low), address_text(6, high)) for low, high in v6]
            return f"InAddresses({operand_text(operand)}, {{{' '.join(parts)}}}{f', ${list_name}' if list_name else ''})"
        case ex.AnyBit(operand, mask):
            return f"AnyBit({operand_text(operand)}, {mask:#x})"
        case ex.CompareBytes(operand, order, value):
            return f"CompareBytes({operand_text(operand)} {order.value} {quoted(value)})"
        case ex.InStrings(operand, values) | ex.Contains(operand, values):
            return f"{type(expression).__name__}({operand_text(operand)}, {{{' '.join(map(quoted, values))}}})"
        case ex.StartsWith(operand, value) | ex.EndsWith(operand, value):
            return f"{type(expression).__name__}({operand_text(operand)}, {quoted(value)})"
        case ex.Wildcard(operand, segments, strict):
            return f"Wildcard({operand_text(operand)}, {' * '.join(map(quoted, segments))}{', strict' if strict else ''})"
        case ex.Matches(operand, pattern):
            return f"Matches({operand_text(operand)}, /{pattern}/)"
        case _:
            assert_never(expression)


def operand_text(operand: ex.Operand) -> str:
    match operand:
        case ex.FieldValue(field, key):
            return field.name if key is None else f"{field.name}[{quoted(key)}]"
        case ex.BitSlice(header, start, end):
            return f"{header.value}.bits[{start}:{end}]"
        case ex.Length(of):
            return f"len({operand_text(of)})"
        case ex.Folded(of, upper):
            return f"{'upper' if upper else 'lower'}({operand_text(of)})"
        case ex.Substring(of, start, end):
            return f"{operand_text(of)}[{start}:{'' if end is None else end}]"
        case _:
            assert_never(operand)


def _range(low: object, high: object) -> str:
    return str(low) if low == high else f"{low}..{high}"


def _ranges(ranges: ex.Ranges) -> str:
    return "{" + " ".join(_range(low, high) for low, high in ranges) + "}"
