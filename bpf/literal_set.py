"""One set automaton for many literals: at the start, at the end, both, or anywhere; in their own case or in either.

Search for many after Aho and Corasick 1975, whose states are the prefixes of the literals. A literal at the start begins with a symbol
that stands before the value alone. Literals in either case have a tree of their own; a state is then the longest prefix in each of the
two trees with which the bytes so far end. The shorter of the two is a suffix of the longer, so there are few such pairs.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bpf.automaton import Fold
from bpf.set_automaton import DONE, FIRST_CLASS, MARK, NO_TESTS, Draft, Tests


@dataclass(frozen=True, slots=True)
class Literal:
    """Holds for a test where the value has this text; at its start, where that is wanted, and at its end."""

    test: int
    text: bytes
    caseless: bool = False
    """ASCII letters match in either case; `text` is then in lower case."""
    at_start: bool = False
    at_end: bool = False


_ROOT: Final = 0
_START: Final = 1
"""Nodes of a tree: the empty text, and the symbol before the value."""


class _Tree:
    """The prefixes of literals. What is known of a node but its children is found breadth first, with the states."""

    def __init__(self, literals: Iterable[Literal], columns: dict[int, tuple[int, ...]]) -> None:
        self.columns = columns
        """By byte of a literal: the cells of a row that it is read by."""
        self.children: list[dict[int, int]] = [{}, {}]
        tells: dict[int, set[int]] = {}
        ends: dict[int, set[int]] = {}
        for literal in literals:
            (ends if literal.at_end else tells).setdefault(self._enter(literal), set()).add(literal.test)
        self.own = {node: frozenset(tests) for node, tests in tells.items()}
        self.own_ends = {node: frozenset(tests) for node, tests in ends.items()}
        count = len(self.children)
        self.fresh: list[Tests] = [NO_TESTS] * count
        """Tests whose literal ends with the node and has not been told before: on the way to it, or inside of it."""
        self.told: list[Tests | None] = [None] * count
        """Tests that have been told when the node is reached; None where it has not been."""
        self.ends: list[Tests] = [NO_TESTS] * count
        """Tests that hold where the value ends there."""
        self.reach(_ROOT, _ROOT, _ROOT)
        self.reach(_START, _ROOT, _ROOT)

    def _enter(self, literal: Literal) -> int:
        children = self.children
        node = _START if literal.at_start else _ROOT
        for byte in literal.text:
            below = children[node]
            following = below.get(byte)
            if following is None:
                following = below[byte] = len(children)
                children.append({})
            node = following
        return node

    def reach(self, node: int, parent: int, suffix: int) -> None:
        """`suffix`: the node of its longest proper suffix."""
        if self.told[node] is not None:
            return
        own, before = self.own.get(node, NO_TESTS), self.told[parent] or NO_TESTS
        inside = self.told[suffix] or NO_TESTS
        if own or inside:
            self.fresh[node] = _either(own, self.fresh[suffix]) - before
            before = _either(_either(before, inside), own)
        self.told[node] = before
        self.ends[node] = _either(self.own_ends.get(node, NO_TESTS), self.ends[suffix])


def _either(left: Tests, right: Tests) -> Tests:
    return left if left >= right else right if right >= left else left | right


_EXACT: Final = 1
_CASELESS: Final = 2
"""Which of a state's two prefixes is the longest, or both."""

_FOUND: Final = -1
"""The key of the state behind the only test there is."""


@dataclass(slots=True)
class _State:
    """A state whose row is not yet written."""

    exact: int
    caseless: int
    longest: int
    suffix: int
    """Where the row stands that its own is made from: of the state for the bytes but the first."""


def literal_set(
    literals: Sequence[Literal], tests: Tests, base: int = 0, *, alone: bool = True, most_bytes: int | None = None
) -> Draft | None:
    """The automaton of these tests, all of whose literals are given; none is empty but at the start. `alone`: where only one test can
    hold, the search ends when it does; an automaton that is to be joined has fewer states without that. None where the table needs
    more bytes than are allowed."""
    return _Builder(literals, tests, base, alone, most_bytes).build()


class _Builder:
    def __init__(self, literals: Sequence[Literal], tests: Tests, base: int, alone: bool, most_bytes: int | None) -> None:
        exact = [literal for literal in literals if not literal.caseless]
        caseless = [literal for literal in literals if literal.caseless]
        self.tests = tests
        self.sole = alone and len({literal.test for literal in literals}) == 1
        told = set().union(*(literal.text for literal in exact))
        told_caseless = set().union(*(literal.text for literal in caseless))
        numbers: dict[tuple[int | None, int | None], int] = {}
        seen = [(byte, Fold.LOWER.apply(byte)) for byte in range(256)]
        self.classes = bytes(
            numbers.setdefault((byte if byte in told else None, lower if lower in told_caseless else None), len(numbers))
            for byte, lower in seen
        )
        cells = [FIRST_CLASS + number for number in self.classes]
        self.exact = _Tree(exact, {byte: (cells[byte],) for byte in told})
        wanted = {byte: tuple({cells[other] for other, lower in seen if lower == byte}) for byte in told_caseless}
        self.caseless = _Tree(caseless, wanted)
        self.width = FIRST_CLASS + len(numbers)
        self.base = base
        self.most_bytes = most_bytes
        self.anywhere = not all(literal.at_start for literal in literals)
        self.cells = array("I")
        self.states: list[_State] = []
        self.numbers: dict[tuple[int, int] | int, int] = {}
        self.tells: dict[int, Tests] = {}
        self.ends: dict[int, Tests] = {}

    def build(self) -> Draft | None:
        width, cells = self.width, self.cells
        self._cell(_START, _START, _EXACT | _CASELESS, 0)
        root = self._cell(_ROOT, _ROOT, _EXACT | _CASELESS, 0) if self.anywhere else DONE
        over = array("I", [0] * FIRST_CLASS + [DONE] * (width - FIRST_CLASS))
        idle = array("I", [0] * FIRST_CLASS + [root] * (width - FIRST_CLASS))
        cells.extend(over)
        if self.anywhere:  # what is read from the root comes before what is read from the start
            cells.extend(idle)
            self._grow(1)
            cells[:width] = cells[width : 2 * width]
        self._grow(0)
        states, number = self.states, len(cells) // width
        while number < len(states):
            if self.most_bytes is not None and len(states) * width * 4 > self.most_bytes:
                return None
            suffix = states[number].suffix
            cells.extend(over if suffix < 0 else cells[suffix : suffix + width])
            self._grow(number)
            number += 1
        begin = self.tells.pop(0, NO_TESTS)
        return Draft(self.classes, width, cells, self.base, self.tells, self.ends, begin, self.tests)

    def _grow(self, number: int) -> None:
        """The transitions by which a prefix becomes longer, over those of the suffix, which are there."""
        state = self.states[number]
        exact, caseless = self.exact, self.caseless
        steps: dict[int, tuple[int, int]] = {}  # by cell: the nodes that are reached, _ROOT for none
        if state.longest & _EXACT:
            for byte, child in exact.children[state.exact].items():
                for place in exact.columns[byte]:
                    steps[place] = child, _ROOT
        if state.longest & _CASELESS:
            for byte, child in caseless.children[state.caseless].items():
                for place in caseless.columns[byte]:
                    steps[place] = steps[place][0] if place in steps else _ROOT, child
        cells, row = self.cells, number * self.width
        for place, (node, node_caseless) in steps.items():
            cell = cells[row + place]
            suffix = -1
            back = back_caseless = _ROOT
            if cell != DONE:
                suffix = (cell & ~MARK) - self.base >> 2
                other = self.states[suffix // self.width]
                back, back_caseless = other.exact, other.caseless
            longest = 0
            if node:
                exact.reach(node, state.exact, back)
                back, longest = node, _EXACT
            if node_caseless:
                caseless.reach(node_caseless, state.caseless, back_caseless)
                back_caseless, longest = node_caseless, longest | _CASELESS
            cells[row + place] = self._cell(back, back_caseless, longest, suffix)

    def _cell(self, exact: int, caseless: int, longest: int, suffix: int) -> int:
        """What leads to the state of these two prefixes."""
        fresh = self.exact.fresh[exact], self.caseless.fresh[caseless]
        tells = _either(*fresh)
        key: tuple[int, int] | int = (exact, caseless)
        if tells and self.sole and self.states:
            key, suffix, longest = _FOUND, -1, 0
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.states)
            self.states.append(_State(exact, caseless, longest, suffix))
            if tells:
                self.tells[number] = tells
            ends = _either(self.exact.ends[exact], self.caseless.ends[caseless])
            if ends:
                self.ends[number] = ends
        return self.base + number * self.width * 4 | (MARK if tells else 0)
