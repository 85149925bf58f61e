"""Builds the tree of a classifier, level by level: all nodes of a level at once, in arrays.

A node divides its region of packets by one word: at a threshold, or into equal slots of which each is a child. The division is chosen
that leaves a packet the fewest rules (in bits, the logarithm of their number, weighed by how many rules are where) and copies few of
them. Where every division would copy too many, the rules that span the region in one word become a part of their own: a packet looks at
both parts, and needs the second only where that has a rule before the one found. So the tree stays small whatever the rules are.

Before any division of many rules those are parted that are wide in a word in which most others are narrow and far apart: a few steps
find the narrow ones, hardly any of them copied, and of the few that are wide in all such words more may be copied.

After HyperSplit (Qi et al. 2009), HiCuts (Gupta and McKeown 1999), EffiCuts (Vamanan et al. 2010) and CutSplit (Li et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bpf.classifier.arena import Arena
from bpf.classifier.entries import Boxes, Numbers, Words
from bpf.classifier.layout import (
    BOTH,
    BUILT_PENDING,
    CUT,
    KEY,
    LEAF,
    LEAF_AND_MORE,
    LOWEST_MASK,
    MOST_IN_LEAF,
    SPLIT_SHIFT,
    UNIT_WORDS,
    WIDE_SECOND,
    kind_word,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the builder weighs. The figures were found by measuring ClassBench sets."""

    leaf: int = 3
    """Rules that make no division worth while."""
    copying: float = 1.0
    """What doubling the rules by copies costs, in bits."""
    slot: float = 0.05
    """What doubling the slots costs, in bits."""
    most_copies: float = 3.0
    """Rules in all children for each in the node; above that it gets parts."""
    least_gain: float = 0.5
    """In bits, of a division; below that it gets parts."""
    slots_per_rule: float = 2.0
    most_slots: int = 4096
    most_entries: float = 10.0
    """Places of rules in the tree for each rule; beyond that no rule is copied."""
    most_levels: int = 48
    partings: int = 3
    """Of all rules, before any division, at most;"""
    least_parted: int = 256
    """of so many at least."""
    wide: int = 8
    """Rules are wide that are at least a region's width divided by two to the power of this."""
    least_wide: int = 64
    """One in so many must be, or more,"""
    least_apart: float = 3.0
    """and the others so many bits apart, times their share."""
    few: int = 8
    """One rule in so many or fewer, wide in each of these words, are few."""
    copying_of_few: float = 0.2
    most_copies_of_few: float = 6.0


DEFAULT: Final = Tuning()
_NODE: Final = 34
"""Bits below the number of the node, in a word that sorts by node and number."""
DIVIDED, UNDIVIDED, FEW = 0, 1, 2
"""Nodes below a division; the one that may be parted before any; and those from which on there are few rules."""


@dataclass(slots=True)
class Level:
    """Nodes that are not yet written: their regions, and the boxes in each."""

    low: Numbers
    """[word, node]: the region."""
    high: Numbers
    unit: Numbers
    """[node]: where it is to be written,"""
    run: Numbers
    """and how often, one behind the other."""
    pending: Numbers
    """Second parts that wait while this is looked at."""
    state: Numbers
    """DIVIDED, UNDIVIDED or FEW."""
    node: Numbers
    """[entry]: in ascending order,"""
    box: Numbers
    """and of one node in the order of the boxes."""

    @property
    def count(self) -> int:
        return len(self.unit)

    @classmethod
    def of_one(cls, region: Sequence[tuple[int, int]], unit: int, boxes: Numbers, *, pending: int = 0, state: int = UNDIVIDED) -> Level:
        """One node."""
        low, high = (np.array([each[side] for each in region], dtype=np.int64).reshape(-1, 1) for side in (0, 1))
        one = np.ones(1, dtype=np.int64)
        return cls(low, high, one * unit, one, one * pending, one * state, np.zeros(len(boxes), dtype=np.int64), boxes)


@dataclass(slots=True)
class Builder:
    """Writes trees of `boxes` into `arena`; `record` and `order` are those of each box."""

    boxes: Boxes
    record: Numbers
    order: Numbers
    arena: Arena
    tuning: Tuning = DEFAULT
    entries: int = 0
    """Places of rules in leaves."""
    nodes: int = 0
    levels: int = 0
    _budget: float = 0.0

    def build(self, level: Level) -> None:
        """Write the nodes of `level` and all below them."""
        self._budget = self.tuning.most_entries * max(len(level.box), 64)
        depth = 0
        while level.count:
            self.levels = max(self.levels, depth + 1)
            level = self._level(level, depth)
            depth += 1

    # -- one level -----------------------------------------------------------------------------------------------------

    def _level(self, level: Level, depth: int) -> Level:
        self.nodes += level.count
        low, high, full = self._clipped(level)
        covering = full.all(axis=0)
        if covering.any():
            first = np.full(level.count, len(level.node), dtype=np.int64)
            places = np.flatnonzero(covering)
            np.minimum.at(first, level.node[places], places)
            kept = np.arange(len(level.node)) <= first[level.node]
            level.node, level.box = level.node[kept], level.box[kept]
            low, high, full = low[:, kept], high[:, kept], full[:, kept]
        counts = np.bincount(level.node, minlength=level.count)
        divided = counts > self.tuning.leaf
        if depth >= self.tuning.most_levels:
            divided[:] = False
        best = _Best.none(level.count)
        if divided.any():
            self._write_leaves(level, counts, ~divided)
            level, chosen = _subset(level, divided)
            low, high, full = low[:, chosen], high[:, chosen], full[:, chosen]
            counts = counts[divided]
            parting = self._parting(level, counts, low, high) if depth < self.tuning.partings else None
            if parting is None:
                level.state[(level.state == UNDIVIDED) & (counts * self.tuning.few <= self.boxes.count)] = FEW
            best = self._choose(level, counts, low, high, full)
        else:
            self._write_leaves(level, counts, ~divided)
            return _empty(level)
        parts, leaves = self._decide(level, counts, full, best)
        if parting is not None:
            parts[parting.node], leaves[parting.node] = True, False
            best.word[parting.node], best.base[parting.node], best.shift[parting.node] = parting.word, parting.width, WIDE_SECOND
        if leaves.any():
            self._write_leaves(level, counts, leaves)
        if leaves.all():
            return _empty(level)
        return self._children(level, low, high, best, parts, leaves)

    def _clipped(self, level: Level) -> tuple[Numbers, Numbers, Bools]:
        """The boxes within their nodes' regions, and where they span them."""
        region_low, region_high = level.low[:, level.node], level.high[:, level.node]
        low = np.maximum(self.boxes.low[:, level.box], region_low)
        high = np.minimum(self.boxes.high[:, level.box], region_high)
        return low, high, (low == region_low) & (high == region_high)

    # -- choosing ------------------------------------------------------------------------------------------------------

    def _choose(self, level: Level, counts: Numbers, low: Numbers, high: Numbers, full: Bools) -> _Best:
        best = _Best.none(level.count)
        bits = np.log2(counts)
        starts = np.cumsum(counts) - counts
        for word in range(len(low)):
            active = counts - np.add.reduceat(full[word].astype(np.int64), starts)
            if not active.any():
                continue
            # Only nodes with rules that do not span the region in this word.
            within = active > 0
            entries = within[level.node]
            if within.all():
                index, node = np.arange(level.count), level.node
                word_low, word_high = low[word], high[word]
            else:
                index = np.flatnonzero(within)
                number = np.cumsum(within) - 1
                node = number[level.node[entries]]
                word_low, word_high = low[word][entries], high[word][entries]
            region = level.low[word][index], level.high[word][index]
            copying = np.where(level.state[index] == FEW, self.tuning.copying_of_few, self.tuning.copying)
            view = _Word(word, index, node, word_low, word_high, region[0], region[1], counts[index], bits[index], copying)
            self._choose_threshold(view, best)
            self._choose_cut(view, best)
        return best

    def _choose_threshold(self, view: _Word, best: _Best) -> None:
        node, counts = view.node, view.counts
        starts = np.cumsum(counts) - counts
        key = node << _NODE
        lows, highs = np.sort(key + view.low), np.sort(key + view.high)
        from_low = view.low > view.region_low[node]
        from_high = view.high < view.region_high[node]
        threshold = np.concatenate((view.low[from_low], view.high[from_high] + 1))
        at = np.concatenate((node[from_low], node[from_high]))
        if not len(at):
            return
        asked = np.unique((at << _NODE) + threshold)
        at, threshold = asked >> _NODE, asked & ((1 << _NODE) - 1)
        left = np.searchsorted(lows, asked) - starts[at]
        right = counts[at] - (np.searchsorted(highs, asked) - starts[at])
        total = left + right
        spread = (left * _LOG(left) + right * _LOG(right)) / total
        gain = view.bits[at] - spread - view.copying[at] * np.log2(total / counts[at])
        self._take(view, best, at, gain, total, np.full(len(at), SPLIT_SHIFT), threshold)

    def _choose_cut(self, view: _Word, best: _Best) -> None:
        width = _bit_length(view.region_high - view.region_low)
        most = np.minimum(self.tuning.most_slots, np.maximum(4, self.tuning.slots_per_rule * view.counts))
        for bits in (2, 4, 6, 8, 10, 12, 14, 16):
            usable = ((1 << bits) <= most) & (width > bits)
            if not usable.any():
                break
            entries = usable[view.node]
            index = np.flatnonzero(usable)
            node = (np.cumsum(usable) - 1)[view.node[entries]]
            shift = (width - bits)[index]
            base = view.region_low[index]
            slots = (view.region_high[index] - base >> shift) + 1
            offset = np.cumsum(slots + 1) - (slots + 1)
            first = (view.low[entries] - base[node] >> shift[node]) + offset[node]
            last = (view.high[entries] - base[node] >> shift[node]) + offset[node] + 1
            size = int(offset[-1] + slots[-1] + 1)
            begun, ended = np.bincount(first, minlength=size), np.bincount(last, minlength=size)
            held = np.cumsum(begun - ended)
            changed = (begun + ended) > 0
            changed[offset] = True
            held[~changed] = 0
            total = np.add.reduceat(held, offset)
            spread = np.add.reduceat(held * _LOG(held), offset) / np.maximum(total, 1)
            counts = view.counts[index]
            copied = view.copying[index] * np.log2(np.maximum(total, counts) / counts)
            gain = view.bits[index] - spread - copied - self.tuning.slot * bits
            self._take(view, best, index, gain, total, shift, base, single=True)

    @staticmethod
    def _take(
        view: _Word, best: _Best, at: Numbers, gain: Floats, total: Numbers, shift: Numbers, base: Numbers, *, single: bool = False
    ) -> None:
        """Note what is better than what was best. `at` is ascending."""
        if not single:
            first = np.flatnonzero(np.concatenate(([True], at[1:] != at[:-1])))
            highest = np.maximum.reduceat(gain, first)
            nodes = at[first]
            where = np.flatnonzero(gain == np.repeat(highest, np.diff(np.append(first, len(at)))))
            _, once = np.unique(at[where], return_index=True)
            chosen = where[once]
            at, gain, total, shift, base = nodes, gain[chosen], total[chosen], shift[chosen], base[chosen]
        node = view.index[at]
        better = gain > best.gain[node]
        node = node[better]
        best.gain[node] = gain[better]
        best.total[node] = total[better]
        best.word[node] = view.word
        best.shift[node] = shift[better]
        best.base[node] = base[better]

    def _decide(self, level: Level, counts: Numbers, full: Bools, best: _Best) -> tuple[Bools, Bools]:
        """Which nodes get two parts (and by which word, noted in `best`), and which become leaves."""
        copies = best.total / counts
        tight = self.entries + len(level.box) > self._budget
        most = 1.0 if tight else np.where(level.state == FEW, self.tuning.most_copies_of_few, self.tuning.most_copies)
        poor = (copies > most) | (best.gain < self.tuning.least_gain)
        wanted = poor & (counts > 4 * self.tuning.leaf) & (level.pending < BUILT_PENDING)
        starts = np.cumsum(counts) - counts
        spanning = np.add.reduceat(full.astype(np.int64), starts, axis=1)
        smaller = np.minimum(spanning, counts - spanning)
        word = smaller.argmax(axis=0)
        size = smaller[word, np.arange(level.count)]
        parts = wanted & (size >= np.maximum(4, counts // 50))
        best.word[parts] = word[parts]
        best.shift[parts] = WIDE_SECOND
        best.base[parts] = (level.high - level.low)[word, np.arange(level.count)][parts]
        leaves = ~parts & ((best.gain < 0.01) | (tight & (copies > 1.0)))
        return parts, leaves

    def _parting(self, level: Level, counts: Numbers, low: Numbers, high: Numbers) -> _Parting | None:
        """Of the node that has not been divided yet: by the word in which the most rules are narrow and far apart, if that is enough."""
        tuning = self.tuning
        best, most = None, tuning.least_apart
        for node in np.flatnonzero((level.state == UNDIVIDED) & (counts >= tuning.least_parted)).tolist():
            mine, count = level.node == node, int(counts[node])
            for word in range(len(low)):
                region = int(level.low[word, node]), int(level.high[word, node])
                values = region[1] - region[0] + 1
                width = values >> tuning.wide
                is_narrow = high[word][mine] - low[word][mine] < width
                narrow = int(is_narrow.sum())
                if narrow == 0 or (count - narrow) * tuning.least_wide < count:
                    continue
                held = np.bincount((low[word][mine][is_narrow] - region[0]) * min(2 * narrow, tuning.most_slots) // values)
                apart = (np.log2(narrow) - (held * _LOG(held)).sum() / narrow) * narrow / count
                if apart > most:
                    best, most = _Parting(node, word, width), apart
        return best

    # -- writing -------------------------------------------------------------------------------------------------------

    def _children(self, level: Level, low: Numbers, high: Numbers, best: _Best, parts: Bools, leaves: Bools) -> Level:
        """Write the nodes that are divided, and return their children."""
        count = level.count
        numbers = np.arange(count)
        split = ~parts & ~leaves & (best.shift == SPLIT_SHIFT)
        cut = ~parts & ~leaves & ~split
        entry_word = best.word[level.node]
        places = np.arange(len(level.node))
        own_low, own_high = low[entry_word, places], high[entry_word, places]
        region_low, region_high = level.low[best.word, numbers], level.high[best.word, numbers]
        slots = np.where(cut, (region_high - region_low >> np.minimum(best.shift, 40)) + 1, 2)
        slots[leaves] = 0
        # Runs of slots with the same rules are one child.
        offset = np.cumsum(slots + 1) - (slots + 1)
        of_split, of_part, base = split[level.node], parts[level.node], best.base[level.node]
        shift = np.where(cut, best.shift, 0)[level.node]
        first = np.where(of_split, own_high < base, own_low - region_low[level.node] >> shift)
        last = np.where(of_split, own_low < base, own_high - region_low[level.node] >> shift)
        is_wide = own_high - own_low >= base
        first = np.where(of_part, is_wide, first)
        last = np.where(of_part, is_wide, last)
        live = ~leaves[level.node]
        first = (first + offset[level.node])[live]
        last = (last + offset[level.node])[live]
        box = level.box[live]
        size = int(offset[-1] + slots[-1] + 1)
        begins = np.zeros(size + 1, dtype=bool)
        begins[first] = True
        begins[last + 1] = True
        begins[offset] = True
        begins[offset + 1] |= split | parts
        begins[offset + slots] = True  # one behind the last slot
        begins = begins[:size]
        begin = np.flatnonzero(begins)
        parent = np.repeat(numbers, slots + 1)[begin]
        real = begin < (offset + slots)[parent]
        run_of = (np.cumsum(real) - 1)[np.cumsum(begins) - 1]
        end = np.append(begin[1:], size)[real]
        begin, parent = begin[real], parent[real]
        # Where they are written.
        divided = ~leaves
        units = np.zeros(count, dtype=np.int64)
        units[divided] = self.arena.take(slots[divided])
        self._write_nodes(level, best, parts, split, units, slots, divided, box, first, run_of)
        children = _children_regions(level, best, parent, begin - offset[parent], end - offset[parent], split, cut)
        is_first = begin == offset[parent]
        pending = level.pending[parent] + (parts[parent] & is_first)
        state = level.state[parent]
        state[(state == UNDIVIDED) & (is_first | ~parts[parent])] = DIVIDED
        # The rules of each.
        repeated = run_of[last] - run_of[first] + 1
        node = np.repeat(run_of[first], repeated) + _ramps(repeated)
        box = np.repeat(box, repeated)
        order = np.argsort(node, kind="stable")
        return Level(*children, units[parent] + begin - offset[parent], end - begin, pending, state, node[order], box[order])

    def _write_nodes(
        self,
        level: Level,
        best: _Best,
        parts: Bools,
        split: Bools,
        units: Numbers,
        slots: Numbers,
        divided: Bools,
        box: Numbers,
        first: Numbers,
        run_of: Numbers,
    ) -> None:
        words = np.zeros((level.count, UNIT_WORDS), dtype=np.uint32)
        words[:, 0] = np.where(split, best.base, level.low[best.word, np.arange(level.count)])
        words[:, 1] = units
        lowest = self.order[level.box[np.searchsorted(level.node, np.arange(level.count))]]
        words[:, 2] = np.where(parts, best.base, slots - 1 | lowest & LOWEST_MASK)
        words[:, 3] = np.where(parts, kind_word(BOTH), kind_word(CUT)) | best.shift << 8 | best.word * KEY << 16
        if parts.any():
            # The lowest order in the second part.
            offset = np.cumsum(slots + 1) - (slots + 1)
            lowest = np.full(int(offset[-1] + slots[-1] + 2), 0xFFFF_FFFF, dtype=np.int64)
            np.minimum.at(lowest, first, self.order[box])
            words[parts, 0] = lowest[offset[parts] + 1]
        self._write(level.unit[divided], level.run[divided], words[divided])

    def _write_leaves(self, level: Level, counts: Numbers, leaves: Bools) -> None:
        chosen = np.flatnonzero(leaves)
        if not len(chosen):
            return
        counts = counts[chosen]
        self.entries += int(counts.sum())
        entries = leaves[level.node]
        records = self.record[level.box[entries]]
        starts = np.cumsum(counts) - counts
        words = np.zeros((len(chosen), UNIT_WORDS), dtype=np.uint32)
        long = counts > MOST_IN_LEAF
        within = np.where(long, MOST_IN_LEAF - 1, counts)
        words[np.repeat(np.arange(len(chosen)), within), _ramps(within)] = records[np.repeat(starts, within) + _ramps(within)]
        words[:, 3] = np.where(long, kind_word(LEAF_AND_MORE), kind_word(LEAF))
        held = counts > 0
        words[held, 3] |= (self.order[level.box[entries]][starts[held]] & LOWEST_MASK).astype(np.uint32)
        for each in np.flatnonzero(long).tolist():
            words[each, 2] = self._write_rest(records[starts[each] + MOST_IN_LEAF - 1 : starts[each] + counts[each]])
        self._write(level.unit[chosen], level.run[chosen], words)

    def _write_rest(self, records: Numbers) -> int:
        """Write what a leaf goes on with, and return its unit."""
        heads = range(0, max(len(records) - 1, 1), MOST_IN_LEAF - 1)
        units = self.arena.take(np.ones(len(heads), dtype=np.int64)).tolist()
        for place, (head, unit) in enumerate(zip(heads, units, strict=True)):
            if place < len(units) - 1:
                words = [*records[head : head + MOST_IN_LEAF - 1].tolist(), units[place + 1], kind_word(LEAF_AND_MORE)]
            else:
                rest = records[head:].tolist()
                words = [*rest, *[0] * (MOST_IN_LEAF - len(rest)), kind_word(LEAF)]
            self.arena.image[unit] = words
        return int(units[0])

    def _write(self, units: Numbers, runs: Numbers, words: Words) -> None:
        self.arena.image[np.repeat(units, runs) + _ramps(runs)] = np.repeat(words, runs, axis=0)


@dataclass(frozen=True, slots=True)
class _Parting:
    """Of a node before any division."""

    node: int
    word: int
    width: int
    """Of the narrowest wide rule there, less 1."""


@dataclass(slots=True)
class _Best:
    """[node]: the best division yet."""

    gain: Floats
    total: Numbers
    word: Numbers
    shift: Numbers
    base: Numbers

    @classmethod
    def none(cls, count: int) -> _Best:
        return cls(np.full(count, -1e9), *(np.zeros(count, dtype=np.int64) for _ in range(4)))


@dataclass(frozen=True, slots=True)
class _Word:
    """One word of the nodes whose rules differ in it."""

    word: int
    index: Numbers
    """[node]: its number in the level."""
    node: Numbers
    """[entry]"""
    low: Numbers
    high: Numbers
    region_low: Numbers
    """[node]"""
    region_high: Numbers
    counts: Numbers
    bits: Floats
    copying: Floats


def _subset(level: Level, nodes: Bools) -> tuple[Level, Bools]:
    """The level with those nodes alone, and which entries are in them."""
    entries = nodes[level.node]
    numbers = np.cumsum(nodes) - 1
    return (
        Level(
            level.low[:, nodes],
            level.high[:, nodes],
            level.unit[nodes],
            level.run[nodes],
            level.pending[nodes],
            level.state[nodes],
            numbers[level.node[entries]],
            level.box[entries],
        ),
        entries,
    )


def _empty(level: Level) -> Level:
    return _subset(level, np.zeros(level.count, dtype=bool))[0]


def _children_regions(
    level: Level, best: _Best, parent: Numbers, begin: Numbers, end: Numbers, split: Bools, cut: Bools
) -> tuple[Numbers, Numbers]:
    """The regions of the children that are slots `begin` to `end` of their parents."""
    low, high = level.low[:, parent].copy(), level.high[:, parent].copy()
    places = np.arange(len(parent))
    word, shift, base = best.word[parent], best.shift[parent], best.base[parent]
    of_cut, of_split = cut[parent], split[parent]
    own_low, own_high = low[word, places], high[word, places]
    shift = np.where(of_cut, shift, 0)
    low_of_cut = own_low + (begin << shift)
    high_of_cut = np.minimum(own_high, own_low + (end << shift) - 1)
    upper = begin == 0  # of a threshold the numbers from it on come first
    low[word, places] = np.where(of_cut, low_of_cut, np.where(of_split & upper, base, own_low))
    high[word, places] = np.where(of_cut, high_of_cut, np.where(of_split & ~upper, base - 1, own_high))
    return low, high


def _ramps(counts: Numbers) -> Numbers:
    """0, 1, ... up to each count."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def _bit_length(numbers: Numbers) -> Numbers:
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def _LOG(numbers: Numbers) -> Floats:  # noqa: N802
    return np.log2(np.maximum(numbers, 1))
