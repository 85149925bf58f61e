"""The rules of a classifier: boxes in their order, and what is done with the packet that a box is the first to contain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bpf.classifier.keys import KeyField, Range, word_boxes

NOT_COUNTED: Final = 0xFFFF_FFFF
"""The slot of a rule without a counter."""

Words = NDArray[np.uint32]
Numbers = NDArray[np.int64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule, or one of several boxes of a rule; the first in the order that contains a packet wins."""

    box: tuple[Range, ...]
    """A range for each key of the classifier, in its order."""
    number: int
    """The rule's, below 2**32 - 1; free to choose, and the same for all boxes of one rule. Rules whose numbers stay what they are over
    changes are changed with fewer writes."""
    slot: int = NOT_COUNTED
    """Of the rule's counter."""
    outcome: int = 0
    """Below 256: what the rule says, as the caller has numbered it."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Entries as arrays: a column for each box of words, in order."""

    low: Numbers
    """[word, box]"""
    high: Numbers
    number: Numbers
    slot: Numbers
    outcome: Numbers

    @property
    def count(self) -> int:
        return int(self.low.shape[1])

    @property
    def word_count(self) -> int:
        return int(self.low.shape[0])


def boxes_of(keys: Sequence[KeyField], entries: Sequence[Entry]) -> tuple[Boxes, Numbers]:
    """The boxes, and the first of each entry (and behind the last, their number). An entry whose range of a long key is no prefix becomes
    several boxes of words."""
    wide = any(key.words > 1 for key in keys)
    rows: list[tuple[Range, ...]] = []
    facts: list[tuple[int, int, int]] = []
    spans = [0]
    for entry in entries:
        fact = (entry.number, entry.slot, entry.outcome)
        for box in _word_boxes(keys, entry.box) if wide else (entry.box,):
            rows.append(box)
            facts.append(fact)
        spans.append(len(rows))
    words = sum(key.words for key in keys)
    bounds = np.array(rows, dtype=np.int64).reshape(len(rows), words, 2)
    told = np.array(facts, dtype=np.int64).reshape(len(rows), 3)
    boxes = Boxes(
        np.ascontiguousarray(bounds[:, :, 0].T),
        np.ascontiguousarray(bounds[:, :, 1].T),
        *(np.ascontiguousarray(told[:, column]) for column in range(3)),
    )
    return boxes, np.array(spans, dtype=np.int64)


def _word_boxes(keys: Sequence[KeyField], box: tuple[Range, ...]) -> Iterator[tuple[Range, ...]]:
    choices = [list(word_boxes(low, high, key.words)) for key, (low, high) in zip(keys, box, strict=True)]
    for chosen in product(*choices):
        yield tuple(bounds for words in chosen for bounds in words)
