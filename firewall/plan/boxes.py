"""Boxes: the packets of a run of rules as inclusive ranges in several keys, made disjoint so that the first rule wins.

Overlapping elements must never stand in one concatenated interval map (pipapo): which of them wins is not dependable. So first-match
order is resolved here."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from firewall.plan.model import Box


def interval_keys(boxes: Sequence[Box]) -> list[int]:
    """The places of the keys in which at least one box has more than one value."""
    return [place for place in range(len(boxes[0])) if any(box[place][0] != box[place][1] for box in boxes)] if boxes else []


def exact(boxes: Sequence[tuple[Box, int]]) -> list[tuple[Box, int]]:
    """Boxes of single values, each with its target: the first of equal ones."""
    first: dict[Box, int] = {}
    for box, target in boxes:
        first.setdefault(box, target)
    return list(first.items())


def flattened(boxes: Sequence[tuple[Box, int]], place: int) -> list[tuple[Box, int]]:
    """Boxes of which only the key at `place` is a range: cut into disjoint ones, in which the first rule wins."""
    groups: dict[Box, list[tuple[int, int, int]]] = defaultdict(list)
    for box, target in boxes:
        low, high = box[place]
        groups[(*box[:place], *box[place + 1 :])].append((low, high, target))
    return [
        ((*others[:place], (low, high), *others[place:]), target)
        for others, ranges in groups.items()
        for low, high, target in _first_wins(ranges)
    ]


def _first_wins(ranges: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Disjoint (low, high, target) of ranges in order of precedence, in ascending order; neighbours of one target are one."""
    starts = sorted((low, rank) for rank, (low, _, _) in enumerate(ranges))
    edges = sorted({low for low, _, _ in ranges} | {high + 1 for _, high, _ in ranges})
    open_ranks: list[int] = []
    following = 0
    pending: tuple[int, int, int] | None = None
    for edge, next_edge in itertools.pairwise(edges):
        while following < len(starts) and starts[following][0] == edge:
            heappush(open_ranks, starts[following][1])
            following += 1
        while open_ranks and ranges[open_ranks[0]][1] < edge:
            heappop(open_ranks)
        if not open_ranks:
            continue
        target = ranges[open_ranks[0]][2]
        if pending and pending[2] == target and pending[1] == edge - 1:
            pending = (pending[0], next_edge - 1, target)
            continue
        if pending:
            yield pending
        pending = (edge, next_edge - 1, target)
    if pending:
        yield pending


class DisjointBoxes:
    """Boxes that are taken up one by one as long as none overlaps another."""

    def __init__(self, place: int, shift: int) -> None:
        """Boxes are found again by the key at `place`, in cells of 2 to the power of `shift` values."""
        self.taken: list[tuple[Box, int]] = []
        self._place, self._shift = place, shift
        self._cells: dict[int, list[Box]] = defaultdict(list)
        self._wide: list[Box] = []
        """Boxes of too many cells."""
        self._effort = 0

    def take(self, box: Box, target: int) -> bool:
        """Takes the box up; False where it overlaps another in part, or where finding out has cost too much.

        A box that lies within an earlier one is never reached, and is dropped."""
        cells = self._cells_of(box)
        candidates = self.taken if cells is None else None
        boxes = (other for other, _ in candidates) if candidates is not None else self._in(cells or range(0))
        for other in boxes:
            self._effort += 1
            if all(low <= top and bottom <= high for (low, high), (bottom, top) in zip(box, other, strict=True)):
                return all(bottom <= low and high <= top for (low, high), (bottom, top) in zip(box, other, strict=True))
        if self._effort > MOST_COMPARISONS:
            return False
        self.taken.append((box, target))
        if cells is None:
            self._wide.append(box)
        else:
            for cell in cells:
                self._cells[cell].append(box)
        return True

    def _cells_of(self, box: Box) -> range | None:
        low, high = box[self._place]
        first, last = low >> self._shift, high >> self._shift
        return range(first, last + 1) if last - first < MOST_CELLS else None

    def _in(self, cells: range) -> Iterator[Box]:
        yield from self._wide
        for cell in cells:
            yield from self._cells.get(cell, ())


MOST_CELLS = 16
"""A box of more cells is compared with every other."""

MOST_COMPARISONS = 500_000
"""Comparisons of boxes for one map; beyond it the next map begins. Keeps 10,000 rules within about a second."""
