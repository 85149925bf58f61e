"""One program for all payload rules of a tenant (or as few as the verifier takes), and the small ones that ask what it found.

The evaluator runs the rules' predicates in order, up to the first that ends the evaluation, and returns whether any holds. What it
found stands in its record: the programs that ask which rule it was read that, and evaluate nothing (`asking`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Final, assert_never

from bpf.asking import Asking, record_of_this_cpu
from bpf.automaton import Fold
from bpf.dissectors.model import DomainName, Each, Slice
from bpf.image import FunctionKind, MapKind, MapSpec, ProgramImage
from bpf.ir import Function, Label
from bpf.isa import Alu, Condition
from bpf.lower import MOST_FUNCTIONS, PART_WEIGHT, Lowering, assembled, lowering_of, rounds_of, too_many_functions
from bpf.lower_bytes import fold_of
from bpf.lower_facts import PAYLOADS, Work, place_of, view_of
from bpf.pattern_set import BytesTest, pattern_set
from bpf.refusal import LoweringError
from bpf.regex_automaton import TooLargeError
from bpf.sift import sifted
from bpf.simplify import simplify
from bpf.slices import pack_slice, take_slice
from bpf.sweep import LOWEST_BIT, SWEEP, TELL, Told, sweep, tell
from bpf.sweep_name import COPY_NAME, SWEEP_TEXT, TEXT_BYTES, copy_name, sweep_text
from bpf.tables import LARGEST, SetRun
from rules_dsl.expression import (
    And,
    CompareBytes,
    Const,
    Contains,
    Expression,
    FieldValue,
    Folded,
    Matches,
    Order,
    Test,
    Wildcard,
    tests_of,
)

MOST_FACTS: Final = 256
"""Facts that an evaluator keeps."""

MOST_MEMBERS: Final = 4096
"""Rules that one evaluator has."""

MOST_TESTS: Final = 1 << 17
"""Tests that one evaluator has. Each may be a bit of its record, of which a CPU holds 32 KiB (PCPU_MIN_UNIT_SIZE in linux/percpu.h)."""

MOST_SLOTS: Final = 60_000
"""Instructions of one evaluator. The verifier looks at a million on all paths together; these took it a fifth of that and less."""

MOST_ROUNDS: Final = 1500
"""Values of fields of many values that the tests of one evaluator look at, one after the other. The verifier follows each such round by
itself: some 3,000 took it the million."""

_FEW: Final = 3
"""Comparisons with whole values up to which each by itself is quicker than an automaton."""


@dataclass(frozen=True, slots=True)
class Member:
    """One rule of an evaluator."""

    name: str
    predicate: Expression
    ends: bool
    """What follows is not evaluated where it holds."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """The program of some members, which are numbered from 0, and the programs that ask what it found."""

    first: int
    """The place of member 0 among all."""
    image: ProgramImage
    names: tuple[str, ...]
    """Of the members."""
    _asking: Asking
    _ended: int
    """Where the record has the number, plus 1, of the member that ended the evaluation: 8 bytes; 0 for none."""
    _matched: int
    """Where it has a bit for each member that held and did not end it."""
    _rounds: int
    """Of the loops over fields of many values, together."""

    def ended_among(self, low: int, high: int) -> ProgramImage:
        """1 where a member from `low` up to and without `high` ended the evaluation."""
        return self._asking.is_among(self._ended, low, high)

    def digit(self, shift: int, width: int, value: int) -> ProgramImage:
        """1 where the number of the member that ended the evaluation has the digit `value`: its `width` bits above the lowest `shift`."""
        return self._asking.digit(self._ended, shift, width, value)

    def held(self, number: int) -> ProgramImage:
        """1 where that member, which does not end the evaluation, held."""
        return self._asking.is_set(self._matched, number)

    @property
    def record(self) -> MapSpec:
        return self._asking.record


def compile_evaluators(name: str, members: Sequence[Member], *, source: str = "") -> tuple[Evaluator, ...]:
    """Evaluators for the members in their order: one, or as many as the limits of the verifier and of tables make of it. Their images are
    named `name` and the place of their first member. Raises LoweringError, with a test of the member for which it is not possible."""
    return tuple(_divided(name, members, 0, source)) if members else ()


def _divided(name: str, members: Sequence[Member], first: int, source: str) -> Iterator[Evaluator]:
    tests = sum(1 for member in members for _ in tests_of(member.predicate))
    pieces = min(ceil(max(len(members) / MOST_MEMBERS, tests / MOST_TESTS)), len(members))
    if pieces == 1:
        try:
            made = _evaluator(f"{name}{first}", members, source)
        except LoweringError as error:
            if len(members) == 1:  # its tests are those of the simplified predicate, which nobody else knows
                raise LoweringError(next(tests_of(members[0].predicate)), error.reason) from error
            half = ceil(len(members) / 2)
            yield from _divided(name, members[:half], first, source)
            yield from _divided(name, members[half:], first + half, source)
            return
        excess = max(len(made.image.functions) / MOST_FUNCTIONS, made.image.slots / MOST_SLOTS, made._rounds / MOST_ROUNDS)
        if excess <= 1 or (len(members) == 1 and len(made.image.functions) <= MOST_FUNCTIONS):
            yield replace(made, first=first)
            return
        if len(members) == 1:
            raise too_many_functions(next(tests_of(members[0].predicate)))
        pieces = min(ceil(excess * _MARGIN), len(members))
    size = ceil(len(members) / pieces)
    for start in range(0, len(members), size):
        yield from _divided(name, members[start : start + size], first + start, source)


_MARGIN: Final = 1.5
"""The pieces of what is too large together need more than their share: they have fewer functions in common."""


def _evaluator(name: str, members: Sequence[Member], source: str) -> Evaluator:
    predicates = [simplify(member.predicate) for member in members]
    tests = [test for predicate in predicates for test in tests_of(predicate)]
    lowering = lowering_of(name, tests, MOST_FACTS)
    groups = _groups(tests)
    homes = lowering.record.size
    ended = homes + 8 * len(groups)
    any_held = ended + 8
    matched = any_held + 8
    bits = matched + _bit_set_size(len(members))
    text = bits + sum(_bit_set_size(len(group)) for group in groups.values())
    size = text + TEXT_BYTES
    record = lowering.record_map = MapSpec(f"{name}_record", MapKind.PERCPU_ARRAY, value_size=size, shared=True)
    told: dict[Test, Told] = {}
    most_entries, place = 1, bits
    for index, (operand, group) in enumerate(groups.items()):
        sweeping = _Sweeping(lowering, operand, group, homes + 8 * index, place)
        most_entries = max(most_entries, sweeping.write())
        told |= {test: Told(sweeping.name, sweeping.home, place * 8 + number) for number, test in enumerate(group)}
        place += _bit_set_size(len(group))
    lowering.told = told
    lowering.searches |= {
        SWEEP: sweep,
        TELL: partial(tell, record_size=size, most_entries=most_entries),
        COPY_NAME: partial(copy_name, text=text),
        SWEEP_TEXT: partial(sweep_text, text=text),
    }
    places = _Places(ended, any_held, matched)
    parts = [_part(lowering, chunk, places) for chunk in _chunks(lowering, list(_steps(members, predicates, told)))]

    program = Function(name, FunctionKind.PROGRAM, 1)
    yes, no = program.label(), program.label()
    at = record_of_this_cpu(program, record)
    program.branch(Condition.EQ, at, 0, no)
    program.clear(at, 0, bits)
    for part in parts:
        program.branch(Condition.NE, program.call(part.name, program.parameters[0], at, 0, 0), 0, yes)
    program.branch(Condition.NE, program.load(8, at, any_held), 0, yes)
    program.place(no)
    program.give(0)
    program.place(yes)
    program.give(1)
    lowering.name = name
    image = assembled(program, lowering, source, record_size=size)
    rounds = sum(rounds_of(test) for test in tests if test not in told)
    return Evaluator(0, image, tuple(member.name for member in members), Asking(name, record), ended, matched, rounds)


def _bit_set_size(bits: int) -> int:
    """In bytes: whole words of 64 bits."""
    return (bits + 63) // 64 * 8


@dataclass(frozen=True, slots=True)
class _Places:
    """Of the results in the record, in bytes."""

    ended: int
    any_held: int
    matched: int


@dataclass(frozen=True, slots=True)
class _One:
    """A member by itself."""

    number: int
    member: Member
    predicate: Expression


@dataclass(frozen=True, slots=True)
class _Ladder:
    """Members that follow each other, end the evaluation, and differ in one told test alone, whose bits follow each other too: 64 of
    them are asked at a time."""

    number: int
    """Of the first."""
    members: tuple[Member, ...]
    common: Expression
    told: Told
    """Of the first."""


_Step = _One | _Ladder

_FEWEST_ON_LADDER: Final = 4


def _steps(members: Sequence[Member], predicates: Sequence[Expression], told: Mapping[Test, Told]) -> Iterator[_Step]:
    number = 0
    rungs = [_rung(member, predicate, told) for member, predicate in zip(members, predicates, strict=True)]
    while number < len(members):
        end, rung = number + 1, rungs[number]
        while rung is not None and end < len(members) and _follows(rung, rungs[end], end - number):
            end += 1
        if rung is not None and end - number >= _FEWEST_ON_LADDER:
            yield _Ladder(number, tuple(members[number:end]), rung[0], rung[1])
        else:
            end = number + 1
            yield _One(number, members[number], predicates[number])
        number = end


_Rung = tuple[Expression, Told]


def _rung(member: Member, predicate: Expression, told: Mapping[Test, Told]) -> _Rung | None:
    """What the predicate asks besides one told test, and that test."""
    if not member.ends:
        return None
    items = predicate.items if isinstance(predicate, And) else (predicate,)
    asked = [item for item in items if isinstance(item, Test) and item in told]
    if len(asked) != 1:
        return None
    rest = tuple(item for item in items if item is not asked[0])
    common: Expression = Const(True) if not rest else rest[0] if len(rest) == 1 else And(rest)
    return common, told[asked[0]]


def _follows(first: _Rung, other: _Rung | None, distance: int) -> bool:
    return (
        other is not None
        and (other[1].sweep, other[1].bit) == (first[1].sweep, first[1].bit + distance)
        and (other[0] is first[0] or other[0] == first[0])
    )


def _chunks(lowering: Lowering, steps: Sequence[_Step]) -> list[list[_Step]]:
    """The steps in runs that are not too much for a function."""
    chunks: list[list[_Step]] = []
    room = 0
    for step in steps:
        weight = min(lowering.weight(step.predicate if isinstance(step, _One) else step.common), PART_WEIGHT) + 1
        if weight > room:
            chunks.append([])
            room = PART_WEIGHT + 1
        chunks[-1].append(step)
        room -= weight
    return chunks


def _part(lowering: Lowering, steps: Sequence[_Step], places: _Places) -> Function:
    """A function that evaluates some members, and returns 1 where one ended it."""
    code, work = lowering.begin_part()
    for step in steps:
        no = code.label()
        match step:
            case _One():
                _evaluate_one(lowering, work, step, places, no)
            case _Ladder():
                _evaluate_ladder(lowering, work, step, places, no)
            case _:
                assert_never(step)
        code.place(no)
    code.give(0)
    code.drop_unreachable()
    return code


def _evaluate_one(lowering: Lowering, work: Work, step: _One, places: _Places, no: Label) -> None:
    code, yes = work.code, work.code.label()
    record = code.parameters[1]
    lowering.name = step.member.name
    lowering.lower(work, step.predicate, yes, no)
    code.place(yes)
    if step.member.ends:
        code.store(8, record, places.ended, step.number + 1)
        code.give(1)
        return
    place = places.matched + step.number // 8
    code.store(1, record, place, code.alu(Alu.OR, code.load(1, record, place), 1 << step.number % 8))
    code.store(8, record, places.any_held, 1)


def _evaluate_ladder(lowering: Lowering, work: Work, step: _Ladder, places: _Places, no: Label) -> None:
    code, yes, found = work.code, work.code.label(), work.code.label()
    record = code.parameters[1]
    lowering.name = step.members[0].name
    lowering.lower(work, step.common, yes, no)
    code.place(yes)
    code.line(f"{step.members[0].name} ... {step.members[-1].name}")
    step.told.find(work)
    first, end = step.told.bit, step.told.bit + len(step.members)
    bits, number = code.value(), code.value()
    for word in range(first // 64, (end + 63) // 64):
        code.load_to(bits, 8, record, word * 8)
        if low := max(first - word * 64, 0):
            code.update(Alu.RSH, bits, low)
            code.update(Alu.LSH, bits, low)
        if high := max(word * 64 + 64 - end, 0):
            code.update(Alu.LSH, bits, high)
            code.update(Alu.RSH, bits, high)
        code.set(number, word * 64 - first + step.number + 1)
        code.branch(Condition.NE, bits, 0, found)
    code.jump(no)
    code.place(found)
    code.update(Alu.ADD, number, code.call(LOWEST_BIT, work.context, bits))
    code.store(8, record, places.ended, number)
    code.give(1)


# -- tests that automata tell ------------------------------------------------------------------------------------------


def _groups(tests: Sequence[Test]) -> dict[FieldValue, tuple[BytesTest, ...]]:
    """The tests on the bytes of one field that are worth one sweep, by the field."""
    found: dict[FieldValue, dict[BytesTest, None]] = {}
    for test in tests:
        if isinstance(test, BytesTest) and not (isinstance(test, CompareBytes) and test.order is not Order.EQ):
            operand = test.operand
            while isinstance(operand, Folded):
                operand = operand.of
            if isinstance(operand, FieldValue):
                found.setdefault(operand, {})[test] = None
    return {operand: tuple(group) for operand, group in found.items() if _is_worth_it(list(group))}


def _is_worth_it(group: Sequence[BytesTest]) -> bool:
    searches = [test for test in group if isinstance(test, Contains | Matches | Wildcard)]
    return len(searches) > 1 or len(group) > _FEW


def _is_name(operand: FieldValue) -> bool:
    place = place_of(operand)
    return place is not None and isinstance(view_of(place), DomainName)


def _fold_in(operand: FieldValue, test: BytesTest) -> Fold:
    """How the bytes that are swept are folded for the test: a name's letters are as they stand in the packet."""
    fold = fold_of(test.operand)
    return Fold.LOWER if fold is Fold.NONE and _is_name(operand) else fold


@dataclass(slots=True)
class _Sweeping:
    """The part that sweeps one field for a group of tests."""

    lowering: Lowering
    operand: FieldValue
    group: tuple[BytesTest, ...]
    home: int
    place: int
    """Of the bits, in the record."""
    name: str = ""

    def write(self) -> int:
        """The entries of the longest report."""
        lowering = self.lowering
        tests = [(test, _fold_in(self.operand, test)) for test in self.group]
        bits = [self.place * 8 + number for number in range(len(tests))]
        try:
            runs = lowering.tables.set_runs(lambda base: pattern_set(tests, bits, base))
        except TooLargeError as error:
            raise LoweringError(self._largest(), str(error)) from error
        if len(lowering.tables.data) > LARGEST:
            needed = f"{len(lowering.tables.data) / (1 << 20):,.0f} MiB"
            raise LoweringError(self._largest(), f"the rule's patterns need tables of {needed}, and the limit is {LARGEST >> 20} MiB")
        code, work = lowering.begin_part()
        self.name = code.name
        record = code.parameters[1]
        code.store(8, record, self.home, 1)
        code.clear(record, self.place, self.place + _bit_set_size(len(tests)))
        end = code.label()
        place = place_of(self.operand)
        if isinstance(place, Each):
            work.find(place.fact)
            for _ in work.each_element(place, self.operand.field.bound, end):
                self._sweep(code, work, runs)
        else:
            self._sweep(code, work, runs)
        code.place(end)
        code.give(0)
        code.drop_unreachable()
        return max((run.most_entries for run in runs), default=1)

    def _largest(self) -> BytesTest:
        """The test with the most bytes to look for."""
        return max(self.group, key=lambda test: len(repr(test)))

    def _sweep(self, code: Function, work: Work, runs: Sequence[SetRun]) -> None:
        context, record, *_ = code.parameters
        absent = code.label()
        place = place_of(self.operand)
        view = Slice(PAYLOADS[self.operand.field.name]) if place is None else view_of(place)
        begins = [run.begin for run in runs if run.begin]
        if isinstance(view, DomainName):
            name, message = work.fact(view.name), work.fact(view.message)
            _, length = take_slice(code, name, absent)
            code.call(COPY_NAME, context, record, name, message)
        else:
            tests = [(test, _fold_in(self.operand, test)) for test in self.group]
            offset, length = sifted(code, self.lowering.tables, context, work.slice_of(view.fact, absent), tests, absent)
        for begin in begins:
            code.call(TELL, context, record, begin, 0)
        for run in runs:
            work.effort.sweep(work.times)
            automaton = code.copy(run.start << 32 | run.classes)
            if isinstance(view, DomainName):
                code.call(SWEEP_TEXT, context, record, length, automaton)
            else:
                code.call(SWEEP, context, record, pack_slice(code, offset, length), automaton)
        code.place(absent)
