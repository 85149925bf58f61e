"""Random spans of addresses, and a set of them in plain Python: what address sets are tested against."""

from __future__ import annotations

import random
from bisect import bisect_right

from bpf.prefix_set_change import Change
from rules_dsl.ranges import merged

BITS = {4: 32, 6: 128}
Span = tuple[int, int]


def random_span(dice: random.Random, version: int) -> Span:
    """A network or any span, near others of its kind: round few places, which borders of nodes are among."""
    bits = BITS[version]
    anchors = [0, 1 << (bits - 1), (1 << bits) - 1, 0x0A00FFF0 << (bits - 32), 0x20010DB8 << (bits - 32), 0xC0A80000 << (bits - 32)]
    address = dice.choice(anchors)
    for _ in range(dice.randint(0, 3)):
        address ^= dice.getrandbits(8) << dice.choice(range(0, bits, 8))
    if dice.random() < 0.7:
        length = dice.choice((*range(bits + 1), bits, bits, bits // 2, bits - 8))
        low = address >> (bits - length) << (bits - length)
        return low, low | (1 << (bits - length)) - 1
    return address, min(address + dice.getrandbits(dice.randint(0, bits)), (1 << bits) - 1)


def random_change(dice: random.Random) -> Change:
    version = dice.choice((4, 6))
    low, high = random_span(dice, version)
    widest = BITS[version] - 12  # now and then a change clears or fills all; seldom, so that something is left
    if (high - low).bit_length() > widest and dice.random() < 0.9:
        high = low
    return Change(version, low, high, inside=dice.random() < 0.6)


def network(dice: random.Random, version: int, lengths: tuple[int, ...]) -> Span:
    bits, length = BITS[version], dice.choice(lengths)
    address = dice.getrandbits(bits) if version == 4 else 1 << 125 | dice.getrandbits(125)
    low = address >> (bits - length) << (bits - length)
    return low, low | (1 << (bits - length)) - 1


def networks(dice: random.Random, version: int, count: int, *lengths: int) -> tuple[Span, ...]:
    """Sorted spans of so many random networks."""
    return merged(network(dice, version, lengths) for _ in range(count))


def changed(spans: tuple[Span, ...], change: Change) -> tuple[Span, ...]:
    """The spans with the change made."""
    kept = []
    for low, high in spans:
        if low < change.low:
            kept.append((low, min(high, change.low - 1)))
        if high > change.high:
            kept.append((max(low, change.high + 1), high))
    return merged([*kept, (change.low, change.high)] if change.inside else kept)


def is_inside(spans: tuple[Span, ...], address: int) -> bool:
    index = bisect_right(spans, (address, 1 << 128)) - 1
    return index >= 0 and spans[index][1] >= address


def borders(spans: tuple[Span, ...], version: int, dice: random.Random, most: int) -> list[int]:
    """Addresses at and beside the borders of some spans, and any others."""
    last = (1 << BITS[version]) - 1
    found = [0, last, *(dice.getrandbits(BITS[version]) for _ in range(most))]
    for low, high in dice.sample(spans, min(most, len(spans))):
        found += [low, high, max(low - 1, 0), min(high + 1, last), low ^ 1, low ^ 1 << dice.randrange(BITS[version])]
    return found


def packet(version: int, source: int, destination: int) -> bytes:
    """An IP header."""
    size = BITS[version] // 8
    addresses = source.to_bytes(size, "big") + destination.to_bytes(size, "big")
    return (b"\x45" + bytes(11) if version == 4 else b"\x60" + bytes(7)) + addresses
