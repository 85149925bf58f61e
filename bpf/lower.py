"""From a predicate to a program: the logic between the tests, and what they share.

Logic is control flow: each test goes to one of two places. A fact (lower_facts) is found out in front of the first test that needs it
where another one may need it later, so a packet pays for it at most once, and only if a test is reached that asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Final, assert_never

from bpf import search
from bpf.assembler import Assembler
from bpf.codegen import Frame, frame_of, generate
from bpf.describe import describe
from bpf.headers import LIBRARY
from bpf.image import FunctionKind, ProgramImage, identifier
from bpf.ir import Function, Label, Value
from bpf.isa import Alu, Condition
from bpf.lower_bytes import lower_bytes, piece_of
from bpf.lower_facts import Fact, Need, Work, needs_of
from bpf.lower_numbers import (
    find_field,
    is_extension_set,
    lower_addresses,
    lower_any_bit,
    lower_extension_set,
    lower_flag,
    lower_ranges,
    number_of_field,
    number_of_slice,
)
from bpf.refusal import LoweringError, refusal
from bpf.simplify import simplify
from bpf.tables import Tables
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
    InAddresses,
    InRanges,
    InStrings,
    IntOperand,
    IsTrue,
    Length,
    Matches,
    Not,
    Or,
    StartsWith,
    Test,
    Wildcard,
    Xor,
    tests_of,
)

PART_WEIGHT: Final = 400
"""Some thirty instructions each that one function holds; more are divided among functions, as a branch reaches 32,768 instructions."""
_PART: Final = "part"
_CALLBACKS: Final = ("walk_step", "scan_window")
_INLINE_WEIGHT: Final = 4
"""Where a function is divided, so few tests are not worth one of their own."""


def compile_program(name: str, predicate: Expression, *, source: str = "") -> ProgramImage:
    """A socket-filter program that returns 1 where `predicate` holds for the packet (from its IP header on), else 0.

    `name` is the rule's, which the program's source lines bear; `source` names the file they are of. Nothing is loaded. Raises
    LoweringError for a test that eBPF cannot do (see `refusal`), or whose tables would be too large."""
    for test in tests_of(predicate):
        reason = refusal(test)
        if reason is not None:
            raise LoweringError(test, reason)
    lowering = _Lowering(name, Tables())
    program = lowering.function(FunctionKind.PROGRAM, name, simplify(predicate))
    own_name = identifier(name)
    is_taken = own_name in (*LIBRARY, *_CALLBACKS, search.SCAN) or own_name.startswith(_PART)
    assembler = Assembler(f"rule {name}" if is_taken else name, source=source)
    if lowering.tables.data:
        assembler.map(lowering.tables.spec())
    assembler.line(name)
    generate(program, frame_of(program), assembler)
    for function, frame in _called(program, lowering):
        if not function.name.startswith(_PART):
            assembler.line(function.name)
        generate(function, frame, assembler)
    return assembler.assemble()


@cache
def _from_library(name: str) -> tuple[tuple[Function, Frame], ...]:
    return tuple((function, frame_of(function)) for function in LIBRARY[name]())


def _called(program: Function, lowering: _Lowering) -> Iterator[tuple[Function, Frame]]:
    """The functions that the program calls, they themselves call, and so on; the kernel wants no other in the program."""
    available = {function.name: (function, frame_of(function)) for function in lowering.parts}
    wanted = list(program.callees())
    seen = set()
    while wanted:
        name = wanted.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name not in available:
            if name == search.SCAN:
                available.update((function.name, (function, frame_of(function))) for function in search.scan(lowering.tables))
            else:
                available.update((made[0].name, made) for made in _from_library(name))
        yield available[name]
        wanted += available[name][0].callees()


@dataclass(slots=True)
class _Lowering:
    """One program under construction."""

    name: str
    tables: Tables
    parts: list[Function] = field(default_factory=list)
    _needs: dict[int, tuple[Need, ...]] = field(default_factory=dict)
    _weights: dict[int, int] = field(default_factory=dict)
    """By id of the expression, which `_kept` keeps alive."""
    _kept: list[Expression] = field(default_factory=list)

    def function(self, kind: FunctionKind, name: str, predicate: Expression) -> Function:
        """A function that returns whether the predicate holds."""
        self._kept.append(predicate)
        code = Function(name, kind, 1 if kind is FunctionKind.PROGRAM else 4)
        work = Work(code, self.tables)
        yes, no = code.label(), code.label()
        self._lower(work, predicate, yes, no)
        code.place(yes)
        code.give(1)
        code.place(no)
        code.give(0)
        code.drop_unreachable()
        return code

    def _lower(self, work: Work, expression: Expression, yes: Label, no: Label) -> None:
        """Go to `yes` where the expression holds, else to `no`."""
        code = work.code
        match expression:
            case Const(value):
                code.jump(yes if value else no)
            case Not(item):
                self._lower(work, item, no, yes)
            case And() | Or() if self._weight(expression) > PART_WEIGHT:
                self._lower_parts(work, expression, yes, no)
            case And(items):
                self._lower_items(work, items, going_on=yes, done=no, conjunction=True)
            case Or(items):
                self._lower_items(work, items, going_on=no, done=yes, conjunction=False)
            case Xor(left, right):
                self._lower_xor(work, left, right, yes, no)
            case _:
                for need in self._need(expression):
                    if isinstance(need, Fact) and need not in work.known:
                        work.find(need)
                code.line(f"{self.name}: {describe(expression)}")
                _lower_test(work, expression, yes, no)

    def _lower_items(self, work: Work, items: Sequence[Expression], *, going_on: Label, done: Label, conjunction: bool) -> None:
        known = work.known
        for index, item in enumerate(items):
            self._find_shared(work, item, items[index + 1 :])
            following = work.code.label()
            outer = work.known
            if conjunction:
                self._lower(work, item, following, done)
            else:
                self._lower(work, item, done, following)
            work.known = outer
            work.code.place(following)
        work.code.jump(going_on)
        work.known = known

    def _lower_parts(self, work: Work, expression: And | Or, yes: Label, no: Label) -> None:
        """Small items in functions of their own, as many in each as fit; an item that is too large itself is divided here."""
        code = work.code
        conjunction = isinstance(expression, And)
        for group in self._groups(expression.items):
            following = code.label()
            places = (following, no) if conjunction else (yes, following)
            joined: Expression = group[0] if len(group) == 1 else type(expression)(tuple(group))
            self._kept.append(joined)
            if self._weight(joined) > PART_WEIGHT or self._weight(joined) <= _INLINE_WEIGHT:
                outer = work.known
                self._lower(work, joined, *places)
                work.known = outer
            else:
                name = f"{_PART}{len(self.parts) + 1}"
                self.parts.append(Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4))
                self.parts[-1] = self.function(FunctionKind.GLOBAL_SUBPROGRAM, name, joined)
                code.line(self.name)
                code.branch(Condition.NE, code.call(name, work.context, 0, 0, 0), 0, places[0])
                code.jump(places[1])
            code.place(following)
        code.jump(yes if conjunction else no)

    def _lower_xor(self, work: Work, left: Expression, right: Expression, yes: Label, no: Label) -> None:
        """The first side's truth is kept as the packet's length, or one more: numbers that the verifier knows nothing of, so that it
        need not follow the second side twice. The side that keeps more such numbers goes first."""
        if pending(right) > pending(left):
            left, right = right, left
        code = work.code
        known = work.known
        self._find_shared(work, left, (right,))
        outer = work.known
        kept, was_true, was_false, second = code.value(), code.label(), code.label(), code.label()
        self._lower(work, left, was_true, was_false)
        work.known = outer
        code.place(was_true)
        code.set(kept, code.packet_length(work.context))
        code.jump(second)
        code.place(was_false)
        code.set(kept, code.packet_length(work.context))
        code.update(Alu.ADD, kept, 1)
        code.place(second)
        is_true, is_false = code.label(), code.label()
        self._lower(work, right, is_true, is_false)
        code.place(is_true)
        code.branch(Condition.EQ, kept, code.packet_length(work.context), no)
        code.jump(yes)
        code.place(is_false)
        code.branch(Condition.EQ, kept, code.packet_length(work.context), yes)
        code.jump(no)
        work.known = known

    def _find_shared(self, work: Work, item: Expression, later: Sequence[Expression]) -> None:
        """Find out what `item` needs and a later one too, unless known."""
        wanted = set().union(*(self._need(other) for other in later))
        for need in self._need(item):
            if need not in wanted or need in work.known:
                continue
            if isinstance(need, Fact):
                work.find(need)
            elif work.can_keep(need):
                find_field(work, need)

    def _groups(self, items: Sequence[Expression]) -> list[list[Expression]]:
        """The items in order, in groups of at most PART_WEIGHT; an item above that is a group by itself."""
        groups: list[list[Expression]] = []
        room = 0
        for item in items:
            if self._weight(item) > room:
                groups.append([])
                room = PART_WEIGHT
            groups[-1].append(item)
            room -= self._weight(item)
        return groups

    def _weight(self, expression: Expression) -> int:
        """Roughly the instructions that the expression becomes, in thirties."""
        key = id(expression)
        if key not in self._weights:
            match expression:
                case Const():
                    weight = 0
                case Not(item):
                    weight = self._weight(item)
                case And(items) | Or(items):
                    weight = sum(map(self._weight, items))
                case Xor(left, right):
                    weight = self._weight(left) + self._weight(right) + 1
                case InRanges(_, ranges):
                    weight = 1 + min(len(ranges), 24) // 8
                case InAddresses():
                    weight = 8
                case _:
                    weight = 2
            self._weights[key] = weight
        return self._weights[key]

    def _need(self, expression: Expression) -> tuple[Need, ...]:
        """What the expression's tests need, each behind what it needs itself."""
        key = id(expression)
        if key not in self._needs:
            match expression:
                case Const():
                    needs: tuple[Need, ...] = ()
                case Not(item):
                    needs = self._need(item)
                case And(items) | Or(items):
                    # Large ones are divided into functions that find out for themselves.
                    needs = () if self._weight(expression) > PART_WEIGHT else _joined(self._need(item) for item in items)
                case Xor(left, right):
                    needs = _joined((self._need(left), self._need(right)))
                case _:
                    needs = needs_of(expression)
            self._needs[key] = needs
        return self._needs[key]


def _joined(needs: Iterable[tuple[Need, ...]]) -> tuple[Need, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(needs)))


def pending(expression: Expression) -> int:
    """How many sides of exclusive ors are kept at a time while the expression is evaluated."""
    match expression:
        case Not(item):
            return pending(item)
        case And(items) | Or(items):
            return max(map(pending, items), default=0)
        case Xor(left, right):
            low, high = sorted((pending(left), pending(right)))
            return max(low + 1, high)
        case _:
            return 0


def _lower_test(work: Work, test: Test, yes: Label, no: Label) -> None:
    match test:
        case IsTrue(known):
            lower_flag(work, known, yes, no)
        case InRanges() | AnyBit() if is_extension_set(test.operand):
            lower_extension_set(work, test, every=False, yes=yes, no=no)
        case All(InRanges() | AnyBit() as inner) if is_extension_set(inner.operand):
            lower_extension_set(work, inner, every=True, yes=yes, no=no)
        case InRanges(operand, ranges):
            lower_ranges(work, _number(work, operand, no), ranges, yes, no)
        case AnyBit(operand, mask):
            lower_any_bit(work, _number(work, operand, no), mask, yes, no)
        case InAddresses():
            lower_addresses(work, test, yes, no)
        case CompareBytes() | InStrings() | Contains() | StartsWith() | EndsWith() | Wildcard() | Matches():
            lower_bytes(work, test, yes, no)
        case All(inner):  # of a field of one value
            _lower_test(work, inner, yes, no)
        case _:
            assert_never(test)


def _number(work: Work, operand: IntOperand, absent: Label) -> Value:
    match operand:
        case FieldValue(known):
            return number_of_field(work, known, absent)
        case BitSlice():
            return number_of_slice(work, operand, absent)
        case Length(of):
            return piece_of(work, of, absent).length
        case _:
            assert_never(operand)
