"""Address sets: what is built, and what is changed in place, holds exactly the addresses that it shall. No kernel."""

from __future__ import annotations

import random

import pytest
from prefix_sets import BITS, Span, borders, changed, is_inside, networks, random_change, random_span

from bpf.prefix_set import contains, spans
from bpf.prefix_set_change import Change, FullError, PrefixSetWriter, size_of, value_for
from rules_dsl.ranges import merged

Spans = tuple[Span, ...]


def _value(v4: Spans, v6: Spans) -> bytearray:
    """With its free space."""
    value = value_for(v4, v6)
    return value.ljust(size_of(value), b"\0")


def _held(value: bytearray) -> tuple[Spans, Spans]:
    v4, v6 = spans(value)
    return tuple(v4), tuple(v6)


def _agree(value: bytearray, v4: Spans, v6: Spans, dice: random.Random, most: int) -> None:
    assert _held(value) == (v4, v6)
    for version, expected in ((4, v4), (6, v6)):
        for address in borders(expected, version, dice, most):
            assert contains(value, version, address) == is_inside(expected, address), hex(address)


# -- built -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seed", range(15))
def test_a_set_holds_what_it_was_built_from(version: int, seed: int) -> None:
    dice = random.Random(seed)
    given = merged(random_span(dice, version) for _ in range(dice.choice((1, 2, 5, 30, 300))))
    _agree(_value(*((given, ()) if version == 4 else ((), given))), *((given, ()) if version == 4 else ((), given)), dice, 100)


@pytest.mark.parametrize("version", [4, 6])
def test_none_and_all(version: int) -> None:
    every = ((0, (1 << BITS[version]) - 1),)
    for given in ((), every):
        v4, v6 = (given, ()) if version == 4 else ((), given)
        _agree(_value(v4, v6), v4, v6, random.Random(1), 20)


@pytest.mark.parametrize(
    "given",
    [
        tuple((address, address) for address in range(0x0A000000, 0x0A030000, 2)),
        tuple((address, address + 1) for address in range(0x0A000001, 0x0A020000, 16)),
        ((0x0A00FFFF, 0x0A010000), (0x0A01FFFE, 0x0A030000), (0xFFFFFFFF, 0xFFFFFFFF)),
        ((0, 0), (0x0000FFFF, 0x00FEFFFF), (0xFFFF0000, 0xFFFFFFFF)),
    ],
    ids=["every other", "bitmap of pairs", "over borders", "first and last"],
)
def test_ipv4_borders(given: Spans) -> None:
    _agree(_value(given, ()), given, (), random.Random(2), 300)


_NET = 0x20010DB8 << 96


@pytest.mark.parametrize(
    "given",
    [
        tuple((_NET + address, _NET + address) for address in range(0, 40_000, 2)),
        tuple((_NET + (number << 64) + 5, _NET + (number << 64) + 9) for number in range(5_000)),
        tuple((_NET + (number << 64) + 5, _NET + (number + 1 << 64) + 3) for number in range(0, 5_000)),
        ((0, 0), ((1 << 64) - 1, 1 << 64), (1 << 127, (1 << 127) + (1 << 64) - 1), ((1 << 128) - 1, (1 << 128) - 1)),
        (((1 << 128) - (1 << 64), (1 << 128) - 1),),
        (((1 << 64) - 1, (1 << 128) - (1 << 64)),),
    ],
    ids=["hosts of one network", "hosts of many", "over borders", "first and last", "last network", "between mixed"],
)
def test_ipv6_borders(given: Spans) -> None:
    _agree(_value((), given), (), given, random.Random(3), 300)


@pytest.mark.parametrize("lengths", [(32, 48, 56, 64), (128,), (63, 64, 65, 127)], ids=["networks", "hosts", "about half"])
def test_many(lengths: tuple[int, ...]) -> None:
    dice = random.Random(4)
    v4, v6 = networks(dice, 4, 20_000, 20, 24, 32), networks(dice, 6, 20_000, *lengths)
    _agree(_value(v4, v6), v4, v6, dice, 1_000)


# -- changed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_changes_one_by_one_and_many_at_once(seed: int) -> None:
    dice = random.Random(100 + seed)
    v4, v6 = (merged(random_span(dice, version) for _ in range(dice.choice((0, 3, 50)))) for version in (4, 6))
    value = _value(v4, v6)
    writer = PrefixSetWriter(memoryview(value))
    for _ in range(120):
        changes = [random_change(dice) for _ in range(dice.choice((1, 1, 1, 2, 7)))]
        try:
            writer.change(changes)
        except FullError:
            assert _held(value) == (v4, v6)
            value = _value(v4, v6)
            writer = PrefixSetWriter(memoryview(value))
            writer.change(changes)
        for change in changes:
            if change.version == 4:
                v4 = changed(v4, change)
            else:
                v6 = changed(v6, change)
        _agree(value, v4, v6, dice, 10)


@pytest.mark.parametrize("order", ["up", "down", "any"])
@pytest.mark.parametrize("step", [2, 1 << 65], ids=["hosts", "networks"])
def test_a_tree_grows_and_goes(order: str, step: int) -> None:
    """Two thousand spans put in and taken out one by one, in an order that a tree may take badly."""
    dice = random.Random(5)
    width = min(step // 2, 1 << 64)
    each = [(_NET + number * step, _NET + number * step + width - 1) for number in range(2_000)]
    if order != "up":
        each.reverse()
    if order == "any":
        dice.shuffle(each)
    held: set[Span] = set()
    value = _value((), ((1, 1),))
    writer = PrefixSetWriter(memoryview(value))
    for inside in (True, False):
        for number, (low, high) in enumerate(each):
            try:
                writer.change([Change(6, low, high, inside)])
            except FullError:
                value = _value((), tuple(sorted({(1, 1), *held})))
                writer = PrefixSetWriter(memoryview(value))
                writer.change([Change(6, low, high, inside)])
            (held.add if inside else held.discard)((low, high))
            if number % 250 == 0:
                _agree(value, (), tuple(sorted({(1, 1), *held})), dice, 50)
    _agree(value, (), ((1, 1),), dice, 50)


def test_a_change_that_changes_nothing_takes_nothing() -> None:
    given = ((0x0A000000, 0x0A0000FF), (0x0B000000, 0x0B000007))
    value = _value(given, ((_NET, _NET + 255),))
    writer = PrefixSetWriter(memoryview(value))
    free = writer.free
    for version, low in ((4, 0x0A000000), (6, _NET)):
        writer.change([Change(version, low + 3, low + 9, inside=True)])
        writer.change([Change(version, low + 256, low + 300, inside=False)])
    assert writer.free == free


def test_what_does_not_fit_changes_nothing() -> None:
    value = _value(((5, 5),), ())
    writer = PrefixSetWriter(memoryview(value))
    writer.place(bytes(writer.free - 1_000))
    changes = [Change(4, 1 << 24 + number, 1 << 24 + number, inside=True) for number in range(8)]
    with pytest.raises(FullError, match="no room for 2048 bytes more"):
        writer.change(changes)
    assert _held(value) == (((5, 5),), ())


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="not the bytes of an address set"):
        PrefixSetWriter(memoryview(bytearray(4096)))


# -- killed ------------------------------------------------------------------------------------------------------------


class _Killed(BaseException):
    pass


class _Recorder(PrefixSetWriter):
    """Keeps what the value looks like before each store that others may see, and after each piece of new bytes."""

    def __init__(self, value: bytearray) -> None:
        super().__init__(memoryview(value))
        self.value = value
        self.states: list[bytes] = []

    def place(self, data: bytes, multiple: int = 8) -> int:
        self.states.append(bytes(self.value))
        offset = super().place(data, multiple)
        self.states.append(bytes(self.value))
        return offset

    def _store(self, offset: int, word: int) -> None:
        self.states.append(bytes(self.value))
        super()._store(offset, word)
        self.states.append(bytes(self.value))


@pytest.mark.parametrize("seed", range(5))
def test_whoever_is_killed_leaves_the_old_set_or_the_new(seed: int) -> None:
    dice = random.Random(200 + seed)
    v4, v6 = (merged(random_span(dice, version) for _ in range(20)) for version in (4, 6))
    value = _value(v4, v6)
    writer = _Recorder(value)
    for _ in range(15):
        changes = [random_change(dice) for _ in range(dice.choice((1, 1, 4)))]
        before = _held(value)
        writer.states.clear()
        try:
            writer.change(changes)
        except FullError:
            break
        after = _held(value)
        for state in writer.states:
            left = bytearray(state)
            assert _held(left) in (before, after)
        for state in writer.states[:: max(1, len(writer.states) // 4)]:  # the next one goes on from there
            left = bytearray(state)
            PrefixSetWriter(memoryview(left)).change(changes)
            assert _held(left) == after
