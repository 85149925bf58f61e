"""Whether boxes together hold all of another box.

Each key's values are counted by the borders that the boxes have there, so that a box is a few small numbers, whatever the addresses.
What is left of a box is cut by the largest of those that meet it, again and again, until nothing is left or a piece that none meets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firewall.plan.model import Box

MOST_PIECES: Final = 1000
"""Pieces of one box that are looked at, beyond which it counts as not covered."""
MOST_PIECES_OF_ALL: Final = 20_000
"""Pieces of all boxes; beyond it, only single boxes are found that hold another."""

Ranks = NDArray[np.int32]


class Cover:
    """Boxes with owners. Those of the first owners go first."""

    def __init__(self, boxes: Sequence[Box], most: int) -> None:
        """`boxes`: all that will be taken up, `most` of them, or asked for."""
        keys = len(boxes[0]) if boxes else 0
        self._edges = [sorted({edge for box in boxes for edge in (box[key][0], box[key][1] + 1)}) for key in range(keys)]
        self._ranks = [{edge: rank for rank, edge in enumerate(edges)} for edges in self._edges]
        self._lows: Ranks = np.empty((keys, most), np.int32)
        self._highs: Ranks = np.empty((keys, most), np.int32)
        self._owners: NDArray[np.int64] = np.empty(most, np.int64)
        self._count = 0
        self._pieces = 0

    def take(self, box: Box, owner: int) -> None:
        self._lows[:, self._count], self._highs[:, self._count] = self._ranks_of(box)
        self._owners[self._count] = owner
        self._count += 1

    def keep(self, owners: Iterable[int]) -> None:
        """Lets go of the boxes of all others."""
        kept = np.flatnonzero(np.isin(self._owners[: self._count], list(owners)))
        self._count = kept.size
        for array in (self._lows, self._highs):
            array[:, : kept.size] = array[:, kept]
        self._owners[: kept.size] = self._owners[kept]

    def meeting(self, box: Box) -> set[int]:
        """The owners of boxes that have something in common with this one."""
        return set(self._owners[self._near(*self._ranks_of(box))].tolist())

    def first_at(self, point: Sequence[int]) -> int | None:
        """The first owner of a box with that point."""
        ranks = np.array([bisect_right(edges, number) - 1 for edges, number in zip(self._edges, point, strict=True)], np.int32)
        return min(self._owners[self._near(ranks, ranks)].tolist(), default=None)

    def owners_of(self, box: Box) -> frozenset[int] | None:
        """Owners whose boxes together hold all of this one; None where a part is left, or where that is too much work to find out."""
        low, high = self._ranks_of(box)
        near = self._near(low, high)
        if not near.size:
            return None
        lows, highs = self._lows[:, near], self._highs[:, near]
        whole = near[((lows <= low[:, None]) & (highs >= high[:, None])).all(0)]
        if whole.size:
            return frozenset((int(self._owners[whole].min()),))
        if self._pieces > MOST_PIECES_OF_ALL or _has_gap(np.maximum(lows, low[:, None]), np.minimum(highs, high[:, None]), low, high):
            return None
        return self._cut(low, high, near)

    def _ranks_of(self, box: Box) -> tuple[Ranks, Ranks]:
        lows = [ranks[low] for ranks, (low, _) in zip(self._ranks, box, strict=True)]
        highs = [ranks[high + 1] - 1 for ranks, (_, high) in zip(self._ranks, box, strict=True)]
        return np.array(lows, np.int32), np.array(highs, np.int32)

    def _near(self, low: Ranks, high: Ranks) -> NDArray[np.intp]:
        """The places of the boxes that meet the one between `low` and `high`: by its narrowest key first."""
        shares = [(high[key] - low[key]) / len(edges) for key, edges in enumerate(self._edges)]
        first, *others = sorted(range(len(shares)), key=shares.__getitem__)
        count = self._count
        near = np.flatnonzero((self._lows[first, :count] <= high[first]) & (self._highs[first, :count] >= low[first]))
        for key in others:
            near = near[(self._lows[key, near] <= high[key]) & (self._highs[key, near] >= low[key])]
        return near

    def _cut(self, low: Ranks, high: Ranks, near: NDArray[np.intp]) -> frozenset[int] | None:
        used: set[int] = set()
        left = [(low, high, near)]
        for _ in range(MOST_PIECES):
            if not left:
                return frozenset(used)
            self._pieces += 1
            low, high, near = left.pop()
            lows, highs = np.maximum(self._lows[:, near], low[:, None]), np.minimum(self._highs[:, near], high[:, None])
            meets = (lows <= highs).all(0)
            near, lows, highs = near[meets], lows[:, meets], highs[:, meets]
            if not near.size:
                return None
            largest = int((highs - lows + 1.0).prod(0).argmax())
            used.add(int(self._owners[near[largest]]))
            near = np.delete(near, largest)
            low, high = low.copy(), high.copy()
            for key, (bottom, top) in enumerate(zip(lows[:, largest], highs[:, largest], strict=True)):
                if low[key] < bottom:
                    below = high.copy()
                    below[key] = bottom - 1
                    left.append((low.copy(), below, near))
                if top < high[key]:
                    above = low.copy()
                    above[key] = top + 1
                    left.append((above, high.copy(), near))
                low[key], high[key] = bottom, top
        return None


def _has_gap(lows: Ranks, highs: Ranks, low: Ranks, high: Ranks) -> bool:
    """Whether a quick look finds a point that no box holds: key by key at the value that the fewest have."""
    for key in range(low.size):
        first, size = int(low[key]), int(high[key] - low[key]) + 1
        starts = np.bincount(lows[key] - first, minlength=size)
        ends = np.bincount(highs[key] - first + 1, minlength=size + 1)
        rank = first + int((np.cumsum(starts) - np.cumsum(ends[:size])).argmin())
        holding = (lows[key] <= rank) & (highs[key] >= rank)
        lows, highs = lows[:, holding], highs[:, holding]
        if not lows.size:
            return True
    return False
