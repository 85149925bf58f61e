"""From a predicate to a program: the logic between the tests, and what they share.

Logic is control flow: each test goes to one of two places. A fact (lower_facts) is found out by the first test that needs it, so a
packet pays for it at most once, and only if a test is reached that asks. bpf/evaluate.py makes one program of many predicates with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from bpf.assembler import Assembler
from bpf.codegen import Frame, frame_of, generate
from bpf.describe import describe
from bpf.domain_name import search_name
from bpf.effort import Effort
from bpf.image import FunctionKind, MapSpec, ProgramImage, identifier
from bpf.ir import At, Function, Label, Routine
from bpf.isa import Alu, Condition
from bpf.lower_facts import Need, Record, Work, needs_of, record_for
from bpf.lower_tests import lower_test
from bpf.refusal import LoweringError, refusal
from bpf.search import SEEK, SEEK_NAME, search
from bpf.simplify import simplify
from bpf.sweep import Told
from bpf.tables import MOST_SIEVES, Tables
from rules_dsl.expression import (
    And,
    Const,
    Expression,
    FieldValue,
    InAddresses,
    InRanges,
    Not,
    Or,
    Test,
    Xor,
    operand_of,
    root_of,
    tests_of,
)

PART_WEIGHT: Final = 400
"""Some thirty instructions each that one function holds; more are divided among functions, as a branch reaches 32,768 instructions."""
_PART: Final = "part"
_INLINE_WEIGHT: Final = 4
"""Where a function is divided, so few tests are not worth one of their own."""


MOST_FUNCTIONS: Final = 256
"""Of a program (BPF_MAX_SUBPROGS in linux/bpf_verifier.h)."""
RECORD_ON_STACK: Final = 8
"""Facts that a program keeps whose record is on its stack, of which all functions in a chain of calls have 512 bytes together."""


def compile_program(name: str, predicate: Expression, *, source: str = "", answer: int = 1, most_sieves: int = MOST_SIEVES) -> ProgramImage:
    """A socket-filter program that returns `answer` where `predicate` holds for the packet (from its IP header on), else 0.

    `name` is the rule's, which the program's source lines bear; `source` names the file they are of. Searches for plain texts are quicker
    with sieves, and a program with one takes three times as long to compile and to verify. Nothing is loaded. Raises
    LoweringError for a test that eBPF cannot do (see `refusal`), or whose tables would be too large."""
    predicate = simplify(predicate)
    tests = list(tests_of(predicate))
    lowering = lowering_of(name, tests, RECORD_ON_STACK)
    lowering.tables.most_sieves = most_sieves
    judge = lowering.part(predicate)
    program = Function(name, FunctionKind.PROGRAM, 1)
    record = program.buffer(lowering.record.size)
    program.clear(record, 0, lowering.record.size)
    held = program.call(judge.name, program.parameters[0], At(record), 0, 0)
    if answer != 1:
        program.update(Alu.MUL, held, answer)
    program.give(held)
    image = assembled(program, lowering, source)
    if len(image.functions) > MOST_FUNCTIONS:
        raise too_many_functions(tests[0])
    return image


def too_many_functions(test: Test) -> LoweringError:
    """The error for a program of more than MOST_FUNCTIONS; `test` is one of its rule's."""
    return LoweringError(test, f"the rule looks at so many fields that its program has more than {MOST_FUNCTIONS} functions: divide it")


def assembled(program: Function, lowering: Lowering, source: str, record_size: int | None = None) -> ProgramImage:
    """The program with all that it calls. Its lines bear the rules' names."""
    frame = frame_of(program)
    called = list(_called(program, lowering))
    names = {function.name for function, _ in called}
    own = identifier(program.name)
    assembler = Assembler(
        f"rule {program.name}" if own in names else program.name,
        source=source,
        record_size=lowering.record.size if record_size is None else record_size,
    )
    for spec in lowering.maps():
        assembler.map(spec)
    assembler.line(program.name)
    generate(program, frame, assembler)
    for function, made in called:
        if isinstance(made, Assembler):
            assembler.append(made)
        else:
            assembler.line(program.name if function.name.startswith(_PART) else function.name)
            generate(function, made, assembler)
    return replace(assembler.assemble(), passes=lowering.effort.passes, reporting=lowering.effort.reporting)


@cache
def _fixed(routine: Routine) -> Mapping[str, tuple[Function, Assembler]]:
    """The functions of a routine that is the same in every program, each by its name, with its code."""
    made = {}
    for function in routine.write(Tables()):
        assembler = Assembler()
        assembler.line(function.name)
        generate(function, frame_of(function), assembler)
        made[function.name] = function, assembler
    return made


def _called(program: Function, lowering: Lowering) -> Iterator[tuple[Function, Frame | Assembler]]:
    """The functions that the program calls, they themselves call, and so on; the kernel wants no other in the program. The searches
    come last: they are for complete tables."""
    fixed: dict[str, tuple[Function, Assembler]] = {}
    available = {function.name: function for function in lowering.parts}
    wanted = [program]
    seen: set[str] = set()
    searches: dict[str, None] = {}
    while wanted:
        caller = wanted.pop(0)
        for name in caller.callees():
            if name in seen:
                continue
            seen.add(name)
            routine = caller.routines.get(name)
            if routine is not None and routine.is_fixed:
                fixed.update(_fixed(routine))
            elif routine is not None:
                available.update((function.name, function) for function in routine.write(lowering.tables))
            if name in fixed:
                wanted.append(fixed[name][0])
                yield fixed[name]
                continue
            if name not in available:
                assert name in lowering.searches, f"{caller.name} calls {name}, which is nowhere"
                searches[name] = None
                continue
            wanted.append(available[name])
            yield available[name], frame_of(available[name])
    pending = list(searches)
    for name in pending:  # grows on the way
        for function in lowering.searches[name](lowering.tables):
            yield function, frame_of(function)
            pending += [callee for callee in function.callees() if callee in lowering.searches and callee not in pending]


@dataclass(slots=True)
class Lowering:
    """One program under construction."""

    name: str
    tables: Tables
    record: Record
    record_map: MapSpec | None = None
    """Where the record is, if not on the program's stack."""
    told: Mapping[Test, Told] = field(default_factory=dict)
    """The tests that are told by the automata of pattern sets."""
    searches: dict[str, Callable[[Tables], tuple[Function, ...]]] = field(default_factory=lambda: {SEEK: search, SEEK_NAME: search_name})
    """Functions that run automata, by name; each is for complete tables."""
    effort: Effort = field(default_factory=Effort)
    parts: list[Function] = field(default_factory=list)
    """Functions of kind PART that are written."""
    _weights: dict[int, int] = field(default_factory=dict)
    """By id of the expression, which `_kept` keeps alive."""
    _kept: list[Expression] = field(default_factory=list)

    def maps(self) -> Iterator[MapSpec]:
        """The tables, if there are any, and the record, if it is not on the stack."""
        if self.tables.data:
            yield self.tables.spec()
        if self.record_map is not None:
            yield self.record_map

    def part(self, predicate: Expression) -> Function:
        """A function that returns whether the predicate holds."""
        self._kept.append(predicate)
        code, work = self.begin_part()
        yes, no = code.label(), code.label()
        self.lower(work, predicate, yes, no)
        code.place(yes)
        code.give(1)
        code.place(no)
        code.give(0)
        code.drop_unreachable()
        return code

    def begin_part(self) -> tuple[Function, Work]:
        """A function of kind PART, whose record is there."""
        code = Function.part(f"{_PART}{len(self.parts)}")
        self.parts.append(code)
        return code, Work(code, self.tables, self.record, effort=self.effort)

    def lower(self, work: Work, expression: Expression, yes: Label, no: Label) -> None:
        """Go to `yes` where the expression holds, else to `no`. What `work.known` is then has been found out on both ways."""
        code = work.code
        match expression:
            case Const(value):
                code.jump(yes if value else no)
            case Not(item):
                self.lower(work, item, no, yes)
            case And() | Or() if self.weight(expression) > PART_WEIGHT:
                self._lower_parts(work, expression, yes, no)
            case And(items):
                self._lower_items(work, items, going_on=yes, done=no, conjunction=True)
            case Or(items):
                self._lower_items(work, items, going_on=no, done=yes, conjunction=False)
            case Xor(left, right):
                self._lower_xor(work, left, right, yes, no)
            case _:
                code.line(f"{self.name}: {describe(expression)}")
                told = self.told.get(expression)
                if told is not None:
                    told.lower(work, yes, no)
                    return
                for need in needs_of(expression):
                    work.find(need)
                known = work.known
                lower_test(work, expression, yes, no)
                work.known = known

    def _lower_items(self, work: Work, items: Sequence[Expression], *, going_on: Label, done: Label, conjunction: bool) -> None:
        first: frozenset[Need] | None = None
        for item in items:
            following = work.code.label()
            if conjunction:
                self.lower(work, item, following, done)
            else:
                self.lower(work, item, done, following)
            work.code.place(following)
            first = work.known if first is None else first
        work.code.jump(going_on)
        work.known = first if first is not None else work.known

    def _lower_parts(self, work: Work, expression: And | Or, yes: Label, no: Label) -> None:
        """Small items in functions of their own, as many in each as fit; an item that is too large itself is divided here."""
        code, known = work.code, work.known
        conjunction = isinstance(expression, And)
        for group in self._groups(expression.items):
            following = code.label()
            places = (following, no) if conjunction else (yes, following)
            joined: Expression = group[0] if len(group) == 1 else type(expression)(tuple(group))
            self._kept.append(joined)
            if self.weight(joined) > PART_WEIGHT or self.weight(joined) <= _INLINE_WEIGHT:
                self.lower(work, joined, *places)
                work.known = known
            else:
                part = self.part(joined)
                code.line(self.name)
                code.branch(Condition.NE, code.call(part.name, *code.parameters[:2], 0, 0), 0, places[0])
                code.jump(places[1])
            code.place(following)
        code.jump(yes if conjunction else no)

    def _lower_xor(self, work: Work, left: Expression, right: Expression, yes: Label, no: Label) -> None:
        """The first side's truth is kept as the packet's length, or one more: numbers that the verifier knows nothing of, so that it
        need not follow the second side twice. The side that keeps more such numbers goes first."""
        if pending(right) > pending(left):
            left, right = right, left
        code = work.code
        kept, was_true, was_false, second = code.value(), code.label(), code.label(), code.label()
        self.lower(work, left, was_true, was_false)
        known = work.known
        code.place(was_true)
        code.set(kept, code.packet_length(work.context))
        code.jump(second)
        code.place(was_false)
        code.set(kept, code.packet_length(work.context))
        code.update(Alu.ADD, kept, 1)
        code.place(second)
        is_true, is_false = code.label(), code.label()
        self.lower(work, right, is_true, is_false)
        code.place(is_true)
        code.branch(Condition.EQ, kept, code.packet_length(work.context), no)
        code.jump(yes)
        code.place(is_false)
        code.branch(Condition.EQ, kept, code.packet_length(work.context), yes)
        code.jump(no)
        work.known = known

    def _groups(self, items: Sequence[Expression]) -> list[list[Expression]]:
        """The items in order, in groups of at most PART_WEIGHT; an item above that is a group by itself."""
        groups: list[list[Expression]] = []
        room = 0
        for item in items:
            if self.weight(item) > room:
                groups.append([])
                room = PART_WEIGHT
            groups[-1].append(item)
            room -= self.weight(item)
        return groups

    def weight(self, expression: Expression) -> int:
        """Roughly the instructions that the expression becomes, in thirties."""
        key = id(expression)
        if key not in self._weights:
            match expression:
                case Const():
                    weight = 0
                case Not(item):
                    weight = self.weight(item)
                case And(items) | Or(items):
                    weight = sum(map(self.weight, items))
                case Xor(left, right):
                    weight = self.weight(left) + self.weight(right) + 1
                case InRanges(_, ranges):
                    weight = max(1 + min(len(ranges), 24) // 8, _walking(expression))
                case InAddresses():
                    weight = max(8, _walking(expression))
                case _:
                    weight = max(2, _walking(expression))
            self._weights[key] = weight
        return self._weights[key]


def lowering_of(name: str, tests: Sequence[Test], most_facts: int) -> Lowering:
    """For a program that makes these tests, and keeps at most so many facts. Raises LoweringError for a test that eBPF cannot do."""
    for test in tests:
        reason = refusal(test)
        if reason is not None:
            raise LoweringError(test, reason)
    return Lowering(name, Tables(), record_for(tests, most_facts))


def rounds_of(test: Test) -> int:
    """How many values the test may look at, one after the other: of a field of many values."""
    root = root_of(operand_of(test))
    return root.field.bound if isinstance(root, FieldValue) and root.field.multiple else 0


def _walking(test: Test) -> int:
    """The weight of a loop over the values of a field. The verifier keeps the ways that it has not gone yet, some four in a round, of which
    a function may leave 8,192 (BPF_COMPLEXITY_LIMIT_JMP_SEQ in kernel/bpf/verifier.c)."""
    return rounds_of(test) // 4


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
