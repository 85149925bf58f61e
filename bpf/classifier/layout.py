"""How a classifier lies in its map: one value of units of 16 bytes, which programs read by address.

Offsets are in units, numbers in host order. First the header: root cells of 8 bytes, each with the offset of a root node (0: no rules).
Then, anywhere:

* a node, one unit: four words of 32 bits. The lowest byte of the last is its kind, the next two are a shift and the place of a word of the
  packet's keys, in bytes.
  - CUT: child number (word - base mod 2**64) >> shift of the block at `first`. Words are base, first, the block's last
    number (LIMIT_MASK) with the lowest order below (LOWEST_MASK). So a shift of 63 tells numbers from `base` on (child 0) from those
    below (child 1).
  - BOTH: two parts of the rules, the nodes at `first`, to be looked at both; the words are the lowest order in the second, `first`, and a
    width. The second part has the rules that are wide in the place's word: whose highest number, within the node's region, is at least so
    much above the lowest. With a shift of OVERLAY instead of WIDE_SECOND the second part is a leaf of rules that came later.
  - LEAF: the words are the units of up to 3 records, 0 where there are fewer; the fourth has the lowest order (LOWEST_MASK).
  - LEAF_AND_MORE: the words are the units of 2 records, and of a node that goes on.
* a record, a rule's box: order, number, slot and outcome, 4 bytes each, then for each word its lowest number and how many are above it.

Of two rules the one with the lower order wins. The records of a leaf, and of those behind it, stand in that order."""

from __future__ import annotations

from typing import Final

import numpy as np

from bpf.classifier.entries import Boxes, Numbers, Words

UNIT: Final = 16
"""Bytes."""
UNIT_WORDS: Final = UNIT // 4
CELLS: Final = 16
"""Root cells."""
CELL: Final = 8
"""Bytes of one."""
HEADER_UNITS: Final = CELLS * CELL // UNIT

CUT, BOTH, LEAF, LEAF_AND_MORE = 0, 1, 2, 3
"""Kinds of nodes."""
WIDE_SECOND, OVERLAY = 1, 2
"""What the second part of a BOTH is for: wide rules; rules that were added."""
MOST_IN_LEAF: Final = 3
"""Records; of a leaf that goes on one fewer."""
MOST_PENDING: Final = 8
"""Second parts that a packet has still to look at, at any time."""
BUILT_PENDING: Final = 5
"""Of them, those of a tree as it is built; the others are for overlays."""
LIMIT_MASK: Final = 0xFFFF
"""Of the third word of a CUT: the last number of its block."""
LOWEST_MASK: Final = 0xFFFF_0000
"""Of the same, and of the fourth word of a leaf: the lowest order there, its lower bits left out. A packet that has found a rule of that
order or a lower one need not look at the node."""
SPLIT_SHIFT: Final = 63
"""Of a CUT at a threshold."""

KEY: Final = 8
"""Bytes between the words of a packet's keys where a program has them."""
RECORD_HEAD: Final = 4
"""Words of a record before its ranges."""


def kind_word(kind: int, shift: int = 0, place: int = 0) -> int:
    """The last word of a node; the place is of a word of the packet's keys."""
    return kind | shift << 8 | place * KEY << 16


def record_units(words: int) -> int:
    """Of a record with ranges of so many words."""
    return (RECORD_HEAD + 2 * words + UNIT_WORDS - 1) // UNIT_WORDS


def records_of(boxes: Boxes, order: Numbers) -> Words:
    """[box, word]: the records."""
    records = np.zeros((boxes.count, record_units(boxes.word_count) * UNIT_WORDS), dtype=np.uint32)
    records[:, 0] = order
    records[:, 1] = boxes.number
    records[:, 2] = boxes.slot
    records[:, 3] = boxes.outcome
    records[:, RECORD_HEAD : RECORD_HEAD + 2 * boxes.word_count : 2] = boxes.low.T
    records[:, RECORD_HEAD + 1 : RECORD_HEAD + 1 + 2 * boxes.word_count : 2] = (boxes.high - boxes.low).T
    return records
