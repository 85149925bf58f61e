"""Changes of an address set in place: spans of addresses put in or taken out of the value that bpf/prefix_set.py describes.

A writer reads the few nodes that a change concerns, writes new ones into free space, and then one cell. No space is used twice, so no
program meets a node that becomes another; when there is no more, the caller loads a new map. A writer that dies leaves the old set
or the new one, and at worst a little less free space. There may be one writer at a time.
"""

from __future__ import annotations

import sys
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bpf.prefix_set import (
    END_AT,
    FREE_AT,
    INSIDE,
    KEY_LIMIT,
    LOW,
    MAGIC,
    MAGIC_AT,
    MOST_KEYS,
    OUTSIDE,
    REACH,
    ROOTS_AT,
    ROOTS_SIZE,
    V4_AT,
    V6_AT,
    Kind,
    Span,
    bitmap,
    bits_of,
    boundaries_of,
    build,
    cells_at,
    cells_place,
    count_of,
    entries_of,
    is_end,
    is_tree,
    keys_place,
    kind_of,
    node,
    numbers_at,
    offset_of,
    runs,
    size_with_room,
    table,
)

Entries = list[tuple[int, int]]
"""(key, cell) of a B-tree's node."""


_BYTE_ORDER: Final = sys.byteorder


class FullError(Exception):
    """There is no space for the change: the set stands as it was, and a new map is to be built from the whole list."""


@dataclass(frozen=True, slots=True)
class Change:
    """A span of addresses that is to be inside, or outside, whatever it was."""

    version: int
    low: int
    high: int
    inside: bool


def value_for(v4: Iterable[Span], v6: Iterable[Span], room: int = 0) -> bytearray:
    """The value for these addresses, sorted spans that neither overlap nor touch, with room for changes, at least `room` bytes. (The
    bytes that are used; those of the free space behind them, up to `size_of`, are zero.)"""
    value = build(v4, v6)
    memoryview(value).cast("Q")[END_AT // 8] = size_with_room(len(value), room)
    return value


def size_of(value: bytes | bytearray | memoryview) -> int:
    """The value's size with its free space."""
    return int(memoryview(value).cast("Q")[END_AT // 8])


class PrefixSetWriter:
    """Changes the set in `value`, which others may read meanwhile."""

    def __init__(self, value: memoryview) -> None:
        self._bytes = value.cast("B")
        self._words = self._bytes.cast("Q")
        if self._words[MAGIC_AT // 8] != MAGIC:
            raise ValueError("these are not the bytes of an address set")
        self._fence = threading.Lock()
        self._fence.acquire()
        self._private: int | None = None
        """Nodes from here on are nobody else's yet; None while each change is one store by itself."""

    @property
    def free(self) -> int:
        """Bytes for changes."""
        return max(0, self._words[END_AT // 8] - REACH - self._words[FREE_AT // 8])

    def change(self, changes: Sequence[Change]) -> None:
        """Make the changes, in order; for whoever reads, all at once. Raises FullError, and then none is made."""
        if not changes:
            return
        roots = self._words[ROOTS_AT // 8]
        if len(changes) == 1 and _is_one_store(changes[0]):
            self._change(roots, changes[0])
            return
        self._private = self._words[FREE_AT // 8]
        try:
            fresh = self.place(bytes(self._bytes[roots : roots + ROOTS_SIZE]))
            for change in changes:
                self._change(fresh, change)
        finally:
            self._private = None
        self._store(ROOTS_AT, fresh)

    def release(self) -> None:
        """Give up the memory."""
        self._words.release()
        self._bytes.release()

    def place(self, data: bytes, multiple: int = 8) -> int:
        """New bytes in free space, which nothing refers to yet; their offset. Raises FullError."""
        offset = -(-self._words[FREE_AT // 8] // multiple) * multiple
        following = offset + (len(data) + 7) // 8 * 8
        if following > self._words[END_AT // 8] - REACH:
            raise FullError(f"the address set has no room for {len(data)} bytes more")
        self._words[FREE_AT // 8] = following  # first: whoever comes after a writer that died does not use them again
        self._bytes[offset : offset + len(data)] = data
        return offset

    # -- one span ------------------------------------------------------------------------------------------------------

    def _change(self, roots: int, change: Change) -> None:
        state = INSIDE if change.inside else OUTSIDE
        if change.version == 4:
            self._change_v4(roots + V4_AT, change.low, change.high, state)
            return
        at = roots + V6_AT
        low, high = change.low >> 64, change.high >> 64
        start, end = change.low & KEY_LIMIT, change.high & KEY_LIMIT
        if low == high and (start, end) != (0, KEY_LIMIT):
            self._assign_low(at, low, start, end, state)
            return
        if start:
            self._assign_low(at, low, start, KEY_LIMIT, state)
            low += 1
        if end != KEY_LIMIT:
            self._assign_low(at, high, 0, end, state)
            high -= 1
        if low <= high:
            self._assign(at, low, high, state, 0)

    def _is_own(self, offset: int) -> bool:
        """What is there may be written at once: nobody reads it, or this store is the whole change."""
        return self._private is None or offset >= self._private

    def _store(self, offset: int, word: int) -> None:
        """One store, behind all others before it."""
        self._fence.release()
        self._fence.acquire()
        self._words[offset // 8] = word

    # -- IPv4 ----------------------------------------------------------------------------------------------------------

    def _change_v4(self, at: int, low: int, high: int, state: int) -> None:
        """Within the cell at `at`, of all IPv4 addresses."""
        bits = 32
        cell = self._words[at // 8]
        while kind_of(cell) is Kind.TABLE and self._is_own(offset_of(cell)):
            within = bits - 8
            if low >> within != high >> within:
                break
            at = offset_of(cell) + 8 * (low >> within)
            low, high, bits = low & (1 << within) - 1, high & (1 << within) - 1, within
            cell = self._words[at // 8]
        if kind_of(cell) is Kind.BITMAP and low >> 6 == high >> 6 and self._is_own(offset_of(cell)):
            self._change_bits(offset_of(cell) + 8 * (low >> 6), low & 63, high & 63, state)
            return
        changed = self._changed_v4(cell, bits, low, high, state)
        if changed != cell:
            self._store(at, changed)

    def _changed_v4(self, cell: int, bits: int, low: int, high: int, state: int) -> int:
        """The cell of 2**bits addresses with those from `low` to `high` set."""
        if cell == state or (low == 0 and high == (1 << bits) - 1):
            return state
        if bits == 16:
            if kind_of(cell) is Kind.BITMAP:
                mask = (1 << high + 1) - (1 << low)
                bits = bits_of(self._bytes, cell)
                changed = bits | mask if state else bits & ~mask
                return cell if changed == bits else bitmap(self, changed)
            known = boundaries_of(self._bytes, cell)
            found = toggled(known, low, high + 1, 1 << 16, inside=state == INSIDE)
            return cell if found == known else runs(self, array("H", found))
        within = bits - 8
        cells = cells_at(self._bytes, cell) if kind_of(cell) is Kind.TABLE else [cell] * 256
        before = list(cells)
        for index in range(low >> within, (high >> within) + 1):
            base = index << within
            cells[index] = self._changed_v4(cells[index], within, max(low - base, 0), min(high - base, (1 << within) - 1), state)
        return cell if cells == before else table(self, cells)

    def _change_bits(self, offset: int, low: int, high: int, state: int) -> None:
        """Within 8 bytes of a bitmap."""
        word = int.from_bytes(self._bytes[offset : offset + 8], "little")
        mask = (1 << high + 1) - (1 << low)
        changed = word | mask if state else word & ~mask
        self._store(offset, int.from_bytes(changed.to_bytes(8, "little"), _BYTE_ORDER))

    # -- IPv6 ----------------------------------------------------------------------------------------------------------

    def _assign_low(self, at: int, high: int, low: int, end: int, state: int) -> None:
        """The low halves `low` to `end` of one high half, within the cell at `at`, of all IPv6 addresses."""
        place = self._value_at(at, high)
        value = self._words[place // 8] if place is not None else self._value_in_leaf(at, high)
        if is_end(value):
            if value != state:
                self._assign(at, high, high, self._tree(self._changed(value, 0, KEY_LIMIT, low, end, state, LOW), LOW), 0)
        elif place is not None and self._is_own(place):
            self._assign(place, low, end, state, LOW)
        else:
            self._assign(at, high, high, self._tree(self._changed(value, 0, KEY_LIMIT, low, end, state, LOW), LOW), 0)

    def _value_at(self, at: int, number: int) -> int | None:
        """Where the cell is that a high half ends at; None where a LEAF says it."""
        cell = self._words[at // 8]
        while kind_of(cell) is Kind.NODE and not cell & LOW:
            at = self._child(cell, number)
            cell = self._words[at // 8]
        return None if kind_of(cell) is Kind.LEAF and not cell & LOW else at

    def _value_in_leaf(self, at: int, number: int) -> int:
        cell = self._words[at // 8]
        while kind_of(cell) is Kind.NODE:
            cell = self._words[self._child(cell, number) // 8]
        return next(cell for key, cell in reversed(entries_of(self._bytes, 0, cell)) if key <= number)

    def _child(self, cell: int, number: int) -> int:
        """Where the cell is that a NODE has for the number."""
        first = keys_place(cell) // 8
        return cells_place(cell) + 8 * (bisect_right(self._words, number, first + 1, first + count_of(cell)) - 1 - first)

    def _assign(self, at: int, low: int, high: int, value: int, flag: int) -> None:
        """The numbers `low` to `high` get the value, within the B-tree whose cell is at `at`."""
        start, limit = 0, KEY_LIMIT
        way: list[tuple[int, int]] = []  # cells above: where, and where their span begins
        cell = self._words[at // 8]
        while kind_of(cell) is Kind.NODE and cell & LOW == flag and self._is_own(offset_of(cell)):
            place = self._child(cell, low)
            if place != self._child(cell, high):
                break
            way.append((at, start))
            index = (place - cells_place(cell)) // 8
            keys = numbers_at(self._bytes, cell)
            start = max(start, keys[index])
            limit = keys[index + 1] - 1 if index + 1 < len(keys) else limit
            at, cell = place, self._words[place // 8]
        before = cell
        entries = self._changed(cell, start, limit, low, high, value, flag)
        while len(entries) > 1 and way:
            child = start
            at, start = way.pop()
            before = self._words[at // 8]
            known = entries_of(self._bytes, start, before)
            index = next(index for index, (key, _) in enumerate(known) if key == child)
            entries = self._divided([*known[:index], *entries, *known[index + 1 :]], flag)
        changed = self._tree(entries, flag)
        if changed != before:
            self._store(at, changed)

    def _changed(self, cell: int, start: int, limit: int, low: int, high: int, value: int, flag: int) -> Entries:
        """What takes the place of the cell, whose span is `start` to `limit`, when `low` to `high` get the value: cells of equal height."""
        if cell == value or (low == start and high == limit):
            return [(start, value)]
        known = entries_of(self._bytes, start, cell) if is_tree(cell) and cell & LOW == flag else [(start, cell)]
        entries: Entries = []
        for index, (key, child) in enumerate(known):
            end = known[index + 1][0] - 1 if index + 1 < len(known) else limit
            if end < low or key > high:
                entries.append((key, child))
            elif is_tree(child) and child & LOW == flag:
                entries += self._changed(child, key, end, max(low, key), min(high, end), value, flag)
            else:
                if key < low:
                    entries.append((key, child))
                entries.append((max(low, key), value))
                if high < end:
                    entries.append((high + 1, child))
        return [(start, cell)] if joined(entries) == known else self._divided(entries, flag)

    def _divided(self, entries: Entries, flag: int) -> Entries:
        """The entries, neighbours that say the same made one, in as many nodes as they need."""
        kept = joined(entries)
        pieces = -(-len(kept) // MOST_KEYS)
        bounds = [len(kept) * piece // pieces for piece in range(pieces + 1)]
        return [(kept[first][0], node(self, kept[first:last], flag)) for first, last in pairwise(bounds)]

    def _tree(self, entries: Entries, flag: int) -> int:
        """One cell for the entries."""
        while len(entries) > 1:
            entries = self._divided(entries, flag)
        return entries[0][1]


def toggled(boundaries: Sequence[int], low: int, end: int, limit: int, *, inside: bool) -> list[int]:
    """The boundaries below `limit` with the numbers from `low` up to `end` set inside or outside."""
    first, last = bisect_left(boundaries, low), bisect_right(boundaries, end)
    found = list(boundaries[:first])
    if first % 2 != inside:
        found.append(low)
    if end < limit:
        if last % 2 != inside:
            found.append(end)
        found += boundaries[last:]
    return found


def joined(entries: Entries) -> Entries:
    """Neighbours that say the same made one."""
    kept: Entries = []
    for entry in entries:
        if not kept or entry[1] != kept[-1][1] or not is_end(entry[1]):
            kept.append(entry)
    return kept


def _is_one_store(change: Change) -> bool:
    """Of IPv6, one that concerns a run of whole high halves, or part of one."""
    if change.version == 4:
        return True
    whole = change.low & KEY_LIMIT == 0 and change.high & KEY_LIMIT == KEY_LIMIT
    return whole or change.low >> 64 == change.high >> 64
