"""One set automaton for many literals: at the start, at the end, both, or anywhere.

Search for many after Aho and Corasick 1975, whose states are the prefixes of the literals: a state is the longest one with which the
bytes so far end. A literal at the start begins with a symbol that stands before the value alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bpf.automaton import Fold
from bpf.regex_automaton import TooLargeError
from bpf.set_automaton import DONE, FIRST_CLASS, MARK, NO_TESTS, Draft, Tests
from bpf.tables import LARGEST


@dataclass(frozen=True, slots=True)
class Literal:
    """Holds for a test where the value has this text; at its start, where that is wanted, and at its end."""

    test: int
    text: bytes
    at_start: bool = False
    at_end: bool = False


def literal_set(literals: Sequence[Literal], fold: Fold, tests: Tests, base: int = 0, *, alone: bool = True) -> Draft:
    """The automaton of these tests, all of whose literals are given: such as the fold can give, and none empty but at the start.
    `alone`: where only one test can hold, the search ends when it does; an automaton that is to be joined has fewer states without that.
    Raises TooLargeError."""
    return _Builder(literals, fold, tests, base, alone).draft()


_START: Final = 0
"""The state before the first byte: the symbol for the start has been read."""

_NOWHERE: Final = -1
"""In place of the state for no text at all, where nothing is sought anywhere but at the start."""


class _Builder:
    """States are found by their length, so that those for shorter texts, which are at hand when a longer one is read no further, have
    their rows before."""

    def __init__(self, literals: Sequence[Literal], fold: Fold, tests: Tests, base: int, alone: bool) -> None:
        told = sorted(set().union(*(literal.text for literal in literals)))
        class_of = {byte: number for number, byte in enumerate(told)}
        self.classes = bytes(class_of.get(fold.apply(byte), len(told)) for byte in range(256))
        self.width = FIRST_CLASS + max(self.classes) + 1
        self.size = self.width * 4
        self.tests = tests
        self.base = base
        self.literals = sorted(literals, key=lambda literal: len(literal.text) + literal.at_start)
        read = bytes(class_of.get(byte, 0) for byte in range(256))
        self.texts = [bytes(literal.at_start) + literal.text.translate(read) for literal in self.literals]
        """As classes; before what stands at the start, a byte for the symbol."""
        self.cells = array("I")
        self.suffixes: list[int] = []
        """By state: the cell that leads to the state of its longest proper suffix."""
        self.parents: list[int] = []
        """By state: that of its text without the last byte."""
        self.places: list[int] = []
        """By state: the cell that leads there from its parent."""
        self.own: dict[int, set[int]] = {}
        self.own_ends: dict[int, set[int]] = {}
        """By state: the tests whose literal is its text."""
        self.told: dict[int, Tests] = {}
        """By state: the tests that have been told when it is reached."""
        self.tells: dict[int, Tests] = {}
        self.ends: dict[int, Tests] = {}
        sole = alone and len({literal.test for literal in literals}) == 1
        self.anywhere = not all(literal.at_start for literal in literals)
        self.over = array("I", [0] * FIRST_CLASS + [DONE] * (self.width - FIRST_CLASS))
        self._add(DONE, _START, 0)
        self.cells.extend(self.over)
        if self.anywhere:
            home = self._add(DONE, _START, 0)
            self.cells.extend(array("I", [0] * FIRST_CLASS + [home] * (self.width - FIRST_CLASS)))
        self.found: int | None = None
        """The cell that ends the search, where there is one test alone."""
        if sole and any(literal.text and not literal.at_end for literal in literals):
            self.tells[len(self.suffixes)] = tests.intersection(literal.test for literal in literals)
            self.found = self._add(DONE, _START, 0) | MARK
            self.cells.extend(self.over)

    def draft(self) -> Draft:
        rows_at = [self.width if self.anywhere else 0] * len(self.literals)
        """By literal: where the row of the part read so far stands."""
        waiting = [number for number, literal in enumerate(self.literals) if literal.at_start]
        alive = [number for number, literal in enumerate(self.literals) if not literal.at_start]
        for number in waiting:
            rows_at[number] = 0
            if not self.literals[number].text:
                self._own(self.literals[number], _START)
        waiting = [number for number in waiting if self.literals[number].text]
        depth = 0
        while alive or depth == 0:
            level = len(self.suffixes)
            alive = self._lengthen(alive, rows_at, depth)
            for state in range(level, len(self.suffixes)):
                self._tell(state)
            if depth == 0:
                if self.anywhere:
                    self.cells[: self.width] = self.cells[self.width : 2 * self.width]
                self._begin()
                alive = sorted(alive + waiting)
            self._write_rows(level)
            depth += 1
        return Draft(self.classes, self.width, self.cells, self.base, self.tells, self.ends, self.told.get(_START, NO_TESTS), self.tests)

    def _add(self, suffix: int, parent: int, place: int) -> int:
        cell = self.base + len(self.suffixes) * self.size
        self.suffixes.append(suffix)
        self.parents.append(parent)
        self.places.append(place)
        return cell

    def _own(self, literal: Literal, state: int) -> None:
        (self.own_ends if literal.at_end else self.own).setdefault(state, set()).add(literal.test)

    def _begin(self) -> None:
        if _START in self.own:
            self.told[_START] = frozenset(self.own.pop(_START))
        if _START in self.own_ends:
            self.ends[_START] = frozenset(self.own_ends[_START])

    def _lengthen(self, alive: Sequence[int], rows_at: list[int], depth: int) -> list[int]:
        """One more byte of each literal: the states that are new. Those of the literals that go on."""
        cells, texts, width, size, base, found = self.cells, self.texts, self.width, self.size, self.base, self.found
        suffixes, parents, places = self.suffixes, self.parents, self.places
        first = following = base + len(suffixes) * size
        longer: list[int] = []
        for number in alive:
            text, row = texts[number], rows_at[number]
            place = row + FIRST_CLASS + text[depth]
            cell = cells[place]
            if cell == found:
                continue
            is_last = len(text) == depth + 1
            if not first <= cell < MARK:  # so far it leads to a shorter text
                if found is not None and is_last and not self.literals[number].at_end:
                    cells[place] = found
                    continue
                suffixes.append(cell)
                parents.append(row // width)
                places.append(place)
                cell = cells[place] = following
                following += size
            rows_at[number] = cell - base >> 2
            if is_last:
                self._own(self.literals[number], (cell - base) // size)
            else:
                longer.append(number)
        if following > LARGEST:
            raise TooLargeError(f"more than {following:,}", LARGEST, "bytes of tables")
        return longer

    def _tell(self, state: int) -> None:
        """What is told on entering a new state: the tests whose literal ends there, unless they have been told on the way to it."""
        suffix, parent, told = self._number(self.suffixes[state]), self.parents[state], self.told
        if state in self.own or suffix in told or parent in told:
            before = told.get(parent, NO_TESTS)
            fresh = (self.tells.get(suffix, NO_TESTS) | self.own.get(state, NO_TESTS)) - before
            told[state] = before | told.get(suffix, NO_TESTS) | fresh
            if fresh:
                self.tells[state] = fresh
                self.cells[self.places[state]] |= MARK
        if state in self.own_ends or suffix in self.ends:
            self.ends[state] = self.ends.get(suffix, NO_TESTS) | self.own_ends.get(state, NO_TESTS)

    def _write_rows(self, level: int) -> None:
        """Of the new states: that of their suffix, over which longer texts come next."""
        cells, width, over = self.cells, self.width, self.over
        for suffix in self.suffixes[level:]:
            if suffix == DONE:
                cells += over
            else:
                row = (suffix & ~MARK) - self.base >> 2
                cells += cells[row : row + width]

    def _number(self, cell: int) -> int:
        return _NOWHERE if cell == DONE else ((cell & ~MARK) - self.base) // self.size
