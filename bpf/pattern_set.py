"""From many tests on the same bytes to few automata that tell which of the tests hold, each in one pass.

What asks for literals alone, as most tests do, becomes one automaton (bpf.literal_set). Every other test has one of its own, and all
are joined, the small ones first, while a bound on the joint states holds: a joint state is a state of each (the product construction).
A pattern found is forgotten, not remembered, since it has been told: otherwise states would double with every pattern.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import add, itemgetter
from typing import Final, assert_never

from bpf import automaton, regex_automaton
from bpf.automaton import ACCEPT, REJECT, Automaton, Fold
from bpf.literal_patterns import Text, texts_of_pattern
from bpf.literal_set import Literal, literal_set
from bpf.set_automaton import DONE, FIRST_CLASS, MARK, NO_TESTS, Draft, SetAutomaton, Tests
from rules_dsl.expression import CompareBytes, Contains, EndsWith, InStrings, Matches, StartsWith, Wildcard

BytesTest = CompareBytes | InStrings | Contains | StartsWith | EndsWith | Wildcard | Matches


@dataclass(frozen=True, slots=True)
class JoinBounds:
    """Up to where automata are joined."""

    states: int = 4_096
    """Of the joint automaton; or half more than both have together, where that is more."""
    table_bytes: int = 8 << 20
    cells: int = 1_500_000
    """Cells of joint tables computed for one set of tests, those given up included: some 200 ms."""


JOIN_BOUNDS: Final = JoinBounds()

_PARTNERS: Final = 3
"""Automata with which another is tried, from the smallest, before it stays alone."""


def pattern_set(
    tests: Sequence[tuple[BytesTest, Fold]], bits: Sequence[int] | None = None, base: int = 0, bounds: JoinBounds = JOIN_BOUNDS
) -> tuple[SetAutomaton, ...]:
    """Automata that decide the tests between them, placed one behind the other from `base` on. A test is given with the fold of its
    operand, which is no substring; of CompareBytes, equality alone. That it holds is told by setting its bit, by default of its own
    number. Raises regex_automaton.TooLargeError."""
    texts: list[tuple[int, Text]] = []
    searches: dict[_Search, set[int]] = {}
    for number, (test, fold) in enumerate(tests):
        asked = _asked(test, fold)
        if isinstance(asked, _Search):
            searches.setdefault(asked, set()).add(number)
        else:
            texts += [(number, text) for text in asked]
    plain = frozenset(range(len(tests))).difference(*searches.values())
    drafts = _literal_drafts(texts, plain, base, alone=not searches) if plain else []
    machines = [_machine(search.automaton(), frozenset(numbers)) for search, numbers in searches.items()]
    joinable = [draft for draft in drafts if len(machines) + len(drafts) > 1 and len(draft.rows) * 4 <= bounds.table_bytes]
    machines = _join_all([*machines, *map(_machine_of, joinable)], bounds)
    drafts = [draft for draft in drafts if not any(draft is other for other in joinable)]
    drafts += [machine.draft() for machine in machines]
    found: list[SetAutomaton] = []
    for draft in drafts:
        found.append(draft.at(found[-1].end if found else base).finish(range(len(tests)) if bits is None else bits))
    return tuple(found)


# -- what a test asks for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Search:
    """What takes an automaton of its own: a `matches` pattern, or the segments of a wildcard."""

    wanted: str | tuple[bytes, ...]
    fold: Fold

    def automaton(self) -> Automaton:
        if isinstance(self.wanted, str):
            return regex_automaton.matching(self.wanted, self.fold)
        return automaton.wildcard(self.wanted, self.fold)


def _asked(test: BytesTest, fold: Fold) -> Sequence[Text] | _Search:
    match test:
        case CompareBytes(_, _, value):
            texts = [Text(value, fold, at_start=True, at_end=True)]
        case InStrings(_, values):
            texts = [Text(value, fold, at_start=True, at_end=True) for value in values]
        case Contains(_, patterns):
            texts = [Text(pattern, fold) for pattern in patterns]
        case StartsWith(_, value):
            texts = [Text(value, fold, at_start=True)]
        case EndsWith(_, value):
            texts = [Text(value, fold, at_end=True)]
        case Wildcard(_, segments, strict):
            fold = fold if strict else Fold.LOWER
            if not all(map(fold.can_give, segments)):
                return ()
            some = [segment for segment in segments if segment]
            if len(segments) == 1:
                texts = [Text(segments[0], fold, at_start=True, at_end=True)]
            elif len(some) > 1:
                return _Search(segments, fold)
            else:
                texts = [Text(b"".join(some), fold, at_start=segments[0] != b"", at_end=segments[-1] != b"")]
        case Matches(_, pattern):
            told = texts_of_pattern(pattern, fold)
            if told is None:
                return _Search(pattern, fold)
            texts = told
        case _:
            assert_never(test)
    texts = [text for text in texts if text.fold.can_give(text.text)]
    if any(not text.text and not (text.at_start and text.at_end) for text in texts):
        return (Text(b"", fold, at_start=True),)  # every value has that
    return texts


# -- literals ----------------------------------------------------------------------------------------------------------


def _literal_drafts(texts: Sequence[tuple[int, Text]], tests: Tests, base: int, *, alone: bool) -> list[Draft]:
    """One for the tests on texts in their own case, one for those in either; one alone, where all can be of that kind."""
    kinds = {text.kind for _, text in texts if text.has_letters}
    if len(kinds) < 2:
        kind = Fold.LOWER if Fold.LOWER in kinds else Fold.NONE
        return [literal_set(_literals(texts, kind), kind, tests, base, alone=alone)]
    exact = [(number, text) for number, text in texts if text.kind is Fold.NONE]
    caseless = [(number, text) for number, text in texts if text.kind is Fold.LOWER]
    first = frozenset(number for number, _ in exact)
    return [
        literal_set(_literals(exact, Fold.NONE), Fold.NONE, first, base, alone=False),
        literal_set(_literals(caseless, Fold.LOWER), Fold.LOWER, tests - first, base, alone=False),
    ]


def _literals(texts: Sequence[tuple[int, Text]], kind: Fold) -> list[Literal]:
    return [Literal(number, text.text if kind is Fold.NONE else text.text.lower(), text.at_start, text.at_end) for number, text in texts]


# -- automata that are joined ------------------------------------------------------------------------------------------

_DEAD: Final = 0
_START: Final = 1
"""States: the one from which nothing is told any more, and the first."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """A set automaton whose states are the numbers of their rows; a row has the next state for each class."""

    classes: bytes
    rows: Sequence[Sequence[int]]
    tells: Mapping[int, Tests]
    ends: Mapping[int, Tests]
    begin: Tests
    tests: Tests
    origin: Draft | None = None
    """What it was made from, where that is as good."""

    def draft(self) -> Draft:
        """Without the state of which nothing comes, and for the start of the table."""
        if self.origin is not None:
            return self.origin
        width = FIRST_CLASS + len(self.rows[0])
        cells = [(number - 1) * width * 4 | (MARK if number in self.tells else 0) for number in range(len(self.rows))]
        cells[_DEAD] = DONE
        cell_of = cells.__getitem__
        rows = array("I", chain.from_iterable((0,) * FIRST_CLASS + tuple(map(cell_of, row)) for row in self.rows[1:]))
        tells = {number - 1: tests for number, tests in self.tells.items()}
        ends = {number - 1: tests for number, tests in self.ends.items()}
        return Draft(self.classes, width, rows, 0, tells, ends, self.begin, self.tests)

    def settled(self) -> _Machine:
        """Where only one test can hold, it ends when that has been told."""
        if self.origin is not None or not self.tells or len(frozenset().union(*self.tells.values(), *self.ends.values())) > 1:
            return self
        told = min(self.tells)
        numbers, order = {_DEAD: _DEAD, _START: _START}, [_DEAD, _START]
        rows: list[Sequence[int]] = []
        for old in order:  # grows on the way
            row = self.rows[_DEAD] if old == told else [told if to in self.tells else to for to in self.rows[old]]
            for to in row:
                if to not in numbers:
                    numbers[to] = len(order)
                    order.append(to)
            rows.append([numbers[to] for to in row])
        tells = {numbers[told]: self.tells[told]} if told in numbers else {}
        ends = {numbers[old]: tests for old, tests in self.ends.items() if old in numbers and old != told}
        return replace(self, rows=rows, tells=tells, ends=ends)


def _machine_of(draft: Draft) -> _Machine:
    width = draft.width
    number_of = {cell: ((cell & ~MARK) - draft.base) // (width * 4) + 1 for cell in set(draft.rows)} | {DONE: _DEAD}
    rows: list[Sequence[int]] = [(_DEAD,) * (width - FIRST_CLASS)]
    for start in range(FIRST_CLASS, len(draft.rows), width):
        rows.append([number_of[cell] for cell in draft.rows[start : start + width - FIRST_CLASS]])
    tells = {state + 1: tests for state, tests in draft.tells.items()}
    ends = {state + 1: tests for state, tests in draft.ends.items()}
    return _Machine(draft.classes, rows, tells, ends, draft.begin, draft.tests, draft)


def _machine(one: Automaton, tests: Tests) -> _Machine:
    """An automaton that stops where it accepts, as one that tells `tests` there and goes on. On it may go in any state, as what it tells
    again is true: in none, if it can also end without a match; else in the one that its bytes mostly lead to, so that it is in few
    different states while others go on."""
    width, states = one.width, one.states
    told = states + 1
    number_of = {one.base + state * width * 4: state + 1 for state in range(states)} | {ACCEPT: told, REJECT: _DEAD}
    for state in range(states):
        if one.rows[state * width : (state + 1) * width].count(ACCEPT) == width:
            number_of[one.base + state * width * 4] = told
    dead = (_DEAD,) * (width - 1)
    if number_of[one.base] == told:
        return _Machine(one.classes, (dead, dead), {}, {}, tests, tests)
    rows: list[Sequence[int]] = [dead]
    for start in range(0, len(one.rows), width):
        rows.append([number_of[cell] for cell in one.rows[start + 1 : start + width]])
    entered = Counter(chain.from_iterable(rows[1:]))
    del entered[told]
    rows.append(dead if _DEAD in entered or not entered else rows[entered.most_common(1)[0][0]])
    ends = {state + 1: tests for state in range(states) if one.rows[state * width] == ACCEPT}
    return _Machine(one.classes, rows, {told: tests}, ends, NO_TESTS, tests)


# -- joining -----------------------------------------------------------------------------------------------------------


def _join_all(machines: Sequence[_Machine], bounds: JoinBounds) -> list[_Machine]:
    """As few as the bounds allow. The smallest two come first: what grows beyond the bounds does so late, and stays alone."""
    left = sorted(machines, key=_size)
    alone: list[_Machine] = []
    cells = bounds.cells
    while left:
        smallest = left.pop(0)
        for place, other in enumerate(left[:_PARTNERS]):
            join = _Join(smallest, other, bounds, cells)
            joint = join.machine()
            cells -= join.cells
            if joint is not None:
                del left[place]
                insort(left, joint, key=_size)
                break
        else:
            alone.append(smallest)
    untouched = [machine for machine in alone if machine.origin is not None]
    return untouched + [machine.settled() for machine in alone if machine.origin is None]


def _size(machine: _Machine) -> int:
    return len(machine.rows)


class _Numbers(dict[int, int]):
    """Numbers joint states in the order in which they are first asked for."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def __missing__(self, key: int) -> int:
        number = self[key] = len(self.order)
        self.order.append(key)
        return number


class _Join:
    """The product of two: its states are the pairs that some bytes lead to."""

    def __init__(self, left: _Machine, right: _Machine, bounds: JoinBounds, cells: int) -> None:
        self.left, self.right = left, right
        self.most_cells = cells
        self.cells = 0
        """Computed."""
        classes: dict[tuple[int, int], int] = {}
        self.classes = bytes([classes.setdefault(pair, len(classes)) for pair in zip(left.classes, right.classes, strict=True)])
        self.columns = list(classes)
        most = max(bounds.states, (len(left.rows) + len(right.rows)) * 3 // 2)
        self.most_states = min(most, bounds.table_bytes // 4 // (FIRST_CLASS + len(classes)))

    def machine(self) -> _Machine | None:
        """None where a bound is passed."""
        left, right, width = self.left, self.right, len(self.columns)
        if min(len(left.rows), len(right.rows)) > self.most_states or max(len(left.rows), len(right.rows)) * width > self.most_cells:
            return None
        count = len(right.rows)
        of_left = [_columns([number * count for number in row], [pair[0] for pair in self.columns]) for row in left.rows]
        of_right = [_columns(row, [pair[1] for pair in self.columns]) for row in right.rows]
        numbers = _Numbers()
        number_of = numbers.__getitem__
        assert number_of(_DEAD * count + _DEAD) == _DEAD
        assert number_of(_START * count + _START) == _START
        rows: list[Sequence[int]] = []
        tells: dict[int, Tests] = {}
        ends: dict[int, Tests] = {}
        for pair in numbers.order:  # grows on the way
            if len(numbers.order) > self.most_states or self.cells > self.most_cells:
                return None
            one, other = divmod(pair, count)
            if one in left.tells or other in right.tells:
                tells[len(rows)] = left.tells.get(one, NO_TESTS) | right.tells.get(other, NO_TESTS)
            if one in left.ends or other in right.ends:
                ends[len(rows)] = left.ends.get(one, NO_TESTS) | right.ends.get(other, NO_TESTS)
            rows.append(list(map(number_of, map(add, of_left[one], of_right[other]))))
            self.cells += width
        return _Machine(self.classes, rows, tells, ends, left.begin | right.begin, left.tests | right.tests)


def _columns(row: Sequence[int], columns: Sequence[int]) -> tuple[int, ...]:
    cells: tuple[int, ...] = itemgetter(*columns, columns[0])(row)  # of one column alone it would give no tuple
    return cells[:-1]
