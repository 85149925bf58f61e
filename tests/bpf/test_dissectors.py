"""Kernel = reference on the messages of every protocol: right, nearly right and hostile ones.

`MANTLET_PAIRS` is the number of expression-packet pairs of the long run, for each protocol."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from generators.expressions import Expressions
from generators.messages import MESSAGES
from generators.packets import carrying, damaged

from bpf import compile_program, load
from bpf.describe import describe
from bpf.dissectors import PLACES
from rules_dsl.expression import Expression, IsTrue
from rules_dsl.expression import tests_of as every_test_of
from rules_dsl.fields import PROTOCOL_OF, PROTOCOLS, Protocol
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

LONGEST = 3300
"""Bytes of a packet that BPF_PROG_TEST_RUN takes, with room for its own."""

PACKETS = 50
"""Packets that a program is tried on; in the long run all of a batch."""
BATCH = 400

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))


def random_packets(rng: random.Random, protocol: Protocol, count: int) -> list[Packet]:
    packets: list[Packet] = []
    while len(packets) < count:
        data = carrying(rng, protocol.name)[:LONGEST]
        if rng.random() < 0.1:
            data = damaged(rng, data)
        try:
            # What a hook shows is whole: the IP length never goes beyond the data, nor below the IP header.
            candidate = Packet(data[:LONGEST], Place("eth0"))
        except ValueError:
            continue
        if candidate.data and candidate.data[0] >> 4 == candidate.version:
            packets.append(candidate)
    return packets


def pairs(rng: random.Random, protocol: Protocol, count: int, each: int) -> Iterator[tuple[Expression, list[Packet]]]:
    while count > 0:
        packets = random_packets(rng, protocol, BATCH)
        source = Expressions(rng, place=False, ebpf_only=True, near=packets, only=protocol.fields)
        for field in protocol.fields:
            yield source.test_of(field), rng.sample(packets, each)
            count -= each
        for _ in range(40):
            yield source.expression(rng.choice((0, 0, 0, 1, 2, 3))), rng.sample(packets, each)
            count -= each


def differences(protocol: Protocol, count: int, seed: int, each: int = PACKETS) -> tuple[int, list[str]]:
    """How many pairs were true, and what differed."""
    hits, differing = 0, []
    for expression, packets in pairs(random.Random(seed), protocol, count, each):
        with load(compile_program("random", expression)) as program:
            for one in packets:
                wanted = holds(expression, one)
                hits += wanted
                if program.run(one.data) != wanted:
                    tests = "; ".join(describe(test) for test in every_test_of(expression))
                    differing.append(f"reference {wanted}, kernel {not wanted}: {tests}\n{expression!r}\n{one.data.hex()}")
    return hits, differing


def test_every_field_has_its_place() -> None:
    assert set(PLACES) == set(PROTOCOL_OF)
    assert set(MESSAGES) == set(PROTOCOLS)


@each_protocol
def test_the_messages_are_right_and_wrong_and_have_every_field(protocol: Protocol) -> None:
    packets = random_packets(random.Random(3), protocol, 2_000)
    valid = sum(holds(IsTrue(protocol.fields[0]), packet) for packet in packets)
    assert 150 < valid < 1_950
    assert [field.name for field in protocol.fields if not any(packet.value(field) for packet in packets)] == []


@each_protocol
def test_kernel_is_reference(protocol: Protocol) -> None:
    hits, differing = differences(protocol, 4_000, seed=5)
    assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
    assert hits > 400


@pytest.mark.long
@each_protocol
def test_kernel_is_reference_on_a_million_pairs(protocol: Protocol) -> None:
    count = int(os.environ.get("MANTLET_PAIRS", "1000000"))
    hits, differing = differences(protocol, count, random.SystemRandom().randrange(1 << 32), BATCH)
    assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
    assert hits
