"""From a `matches` pattern to an automaton that accepts the bytes in which it has a match.

The pattern's tree becomes a set of positions, one for each byte that it asks for, each with the positions that may follow it
(Glushkov 1961, McNaughton and Yamada 1960); sets of positions become states (Rabin and Scott 1959). A set is an integer, a position one
of its bits. What an edge such as `^` or `\\b` lets through depends on the bytes at both sides, so there is one table of what follows
for each combination of edges that can hold at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache, reduce
from itertools import compress
from operator import or_
from typing import Final, assert_never

from bpf.automaton import ACCEPT, REJECT, Automaton, Fold
from rules_dsl.regexes import WORD_BYTES, Concat, Edge, Either, Look, OneOf, Regex, Repeat, parse_regex


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one pattern may need."""

    positions: int = 10_000
    """Bytes that it asks for, its counts written out."""
    states: int = 10_000
    table_bytes: int = 4 << 20
    """Of the table of transitions."""
    steps: int = 10_000_000
    """Positions looked at while the states are found: some seconds."""


BOUNDS: Final = Bounds()

COUNTED_ON: Final = 2
"""States are counted up to so many times the limit, to say by how much a pattern is too large."""


class TooLargeError(Exception):
    """The pattern needs more than a bound allows; the text says of what, how much, and what is allowed."""

    def __init__(self, needed: str, limit: int, what: str) -> None:
        super().__init__(f"it needs {needed} {what}, and the limit is {limit:,}")


def matching(pattern: str, fold: Fold, base: int = 0, bounds: Bounds = BOUNDS) -> Automaton:
    """Accepts what has a match of `pattern` in it, as soon as that is certain. Raises TooLargeError."""
    automaton = _matching(pattern, fold, bounds)
    if not base:
        return automaton
    moved = array("I", (cell if cell >= REJECT else cell + base for cell in automaton.rows))
    return Automaton(automaton.classes, automaton.width, moved, base)


@lru_cache(maxsize=512)
def _matching(pattern: str, fold: Fold, bounds: Bounds) -> Automaton:
    tree = parse_regex(pattern)
    positions = _positions(tree)
    if positions > bounds.positions:
        raise TooLargeError(f"{positions:,}", bounds.positions, "positions")
    states = _States(tree, fold, bounds).find()
    table = _smaller(states)
    width = 1 + max(table.classes) + 1
    if len(table.rows) * width * 4 > bounds.table_bytes:
        raise TooLargeError(f"{len(table.rows) * width * 4:,}", bounds.table_bytes, "bytes of tables")
    row_of = {ACCEPT: ACCEPT, REJECT: REJECT} | {state: state * width * 4 for state in range(len(table.rows))}
    cells = array("I", (row_of[cell] for row in table.rows for cell in row))
    return Automaton(table.classes, width, cells, 0)


def _positions(tree: Regex) -> int:
    match tree:
        case OneOf():
            return 1
        case Look():
            return 0
        case Concat(items) | Either(items):
            return sum(map(_positions, items))
        case Repeat(item, low, high):
            return _positions(item) * (max(low, 1) if high is None else high)
        case _:
            assert_never(tree)


def _edges(tree: Regex) -> frozenset[Edge]:
    match tree:
        case OneOf():
            return frozenset()
        case Look(edge):
            return frozenset((edge,))
        case Concat(items) | Either(items):
            return frozenset().union(*map(_edges, items))
        case Repeat(item):
            return _edges(item)
        case _:
            assert_never(tree)


def _byte_sets(tree: Regex) -> Iterable[frozenset[int]]:
    match tree:
        case OneOf(those):
            yield those
        case Look():
            return
        case Concat(items) | Either(items):
            for item in items:
                yield from _byte_sets(item)
        case Repeat(item):
            yield from _byte_sets(item)
        case _:
            assert_never(tree)


# -- edges -------------------------------------------------------------------------------------------------------------


class Side(IntEnum):
    """What stands at one side of a place, as far as edges ask."""

    NOTHING = 0
    """The value's start or end."""
    NEWLINE = 1
    WORD = 2
    OTHER = 3


def _holds(edge: Edge, before: Side, behind: Side) -> bool:
    match edge:
        case Edge.START:
            return before is Side.NOTHING
        case Edge.END:
            return behind is Side.NOTHING
        case Edge.LINE_START:
            return before in (Side.NOTHING, Side.NEWLINE)
        case Edge.LINE_END:
            return behind in (Side.NOTHING, Side.NEWLINE)
        case Edge.WORD:
            return (before is Side.WORD) is not (behind is Side.WORD)
        case Edge.NO_WORD:
            return (before is Side.WORD) is (behind is Side.WORD)
        case _:
            assert_never(edge)


# -- positions ---------------------------------------------------------------------------------------------------------

RANKED: Final = 64
"""Positions of an item, up to which its copies are compared with each other."""

MATCH: Final = 1
"""The bit that is no position: the pattern is at its end."""


@dataclass(slots=True)
class _Positions:
    """What may follow each position where just those edges hold. The numbers of the positions do not depend on the edges."""

    holding: frozenset[Edge]
    bytes_of: list[frozenset[int]] = field(default_factory=lambda: [frozenset()])
    """By bit: of MATCH and of a loop, none."""
    follow: list[int] = field(default_factory=lambda: [0])
    first: int = 0
    """What may stand first."""
    ranks: list[tuple[int, bool]] = field(default_factory=list)
    """Positions of which one, where it may take the next byte, makes the others idle: the highest (True) or the lowest."""

    def enter(self, tree: Regex, behind: int) -> int:
        """The set that is entered with `tree`, where `behind` is what is entered after it."""
        match tree:
            case OneOf(those):
                return self._new(those, behind)
            case Look(edge):
                return behind if edge in self.holding else 0
            case Concat(items):
                for item in reversed(items):
                    behind = self.enter(item, behind)
                return behind
            case Either(items):
                entered = 0
                for item in items:
                    entered |= self.enter(item, behind)
                return entered
            case Repeat(item, low, high):
                return self._repeat(item, low, high, behind)
            case _:
                assert_never(tree)

    def _repeat(self, item: Regex, low: int, high: int | None, behind: int) -> int:
        if not _positions(item):  # once says as much as often
            low, high = min(low, 1), 0 if high == 0 else 1
        entered = behind
        begin = len(self.follow)
        if high is None:
            begin += 1  # the loop's own bit
            entered = self._loop(item, behind) | (behind if low == 0 else 0)
            low -= 1
        else:
            for _ in range(high - low):
                entered = self.enter(item, entered) | behind
            self._rank(begin, high - low, highest=True)
        for _ in range(low):
            entered = self.enter(item, entered)
        if high is None:
            self._rank(begin, low + 1, highest=False)
        return entered

    def _rank(self, begin: int, copies: int, *, highest: bool) -> None:
        """The copies of an item that stand from `begin` to here, the last one first. Where the bytes so far may have led to the same place
        in two of them, the one that may yet read more copies finds all that the other finds; likewise the one that need read fewer,
        where there is no upper bound. Without this, `a.{0,40}b` would keep every place of an `a` among the last 40 bytes."""
        size = (len(self.follow) - begin) // copies if copies > 1 else 0
        if 0 < size <= RANKED:
            row = sum(1 << size * copy for copy in range(copies))
            self.ranks += [(row << begin + place, highest) for place in range(size)]

    def _loop(self, item: Regex, behind: int) -> int:
        """Once or more. What is entered after the item is known when it has been entered: until then a bit stands for it."""
        again = self._new(frozenset(), 0)
        begin = len(self.follow)
        entered = self.enter(item, behind | again)
        if entered & again:
            entered ^= again
        whole = entered | behind
        for position in range(begin, len(self.follow)):
            if self.follow[position] & again:
                self.follow[position] = self.follow[position] ^ again | whole
        return entered

    def _new(self, those: frozenset[int], behind: int) -> int:
        self.bytes_of.append(those)
        self.follow.append(behind)
        return 1 << len(self.follow) - 1


# -- states ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows of an automaton: a cell for the end, then one a class; a cell is ACCEPT, REJECT or a row's number. The first is row 0."""

    classes: bytes
    rows: Sequence[Sequence[int]]


_TRUTH: Final = bytes.maketrans(b"01", b"\0\1")

_Key = tuple[int, ...]
"""A state: the positions that may take the next byte, for each side that this byte may be of. Where one of these sets has MATCH in it,
it is MATCH alone."""


class _States:
    """The subset construction over a pattern, with what starts anywhere folded in."""

    def __init__(self, tree: Regex, fold: Fold, bounds: Bounds) -> None:
        self.bounds = bounds
        self.edges = _edges(tree)
        self.has_lines = bool(self.edges & {Edge.LINE_START, Edge.LINE_END})
        self.has_words = bool(self.edges & {Edge.WORD, Edge.NO_WORD})
        sets = dict.fromkeys(_byte_sets(tree))
        self.class_of, self.members = _classes(self._told(sets), fold)
        self.sides = [self._side(members[0]) for members in self.members]
        """Of each class."""
        self.behind = [Side.NOTHING, *sorted(set(self.sides))]
        """Sides that may follow a place, in the order of a key."""
        self.slots = [self.behind.index(side, 1) for side in self.sides]
        """Where a key has the set for a class."""
        variants: dict[frozenset[Edge], _Positions] = {}
        self.after: dict[Side, list[_Positions]] = {}
        """What follows, by the side before and, as in a key, the side behind."""
        for before in dict.fromkeys((Side.NOTHING, *self.sides)):
            self.after[before] = []
            for behind in self.behind:
                holding = frozenset(edge for edge in self.edges if _holds(edge, before, behind))
                if holding not in variants:
                    variants[holding] = _Positions(holding)
                    variants[holding].first = variants[holding].enter(tree, MATCH)
                self.after[before].append(variants[holding])
        bytes_of = next(iter(variants.values())).bytes_of
        taken_by: dict[frozenset[int], int] = {}
        for number, those in enumerate(bytes_of):
            taken_by[those] = taken_by.get(those, 0) | 1 << number
        self.takes = [sum(mask for those, mask in taken_by.items() if members[0] in those) for members in self.members]
        """The positions that take each class."""
        self.ranks = next(iter(variants.values())).ranks
        self.steps = 0
        self.takes_side = [MATCH, *(self._taking(side) for side in self.behind[1:])]

    def _told(self, sets: Iterable[frozenset[int]]) -> Iterable[frozenset[int]]:
        yield from sets
        if self.has_lines:
            yield frozenset(b"\n")
        if self.has_words:
            yield WORD_BYTES

    def _side(self, byte: int) -> Side:
        if self.has_lines and byte == 0x0A:
            return Side.NEWLINE
        return Side.WORD if self.has_words and byte in WORD_BYTES else Side.OTHER

    def _taking(self, side: Side) -> int:
        mask = MATCH
        for own, takes in zip(self.sides, self.takes, strict=True):
            mask |= takes if own is side else 0
        return mask

    def _key(self, taken: int, before: Side) -> _Key:
        """The state behind a byte of the side `before`, which the positions in `taken` took."""
        members = bin(taken)[:1:-1].encode().translate(_TRUTH)  # by number, 1 where taken
        self.steps += taken.bit_count() + len(self.ranks)
        if self.steps > self.bounds.steps:
            raise TooLargeError(f"more than {self.bounds.steps:,}", self.bounds.steps, "steps to find its states")
        sets: dict[int, int] = {}
        key = []
        for variant, takes in zip(self.after[before], self.takes_side, strict=True):
            if id(variant) not in sets:
                sets[id(variant)] = reduce(or_, compress(variant.follow, members), variant.first)
            found = sets[id(variant)]
            key.append(MATCH if found & MATCH else self._ranked(found & takes))
        return tuple(key)

    def _ranked(self, found: int) -> int:
        for mask, highest in self.ranks:
            among = found & mask
            if among & (among - 1):
                found ^= among ^ (1 << among.bit_length() - 1 if highest else among & -among)
        return found

    def find(self) -> _Table:
        """All states. Raises TooLargeError."""
        numbers: dict[_Key, int] = {}
        steps: dict[tuple[int, Side], int] = {}
        keys: list[_Key] = []

        def number_of(key: _Key) -> int:
            if all(found & MATCH for found in key):
                return ACCEPT
            if key not in numbers:
                if len(keys) == COUNTED_ON * self.bounds.states:
                    raise TooLargeError(f"more than {len(keys):,}", self.bounds.states, "states")
                numbers[key] = len(keys)
                keys.append(key)
            return numbers[key]

        rows: list[list[int]] = []
        start = number_of(self._key(0, Side.NOTHING))
        if start == ACCEPT:
            return _Table(bytes(256), [[ACCEPT, ACCEPT]])
        columns = list(zip(self.slots, self.takes, self.sides, strict=True))
        for key in keys:  # grows on the way
            row = [ACCEPT if key[0] & MATCH else REJECT]
            for slot, takes, side in columns:
                may = key[slot]
                if may & MATCH:
                    row.append(ACCEPT)
                    continue
                step = (may & takes, side)
                if step not in steps:
                    steps[step] = number_of(self._key(*step))
                row.append(steps[step])
            rows.append(row)
        if len(keys) > self.bounds.states:
            raise TooLargeError(f"{len(keys):,}", self.bounds.states, "states")
        return _Table(self.class_of, rows)


def _classes(told: Iterable[frozenset[int]], fold: Fold) -> tuple[bytes, list[list[int]]]:
    """Classes of bytes that no set tells apart: the class of each byte before it is folded, and the bytes of each class as the pattern
    sees them."""
    signatures = [0] * 256
    for number, those in enumerate(told):
        for byte in those:
            signatures[byte] |= 1 << number
    numbers: dict[int, int] = {}
    members: list[list[int]] = []
    classes = bytearray(256)
    for byte in range(256):
        seen = fold.apply(byte)
        number = numbers.setdefault(signatures[seen], len(numbers))
        if number == len(members):
            members.append([])
        members[number].append(seen)
        classes[byte] = number
    return bytes(classes), members


# -- fewer states ------------------------------------------------------------------------------------------------------


def _smaller(table: _Table) -> _Table:
    """Without the states whose verdict is certain, without those that no path leads to then, and without classes that no state tells
    apart. It accepts the same."""
    before: list[set[int]] = [set() for _ in table.rows]
    for number, row in enumerate(table.rows):
        for cell in set(row):
            if cell < REJECT:
                before[cell].add(number)
    may_accept = _leading_to(ACCEPT, table, before)
    may_reject = _leading_to(REJECT, table, before)

    def decided(cell: int) -> int:
        if cell >= REJECT:
            return cell
        return REJECT if cell not in may_accept else ACCEPT if cell not in may_reject else cell

    if decided(0) >= REJECT:
        return _Table(bytes(256), [[decided(0)] * 2])
    numbers, order, rows = {0: 0}, [0], []
    for old in order:  # grows on the way
        row = []
        for place, cell in enumerate(map(decided, table.rows[old])):
            if place and cell < REJECT and cell not in numbers:
                numbers[cell] = len(order)
                order.append(cell)
            row.append(numbers.get(cell, cell))
        rows.append(row)
    columns: dict[tuple[int, ...], int] = {}
    kept = [columns.setdefault(column, len(columns)) for column in list(zip(*rows, strict=True))[1:]]
    first_of = [kept.index(number) + 1 for number in range(len(columns))]
    return _Table(bytes(kept[number] for number in table.classes), [[row[0], *(row[place] for place in first_of)] for row in rows])


def _leading_to(verdict: int, table: _Table, before: Sequence[set[int]]) -> set[int]:
    """The states from which some bytes lead to the verdict."""
    found = {number for number, row in enumerate(table.rows) if verdict in row}
    waiting = list(found)
    while waiting:
        fresh = before[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found
