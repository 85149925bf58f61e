"""Where the nodes and records of a tree that has been built stand: a subtree's nodes together, and its records, so that a packet meets few
lines of the caches."""

from __future__ import annotations

import numpy as np

from bpf.classifier.arena import Arena
from bpf.classifier.entries import Numbers
from bpf.classifier.layout import BOTH, CUT, LEAF, LEAF_AND_MORE, LIMIT_MASK


def in_depth_order(arena: Arena, record: Numbers, root: int, units: int) -> tuple[Numbers, int]:
    """Moves all nodes: behind a block of nodes stand those below its first node, then those below its second, and so on. The records, of
    so many units each and not yet written, get places in the order in which leaves name them. Returns these, and the root."""
    image = arena.image
    # Level by level: the blocks (first unit and size), each with the place of its parent among those of the level above.
    starts, sizes, parents = [np.array([root])], [np.ones(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    while True:
        of_node = np.repeat(np.arange(len(starts[-1])), sizes[-1])
        node = np.repeat(starts[-1] - np.cumsum(sizes[-1]) + sizes[-1], sizes[-1]) + np.arange(len(of_node))
        words = image[node].astype(np.int64)
        kind = words[:, 3] & 0xFF
        size = np.where(kind == CUT, (words[:, 2] & LIMIT_MASK) + 1, np.where(kind == BOTH, 2, np.where(kind == LEAF_AND_MORE, 1, 0)))
        start = np.where(kind == LEAF_AND_MORE, words[:, 2], words[:, 1])
        is_new = size > 0
        is_new[1:] &= ~((start[1:] == start[:-1]) & (size[1:] > 0) & (size[:-1] > 0))
        if not is_new.any():
            break
        starts.append(start[is_new])
        sizes.append(size[is_new])
        parents.append(of_node[is_new])
    whole = [size.copy() for size in sizes]
    for level in range(len(whole) - 1, 0, -1):
        np.add.at(whole[level - 1], parents[level], whole[level])
    offsets = [np.zeros(1, dtype=np.int64)]
    for level in range(1, len(whole)):
        before = np.cumsum(whole[level]) - whole[level]
        first = np.searchsorted(parents[level], parents[level])
        offsets.append(offsets[level - 1][parents[level]] + sizes[level - 1][parents[level]] + before - before[first])
    old = np.concatenate(starts)
    size = np.concatenate(sizes)
    new = np.concatenate(offsets)
    ramp = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    source = np.repeat(old, size) + ramp
    target = np.repeat(new, size) + ramp
    nodes = np.zeros((int(size.sum()), 4), dtype=np.uint32)
    nodes[target] = image[source]
    moved = np.zeros(arena.end, dtype=np.int64)
    moved[old] = new + root
    kind = nodes[:, 3] & 0xFF
    is_inner = (kind == CUT) | (kind == BOTH)
    nodes[is_inner, 1] = moved[nodes[is_inner, 1]]
    is_more = kind == LEAF_AND_MORE
    nodes[is_more, 2] = moved[nodes[is_more, 2]]
    # Records.
    is_record = np.stack((kind >= LEAF, kind >= LEAF, kind == LEAF), axis=1) & (nodes[:, :3] > 0)
    named = nodes[:, :3][is_record]
    found, first = np.unique(named, return_index=True)
    places = np.zeros(root + 1, dtype=np.uint32)
    in_order = found[np.argsort(first)]
    places[in_order] = record[: len(in_order)]
    places[np.setdiff1d(record, found)] = record[len(in_order) :]
    nodes[:, :3][is_record] = places[named]
    image[root : root + len(nodes)] = nodes
    arena.end = root + len(nodes)
    return places[record].astype(np.int64), root
