"""A classifier's answer in Python, from the same bytes that the program reads: for tests, and to see what a packet meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bpf.classifier.entries import Words
from bpf.classifier.layout import BOTH, CUT, KEY, LEAF_AND_MORE, LOWEST_MASK, RECORD_HEAD, UNIT_WORDS


@dataclass(frozen=True, slots=True)
class Answer:
    """What a packet found."""

    record: int | None
    """The unit of the first record that contains it."""
    steps: int
    """Nodes that it met."""
    records: int


def lookup(image: Words, root: int, words: Sequence[int]) -> Answer:
    """The answer for a packet with those words of keys, from the root node at the unit `root`."""
    flat = image.reshape(-1)
    best, found, steps, looked = 0xFFFF_FFFF, None, 0, 0
    pending: list[tuple[int, int]] = [(0, root)]
    while pending:
        lowest, unit = pending.pop()
        if lowest >= best:
            continue
        while True:
            steps += 1
            base, first, limit, told = (int(word) for word in image[unit])
            kind, shift, place = told & 0xFF, told >> 8 & 0xFF, (told >> 16) // KEY
            if kind == CUT:
                if limit & LOWEST_MASK >= best:
                    break
                unit = first + ((words[place] - base) % (1 << 64) >> shift)
            elif kind == BOTH:
                pending.append((base, first + 1))
                unit = first
            else:
                if told & LOWEST_MASK >= best:
                    break
                for record in (base, first) if kind == LEAF_AND_MORE else (base, first, limit):
                    order = int(image[record][0]) if record else best
                    if order >= best:
                        break
                    looked += 1
                    if _contains(flat, record, words):
                        best, found = order, record
                        break
                else:
                    if kind == LEAF_AND_MORE:
                        unit = limit
                        continue
                break
    return Answer(found, steps, looked)


def _contains(flat: Words, record: int, words: Sequence[int]) -> bool:
    start = record * UNIT_WORDS + RECORD_HEAD
    bounds = flat[start : start + 2 * len(words)].tolist()
    return all(0 <= word - low <= wide for word, low, wide in zip(words, bounds[::2], bounds[1::2], strict=True))
