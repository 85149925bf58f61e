"""Automata over bytes: from the patterns of a test to a dense transition table.

Each is deterministic and reads a byte once, so a test's cost grows with the bytes looked at and not with its patterns. Case folding
is part of the byte classes. Search for many patterns after Aho and Corasick 1975, for one after Knuth, Morris and Pratt 1977.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from rules_dsl.expression import Order

ACCEPT: Final = 0xFFFF_FFFF
REJECT: Final = 0xFFFF_FFFE
"""The two final states; the lowest bit says which. A run ends as soon as one is reached."""


class Fold(Enum):
    """What happens to ASCII letters before they are looked at."""

    NONE = 0
    LOWER = 1
    UPPER = 2

    def apply(self, byte: int) -> int:
        match self:
            case Fold.LOWER if 0x41 <= byte <= 0x5A:
                return byte + 0x20
            case Fold.UPPER if 0x61 <= byte <= 0x7A:
                return byte - 0x20
        return byte

    def can_give(self, text: bytes) -> bool:
        """Whether folded bytes can be `text` at all."""
        return all(self.apply(byte) == byte for byte in text)


@dataclass(frozen=True, slots=True)
class Automaton:
    """A state is the place of its row, in bytes: its cells are the verdict where the bytes end there (ACCEPT or REJECT), then the next
    state for each class, 4 bytes each. The first row is the first state."""

    classes: bytes = field(repr=False)
    """256: the class of each byte."""
    width: int
    """Cells of a row: the classes and one."""
    rows: array[int] = field(repr=False)
    base: int
    """The place of the first row, in bytes."""

    @property
    def states(self) -> int:
        return len(self.rows) // self.width

    def accepts(self, data: bytes) -> bool:
        """What the kernel's run over `data` gives."""
        state = self.base
        for byte in data:
            state = self.rows[(state - self.base) // 4 + 1 + self.classes[byte]]
            if state >= REJECT:
                return state == ACCEPT
        return self.rows[(state - self.base) // 4] == ACCEPT


class _Rows:
    """Rows under construction, over one set of byte classes."""

    def __init__(self, texts: Iterable[bytes], fold: Fold, base: int) -> None:
        told = sorted(set().union(*texts))
        self.class_of = {byte: index for index, byte in enumerate(told)}
        others = len(told)
        self.classes = bytes(self.class_of.get(fold.apply(byte), others) for byte in range(256))
        self.width = 1 + others + (others in list(self.classes))
        self.base = base
        self.cells = array("I")

    @property
    def next(self) -> int:
        """The state that `add` will make."""
        return self.base + len(self.cells) * 4

    def add(self, end: int, fill: int | array[int]) -> int:
        """A new state; all its transitions go to `fill`, or are those of that row."""
        state = self.next
        self.cells.append(end)
        self.cells.extend(array("I", (fill,)) * (self.width - 1) if isinstance(fill, int) else fill[1:])
        return state

    def row(self, state: int) -> array[int]:
        start = (state - self.base) // 4
        return self.cells[start : start + self.width]

    def follow(self, state: int, other: int) -> None:
        """All transitions of `state` become those of `other`."""
        start = (state - self.base) // 4 + 1
        self.cells[start : start + self.width - 1] = self.row(other)[1:]

    def go(self, state: int, byte: int, to: int) -> None:
        self.cells[(state - self.base) // 4 + 1 + self.class_of[byte]] = to

    def end(self, state: int, verdict: int) -> None:
        self.cells[(state - self.base) // 4] = verdict

    def automaton(self) -> Automaton:
        return Automaton(self.classes, self.width, self.cells, self.base)


def contains(patterns: Sequence[bytes], fold: Fold, base: int = 0) -> Automaton:
    """Accepts what has one of the patterns in it; none of them empty."""
    rows = _Rows(patterns, fold, base)
    children: list[dict[int, int]] = [{}]
    ends = [False]
    for pattern in patterns:
        node = 0
        for byte in pattern:
            if ends[node]:  # a shorter pattern is found before
                break
            following = children[node].get(byte)
            if following is None:
                following = children[node][byte] = len(children)
                children.append({})
                ends.append(False)
            node = following
        ends[node] = True
        children[node] = {}
    # Breadth first: a node's state has its longest proper suffix's transitions, and its own children over them.
    state_of = {0: rows.add(REJECT, base)}
    queue: deque[tuple[int, int]] = deque([(0, base)])  # node, state of its longest proper suffix
    while queue:
        node, suffix = queue.popleft()
        state = state_of[node]
        transitions = rows.row(suffix)  # complete: it is nearer to the start
        if node:
            rows.follow(state, suffix)
        for byte, child in children[node].items():
            if ends[child]:
                rows.go(state, byte, ACCEPT)
                continue
            fallback = base if node == 0 else transitions[1 + rows.class_of[byte]]
            if fallback == ACCEPT:  # a pattern ends here, inside the longer one
                rows.go(state, byte, ACCEPT)
                continue
            state_of[child] = rows.add(REJECT, base)
            rows.go(state, byte, state_of[child])
            queue.append((child, fallback))
    return rows.automaton()


def among(values: Iterable[bytes], fold: Fold, base: int = 0) -> Automaton:
    """Accepts exactly the values."""
    values = tuple(values)
    rows = _Rows(values, fold, base)
    children: dict[int, dict[int, int]] = {rows.add(REJECT, REJECT): {}}
    for value in values:
        state = base
        for byte in value:
            following = children[state].get(byte)
            if following is None:
                following = children[state][byte] = rows.add(REJECT, REJECT)
                children[following] = {}
                rows.go(state, byte, following)
            state = following
        rows.end(state, ACCEPT)
    return rows.automaton()


def ordered(order: Order, value: bytes, fold: Fold, base: int = 0) -> Automaton:
    """Accepts what stands in that order to `value`: bytewise, then the shorter is the less."""
    less = ACCEPT if order in (Order.LT, Order.LE) else REJECT
    greater = ACCEPT if order in (Order.GT, Order.GE) else REJECT
    equal = ACCEPT if order in (Order.EQ, Order.LE, Order.GE) else REJECT
    rows = _Rows((bytes(range(256)),), Fold.NONE, base)
    for byte in value:
        state = rows.add(less, greater)
        for other in range(256):
            seen = fold.apply(other)
            rows.go(state, other, less if seen < byte else rows.next if seen == byte else greater)
    rows.add(equal, greater)
    return rows.automaton()


def wildcard(segments: Sequence[bytes], fold: Fold, base: int = 0) -> Automaton:
    """Accepts the segments with any run of bytes between each two; one segment is equality."""
    if len(segments) == 1:
        return among(segments, fold, base)
    rows = _Rows(segments, fold, base)
    first, *middle, last = segments
    for byte in first:
        state = rows.add(REJECT, REJECT)
        rows.go(state, byte, rows.next)
    for segment in middle:
        _find(rows, segment)
    if last:
        _find(rows, last, at_end=True)
    else:
        rows.add(ACCEPT, ACCEPT)
    return rows.automaton()


def _find(rows: _Rows, segment: bytes, *, at_end: bool = False) -> None:
    """States that find the leftmost `segment` and lead to the state after them; or, `at_end`, that accept where the bytes end with it."""
    start = rows.next
    fallback = start
    for position, byte in enumerate(segment):
        state = rows.add(REJECT, start if position == 0 else rows.row(fallback))
        following = rows.row(fallback)[1 + rows.class_of[byte]] if position else start
        rows.go(state, byte, rows.next)
        fallback = following
    if at_end:
        rows.add(ACCEPT, rows.row(fallback))
