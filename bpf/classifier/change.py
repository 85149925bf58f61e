"""A classifier changed in part: new nodes beside the old ones on the way from the root to what is different, and everything else shared.

What is written stands where the old tree has nothing, so packets may walk that one meanwhile; then the root cell is switched. A box that
is added goes into the leaves that it touches; where these would be very many it is looked at beside them (an overlay). Where a box that
goes has hidden others behind it, what it covered is built anew from all boxes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from bpf.classifier.arena import Arena, FullError
from bpf.classifier.build import MOST_ORDER, Classifier, Statistics
from bpf.classifier.entries import Boxes, Entry, Numbers, Truths, Words, boxes_of
from bpf.classifier.keys import WORD
from bpf.classifier.layout import (
    BOTH,
    BUILT_PENDING,
    CUT,
    HEADER_UNITS,
    KEY,
    LEAF,
    LEAF_AND_MORE,
    LIMIT_MASK,
    LOWEST_MASK,
    MOST_IN_LEAF,
    MOST_PENDING,
    OVERLAY,
    SPLIT_SHIFT,
    UNIT_WORDS,
    kind_word,
    record_units,
    records_of,
)
from bpf.classifier.tree import DEFAULT, DIVIDED, Builder, Level, Tuning
from bpf.same_ends import same_ends

MOST_TOUCHED: Final = 3000
"""Nodes that a change writes; beyond that building anew is as quick."""
MOST_RUNS: Final = 24
"""Children of a node that a box is added to each; beyond that it is looked at beside them."""
MOST_IN_OVERLAY: Final = 12
LONGEST_LEAF: Final = 8
"""Records of a leaf that is not divided after a change."""

Node = tuple[int, int, int, int]
Region = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What to write, and what is then there."""

    classifier: Classifier
    written: tuple[tuple[int, int], ...]
    """Offset and size, in units, of what is to be copied from the classifier's image to the map before its root is switched."""

    @property
    def units(self) -> int:
        return sum(size for _, size in self.written)


def change(before: Classifier, entries: Sequence[Entry], *, tuning: Tuning = DEFAULT) -> Change:
    """From `before`, whose arena is as large as its map, to other entries. Raises FullError where it is better, or necessary, to build
    anew: the map is full (see `reclaim`), or too much is different."""
    old, new = before.entries, tuple(entries)
    kept = _kept(old, new)
    places = np.flatnonzero(kept < 0)
    fresh = [new[place] for place in places.tolist()]
    gone = np.setdiff1d(np.arange(len(old)), kept).tolist()
    if len(fresh) + len(gone) > max(16, len(new) // 20):
        raise FullError("many entries are different")
    arena = Arena(before.arena.image, before.arena.end, False, list(before.arena.free))
    added, added_spans = boxes_of(before.keys, fresh)
    # The boxes in their new order, the kept ones with what they have.
    first, size = before.spans[kept], before.spans[kept + 1] - before.spans[kept]
    first[places], size[places] = added_spans[:-1], np.diff(added_spans)
    spans = np.concatenate(([0], np.cumsum(size))).astype(np.int64)
    is_added = np.repeat(kept < 0, size)
    source = np.repeat(first - spans[:-1], size) + np.arange(int(spans[-1]))
    boxes = _joined(before.boxes, added, is_added, source)
    order = np.zeros(boxes.count, dtype=np.int64)
    order[~is_added] = before.order[source[~is_added]]
    _give_orders(order, is_added)
    record = np.zeros(boxes.count, dtype=np.int64)
    record[~is_added] = before.record[source[~is_added]]
    units = record_units(boxes.word_count)
    places = np.flatnonzero(is_added)
    record[places] = arena.take(np.full(len(places), units, dtype=np.int64))
    chosen = _joined(before.boxes, added, is_added, source, places)
    rows = records_of(chosen, order[places])
    for unit in range(units):
        arena.image[record[places] + unit] = rows[:, UNIT_WORDS * unit : UNIT_WORDS * (unit + 1)]
    removed = [box for place in gone for box in range(int(before.spans[place]), int(before.spans[place + 1]))]
    changer = _Changer(before, boxes, order, record, arena, removed, tuning)
    region = tuple((low, high) for low, high in zip(*_whole(before), strict=True))
    root = int(arena.take(np.ones(1, dtype=np.int64))[0])
    arena.image[root] = changer.changed(_node(before.arena, before.root), region, places.tolist(), list(range(len(removed))), ())
    told = before.statistics
    statistics = Statistics(boxes.count, told.nodes, told.levels, told.entries, arena.end)
    after = replace(
        before, boxes=boxes, order=order, record=record, arena=arena, root=root, statistics=statistics, entries=new, spans=spans
    )
    return Change(after, tuple(arena.taken))


def _whole(classifier: Classifier) -> tuple[list[int], list[int]]:
    bounds = [key.any if key.words == 1 else (0, (1 << WORD) - 1) for key in classifier.keys for _ in range(key.words)]
    return [low for low, _ in bounds], [high for _, high in bounds]


def _kept(old: Sequence[Entry], new: Sequence[Entry]) -> Numbers:
    """For each new entry the old one that it is, in ascending order; -1 for one that is added."""
    start, same = same_ends(old, new, lambda one, other: one is not other and one != other)
    old_end, new_end = len(old) - same, len(new) - same
    places: dict[Entry, list[int]] = {}
    for place in range(start, old_end):
        places.setdefault(old[place], []).append(place)
    # The longest run of places that ascends (patience sorting).
    lowest: list[int] = []
    heads: list[tuple[int, int]] = []
    before: dict[tuple[int, int], tuple[int, int] | None] = {}
    for number in range(start, new_end):
        for place in reversed(places.get(new[number], ())):
            at = bisect_left(lowest, place)
            pair = (number, place)
            before[pair] = heads[at - 1] if at else None
            if at == len(lowest):
                lowest.append(place)
                heads.append(pair)
            else:
                lowest[at], heads[at] = place, pair
    middle = np.full(new_end - start, -1, dtype=np.int64)
    step = heads[-1] if heads else None
    while step is not None:
        middle[step[0] - start] = step[1]
        step = before[step]
    return np.concatenate((np.arange(start), middle, np.arange(old_end, len(old)))).astype(np.int64)


def _joined(old: Boxes, added: Boxes, is_added: Truths, source: Numbers, places: Numbers | None = None) -> Boxes:
    """The boxes that `source` names, of the added ones where `is_added`; or those at `places` alone."""
    if places is not None:
        is_added, source = is_added[places], source[places]
    index = np.where(is_added, source + old.count, source)

    def both(first: Numbers, second: Numbers) -> Numbers:
        joined: Numbers = np.concatenate((first, second), axis=-1)[..., index]
        return joined

    return Boxes(
        both(old.low, added.low),
        both(old.high, added.high),
        both(old.number, added.number),
        both(old.slot, added.slot),
        both(old.outcome, added.outcome),
    )


def _give_orders(order: Numbers, is_added: Truths) -> None:
    """Orders between their neighbours' for the added. Raises FullError where there is no number between."""
    place = 0
    added = np.flatnonzero(is_added).tolist()
    while place < len(added):
        end = place
        while end + 1 < len(added) and added[end + 1] == added[end] + 1:
            end += 1
        first, last = added[place], added[end]
        low = int(order[first - 1]) if first else 0
        high = int(order[last + 1]) if last + 1 < len(order) else MOST_ORDER + 1
        count = last - first + 1
        step = (high - low) // (count + 1)
        if step == 0:
            raise FullError("there is no order between two entries")
        order[first : last + 1] = low + step * (np.arange(count) + 1)
        place = end + 1


def _node(arena: Arena, unit: int) -> Node:
    base, first, limit, told = arena.image[unit].tolist()
    return base, first, limit, told


@dataclass(slots=True)
class _Changer:
    """One change while it is made."""

    before: Classifier
    boxes: Boxes
    order: Numbers
    record: Numbers
    arena: Arena
    removed: list[int]
    """Boxes of `before`."""
    tuning: Tuning
    touched: int = 0

    def changed(self, node: Node, region: Region, added: list[int], removed: list[int], parts: tuple[_Part, ...]) -> Node:
        """The node without the boxes `removed` (places in self.removed) and with the boxes `added`; both are those that meet its region and
        belong to its parts."""
        if not added and not removed:
            return node
        self.touched += 1
        if self.touched > MOST_TOUCHED:
            raise FullError("the change touches very many nodes")
        hidden = [place for place in removed if self._covers(self.before.boxes, self.removed[place], region)]
        if hidden and not (parts and parts[-1].overlay):
            boxes = self._meeting(region, parts)
            lowest = min(int(self.before.order[self.removed[place]]) for place in hidden)
            if (self.order[boxes] > lowest).any():
                return self._built(boxes, region, parts)
        match node[3] & 0xFF:
            case kind if kind == CUT:
                return self._cut(node, region, added, removed, parts)
            case kind if kind == BOTH:
                return self._both(node, region, added, removed, parts)
            case _:
                return self._leaf(node, region, added, removed, parts)

    # -- kinds of nodes ------------------------------------------------------------------------------------------------

    def _cut(self, node: Node, region: Region, added: list[int], removed: list[int], parts: tuple[_Part, ...]) -> Node:
        base, first, third, told = node
        limit = third & LIMIT_MASK
        shift, word = told >> 8 & 0xFF, (told >> 16) // KEY
        low, high = region[word]
        block = self.arena.image[first : first + limit + 1].copy()
        # Slots of equal children are one child: its region stays what it was when it was built.
        edges = [0, *(np.flatnonzero((block[1:] != block[:-1]).any(axis=1)) + 1).tolist(), limit + 1]
        slots_of = [self._slots(*self._range(True, place, word), low, high, base, shift) for place in added]
        slots_gone = [self._slots(*self._range(False, place, word), low, high, base, shift) for place in removed]
        wide = [place for place, slots in zip(added, slots_of, strict=True) if slots == (0, limit)]
        if wide and len(edges) - 1 > MOST_RUNS and sum(part.beside for part in parts) < MOST_PENDING - BUILT_PENDING:
            rest = [place for place in added if place not in wide]
            return self._overlaid(self.changed(node, region, rest, removed, parts), wide)
        for begin, after in pairwise(edges):
            here = [place for place, slots in zip(added, slots_of, strict=True) if slots[0] < after and slots[1] >= begin]
            gone = [place for place, slots in zip(removed, slots_gone, strict=True) if slots[0] < after and slots[1] >= begin]
            if not here and not gone:
                continue
            if shift == SPLIT_SHIFT:
                bounds = (low, high) if after - begin == 2 else (base, high) if begin == 0 else (low, base - 1)
            else:
                bounds = low + (begin << shift), min(high, low + (after << shift) - 1)
            inner = (*region[:word], bounds, *region[word + 1 :])
            block[begin:after] = self.changed(_node_of(block[begin].tolist()), inner, here, gone, parts)
        unit = self._take(len(block))
        self.arena.image[unit : unit + len(block)] = block
        lowest = min((int(self.order[place]) for place in added), default=MOST_ORDER)
        return base, unit, limit | min(third, lowest) & LOWEST_MASK, told

    @staticmethod
    def _slots(own_low: int, own_high: int, low: int, high: int, base: int, shift: int) -> tuple[int, int]:
        """The first and the last slot that a range meets."""
        if shift == SPLIT_SHIFT:
            return int(own_high < base), int(own_low < base)
        return max(own_low, low) - base >> shift, min(own_high, high) - base >> shift

    def _both(self, node: Node, region: Region, added: list[int], removed: list[int], parts: tuple[_Part, ...]) -> Node:
        base, first, width, told = node
        second, word = told >> 8 & 0xFF, (told >> 16) // KEY
        children = []
        for side in (0, 1):
            if second == OVERLAY:
                part = _Part(word, region[word], width, None, overlay=side == 1, beside=side == 0)
            else:
                part = _Part(word, region[word], width, side == 1, waits=side == 0)
            mine = [place for place in added if part.has(*self._range(True, place, word)) and not part.overlay]
            gone = [place for place in removed if part.has(*self._range(False, place, word))]
            children.append(self.changed(_node(self.arena, first + side), region, mine, gone, (*parts, part)))
            if side:
                base = min([base, *(int(self.order[place]) for place in mine)])
        unit = self._take(2)
        self.arena.image[unit : unit + 2] = children
        return base, unit, node[2], told

    def _overlaid(self, node: Node, added: list[int]) -> Node:
        """The node, and beside it the boxes."""
        _, first, _, told = node
        if told & 0xFF == BOTH and told >> 8 & 0xFF == OVERLAY:
            records = self._records(_node(self.arena, first + 1))
            node = _node(self.arena, first)
        else:
            records = []
        records += [int(self.record[place]) for place in added]
        if len(records) > MOST_IN_OVERLAY:
            raise FullError("many boxes have been added beside the tree")
        unit = self._take(2)
        self.arena.image[unit : unit + 2] = [node, self._listed(records)]
        return min(int(self.arena.image[record][0]) for record in records), unit, 1, kind_word(BOTH, OVERLAY)

    def _leaf(self, node: Node, region: Region, added: list[int], removed: list[int], parts: tuple[_Part, ...]) -> Node:
        gone = {int(self.before.record[self.removed[place]]) for place in removed}
        records = [record for record in self._records(node) if record not in gone]
        records += [int(self.record[place]) for place in added]
        if parts and parts[-1].overlay:
            return self._listed(records)
        records.sort(key=lambda record: int(self.arena.image[record][0]))
        if len(records) > LONGEST_LEAF:
            return self._built(np.flatnonzero(np.isin(self.record, records)), region, parts)
        return self._listed(records)

    # -- within --------------------------------------------------------------------------------------------------------

    def _records(self, node: Node) -> list[int]:
        """Of a leaf, in order."""
        records: list[int] = []
        while node[3] & 0xFF == LEAF_AND_MORE:
            records += node[:2]
            node = _node(self.arena, node[2])
        return records + [record for record in node[:3] if record]

    def _listed(self, records: list[int]) -> Node:
        """A leaf of those records."""
        records = sorted(records, key=lambda record: int(self.arena.image[record][0]))
        if len(records) <= MOST_IN_LEAF:
            padded = [*records, 0, 0, 0]
            return padded[0], padded[1], padded[2], kind_word(LEAF) | self._lowest(records)
        unit = self._take(1)
        self.arena.image[unit] = self._listed(records[MOST_IN_LEAF - 1 :])
        return records[0], records[1], unit, kind_word(LEAF_AND_MORE) | self._lowest(records)

    def _lowest(self, records: list[int]) -> int:
        return int(self.arena.image[records[0]][0]) & LOWEST_MASK if records else 0

    def _built(self, boxes: Numbers, region: Region, parts: tuple[_Part, ...]) -> Node:
        """A tree of the boxes, which are in their order."""
        unit = self._take(1)
        builder = Builder(self.boxes, self.record, self.order, self.arena, self.tuning)
        waiting = sum(part.waits for part in parts)
        builder.build(Level.of_one(region, unit, boxes, pending=waiting, state=DIVIDED))
        return _node(self.arena, unit)

    def _meeting(self, region: Region, parts: tuple[_Part, ...]) -> Numbers:
        """The boxes that meet the region, of those that belong to the parts."""
        meets = np.ones(self.boxes.count, dtype=bool)
        for word, (low, high) in enumerate(region):
            meets &= (self.boxes.low[word] <= high) & (self.boxes.high[word] >= low)
        for part in parts:
            if part.wide is not None:
                low, high = self.boxes.low[part.word], self.boxes.high[part.word]
                meets &= (np.minimum(high, part.bounds[1]) - np.maximum(low, part.bounds[0]) >= part.width) == part.wide
        return np.flatnonzero(meets)

    def _range(self, of_added: bool, place: int, word: int) -> tuple[int, int]:
        boxes, box = (self.boxes, place) if of_added else (self.before.boxes, self.removed[place])
        return int(boxes.low[word, box]), int(boxes.high[word, box])

    @staticmethod
    def _covers(boxes: Boxes, box: int, region: Region) -> bool:
        lows, highs = boxes.low[:, box].tolist(), boxes.high[:, box].tolist()
        return all(low <= bounds[0] and high >= bounds[1] for low, high, bounds in zip(lows, highs, region, strict=True))

    def _take(self, units: int) -> int:
        return int(self.arena.take(np.array([units], dtype=np.int64))[0])


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a BOTH, in whose node's region the bounds of a word are these."""

    word: int
    bounds: tuple[int, int]
    width: int
    wide: bool | None
    """It has the boxes that are as wide within the bounds, or those that are not; None: it may have either."""
    overlay: bool = False
    """It is the second part of an overlay: a leaf, whose records hide none."""
    waits: bool = False
    """While it is looked at another waits."""
    beside: bool = False
    """That other is an overlay."""

    def has(self, low: int, high: int) -> bool:
        return self.wide is None or (min(high, self.bounds[1]) - max(low, self.bounds[0]) >= self.width) == self.wide


def reclaim(classifier: Classifier, *others: Classifier) -> Classifier:
    """The classifier with all units free that neither it nor the others use, which share its map: once no packet can be in any tree but
    theirs."""
    arena = classifier.arena
    used = np.zeros(len(arena.image), dtype=bool)
    used[:HEADER_UNITS] = True
    for each in (classifier, *others):
        units = record_units(each.boxes.word_count)
        for unit in range(units):
            used[each.record + unit] = True
        used[units_below(arena.image, each.root)] = True
    bounds = np.flatnonzero(np.diff(np.concatenate(([True], used, [True])).astype(np.int8)))
    holes = [(int(start), int(end - start)) for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
    end = arena.end
    if holes and holes[-1][0] + holes[-1][1] == len(used):
        end = holes.pop()[0]
    return replace(classifier, arena=Arena(arena.image, end, False, holes))


def units_below(image: Words, root: int) -> Numbers:
    """The units of all nodes from that one on."""
    found = [np.array([root], dtype=np.int64)]
    level = found[0]
    while len(level):
        words = image[level].astype(np.int64)
        kind = words[:, 3] & 0xFF
        sizes = np.where(kind == CUT, (words[:, 2] & LIMIT_MASK) + 1, np.where(kind == BOTH, 2, np.where(kind == LEAF_AND_MORE, 1, 0)))
        starts = np.where(kind == LEAF_AND_MORE, words[:, 2], words[:, 1])
        starts, first = np.unique(starts[sizes > 0], return_index=True)
        sizes = sizes[sizes > 0][first]
        level = np.repeat(starts, sizes) + np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found.append(level)
    return np.concatenate(found)


def _node_of(words: Sequence[int]) -> Node:
    base, first, limit, told = words
    return base, first, limit, told
