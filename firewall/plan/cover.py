"""Whether boxes together hold all of another box.

Each key's values are counted by the borders that the boxes have there, so that a box is a few small numbers, whatever the addresses.
What is left of a box is cut by the largest of those that meet it, again and again, until nothing is left or a piece that none meets;
where the largest holds it in every key but one, by all that do so together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firewall.plan.model import Box

MOST_PIECES: Final = 1000
"""Pieces of one box that are looked at, beyond which it counts as not covered."""
MOST_WORK: Final = 1_000_000_000
"""Ranks and boxes that are looked at in all, beyond which every box counts as not covered."""

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
        self._work = 0
        self.gave_up = False
        """The last question was too much work."""

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
        self.gave_up = self._work > MOST_WORK
        if self.gave_up:
            return None
        low, high = self._ranks_of(box)
        near = self._near(low, high)
        if not near.size:
            return None
        lows, highs = self._lows[:, near], self._highs[:, near]
        whole = near[((lows <= low[:, None]) & (highs >= high[:, None])).all(0)]
        if whole.size:
            return frozenset((int(self._owners[whole].min()),))
        self._work += len(self._edges) * near.size + int((high - low).sum())
        if _has_gap(np.maximum(lows, low[:, None]), np.minimum(highs, high[:, None]), low, high):
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
        self._work += count // 16 + len(others) * near.size
        for key in others:
            near = near[(self._lows[key, near] <= high[key]) & (self._highs[key, near] >= low[key])]
        return near

    def _cut(self, low: Ranks, high: Ranks, near: NDArray[np.intp]) -> frozenset[int] | None:
        used: set[int] = set()
        left = [(low, high, near)]
        for _ in range(MOST_PIECES):
            if not left:
                return frozenset(used)
            low, high, near = left.pop()
            self._work += len(self._edges) * near.size
            lows, highs = np.maximum(self._lows[:, near], low[:, None]), np.minimum(self._highs[:, near], high[:, None])
            meets = (lows <= highs).all(0)
            near, lows, highs = near[meets], lows[:, meets], highs[:, meets]
            if not near.size:
                return None
            largest = int((highs - lows + 1.0).prod(0).argmax())
            cut = (lows != low[:, None]) | (highs != high[:, None])
            if cut[:, largest].sum() <= 1:
                key = int(cut[:, largest].argmax())
                slabs = np.flatnonzero(~np.delete(cut, key, 0).any(0))
                needed, gaps = _swept(lows[key, slabs], highs[key, slabs], int(low[key]), int(high[key]))
                used.update(self._owners[near[slabs[needed]]].tolist())
                near = np.delete(near, slabs)
                left += [
                    (_with(low, key, first), _with(high, key, last), near) for first, last in sorted(gaps, key=lambda gap: gap[1] - gap[0])
                ]
                continue
            used.add(int(self._owners[near[largest]]))
            near = np.delete(near, largest)
            for key, (bottom, top) in enumerate(zip(lows[:, largest].tolist(), highs[:, largest].tolist(), strict=True)):
                if low[key] < bottom:
                    left.append((low, _with(high, key, bottom - 1), near))
                if top < high[key]:
                    left.append((_with(low, key, top + 1), high, near))
                low, high = _with(low, key, bottom), _with(high, key, top)
        self.gave_up = True
        return None


def _with(ranks: Ranks, key: int, rank: int) -> Ranks:
    changed = ranks.copy()
    changed[key] = rank
    return changed


def _swept(lows: Ranks, highs: Ranks, low: int, high: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The places of ranges that hold all that the ranges do of `low` to `high`, few of them; and what none holds."""
    needed: list[int] = []
    gaps: list[tuple[int, int]] = []
    reached = furthest = low - 1
    best = -1
    """Of those that begin where the needed ones end, or before, the one that goes furthest."""
    for place in np.argsort(lows, kind="stable").tolist():
        first = int(lows[place])
        if first > reached + 1:
            if best >= 0:
                needed.append(best)
                reached, best = furthest, -1
            if first > reached + 1:
                gaps.append((reached + 1, first - 1))
                reached = furthest = first - 1
        if highs[place] > furthest:
            best, furthest = place, int(highs[place])
    if best >= 0:
        needed.append(best)
    if furthest < high:
        gaps.append((furthest + 1, high))
    return needed, gaps


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
