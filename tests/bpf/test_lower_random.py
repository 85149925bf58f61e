"""Kernel = reference: random typed expressions on random, boundary-valued and damaged packets.

`MANTLET_PAIRS` is the number of expression-packet pairs of the long run."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from agreement import LONGEST, packets_from, true_pairs
from generators.expressions import Expressions
from generators.packets import damaged, packet

from rules_dsl.expression import Expression
from rules_dsl.packet import Packet

PACKETS = 50
"""Packets a program is tried on."""


def random_packets(rng: random.Random, count: int) -> list[Packet]:
    def draw() -> bytes:
        data = packet(rng, longest=LONGEST)
        return damaged(rng, data) if rng.random() < 0.3 else data

    return packets_from(draw, count)


def pairs(rng: random.Random, count: int) -> Iterator[tuple[Expression, list[Packet]]]:
    while count > 0:
        packets = random_packets(rng, 400)
        source = Expressions(rng, place=False, ebpf_only=True, near=packets)
        for _ in range(40):
            yield source.expression(rng.choice((0, 0, 1, 2, 3, 4))), rng.sample(packets, PACKETS)
            count -= PACKETS


def test_kernel_is_reference() -> None:
    assert 2_000 < true_pairs(pairs(random.Random(2), 15_000)) < 13_000, "the tests are neither all true nor all false"


@pytest.mark.long
def test_kernel_is_reference_on_a_million_pairs() -> None:
    count = int(os.environ.get("MANTLET_PAIRS", "1000000"))
    assert true_pairs(pairs(random.Random(), count))
