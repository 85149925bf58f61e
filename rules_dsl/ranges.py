"""Sorted, disjoint, inclusive integer ranges: the one form of every set of numbers and addresses."""

from __future__ import annotations

from collections.abc import Iterable

from rules_dsl.expression import Ranges


def merged(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """The union of inclusive (low, high) pairs in any order, as sorted ranges that neither overlap nor touch."""
    ordered = sorted(pairs)
    if len(ordered) < 2:
        return tuple(ordered)
    result: list[tuple[int, int]] = []
    low, high = ordered[0]
    for next_low, next_high in ordered:
        if next_low > high + 1:
            result.append((low, high))
            low, high = next_low, next_high
        elif next_high > high:
            high = next_high
    result.append((low, high))
    return tuple(result)


def merged_packed(packed: list[int], bits: int) -> Ranges:
    """As `merged`, of pairs that are numbers: the low end `bits` higher than the high end. Sorts them in place; for very many."""
    packed.sort()
    mask = (1 << bits) - 1
    result: list[tuple[int, int]] = []
    low, high = 0, -2
    for each in packed:
        next_high = each & mask
        if each >> bits > high + 1:
            if high >= 0:
                result.append((low, high))
            low, high = each >> bits, next_high
        elif next_high > high:
            high = next_high
    if high >= 0:
        result.append((low, high))
    return tuple(result)
