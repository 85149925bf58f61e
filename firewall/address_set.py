"""The value of an address set's map: built from its ranges, or, where few of them are others than a generation before, changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import ne
from typing import Final

from bpf.prefix_set import FREE_AT
from bpf.prefix_set_change import Change, FullError, PrefixSetWriter, size_of, value_for
from bpf.same_ends import same_ends
from rules_dsl.expression import Ranges

MOST_CHANGES: Final = 64
"""Ranges; of more, building anew takes no longer."""


@dataclass(frozen=True, slots=True)
class AddressSet:
    version: int
    ranges: Ranges
    value: bytes = field(repr=False)
    """As far as it is used."""

    @property
    def size(self) -> int:
        """Of the map."""
        return size_of(self.value)


def address_set(version: int, ranges: Ranges, former: AddressSet | None = None) -> AddressSet:
    if former is not None and former.version == version:
        changes = tuple(islice(_changes(former, ranges), MOST_CHANGES + 1))
        if len(changes) <= MOST_CHANGES:
            value = bytearray(former.size)
            value[: len(former.value)] = former.value
            try:
                return AddressSet(version, ranges, _changed(value, changes))
            except FullError:
                pass
    return AddressSet(version, ranges, bytes(value_for(ranges if version == 4 else (), ranges if version == 6 else ())))


def _changed(value: bytearray, changes: Sequence[Change]) -> bytes:
    with memoryview(value) as memory:
        writer = PrefixSetWriter(memory)
        try:
            writer.change(changes)
        finally:
            writer.release()
    return bytes(value[: int.from_bytes(value[FREE_AT : FREE_AT + 8], "little")])


def _changes(former: AddressSet, ranges: Ranges) -> Iterator[Change]:
    """From the ranges that it has to others: what goes first."""
    old, new = former.ranges, ranges
    start, end = same_ends(old, new, ne)
    for some, others, inside in ((old, new, False), (new, old, True)):
        kept = frozenset(others[start : len(others) - end])
        for low, high in some[start : len(some) - end]:
            if (low, high) not in kept:
                yield Change(former.version, low, high, inside)
