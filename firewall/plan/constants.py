"""Tests on fields that have one value, known at compile time, in every packet of a class: decided here.

Written apart from the reference, so that the two can be held against each other."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rules_dsl import expression as ex
from rules_dsl.expression import Const, Operand, Order, Test

_COMPARE: Mapping[Order, Callable[[bytes, bytes], bool]] = MappingProxyType(
    {Order.EQ: operator.eq, Order.LT: operator.lt, Order.LE: operator.le, Order.GT: operator.gt, Order.GE: operator.ge}
)


def on_constant(test: Test, constant: int | bytes) -> Test | Const:
    """What the test says where its field is `constant`; the test itself where that is not for us to say."""
    match test:
        case ex.InRanges(operand, ranges):
            number = _number(operand, constant)
            return Const(any(low <= number <= high for low, high in ranges))
        case ex.AnyBit(operand, mask):
            return Const(_number(operand, constant) & mask != 0)
        case ex.CompareBytes(operand, order, value):
            return Const(_COMPARE[order](_text(operand, constant), value))
        case ex.InStrings(operand, values):
            return Const(_text(operand, constant) in values)
        case ex.Contains(operand, patterns):
            text = _text(operand, constant)
            return Const(any(pattern in text for pattern in patterns))
        case ex.StartsWith(operand, value):
            return Const(_text(operand, constant).startswith(value))
        case ex.EndsWith(operand, value):
            return Const(_text(operand, constant).endswith(value))
        case ex.Wildcard(operand, segments, strict):
            text = _text(operand, constant)
            pattern = b".*".join(map(re.escape, segments))
            return Const(re.fullmatch(pattern, text if strict else text.lower(), re.DOTALL) is not None)
        case ex.All(inner):
            return on_constant(inner, constant)
        case _:
            return test


def _number(operand: Operand, constant: int | bytes) -> int:
    if isinstance(operand, ex.Length):
        return len(_text(operand.of, constant))
    assert isinstance(constant, int)
    return constant


def _text(operand: Operand, constant: int | bytes) -> bytes:
    match operand:
        case ex.Folded(of, upper):
            return _text(of, constant).upper() if upper else _text(of, constant).lower()
        case ex.Substring(of, start, end):
            return _text(of, constant)[start:end]
        case _:
            assert isinstance(constant, bytes)
            return constant
