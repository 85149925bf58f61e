"""Where the nodes and the records of a new tree stand: those of a subtree together, so that a packet meets few lines of the caches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bpf.classifier.arena import Arena
from bpf.classifier.entries import Numbers, Words
from bpf.classifier.layout import BOTH, CUT, LEAF, LEAF_AND_MORE, LIMIT_MASK


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Nodes that stand together: the children of one, for all nodes of a level of the tree."""

    start: Numbers
    size: Numbers
    parent: Numbers
    """The place of the block that the parent is in, among those of the level above; ascending."""


def in_depth_order(arena: Arena, record: Numbers, root: int) -> Numbers:
    """Moves the nodes, which begin with the root and are all behind it: each block before what is below its first node, that before what
    is below its second, and so on. The records get the places `record` in the order in which leaves name them, and are not yet written.
    Returns the place of each."""
    levels = _levels(arena.image, root)
    start, size = (np.concatenate([getattr(level, name) for level in levels]) for name in ("start", "size"))
    moved = np.zeros(arena.end, dtype=np.int64)
    moved[start] = root + np.concatenate(_offsets(levels))
    ramp = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    nodes = np.zeros((len(ramp), arena.image.shape[1]), dtype=np.uint32)
    nodes[np.repeat(moved[start] - root, size) + ramp] = arena.image[np.repeat(start, size) + ramp]
    kind = nodes[:, 3] & 0xFF
    for kinds, word in (((CUT, BOTH), 1), ((LEAF_AND_MORE,), 2)):
        named = np.isin(kind, kinds)
        nodes[named, word] = moved[nodes[named, word]]
    places = _in_leaf_order(nodes, record)
    arena.image[root : root + len(nodes)] = nodes
    arena.end = root + len(nodes)
    return places


def _levels(image: Words, root: int) -> list[_Blocks]:
    one = np.ones(1, dtype=np.int64)
    levels = [_Blocks(one * root, one, one * 0)]
    while True:
        above = levels[-1]
        parent = np.repeat(np.arange(len(above.start)), above.size)
        node = np.arange(len(parent)) + np.repeat(above.start - np.cumsum(above.size) + above.size, above.size)
        words = image[node].astype(np.int64)
        kind = words[:, 3] & 0xFF
        size = np.select([kind == CUT, kind == BOTH, kind == LEAF_AND_MORE], [(words[:, 2] & LIMIT_MASK) + 1, 2, 1], 0)
        start = np.where(kind == LEAF_AND_MORE, words[:, 2], words[:, 1])
        chosen = size > 0
        chosen[1:] &= (start[1:] != start[:-1]) | (size[:-1] == 0)  # equal nodes side by side have one block
        if not chosen.any():
            return levels
        levels.append(_Blocks(start[chosen], size[chosen], parent[chosen]))


def _offsets(levels: list[_Blocks]) -> list[Numbers]:
    """Of the blocks of each level, from the root's."""
    below = [level.size.copy() for level in levels]
    for number in reversed(range(1, len(levels))):
        np.add.at(below[number - 1], levels[number].parent, below[number])
    offsets = [np.zeros(1, dtype=np.int64)]
    for above, level, whole in zip(levels, levels[1:], below[1:], strict=False):
        before = np.cumsum(whole) - whole
        eldest = np.searchsorted(level.parent, level.parent)
        offsets.append((offsets[-1] + above.size)[level.parent] + before - before[eldest])
    return offsets


def _in_leaf_order(nodes: Words, record: Numbers) -> Numbers:
    """Names other places in the leaves, and returns them; records that no leaf names come last."""
    kind = nodes[:, 3] & 0xFF
    is_record = np.stack((kind >= LEAF, kind >= LEAF, kind == LEAF), axis=1) & (nodes[:, :3] > 0)
    named = nodes[:, :3][is_record]
    found, first = np.unique(named, return_index=True)
    in_order = np.concatenate((found[np.argsort(first)], np.setdiff1d(record, found)))
    places = np.zeros(int(record.max(initial=0)) + 1, dtype=np.int64)
    places[in_order] = record
    nodes[:, :3][is_record] = places[named]
    return places[record]
