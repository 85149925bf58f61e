"""The checked expression: a small, closed set of typed nodes, which is all that any back end has to know.

The checker turns every surface form into these. Integer and address comparisons of every kind (`==`, `<`, `in {a..b}`, a CIDR)
become membership in sorted, disjoint, inclusive ranges; `!=` becomes `Not`. A test on an absent operand is false (language
reference, "Absent fields"); `Not` of it is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from rules_dsl.fields import Field, Header

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, non-adjacent, inclusive (low, high) pairs."""


# -- operands ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldValue:
    """The value of a field, or its values; `key` selects some of a keyed field (`http.header["host"]`), None all of them."""

    field: Field
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class BitSlice:
    """Bits `start` to `end` (half-open) from the first bit of `header`, as an unsigned big-endian integer, at most 32 bits.

    It runs past the header into what follows; absent where the header is, or where a bit lies beyond the packet."""

    header: Header
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Length:
    """The number of bytes of `of`."""

    of: BytesOperand


@dataclass(frozen=True, slots=True)
class Folded:
    """`of` with its ASCII letters in lower (or upper) case."""

    of: BytesOperand
    upper: bool


@dataclass(frozen=True, slots=True)
class Substring:
    """Bytes `start` to `end` (half-open) of `of`; a negative index counts from the end, None is the end; out of range is clipped."""

    of: BytesOperand
    start: int
    end: int | None


IntOperand = FieldValue | BitSlice | Length
BytesOperand = FieldValue | Folded | Substring
Operand = FieldValue | BitSlice | Length | Folded | Substring


# -- tests -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IsTrue:
    """A Boolean field used bare; false when absent."""

    field: Field


@dataclass(frozen=True, slots=True)
class InRanges:
    """An integer lies in one of `ranges`."""

    operand: IntOperand
    ranges: Ranges


@dataclass(frozen=True, slots=True)
class InAddresses:
    """An address lies in one of the ranges of its own family (addresses as integers). `list_name` is set where the test is
    exactly `in $list_name`, so that a back end may share one set among the rules that use it."""

    operand: FieldValue
    v4: Ranges
    v6: Ranges
    list_name: str | None = None


@dataclass(frozen=True, slots=True)
class AnyBit:
    """`operand & mask`: at least one bit of `mask` is set."""

    operand: IntOperand
    mask: int


class Order(Enum):
    """Bytewise, unsigned, lexicographic order, as memcmp then the shorter first."""

    EQ = "=="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True)
class CompareBytes:
    operand: BytesOperand
    order: Order
    value: bytes


@dataclass(frozen=True, slots=True)
class InStrings:
    """The whole value equals one of `values` (sorted, unique)."""

    operand: BytesOperand
    values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """At least one of `patterns` (unique, in source order) occurs in the value; the empty pattern occurs in every present value."""

    operand: BytesOperand
    patterns: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StartsWith:
    operand: BytesOperand
    value: bytes


@dataclass(frozen=True, slots=True)
class EndsWith:
    operand: BytesOperand
    value: bytes


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The whole value is segments[0], any run, segments[1], any run, ... segments[-1]. One segment: equality.

    `strict` compares case; otherwise ASCII letters match in either case (segments are then stored in lower case)."""

    operand: BytesOperand
    segments: tuple[bytes, ...]
    strict: bool


@dataclass(frozen=True, slots=True)
class Matches:
    """An unanchored regular expression over bytes."""

    operand: BytesOperand
    pattern: str


@dataclass(frozen=True, slots=True)
class All:
    """`all(...)`: the operand of `test` is a field of many values, at least one is there, and each one passes.

    Without it a test on such a field is true where one value passes (`any`, which is also the default)."""

    test: Test


Test = IsTrue | InRanges | InAddresses | AnyBit | CompareBytes | InStrings | Contains | StartsWith | EndsWith | Wildcard | Matches | All


# -- logic -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Const:
    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    item: Expression


@dataclass(frozen=True, slots=True)
class And:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Xor:
    left: Expression
    right: Expression


Expression = Const | Not | And | Or | Xor | Test


def tests_of(expression: Expression) -> Iterator[Test]:
    """Every test in `expression`, left to right. `All` is yielded itself, not what it wraps."""
    match expression:
        case Const():
            return
        case Not(item):
            yield from tests_of(item)
        case And(items) | Or(items):
            for item in items:
                yield from tests_of(item)
        case Xor(left, right):
            yield from tests_of(left)
            yield from tests_of(right)
        case _:
            yield expression


def operand_of(test: Test) -> Operand:
    """What `test` looks at."""
    match test:
        case IsTrue(field):
            return FieldValue(field)
        case All(inner):
            return operand_of(inner)
        case _:
            return test.operand


def root_of(operand: Operand) -> FieldValue | BitSlice:
    """The field (or bit slice) below functions such as `lower` and `len`."""
    while not isinstance(operand, FieldValue | BitSlice):
        operand = operand.of
    return operand
