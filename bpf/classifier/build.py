"""A classifier as data: from entries to the bytes of its map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bpf.classifier.arena import Arena
from bpf.classifier.entries import Boxes, Entry, Numbers, Words, boxes_of
from bpf.classifier.keys import Family, KeyField, words_of
from bpf.classifier.layout import UNIT, UNIT_WORDS, record_units, records_of
from bpf.classifier.lookup import Answer, lookup
from bpf.classifier.place import in_depth_order
from bpf.classifier.tree import DEFAULT, Builder, Level, Tuning

MOST_ORDER = 0xFFFF_FFFE


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of a tree."""

    boxes: int
    nodes: int
    levels: int
    entries: int
    """Places of rules in leaves; divided by `boxes` the copies of a rule."""
    units: int

    @property
    def bytes(self) -> int:
        return self.units * UNIT


@dataclass(frozen=True, slots=True)
class Classifier:
    """The rules of a stage in the form in which a program looks them up."""

    family: Family
    keys: tuple[KeyField, ...]
    boxes: Boxes = field(repr=False)
    order: Numbers = field(repr=False)
    """[box]: ascending."""
    record: Numbers = field(repr=False)
    """[box]: the unit of its record."""
    arena: Arena = field(repr=False)
    root: int
    """The unit of the root node."""
    statistics: Statistics
    entries: tuple[Entry, ...] = field(repr=False)
    spans: Numbers = field(repr=False)
    """[entry]: the first of its boxes; and one more, their number."""

    @property
    def image(self) -> Words:
        """[unit, word]: as far as it is used."""
        return self.arena.image[: self.arena.end]

    def value(self, cell: int = 0) -> bytes:
        """Of its map, as far as it is used, with the tree at that root cell."""
        image = self.image.copy()
        image.reshape(-1).view(np.uint64)[cell] = self.root
        return image.tobytes()

    def words(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """The words of a packet whose keys are `numbers`."""
        return tuple(word for key, number in zip(self.keys, numbers, strict=True) for word in words_of(number, key.words))

    def lookup(self, numbers: Sequence[int]) -> Answer:
        """What a packet with those keys meets."""
        return lookup(self.arena.image, self.root, self.words(numbers))

    def number_of(self, record: int) -> int:
        """The rule's that the record is of."""
        return int(self.arena.image[record][1])


def build(family: Family, keys: Sequence[KeyField], entries: Sequence[Entry], *, tuning: Tuning = DEFAULT) -> Classifier:
    """The classifier of the entries, the first of which that contains a packet wins."""
    boxes, spans = boxes_of(keys, entries)
    arena = Arena.empty()
    order = (np.arange(boxes.count) + 1) * (MOST_ORDER // (boxes.count + 1))
    units = record_units(boxes.word_count)
    arena.end = -(-arena.end // units) * units  # records of 4 units stand in one cache line each
    record = arena.take(np.full(boxes.count, units, dtype=np.int64))
    root = int(arena.take(np.ones(1, dtype=np.int64))[0])
    builder = Builder(boxes, record, order, arena, tuning)
    builder.build(whole(keys, root, np.arange(boxes.count)))
    record = in_depth_order(arena, record, root)
    rows = records_of(boxes, order)
    for unit in range(units):
        arena.image[record + unit] = rows[:, UNIT_WORDS * unit : UNIT_WORDS * (unit + 1)]
    statistics = Statistics(boxes.count, builder.nodes, builder.levels, builder.entries, arena.end)
    return Classifier(family, tuple(keys), boxes, order, record, arena, root, statistics, tuple(entries), spans)


def whole(keys: Sequence[KeyField], root: int, boxes: Numbers) -> Level:
    """The one node whose region is all packets."""
    bounds = [bounds for key in keys for bounds in ([key.any] if key.words == 1 else [(0, 0xFFFF_FFFF)] * key.words)]
    return Level.of_one(bounds, root, boxes)
