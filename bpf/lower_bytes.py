"""Lowering of tests on bytes: payloads, parts of them, in either case.

Equality with a short constant is compared in words; everything else runs an automaton over the bytes, or over those that a sieve
(bpf/sift.py) leaves of them. Tests of an evaluator that share the bytes of one field do not come here: a sweep tells them (bpf/sweep.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final, assert_never

from bpf import automaton, regex_automaton
from bpf.automaton import Automaton, Fold
from bpf.dissectors.model import DomainName, Slice
from bpf.ir import Label, Value
from bpf.isa import Alu, Bytes, Condition
from bpf.lower_facts import PAYLOADS, Work, place_of, view_of
from bpf.pattern_set import BytesTest
from bpf.refusal import LoweringError
from bpf.regex_automaton import TooLargeError
from bpf.search import SEEK_NAME, call_seek
from bpf.sift import sifted
from bpf.slices import pack_slice
from bpf.tables import LARGEST
from rules_dsl.expression import (
    BytesOperand,
    CompareBytes,
    Contains,
    EndsWith,
    FieldValue,
    Folded,
    InStrings,
    Matches,
    Order,
    StartsWith,
    Substring,
    Wildcard,
)

COMPARED: Final = 32
"""Bytes up to which a constant is compared in words; the scratch buffer holds as many."""

_LARGEST_CLIP: Final = 1 << 24
"""Beyond every packet; a substring's bounds are clipped to it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of the packet's bytes."""

    offset: Value
    """In the packet; of a name, how many bytes of its text are skipped."""
    length: Value
    fold: Fold
    name: tuple[Value, Value] | None = None
    """Of a name of the domain name system: where it begins, and the message (a packed slice)."""


def too_large(test: Matches) -> str | None:
    """Why no program can search for the test's pattern; None where one can."""
    try:
        regex_automaton.matching(test.pattern, fold_of(test.operand))
    except TooLargeError as error:
        return str(error)
    return None


def fold_of(operand: BytesOperand) -> Fold:
    """How the operand's bytes are folded: of nested folds the outermost alone shows."""
    match operand:
        case FieldValue():
            return Fold.NONE
        case Folded(_, upper):
            return Fold.UPPER if upper else Fold.LOWER
        case Substring(of):
            return fold_of(of)
        case _:
            assert_never(operand)


def piece_of(work: Work, operand: BytesOperand, absent: Label) -> Piece:
    """Substrings and folds commute."""
    match operand:
        case FieldValue():
            return _field(work, operand, absent)
        case Folded(of):
            return replace(piece_of(work, of, absent), fold=fold_of(operand))
        case Substring(of, start, end):
            return _part(work, piece_of(work, of, absent), start, end)
        case _:
            assert_never(operand)


def _field(work: Work, operand: FieldValue, absent: Label) -> Piece:
    place = place_of(operand)
    if place is None:
        return Piece(*work.slice_of(PAYLOADS[operand.field.name], absent), Fold.NONE)
    match view_of(place):
        case Slice(fact):
            return Piece(*work.slice_of(fact, absent), Fold.NONE)
        case DomainName(fact, message):
            start, length = work.slice_of(fact, absent)
            return Piece(work.code.copy(0), length, Fold.NONE, (start, work.fact(message)))
        case view:
            raise AssertionError(f"{view} is no text")


def _part(work: Work, piece: Piece, start: int, end: int | None) -> Piece:
    """As Python slices: bounds below 0 count from the end, and both are clipped."""
    code = work.code
    first = _clip(work, start, piece.length)
    behind = piece.length if end is None else _clip(work, end, piece.length)
    length, whole = code.alu(Alu.SUB, behind, first), code.label()
    code.branch(Condition.GE, behind, first, whole)
    code.set(length, 0)
    code.place(whole)
    return replace(piece, offset=code.alu(Alu.ADD, piece.offset, first), length=length)


def _clip(work: Work, index: int, length: Value) -> Value:
    code, within = work.code, work.code.label()
    if index >= 0:
        place = code.copy(min(index, _LARGEST_CLIP))
        code.branch(Condition.LE, place, length, within)
        code.set(place, length)
    else:
        back = min(-index, _LARGEST_CLIP)
        place = code.alu(Alu.SUB, length, back)
        code.branch(Condition.GE, length, back, within)
        code.set(place, 0)
    code.place(within)
    return place


def lower_bytes(work: Work, test: BytesTest, yes: Label, no: Label, absent: Label) -> None:
    """The test's code goes to `yes` or `no`, or to `absent` where the operand is."""
    piece = piece_of(work, test.operand, absent)
    match test:
        case CompareBytes(_, Order.EQ, value) | InStrings(_, (value,)):
            _equal(work, test, piece, value, yes, no)
        case CompareBytes(_, order, value):
            _run(work, test, piece, partial(automaton.ordered, order, value), yes, no)
        case InStrings(_, values):
            wanted = tuple(value for value in values if piece.fold.can_give(value))
            _run(work, test, piece, partial(automaton.among, wanted), yes, no)
        case Contains(_, patterns):
            if b"" in patterns:
                work.code.jump(yes)
                return
            wanted = tuple(pattern for pattern in patterns if piece.fold.can_give(pattern))
            if not wanted:
                work.code.jump(no)
                return
            _run(work, test, piece, partial(automaton.contains, wanted), yes, no)
        case StartsWith(_, value):
            work.code.branch(Condition.LT, piece.length, len(value), no)
            _equal(work, test, replace(piece, length=work.code.copy(len(value))), value, yes, no)
        case EndsWith(_, value):
            work.code.branch(Condition.LT, piece.length, len(value), no)
            offset = work.code.alu(Alu.ADD, piece.offset, piece.length)
            work.code.update(Alu.SUB, offset, len(value))
            _equal(work, test, replace(piece, offset=offset, length=work.code.copy(len(value))), value, yes, no)
        case Wildcard(_, segments, strict):
            fold = piece.fold if strict else Fold.LOWER
            _run(work, test, replace(piece, fold=fold), partial(automaton.wildcard, segments), yes, no)
        case Matches(_, pattern):
            _run(work, test, piece, partial(regex_automaton.matching, pattern), yes, no)
        case _:
            assert_never(test)


def _equal(work: Work, test: BytesTest, piece: Piece, value: bytes, yes: Label, no: Label) -> None:
    code = work.code
    if not piece.fold.can_give(value):
        code.jump(no)
        return
    code.branch(Condition.NE, piece.length, len(value), no)
    if len(value) > COMPARED or piece.name is not None:
        _run(work, test, piece, partial(automaton.among, (value,)), yes, no)
        return
    if value:
        work.packet_bytes(piece.offset, 0, len(value), no)
    place = 0
    while place < len(value):
        size = _word(len(value) - place)
        told = value[place : place + size]
        letters = bytes(0xDF if piece.fold is not Fold.NONE and chr(byte).isalpha() and byte < 0x80 else 0xFF for byte in told)
        found = code.load(size, work.scratch, place)
        wanted, mask = int.from_bytes(told, "little"), int.from_bytes(letters, "little")
        width = 64 if size == 8 else 32
        if mask != (1 << size * 8) - 1:  # both cases of a letter differ in bit 5 alone
            code.update(Alu.AND, found, mask, width)  # type: ignore[arg-type]  # 64 or 32
        code.branch(Condition.NE, found, wanted & mask, no, width)  # type: ignore[arg-type]  # 64 or 32
        place += size
    code.jump(yes)


def _word(size: int) -> Bytes:
    return 8 if size >= 8 else 4 if size >= 4 else 2 if size >= 2 else 1


def _run(work: Work, test: BytesTest, piece: Piece, build: partial[Automaton], yes: Label, no: Label) -> None:
    code = work.code
    try:
        run = work.tables.run((build.func, build.args, piece.fold), partial(build, piece.fold))
    except TooLargeError as error:
        raise LoweringError(test, str(error)) from error
    if len(work.tables.data) > LARGEST:
        raise LoweringError(test, f"the patterns need tables of more than {LARGEST >> 20} MiB")
    work.effort.search(work.times)
    if piece.name is None:
        rest = sifted(code, work.tables, work.context, (piece.offset, piece.length), [(test, piece.fold)], no)
        found = call_seek(code, work.context, pack_slice(code, *rest), run)
    else:
        start, message = piece.name
        place = code.alu(Alu.LSH, start, 32)
        code.update(Alu.OR, place, code.alu(Alu.LSH, piece.offset, 16))
        code.update(Alu.OR, place, piece.length)
        found = code.call(SEEK_NAME, work.context, place, code.copy(run.start << 32 | run.classes), message)
    code.branch(Condition.NE, found, 0, yes)
    code.jump(no)
