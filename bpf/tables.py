"""Constant data of a program, in one read-only array map that its code reads by address: automata and sorted ranges.

An automaton's state is the offset of its row in the map's value: a cell for the bytes' end, then a cell a class, 4 bytes each. So a
step is one load, and the check whether the run is over is the bounds check that the verifier wants.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bpf.automaton import Automaton
from bpf.image import MapSpec
from bpf.prefix_set import REACH, build_one
from bpf.set_automaton import SetAutomaton

TABLE: Final = "tables"
"""The map's name."""

ROW_REACH: Final = 1024 + 8
"""Bytes behind a row's offset that a step may read: 256 classes of 4 bytes, and the cell for the end."""

LARGEST: Final = 1 << 27
"""Bytes of tables that a program may have; the kernel takes less than 512 MiB."""


MOST_SIEVES: Final = 4
"""Of a program: the verifier may look at 40,000 instructions for each, and at a million in all."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where an automaton begins."""

    start: int
    """Offset of the first state's row."""
    classes: int
    """Offset of the 256 byte classes."""


@dataclass(frozen=True, slots=True)
class SetRun:
    """Where an automaton of many tests begins."""

    start: int
    classes: int
    begin: int
    """The report that holds for every value, 0 for none."""
    most_entries: int


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Where a set of addresses is, how many bytes it has, and the cell that it hangs on."""

    base: int
    size: int
    cell: int


@dataclass(slots=True)
class Tables:
    """Collects a program's constant data; equal pieces are kept once."""

    data: bytearray = field(default_factory=bytearray)
    most_sieves: int = MOST_SIEVES
    _sieves: int = 0
    _known: dict[bytes, int] = field(default_factory=dict)
    _runs: dict[Hashable, Run] = field(default_factory=dict)

    def run(self, key: Hashable, build: Callable[[int], Automaton]) -> Run:
        """The automaton that `build` makes for the place of its first row; once for each `key`."""
        if key not in self._runs:
            automaton = build(len(self.data))
            self.data += automaton.rows.tobytes()
            self._align()
            self._runs[key] = Run(automaton.base, self._piece(automaton.classes))
        return self._runs[key]

    def set_runs(self, build: Callable[[int], tuple[SetAutomaton, ...]]) -> tuple[SetRun, ...]:
        """The automata that `build` makes for the place of the first one's rows."""
        automata = build(len(self.data))
        for automaton in automata:
            assert automaton.base == len(self.data)
            self.data += automaton.data
        return tuple(SetRun(each.base, self._piece(each.classes), each.begin, each.most_entries) for each in automata)

    def sorted_ranges(self, ranges: Sequence[tuple[int, int]], width: int) -> tuple[int, int]:
        """Offset and number of rows, a power of two, the last range repeated. A row is low and high in host order, 4 bytes each for
        `width` 32; for 128 the high and the low half of each, 8 bytes each."""
        count = 1 << (len(ranges) - 1).bit_length()
        rows = [*ranges, *[ranges[-1]] * (count - len(ranges))]
        if width == 32:
            return self._piece(array("I", (bound for pair in rows for bound in pair)).tobytes()), count
        halves = (half for pair in rows for bound in pair for half in (bound >> 64, bound & 0xFFFF_FFFF_FFFF_FFFF))
        return self._piece(array("Q", halves).tobytes()), count

    def address_set(self, version: int, ranges: Sequence[tuple[int, int]]) -> AddressSet:
        """A set of very many addresses (bpf/prefix_set.py), by itself. Its cell is that of all addresses of the version."""
        data, cell = build_one(version, ranges)
        return AddressSet(self._piece(bytes(data) + bytes(REACH)), len(data) + REACH, cell)

    def sieve(self, data: bytes) -> int | None:
        """Offset of a sieve's cells; None where there are `most_sieves` others."""
        if data not in self._known and self._sieves >= self.most_sieves:
            return None
        self._sieves += data not in self._known
        return self._piece(data)

    @property
    def limit(self) -> int:
        """No state and no byte classes lie beyond this offset."""
        return len(self.data)

    def spec(self) -> MapSpec:
        size = self.limit + ROW_REACH
        return MapSpec(TABLE, value_size=(size + 7) // 8 * 8, initial=bytes(self.data), read_only=True)

    def _piece(self, data: bytes) -> int:
        if data not in self._known:
            self._known[data] = len(self.data)
            self.data += data
            self._align()
        return self._known[data]

    def _align(self) -> None:
        self.data += bytes(-len(self.data) % 8)
