"""Kernel = reference: random typed expressions on random, boundary-valued and damaged packets.

`MANTLET_PAIRS` is the number of expression-packet pairs of the long run."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from generators.expressions import Expressions
from generators.packets import damaged, packet

from bpf import compile_program, load
from bpf.describe import describe
from rules_dsl.expression import Expression
from rules_dsl.expression import tests_of as every_test_of
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

LONGEST = 3300
"""Bytes of a packet that BPF_PROG_TEST_RUN takes, with room for its own."""

PACKETS = 50
"""Packets a program is tried on."""


def random_packets(rng: random.Random, count: int) -> list[Packet]:
    packets: list[Packet] = []
    while len(packets) < count:
        data = packet(rng, longest=LONGEST)
        if rng.random() < 0.3:
            data = damaged(rng, data)
        try:
            # What a hook shows is whole: the IP length never goes beyond the data, nor below the IP header.
            candidate = Packet(data[:LONGEST], Place("eth0"))
        except ValueError:
            continue
        if candidate.data and candidate.data[0] >> 4 == candidate.version:
            packets.append(candidate)
    return packets


def pairs(rng: random.Random, count: int) -> Iterator[tuple[Expression, list[Packet]]]:
    while count > 0:
        packets = random_packets(rng, 400)
        source = Expressions(rng, place=False, ebpf_only=True, near=packets)
        for _ in range(40):
            yield source.expression(rng.choice((0, 0, 1, 2, 3, 4))), rng.sample(packets, PACKETS)
            count -= PACKETS


def differences(count: int, seed: int) -> tuple[int, list[str]]:
    """How many pairs were true, and what differed."""
    hits, differing = 0, []
    for expression, packets in pairs(random.Random(seed), count):
        with load(compile_program("random", expression)) as program:
            for one in packets:
                wanted = holds(expression, one)
                hits += wanted
                if program.run(one.data) != wanted:
                    tests = "; ".join(describe(test) for test in every_test_of(expression))
                    differing.append(f"reference {wanted}, kernel {not wanted}: {tests}\n{expression!r}\n{one.data.hex()}")
    return hits, differing


def test_kernel_is_reference() -> None:
    hits, differing = differences(15_000, seed=2)
    assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
    assert 2_000 < hits < 13_000, "the tests are neither all true nor all false"


@pytest.mark.long
def test_kernel_is_reference_on_a_million_pairs() -> None:
    hits, differing = differences(int(os.environ.get("MANTLET_PAIRS", "1000000")), seed=random.SystemRandom().randrange(1 << 32))
    assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
    assert hits
