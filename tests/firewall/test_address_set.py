"""Address sets from one generation to the next: the value that is changed holds what the one that is built does."""

from __future__ import annotations

import random

from bpf.prefix_set import spans
from firewall.address_set import MOST_CHANGES, AddressSet, address_set
from rules_dsl.expression import Ranges
from rules_dsl.ranges import merged


def held(found: AddressSet) -> Ranges:
    value = bytearray(found.size)
    value[: len(found.value)] = found.value
    with memoryview(value) as memory:
        return tuple(spans(memory)[found.version == 6])


def drawn(rng: random.Random, version: int, count: int) -> list[tuple[int, int]]:
    bits = 32 if version == 4 else 128
    lows = [rng.getrandbits(bits) & ~0xFF for _ in range(count)]
    return [(low, low + rng.choice((0, 255, 1000))) for low in lows if low < 2**bits - 1000]


def test_what_is_changed_is_what_would_be_built() -> None:
    rng = random.Random(3)
    for version in (4, 6):
        items = drawn(rng, version, 2000)
        found = address_set(version, merged(items))
        values = 0
        for _ in range(60):
            for _ in range(rng.choice((0, 1, 3, 20))):
                items[rng.randrange(len(items)) : 0] = drawn(rng, version, 1)
                del items[rng.randrange(len(items))]
            before, found = found, address_set(version, merged(items), found)
            values += len(before.value) <= len(found.value)
            assert held(found) == found.ranges == merged(items)
        assert values > 40  # changed, not built


def test_much_that_is_new_and_another_family_are_built() -> None:
    rng = random.Random(4)
    former = address_set(4, merged(drawn(rng, 4, 500)))
    other = merged(drawn(rng, 4, 5 * MOST_CHANGES))
    assert address_set(4, other, former).value == address_set(4, other).value
    six = merged(drawn(rng, 6, 400))
    assert address_set(6, six, former) == address_set(6, six)
