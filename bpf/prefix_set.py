"""A set of addresses as the bytes of one map value: a program finds an address in a few loads, a writer changes it piece by piece.

All hangs on cells of 8 bytes. A cell says of a span of addresses that they are all outside or all inside, or names the node that
tells them apart: its kind, how many keys it has, and at which byte it begins. To change the set is to write new nodes into free
space and then one cell, in one store: whoever reads meanwhile finds the old set or the new one.

An IPv4 address goes by its first byte through a table of 256 cells, by its second through another, and then among the boundaries
within its 65,536 addresses: sorted 16-bit numbers, at each of which outside becomes inside or inside outside; a bitmap where they
are many. An IPv6 address goes through a B-tree over its high 64 bits, and where these do not decide through one over its low 64
bits. Numbers are in the machine's order, bitmaps in bits from the lowest of the first byte.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Final, Protocol

Span = tuple[int, int]
"""Inclusive (low, high)."""


class Kind(IntEnum):
    """What a cell says, or the kind of node that it names."""

    OUTSIDE = 0
    INSIDE = 1
    TABLE = 2
    """256 cells, by the next 8 bits."""
    RUNS = 3
    """Sorted boundaries of 16 bits; an address is inside where an odd number of them is not above it."""
    BITMAP = 4
    """65,536 bits."""
    NODE = 5
    """Sorted keys of 64 bits, and as many cells: each is about the numbers from its key up to the next one."""
    LEAF = 6
    """Sorted boundaries of 64 bits, to read as those of RUNS."""


OUTSIDE: Final = 0
KIND_SHIFT: Final = 56
COUNT_SHIFT: Final = 32
COUNT_MASK: Final = (1 << 16) - 1
LOW: Final = 1 << 63
"""In a cell: its node is about the low 64 bits of an IPv6 address."""
KIND_MASK: Final = 15
INSIDE: Final = Kind.INSIDE << KIND_SHIFT

MOST_RUNS: Final = 2048
"""Boundaries within 65,536 IPv4 addresses; where there are more, a bitmap is hardly larger."""
MOST_KEYS: Final = 64
"""Of a NODE or LEAF."""
FEW_KEYS: Final = 8
"""Up to so many are looked through one by one; more stand in blocks of BLOCK, each as long as a cache line, the last filled up with
KEY_LIMIT. Before the blocks is one with the first keys of the second block and on, in the places that their blocks have."""
BLOCK: Final = 8
LINE: Final = 64
"""Bytes of a cache line, at whose multiples blocks stand."""
_FILLED: Final = 56
"""Keys that a node without nodes below it has at first; those above are full, as they are seldom written."""
TABLE_SIZE: Final = 256 * 8
BITMAP_SIZE: Final = 65536 // 8

MAGIC: Final = 0x0001_5445_5350_464D
MAGIC_AT, ROOTS_AT, FREE_AT, END_AT, HEADER_SIZE = 0, 8, 16, 24, 64
"""The header: which format this is; the offset of the roots, which are the cells of all IPv4 and of all IPv6 addresses; where free
space begins and ends."""
V4_AT, V6_AT, ROOTS_SIZE = 0, 8, 16

REACH: Final = 8192
"""Bytes behind a node's first that a program may look at: a search goes so far that the verifier need not know the count of keys."""

KEY_LIMIT: Final = (1 << 64) - 1


def cell_of(kind: Kind, count: int, offset: int) -> int:
    return kind << KIND_SHIFT | count << COUNT_SHIFT | offset


def kind_of(cell: int) -> Kind:
    return Kind(cell >> KIND_SHIFT & KIND_MASK)


def offset_of(cell: int) -> int:
    return cell & 0xFFFF_FFFF


def count_of(cell: int) -> int:
    return cell >> COUNT_SHIFT & COUNT_MASK


def is_tree(cell: int) -> bool:
    """It names a node of the B-trees."""
    return kind_of(cell) in (Kind.NODE, Kind.LEAF)


def is_end(cell: int) -> bool:
    """It says inside or outside."""
    return cell in (OUTSIDE, INSIDE)


class Space(Protocol):
    """Where new nodes go."""

    def place(self, data: bytes, multiple: int = 8) -> int:
        """The data at a multiple of so many bytes; its offset."""
        ...


class Growing:
    """Space in a value that grows."""

    def __init__(self) -> None:
        self.data = bytearray(HEADER_SIZE)

    def place(self, data: bytes, multiple: int = 8) -> int:
        self.data += bytes(-len(self.data) % multiple)
        offset = len(self.data)
        self.data += data
        return offset


# -- the whole ---------------------------------------------------------------------------------------------------------


def build(v4: Iterable[Span], v6: Iterable[Span]) -> bytearray:
    """The value for these addresses, sorted spans that neither overlap nor touch; without free space (see `sized`)."""
    space = Growing()
    roots = array("Q", (build_v4(space, v4), build_v6(space, v6)))
    at = space.place(roots.tobytes())
    space.place(b"")
    end = len(space.data)
    space.data[:HEADER_SIZE] = array("Q", (MAGIC, at, end, end)).tobytes().ljust(HEADER_SIZE, b"\0")
    return space.data


def build_one(version: int, ranges: Iterable[Span]) -> tuple[bytearray, int]:
    """The addresses of one version, for who needs no more and changes nothing: nodes, and the cell that they hang on."""
    space = Growing()
    cell = build_v4(space, ranges) if version == 4 else build_v6(space, ranges)
    return space.data, cell


def size_with_room(used: int, room: int = 0) -> int:
    """Bytes that a value of so many gets, with room for changes: few sizes, so that lists of like lengths can share programs."""
    wanted = used + max(used // 2, room, 1 << 16) + REACH
    step = 1 << wanted.bit_length() - 3
    return -(-wanted // step) * step


def contains(data: bytes | bytearray | memoryview, version: int, address: int) -> bool:
    """Whether the address is in the set: what the programs do, for tests and answers."""
    words = memoryview(data).cast("B")
    roots = _word(words, ROOTS_AT)
    if version == 4:
        return _contains_v4(words, _word(words, roots + V4_AT), address)
    cell = _word(words, roots + V6_AT)
    while not is_end(cell):
        number = address & KEY_LIMIT if cell & LOW else address >> 64
        keys = numbers_at(words, cell)
        found = bisect_right(keys, number)
        if kind_of(cell) is Kind.LEAF:
            return found % 2 == 1
        cell = _word(words, cells_place(cell) + 8 * (found - 1))
    return cell == INSIDE


def _contains_v4(words: memoryview, cell: int, address: int) -> bool:
    shift = 24
    while kind_of(cell) is Kind.TABLE:
        cell = _word(words, offset_of(cell) + 8 * (address >> shift & 0xFF))
        shift -= 8
    within = address & 0xFFFF
    match kind_of(cell):
        case Kind.RUNS:
            return bisect_right(numbers_at(words, cell), within) % 2 == 1
        case Kind.BITMAP:
            return bool(words[offset_of(cell) + within // 8] >> within % 8 & 1)
        case _:
            return cell == INSIDE


def spans(data: bytes | bytearray | memoryview) -> tuple[Iterator[Span], Iterator[Span]]:
    """The set's IPv4 and IPv6 addresses, as `build` takes them."""
    words = memoryview(data).cast("B")
    roots = _word(words, ROOTS_AT)
    v4 = _spans(_toggles_v4(words, _word(words, roots + V4_AT), 0, 32), 1 << 32)
    return v4, _spans(_toggles_v6(words, _word(words, roots + V6_AT)), 1 << 128)


def _spans(states: Iterable[tuple[int, bool]], limit: int) -> Iterator[Span]:
    """From (address from which on, whether inside) in order."""
    start: int | None = None
    for address, inside in states:
        if inside and start is None:
            start = address
        elif not inside and start is not None:
            yield start, address - 1
            start = None
    if start is not None:
        yield start, limit - 1


def _toggles_v4(words: memoryview, cell: int, base: int, bits: int) -> Iterator[tuple[int, bool]]:
    match kind_of(cell):
        case Kind.TABLE:
            for index, child in enumerate(cells_at(words, cell)):
                yield from _toggles_v4(words, child, base + (index << (bits - 8)), bits - 8)
        case Kind.RUNS | Kind.BITMAP:
            for boundary, child in entries_between(0, boundaries_of(words, cell)):
                yield base + boundary, child == INSIDE
        case _:
            yield base, cell == INSIDE


def _toggles_v6(words: memoryview, cell: int, base: int = 0, start: int = 0) -> Iterator[tuple[int, bool]]:
    """Of a cell whose span begins at `start`: over the high halves, or over the low halves behind the high half in `base`."""
    shift = 0 if cell & LOW else 64
    for key, child in entries_of(words, start, cell):
        if is_end(child):
            yield base + (key << shift), child == INSIDE
        elif child & LOW and not cell & LOW:
            yield from _toggles_v6(words, child, key << shift)
        else:
            yield from _toggles_v6(words, child, base, key)


# -- reading nodes -----------------------------------------------------------------------------------------------------


def _word(words: memoryview, offset: int) -> int:
    return int(words[offset : offset + 8].cast("Q")[0])


def numbers_at(words: memoryview, cell: int) -> memoryview:
    """The keys or boundaries of a node."""
    first, count = offset_of(cell), count_of(cell)
    if kind_of(cell) is Kind.RUNS:
        return words[first : first + 2 * count].cast("H")
    first = keys_place(cell)
    return words[first : first + 8 * count].cast("Q")


def keys_place(cell: int) -> int:
    """Where the keys of a NODE or the boundaries of a LEAF begin."""
    return offset_of(cell) + (LINE if count_of(cell) > FEW_KEYS else 0)


def cells_place(cell: int) -> int:
    """Where the cells of a NODE begin."""
    count = count_of(cell)
    return keys_place(cell) + 8 * (count if count <= FEW_KEYS else -(-count // BLOCK) * BLOCK)


def cells_at(words: memoryview, cell: int) -> list[int]:
    """The cells of a TABLE."""
    return words[offset_of(cell) : offset_of(cell) + TABLE_SIZE].cast("Q").tolist()


def boundaries_of(words: memoryview, cell: int) -> list[int]:
    """Of the 65,536 IPv4 addresses of a cell."""
    match kind_of(cell):
        case Kind.RUNS:
            return numbers_at(words, cell).tolist()
        case Kind.BITMAP:
            bits = bits_of(words, cell)
            return _ones(bits ^ bits << 1 & (1 << 65536) - 1)
        case kind:
            return [0] if kind is Kind.INSIDE else []


def bits_of(words: memoryview, cell: int) -> int:
    """A BITMAP as a number, whose bit n is the address n's."""
    return int.from_bytes(words[offset_of(cell) : offset_of(cell) + BITMAP_SIZE], "little")


def _ones(bits: int) -> list[int]:
    """The places of a number's ones, from the lowest."""
    found = []
    for index, byte in enumerate(bits.to_bytes(BITMAP_SIZE, "little")):
        while byte:
            found.append(8 * index + (byte & -byte).bit_length() - 1)
            byte &= byte - 1  # noqa: PLW2901
    return found


def entries_of(words: memoryview, start: int, cell: int) -> list[tuple[int, int]]:
    """(key, cell) of a B-tree's cell, whose span begins at `start`."""
    match kind_of(cell):
        case Kind.NODE:
            keys, first = numbers_at(words, cell).tolist(), cells_place(cell)
            keys[0] = start
            return list(zip(keys, words[first : first + 8 * len(keys)].cast("Q").tolist(), strict=True))
        case Kind.LEAF:
            return entries_between(start, numbers_at(words, cell).tolist())
        case _:
            return [(start, cell)]


def entries_between(start: int, boundaries: Sequence[int]) -> list[tuple[int, int]]:
    """(key, cell) of the boundaries of a span that begins at `start`."""
    entries = [(key, OUTSIDE if index % 2 else INSIDE) for index, key in enumerate(boundaries)]
    return entries if entries and entries[0][0] == start else [(start, OUTSIDE), *entries]


# -- IPv4 --------------------------------------------------------------------------------------------------------------


def build_v4(space: Space, ranges: Iterable[Span]) -> int:
    """The cell of all IPv4 addresses."""
    cells = array("Q", bytes(65536 * 8))
    current, boundaries = 0, array("H")
    for low, high in ranges:
        first, last = low >> 16, high >> 16
        if first != current:
            cells[current] = runs(space, boundaries)
            current, boundaries = first, array("H")
        boundaries.append(low & 0xFFFF)
        if first != last:
            cells[current] = runs(space, boundaries)
            cells[first + 1 : last] = array("Q", [INSIDE]) * (last - first - 1)
            current, boundaries = last, array("H", [0])
        if high & 0xFFFF != 0xFFFF:
            boundaries.append((high & 0xFFFF) + 1)
    cells[current] = runs(space, boundaries)
    return table(space, [table(space, cells[start : start + 256].tolist()) for start in range(0, 65536, 256)])


def table(space: Space, cells: Sequence[int]) -> int:
    """The cell for 256 cells."""
    if is_end(cells[0]) and all(cell == cells[0] for cell in cells):
        return cells[0]
    return cell_of(Kind.TABLE, 0, space.place(array("Q", cells).tobytes()))


def runs(space: Space, boundaries: array[int]) -> int:
    """The cell for the boundaries among 65,536 IPv4 addresses."""
    if not boundaries:
        return OUTSIDE
    if len(boundaries) == 1 and boundaries[0] == 0:
        return INSIDE
    if len(boundaries) <= MOST_RUNS:
        return cell_of(Kind.RUNS, len(boundaries), space.place(boundaries.tobytes()))
    marks = bytearray(BITMAP_SIZE)
    for boundary in boundaries:
        marks[boundary >> 3] |= 1 << (boundary & 7)
    bits = int.from_bytes(marks, "little")
    for power in range(16):  # each bit becomes the parity of the marks up to it
        bits ^= bits << (1 << power)
    return bitmap(space, bits & (1 << 65536) - 1)


def bitmap(space: Space, bits: int) -> int:
    if not bits:
        return OUTSIDE
    if bits == (1 << 65536) - 1:
        return INSIDE
    return cell_of(Kind.BITMAP, 0, space.place(bits.to_bytes(BITMAP_SIZE, "little")))


# -- IPv6 --------------------------------------------------------------------------------------------------------------


def build_v6(space: Space, ranges: Iterable[Span]) -> int:
    """The cell of all IPv6 addresses."""
    return tree(space, _normal(_high_entries(space, ranges)), 0)


def _high_entries(space: Space, ranges: Iterable[Span]) -> Iterator[tuple[int, int]]:
    """(key, cell) over the high halves, in order; of two with one key the second counts."""
    yield 0, OUTSIDE
    mixed, boundaries = -1, array("Q")  # a high half whose low halves are told apart
    for low, high in ranges:
        first, last = low >> 64, high >> 64
        start, end = low & KEY_LIMIT, high & KEY_LIMIT
        if first == last and (start, end) != (0, KEY_LIMIT):
            if first != mixed:
                yield from _mixed_entries(space, mixed, boundaries)
                mixed, boundaries = first, array("Q")
            boundaries.append(start)
            if end != KEY_LIMIT:
                boundaries.append(end + 1)
            continue
        if start:
            if first != mixed:
                yield from _mixed_entries(space, mixed, boundaries)
                mixed, boundaries = first, array("Q")
            boundaries.append(start)
            first += 1
        yield from _mixed_entries(space, mixed, boundaries)
        mixed, boundaries = -1, array("Q")
        whole_end = last if end != KEY_LIMIT else last + 1
        if first < whole_end:
            yield first, INSIDE
            yield whole_end, OUTSIDE
        if end != KEY_LIMIT:
            mixed, boundaries = last, array("Q", (0, end + 1))
    yield from _mixed_entries(space, mixed, boundaries)


def _mixed_entries(space: Space, high: int, boundaries: array[int]) -> Iterator[tuple[int, int]]:
    if high >= 0:
        yield (
            high,
            LOW | _leaf(space, boundaries) if len(boundaries) <= FEW_KEYS else tree(space, iter(entries_between(0, boundaries)), LOW),
        )
        yield high + 1, OUTSIDE


def _normal(entries: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Without entries that a later one takes the place of, or that say what the one before says."""
    before: int | None = None
    kept: tuple[int, int] | None = None
    for entry in entries:
        if kept is not None and kept[0] != entry[0] and not (kept[1] == before and is_end(kept[1])):
            yield kept
            before = kept[1]
        if entry[0] > KEY_LIMIT:
            return
        kept = entry
    if kept is not None and not (kept[1] == before and is_end(kept[1])):
        yield kept


def tree(space: Space, entries: Iterator[tuple[int, int]], flag: int) -> int:
    """The cell of a B-tree over the entries, the first of which begins at 0. `flag` is LOW or 0."""
    level = list(_packed_level(space, entries, flag, _FILLED))
    while len(level) > 1:
        level = list(_packed_level(space, iter(level), flag, MOST_KEYS))
    return level[0][1]


def _packed_level(space: Space, entries: Iterator[tuple[int, int]], flag: int, most: int) -> Iterator[tuple[int, int]]:
    """A node for every so many entries."""
    group: list[tuple[int, int]] = []
    for entry in entries:
        if len(group) == most:
            yield group[0][0], node(space, group, flag)
            group = []
        group.append(entry)
    yield group[0][0], node(space, group, flag)


def node(space: Space, entries: Sequence[tuple[int, int]], flag: int) -> int:
    """The cell for at most MOST_KEYS (key, cell)."""
    assert len(entries) <= MOST_KEYS
    if len(entries) == 1:
        return entries[0][1]
    if all(is_end(cell) for _, cell in entries):
        assert all(first != second for (_, first), (_, second) in pairwise(entries))
        boundaries = [key for key, _ in entries[entries[0][1] == OUTSIDE :]]
        return flag | _leaf(space, boundaries)
    keys, cells = zip(*entries, strict=True)
    return flag | _placed(space, Kind.NODE, keys, cells)


def _leaf(space: Space, boundaries: Sequence[int]) -> int:
    return _placed(space, Kind.LEAF, boundaries, ())


def _placed(space: Space, kind: Kind, keys: Sequence[int], cells: Sequence[int]) -> int:
    count = len(keys)
    if count <= FEW_KEYS:
        return cell_of(kind, count, space.place(array("Q", (*keys, *cells)).tobytes()))
    filled = (*keys, *[KEY_LIMIT] * (-count % BLOCK))
    firsts = [0, *filled[BLOCK::BLOCK]]
    firsts += [KEY_LIMIT] * (BLOCK - len(firsts))
    return cell_of(kind, count, space.place(array("Q", (*firsts, *filled, *cells)).tobytes(), LINE))
