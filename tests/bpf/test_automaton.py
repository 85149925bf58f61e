"""Automata give what Python's own operators give, on short texts over few letters, where everything happens."""

from __future__ import annotations

import random

import pytest

from bpf import automaton
from bpf.automaton import Fold
from rules_dsl.expression import Order

FOLDED = {Fold.NONE: bytes, Fold.LOWER: bytes.lower, Fold.UPPER: bytes.upper}


def text(rng: random.Random, longest: int, shortest: int = 0) -> bytes:
    return bytes(rng.choice(b"abAB") for _ in range(rng.randint(shortest, longest)))


@pytest.mark.parametrize("fold", Fold)
@pytest.mark.parametrize("base", [0, 64])
def test_contains_and_among(fold: Fold, base: int) -> None:
    rng = random.Random(1)
    for _ in range(1000):
        data = text(rng, 12)
        seen = FOLDED[fold](data)
        patterns = [text(rng, 4, 1) for _ in range(rng.randint(1, 5))]
        assert automaton.contains(patterns, fold, base).accepts(data) == any(pattern in seen for pattern in patterns)
        assert automaton.among(patterns, fold, base).accepts(data) == (seen in patterns)


@pytest.mark.parametrize("fold", Fold)
@pytest.mark.parametrize("order", Order)
def test_ordered(fold: Fold, order: Order) -> None:
    rng = random.Random(2)
    for _ in range(60):
        data, value = text(rng, 4), text(rng, 3)
        seen = FOLDED[fold](data)
        wanted = {
            Order.EQ: seen == value,
            Order.LT: seen < value,
            Order.LE: seen <= value,
            Order.GT: seen > value,
            Order.GE: seen >= value,
        }
        assert automaton.ordered(order, value, fold, 8).accepts(data) == wanted[order]


@pytest.mark.parametrize("fold", Fold)
def test_wildcard(fold: Fold) -> None:
    """Against every way to place the segments."""

    def fits(segments: list[bytes], data: bytes) -> bool:
        first, *rest = segments
        if not data.startswith(first):
            return False
        if not rest:
            return data == first
        return any(fits(rest, data[start:]) for start in range(len(first), len(data) + 1))

    rng = random.Random(3)
    for _ in range(1500):
        data = text(rng, 10)
        middle = [text(rng, 3, 1) for _ in range(rng.randint(0, 2))]
        segments = rng.choice(([text(rng, 3)], [text(rng, 2), *middle, text(rng, 2)]))
        assert automaton.wildcard(segments, fold, 8).accepts(data) == fits(segments, FOLDED[fold](data))


def test_all_bytes_may_be_told_apart() -> None:
    every = bytes(range(256))
    search = automaton.contains((every,), Fold.NONE)
    assert search.accepts(b"x" + every + b"y")
    assert not search.accepts(every[:-1])
