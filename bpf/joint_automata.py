"""The product of set automata: a joint state is a state of each, and tells what each tells.

All are joined, the small ones first, while a bound on the joint states holds; what does not fit stays apart. A pattern found is
forgotten, not remembered, since it has been told: otherwise states would double with every pattern.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import add, itemgetter
from typing import Final

from bpf.automaton import ACCEPT, REJECT, Automaton
from bpf.set_automaton import DONE, FIRST_CLASS, MARK, NO_TESTS, Draft, Tests


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

_SOME: Final = 8
"""Bytes after which most of what has been begun is given up."""

_LIKELY: Final = 1.4
"""Joint states are so many times those that are expected, or more."""


_DEAD: Final = 0
_START: Final = 1
"""States: the one from which nothing is told any more, and the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
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

    def settled(self) -> Machine:
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


def _usual(classes: bytes) -> int:
    """The class of the most bytes: of those that nothing asks for, as a rule."""
    return Counter(classes).most_common(1)[0][0]


def machine_of_draft(draft: Draft) -> Machine:
    width = draft.width
    number_of = {cell: ((cell & ~MARK) - draft.base) // (width * 4) + 1 for cell in set(draft.rows)} | {DONE: _DEAD}
    rows: list[Sequence[int]] = [(_DEAD,) * (width - FIRST_CLASS)]
    for start in range(FIRST_CLASS, len(draft.rows), width):
        rows.append(list(map(number_of.__getitem__, draft.rows[start : start + width - FIRST_CLASS])))
    tells = {state + 1: tests for state, tests in draft.tells.items()}
    ends = {state + 1: tests for state, tests in draft.ends.items()}
    return Machine(draft.classes, rows, tells, ends, draft.begin, draft.tests, draft)


def machine_of(one: Automaton, tests: Tests) -> Machine:
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
        return Machine(one.classes, (dead, dead), {}, {}, tests, tests)
    rows: list[Sequence[int]] = [dead]
    for start in range(0, len(one.rows), width):
        rows.append([number_of[cell] for cell in one.rows[start + 1 : start + width]])
    entered = Counter(row[_usual(one.classes)] for row in rows[1:])
    del entered[told]
    home = entered.most_common(1)[0][0] if entered else _START
    rows.append(dead if _DEAD in chain.from_iterable(rows[1:]) else rows[home])
    ends = {state + 1: tests for state in range(states) if one.rows[state * width] == ACCEPT}
    return Machine(one.classes, rows, {told: tests}, ends, NO_TESTS, tests)


# -- joining -----------------------------------------------------------------------------------------------------------


def join_all(machines: Sequence[Machine], bounds: JoinBounds) -> list[Machine]:
    """As few as the bounds allow. The smallest two come first: what grows beyond the bounds does so late, and stays alone."""
    left = sorted(machines, key=_size)
    alone: list[Machine] = []
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


def _size(machine: Machine) -> int:
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

    def __init__(self, left: Machine, right: Machine, bounds: JoinBounds, cells: int) -> None:
        self.left, self.right = left, right
        self.most_cells = cells
        self.cells = 0
        """Computed."""
        classes: dict[tuple[int, int], int] = {}
        self.classes = bytes([classes.setdefault(pair, len(classes)) for pair in zip(left.classes, right.classes, strict=True)])
        self.columns = list(classes)
        most = max(bounds.states, (len(left.rows) + len(right.rows)) * 3 // 2)
        self.most_states = min(most, bounds.table_bytes // 4 // (FIRST_CLASS + len(classes)))

    def _expected(self) -> int:
        """States, about: each state of one with those of the other that last, whatever it is that it waits for."""
        of_left, of_right = self.columns[_usual(self.classes)]
        return _lasting(self.left, of_left) * len(self.right.rows) + _lasting(self.right, of_right) * len(self.left.rows)

    def machine(self) -> Machine | None:
        """None where a bound is passed."""
        left, right, width = self.left, self.right, len(self.columns)
        if self._expected() * _LIKELY > min(self.most_states, self.most_cells // width):
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
            number = len(rows)
            if len(numbers.order) > self.most_states or self.cells > self.most_cells:
                return None
            one, other = divmod(pair, count)
            if one in left.tells or other in right.tells:
                tells[number] = left.tells.get(one, NO_TESTS) | right.tells.get(other, NO_TESTS)
            if one in left.ends or other in right.ends:
                ends[number] = left.ends.get(one, NO_TESTS) | right.ends.get(other, NO_TESTS)
            rows.append(list(map(number_of, map(add, of_left[one], of_right[other]))))
            self.cells += width
        return Machine(self.classes, rows, tells, ends, left.begin | right.begin, left.tests | right.tests)


def _lasting(machine: Machine, column: int) -> int:
    """States in which it can be behind some bytes of that class: one, if then it is as if nothing had been read."""
    states = set(range(1, len(machine.rows)))
    for _ in range(_SOME):
        states = {machine.rows[state][column] for state in states}
    return len(states)


def _columns(row: Sequence[int], columns: Sequence[int]) -> tuple[int, ...]:
    cells: tuple[int, ...] = itemgetter(*columns, columns[0])(row)  # of one column alone it would give no tuple
    return cells[:-1]
