"""Kernel = reference on the messages of every protocol: right, nearly right and hostile ones.

`MANTLET_PAIRS` is the number of expression-packet pairs of the long run, for each protocol."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from agreement import LONGEST, packets_from, true_pairs
from generators.expressions import Expressions
from generators.messages import MESSAGES
from generators.packets import carrying, damaged

from bpf.dissectors import PLACES
from rules_dsl.expression import Expression, IsTrue
from rules_dsl.fields import PROTOCOL_OF, PROTOCOLS, Protocol
from rules_dsl.packet import Packet
from rules_dsl.reference import holds

PACKETS = 50
"""Packets that a program is tried on; in the long run all of a batch."""
BATCH = 400

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))


def random_packets(rng: random.Random, protocol: Protocol, count: int) -> list[Packet]:
    def draw() -> bytes:
        data = carrying(rng, protocol.name)[:LONGEST]
        return damaged(rng, data) if rng.random() < 0.1 else data

    return packets_from(draw, count)


def pairs(rng: random.Random, protocol: Protocol, count: int, each: int = PACKETS) -> Iterator[tuple[Expression, list[Packet]]]:
    while count > 0:
        packets = random_packets(rng, protocol, BATCH)
        source = Expressions(rng, place=False, ebpf_only=True, near=packets, only=protocol.fields)
        for field in protocol.fields:
            yield source.test_of(field), rng.sample(packets, each)
            count -= each
        for _ in range(40):
            yield source.expression(rng.choice((0, 0, 0, 1, 2, 3))), rng.sample(packets, each)
            count -= each


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
    assert true_pairs(pairs(random.Random(5), protocol, 4_000)) > 400


@pytest.mark.long
@each_protocol
def test_kernel_is_reference_on_a_million_pairs(protocol: Protocol) -> None:
    count = int(os.environ.get("MANTLET_PAIRS", "1000000"))
    assert true_pairs(pairs(random.Random(), protocol, count, BATCH))
