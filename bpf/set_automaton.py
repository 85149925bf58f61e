"""The automaton of many tests over the same bytes: one pass tells which of them hold.

It never stops at a match but reports it and goes on. A state is the place of its row; offsets are in bytes from the start of the
program's one table. What is told at a state or at the value's end is a report: masks for some words of a bit set.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

MARK: Final = 0x8000_0000
"""Set in a cell where entering the state reports something."""

DONE: Final = 0xFFFF_FFFF
"""In place of a state: nothing more can ever be reported."""

AT_END: Final = 0
AT_ENTRY: Final = 1
FIRST_CLASS: Final = 2
"""Cells of a row: the report where the bytes end there, the report on entering it (0: none), then the next state for each class."""

_REPORT: Final = struct.Struct("=II")
_ENTRY: Final = struct.Struct("=IIQ")
"""A report is the number of its entries and 0; an entry is the number of a 64-bit word, 0, and the bits to set in it."""

Tests = frozenset[int]
"""Tests, by number."""

NO_TESTS: Final[Tests] = frozenset()


@dataclass(frozen=True, slots=True)
class SetAutomaton:
    """Rows and, behind them, reports. The first row is the first state."""

    classes: bytes = field(repr=False)
    """256: the class of each byte."""
    width: int
    """Cells of a row, 4 bytes each: two, and the classes."""
    rows: array[int] = field(repr=False)
    reports: bytes = field(repr=False)
    base: int
    """The place of the first row; a multiple of 8."""
    begin: int
    """The report that holds for every value, 0 where there is none."""
    tests: tuple[int, ...]
    """The tests that it decides."""

    @property
    def states(self) -> int:
        return len(self.rows) // self.width

    @property
    def report_base(self) -> int:
        return _report_base(self.base, self.rows)

    @property
    def end(self) -> int:
        """The place behind it all, a multiple of 8."""
        return self.report_base + len(self.reports)

    @property
    def data(self) -> bytes:
        """What stands from `base` to `end`."""
        rows = self.rows.tobytes()
        return rows + bytes(self.report_base - self.base - len(rows)) + self.reports

    @property
    def most_entries(self) -> int:
        """Entries of the longest report: the most words that one byte sets bits in."""
        place = most = 0
        while place < len(self.reports):
            count, _ = _REPORT.unpack_from(self.reports, place)
            place += _REPORT.size + count * _ENTRY.size
            most = max(most, count)
        return most

    def found(self, data: bytes) -> set[int]:
        """What the kernel's run over `data` gives: the numbers of the bits that are set."""
        bits = set(self._told(self.begin))
        row = 0
        for byte in data:
            cell = self.rows[row + FIRST_CLASS + self.classes[byte]]
            if cell == DONE:
                return bits
            row = ((cell & ~MARK) - self.base) // 4
            if cell & MARK:
                bits.update(self._told(self.rows[row + AT_ENTRY]))
        bits.update(self._told(self.rows[row + AT_END]))
        return bits

    def _told(self, report: int) -> Iterator[int]:
        if not report:
            return
        place = report - self.report_base
        count, _ = _REPORT.unpack_from(self.reports, place)
        for _ in range(count):
            place += _REPORT.size if place == report - self.report_base else _ENTRY.size
            word, _, mask = _ENTRY.unpack_from(self.reports, place)
            yield from (word * 64 + bit for bit in range(64) if mask >> bit & 1)


@dataclass(frozen=True, slots=True)
class Draft:
    """A set automaton before its reports are written: the cells for them are 0. States are numbered as their rows stand."""

    classes: bytes = field(repr=False)
    width: int
    rows: array[int] = field(repr=False)
    base: int
    tells: Mapping[int, Tests] = field(repr=False)
    """By state: the tests that are told on entering it. These states alone are entered by a marked cell."""
    ends: Mapping[int, Tests] = field(repr=False)
    """By state: the tests that are told where the bytes end there."""
    begin: Tests
    """The tests that hold for every value."""
    tests: Tests

    @property
    def states(self) -> int:
        return len(self.rows) // self.width

    def at(self, base: int) -> Draft:
        """The same at another place."""
        if base == self.base:
            return self
        cells = {cell: cell if cell == DONE else cell + base - self.base for cell in set(self.rows)}
        moved = array("I", map(cells.__getitem__, self.rows))
        moved[AT_END :: self.width] = moved[AT_ENTRY :: self.width] = array("I", (0,)) * self.states
        return replace(self, rows=moved, base=base)

    def finish(self, bits: Sequence[int]) -> SetAutomaton:
        """With the reports; a test tells its bit. The rows are this draft's own, changed."""
        assert self.base % 8 == 0
        report_base = _report_base(self.base, self.rows)
        reports = bytearray()
        known: dict[Tests, int] = {NO_TESTS: 0}

        def written(tests: Tests) -> int:
            if tests not in known:
                known[tests] = report_base + len(reports)
                reports.extend(_report(bits[test] for test in tests))
            return known[tests]

        for state, tests in self.tells.items():
            self.rows[state * self.width + AT_ENTRY] = written(tests)
        for state, tests in self.ends.items():
            self.rows[state * self.width + AT_END] = written(tests)
        begin = written(self.begin)
        return SetAutomaton(self.classes, self.width, self.rows, bytes(reports), self.base, begin, tuple(sorted(self.tests)))


def _report(bits: Iterable[int]) -> bytes:
    words: dict[int, int] = {}
    for bit in bits:
        words[bit // 64] = words.get(bit // 64, 0) | 1 << bit % 64
    return _REPORT.pack(len(words), 0) + b"".join(_ENTRY.pack(word, 0, words[word]) for word in sorted(words))


def _report_base(base: int, rows: array[int]) -> int:
    return (base + len(rows) * 4 + 7) // 8 * 8
