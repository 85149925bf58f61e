"""Lowering of one test: its code goes to `yes` or `no`, and an absent operand to `no`."""

from __future__ import annotations

from typing import assert_never

from bpf.dissectors.model import Each
from bpf.ir import Label, Value
from bpf.isa import Condition
from bpf.lower_bytes import lower_bytes, piece_of
from bpf.lower_facts import Work, place_of
from bpf.lower_numbers import (
    is_extension_set,
    lower_addresses,
    lower_any_bit,
    lower_extension_set,
    lower_flag,
    lower_ranges,
    number_of_field,
    number_of_slice,
)
from rules_dsl.expression import (
    All,
    AnyBit,
    BitSlice,
    CompareBytes,
    Contains,
    EndsWith,
    FieldValue,
    InAddresses,
    InRanges,
    InStrings,
    IntOperand,
    IsTrue,
    Length,
    Matches,
    StartsWith,
    Test,
    Wildcard,
    operand_of,
    root_of,
)


def lower_test(work: Work, test: Test, yes: Label, no: Label) -> None:
    """The test on the operand's value, or on its values: whether one passes, of `All` whether there are any and all do."""
    inner, every = (test.test, True) if isinstance(test, All) else (test, False)
    root = root_of(operand_of(inner))
    place = place_of(root) if isinstance(root, FieldValue) else None
    if isinstance(place, Each):
        assert isinstance(root, FieldValue)
        _lower_each(work, inner, place, root.field.bound, every=every, yes=yes, no=no)
    elif isinstance(inner, InRanges | AnyBit) and is_extension_set(inner.operand):
        lower_extension_set(work, inner, every=every, yes=yes, no=no)
    else:
        _lower_value(work, inner, yes, no, no)


def _lower_each(work: Work, test: Test, place: Each, bound: int, *, every: bool, yes: Label, no: Label) -> None:
    """The test on one element after the other."""
    code = work.code
    following, end, passed = (code.label() for _ in range(3))
    seen = code.copy(0)
    for _ in work.each_element(place, bound, end):
        if every:
            _lower_value(work, test, passed, no, following)
            code.place(passed)
            code.set(seen, 1)
        else:
            _lower_value(work, test, yes, following, following)
        code.place(following)
    code.place(end)
    if every:
        code.branch(Condition.NE, seen, 0, yes)
    code.jump(no)


def _lower_value(work: Work, test: Test, yes: Label, no: Label, absent: Label) -> None:
    """The test on one value; to `absent` where there is none."""
    match test:
        case IsTrue(known):
            lower_flag(work, known, yes, no)
        case InRanges(operand, ranges):
            lower_ranges(work, _number(work, operand, absent), ranges, yes, no)
        case AnyBit(operand, mask):
            lower_any_bit(work, _number(work, operand, absent), mask, yes, no)
        case InAddresses():
            lower_addresses(work, test, yes, no, absent)
        case CompareBytes() | InStrings() | Contains() | StartsWith() | EndsWith() | Wildcard() | Matches():
            lower_bytes(work, test, yes, no, absent)
        case All(inner):
            _lower_value(work, inner, yes, no, absent)
        case _:
            assert_never(test)


def _number(work: Work, operand: IntOperand, absent: Label) -> Value:
    match operand:
        case FieldValue():
            return number_of_field(work, operand, absent)
        case BitSlice():
            return number_of_slice(work, operand, absent)
        case Length(of):
            return piece_of(work, of, absent).length
        case _:
            assert_never(operand)
