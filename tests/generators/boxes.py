"""Boxes for classifiers that nest, cross and repeat, packets at their borders, and the first box that contains a packet by definition."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bpf.classifier import Classifier, Entry, KeyField


def first_of(entries: Sequence[Entry], numbers: Sequence[int]) -> int | None:
    """By definition."""
    for entry in entries:
        if all(low <= number <= high for (low, high), number in zip(entry.box, numbers, strict=True)):
            return entry.number
    return None


def found(classifier: Classifier, numbers: Sequence[int]) -> int | None:
    record = classifier.lookup(numbers).record
    return None if record is None else classifier.number_of(record)


def a_range(rng: random.Random, key: KeyField, near: Sequence[int]) -> tuple[int, int]:
    """Any, a prefix, one number, a border of another range, or whatever."""
    bits = key.size * 8
    highest = (1 << bits) - 1
    match rng.randrange(6):
        case 0:
            return key.any
        case 1:
            short = rng.randrange(bits + 1)
            low = rng.getrandbits(bits) >> short << short
            return low, low + (1 << short) - 1
        case 2 if near:
            number = min(rng.choice(near), highest)
            return number, min(number + rng.randrange(4), highest)
        case 3 if near:
            low, high = sorted(min(number, highest) for number in rng.choices(near, k=2))
            return low, high
        case _:
            low, high = sorted((rng.getrandbits(bits), rng.getrandbits(bits)))
            return low, high


def entries_of(rng: random.Random, keys: Sequence[KeyField], count: int) -> list[Entry]:
    """Boxes that nest, cross and repeat."""
    entries: list[Entry] = []
    for number in range(count):
        near = [[bound for entry in entries[-20:] for bound in entry.box[place]] for place in range(len(keys))]
        box = tuple(a_range(rng, key, bounds) for key, bounds in zip(keys, near, strict=True))
        if entries and rng.random() < 0.2:
            other = rng.choice(entries).box
            box = tuple(rng.choice(pair) for pair in zip(box, other, strict=True))
        entries.append(Entry(box, number, slot=number, outcome=rng.randrange(4)))
    return entries


def a_packet(rng: random.Random, keys: Sequence[KeyField], entries: Sequence[Entry]) -> list[int]:
    """Numbers of keys at a border of a box, or just outside; some absent."""
    entry = rng.choice(entries)
    numbers = []
    for place, key in enumerate(keys):
        low, high = entry.box[place] if rng.random() < 0.9 else rng.choice(entries).box[place]
        number = rng.choice((low, high, low - 1, high + 1, rng.randint(low, high)))
        highest = (1 << key.size * 8) - 1
        number = min(max(number, 0), highest)
        numbers.append(key.absent if key.absent is not None and rng.random() < 0.1 else number)
    return numbers


def mostly_narrow(rng: random.Random, keys: Sequence[KeyField], count: int) -> list[Entry]:
    """Boxes for five-tuples, of which each has one address that is narrow, or the other, and few neither: what a builder parts."""
    entries: list[Entry] = []
    for number in range(count):
        narrow = rng.choice(((0,), (0,), (1,), (1,), (0, 1), (0, 1), ()))
        if rng.random() < 0.05:
            narrow = ()
        box = [key.any for key in keys]
        for place in (0, 1):
            bits = keys[place].size * 8
            free = (
                rng.choice((0, 0, 1, 8, bits - 9, bits - 8))
                if place in narrow
                else rng.choice((bits - 7, bits - 6, bits - 2))
                if not narrow
                else bits
            )
            low = rng.getrandbits(bits) >> free << free
            box[place] = (low, low + (1 << free) - 1)
        for place in (2, 3):
            if rng.random() < 0.4:
                box[place] = rng.choice(((80, 80), (443, 443), (1024, 65535)))
        box[4] = rng.choice(((6, 6), (17, 17), keys[4].any))
        entries.append(Entry(tuple(box), number, slot=number, outcome=rng.randrange(4)))
    return entries
