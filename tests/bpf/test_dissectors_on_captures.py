"""Kernel = reference for every field of every protocol, on messages out of public captures and on what is nearly one.

One evaluator asks everything of a packet at once: whether each field is there, the bits of its number or its length, what its bytes begin
with, end with and contain. `MANTLET_PACKETS` is the number of packets of the long run, for each protocol."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache

import pytest
from agreement import LONGEST, as_a_hook_shows
from generators.mutations import message_start, mutated, resized
from generators.packets import carrying
from judge import corpus

from bpf import load
from bpf.describe import describe
from bpf.evaluate import Evaluator, Member, compile_evaluators
from bpf.program import Program, shared_maps
from firewall import capture
from firewall.replay.link import NetworkPacket, to_network
from rules_dsl.expression import (
    All,
    AnyBit,
    CompareBytes,
    Contains,
    EndsWith,
    Expression,
    FieldValue,
    InAddresses,
    InRanges,
    IsTrue,
    Length,
    Order,
    StartsWith,
    Test,
)
from rules_dsl.fields import PROTOCOLS, Field, Protocol, Type
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds, values_of
from rules_dsl.value import Address, Keyed

pytestmark = pytest.mark.skipif(not corpus.captures(), reason="the corpus of captures is not there (../shared/corpus)")

FEW_FRAMES = 40
"""Of every fourth capture, in the usual run."""

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))


# -- packets -----------------------------------------------------------------------------------------------------------


def network_packets(frames: int | None, every: int = 1) -> Iterator[Packet]:
    """The IP packets of the corpus: of every capture, or some, the first frames."""
    for path in corpus.captures()[::every]:
        with suppress(capture.CaptureError):  # damaged on purpose
            for frame in capture.read(path):
                if frames is not None and frame.number > frames:
                    break
                if isinstance(found := to_network(frame), NetworkPacket) and (packet := as_a_hook_shows(found.ip)) is not None:
                    yield packet


@cache
def messages(frames: int | None, every: int = 1) -> Mapping[str, Sequence[Packet]]:
    """By protocol, the packets that have a valid message of it; of those with equal messages one."""
    found: dict[str, dict[bytes, Packet]] = defaultdict(dict)
    for packet in network_packets(frames, every):
        for protocol in PROTOCOLS.values():
            if packet.value(protocol.fields[0]):
                found[protocol.name].setdefault(packet.data[message_start(packet) :], Packet(packet.data, packet.place))
    return {name: tuple(several.values()) for name, several in found.items()}


def generated(rng: random.Random, protocol: Protocol, count: int) -> Sequence[Packet]:
    """Packets with valid messages, for a protocol that no capture has."""
    found: list[Packet] = []
    while len(found) < count:
        with suppress(ValueError):
            packet = Packet(carrying(rng, protocol.name), Place("eth0"))
            if len(packet.data) <= LONGEST and packet.value(protocol.fields[0]):
                found.append(packet)
    return tuple(found)


# -- questions ---------------------------------------------------------------------------------------------------------


def questions(field: Field, near: Sequence[Packet]) -> Iterator[Test]:
    """Tests that tell the field's value well, above all values like those in the packets `near`."""
    if field.type is Type.BOOL:
        yield IsTrue(field)
        return
    for operand in _operands(field, near):
        values = [value for packet in near for value in values_of(operand, packet)]
        for test in _tests(operand, values):
            yield test
            if field.multiple:
                yield All(test)


def _operands(field: Field, near: Sequence[Packet]) -> Iterator[FieldValue]:
    yield FieldValue(field)
    if field.keyed:
        keyed = {item.key.lower() for packet in near for item in _several(packet.value(field)) if isinstance(item, Keyed)}
        yield from (FieldValue(field, key) for key in (*sorted(keyed)[:6], b"host"))


def _several(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _tests(operand: FieldValue, values: Sequence[object]) -> Iterator[Test]:
    match operand.field.type:
        case Type.INT:
            yield InRanges(operand, ((0, 0xFFFFFFFF),))
            yield from (AnyBit(operand, 1 << bit) for bit in range(operand.field.maximum.bit_length()))
        case Type.ADDRESS:
            numbers = sorted({(value.version, value.number) for value in values if isinstance(value, Address)})[:8]
            yield InAddresses(operand, ((0, (1 << 32) - 1),), ())
            yield InAddresses(operand, (), ((0, (1 << 128) - 1),))
            for version, number in numbers:
                for low in (0, number):
                    yield InAddresses(operand, ((low, number),) if version == 4 else (), ((low, number),) if version == 6 else ())
        case _:
            texts = sorted({value for value in values if isinstance(value, bytes)})[:8]
            yield CompareBytes(operand, Order.GE, b"")
            yield from (AnyBit(Length(operand), 1 << bit) for bit in range(12))
            yield from (Contains(operand, (piece,)) for piece in (b"\0", b"\xff", b" ", b".", b":", b"\r", b"\n", b"a", b"e", b"1"))
            for text in texts:
                yield CompareBytes(operand, Order.EQ, text)
                yield CompareBytes(operand, Order.LE, text)
                yield StartsWith(operand, text[:3])
                yield EndsWith(operand, text[-3:])
                yield Contains(operand, (text[len(text) // 3 : len(text) // 3 + 8],))


# -- the kernel's answers ----------------------------------------------------------------------------------------------


@contextmanager
def asking(tests: Sequence[Expression]) -> Iterator[list[tuple[Evaluator, Program]]]:
    """Evaluators of all tests, loaded. The record is a CPU's own, so there is one CPU."""
    evaluators = compile_evaluators("test", [Member(f"r{number}", test, ends=False) for number, test in enumerate(tests)])
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with ExitStack() as stack:
            shared = stack.enter_context(shared_maps([each.image for each in evaluators]))
            yield [(each, stack.enter_context(load(each.image, shared))) for each in evaluators]
    finally:
        os.sched_setaffinity(0, before)


def kernel_answers(asked: Sequence[tuple[Evaluator, Program]], data: bytes) -> int:
    """A bit for each test that holds."""
    (cpu,) = os.sched_getaffinity(0)
    answers = 0
    for evaluator, program in asked:
        if not program.run(data):
            continue
        size = (evaluator.record.value_size + 7) // 8 * 8
        records = program.maps[evaluator.record.name].lookup(bytes(4))
        assert records is not None
        start = cpu * size + evaluator._matched
        bits = int.from_bytes(records[start : start + (len(evaluator.names) + 7) // 8], "little")
        answers |= bits << evaluator.first
    return answers


def differences(
    rng: random.Random, protocol: Protocol, near: Sequence[Packet], packets: Sequence[bytes], most: int
) -> tuple[int, list[str]]:
    """How many packets had a valid message, and what differed in the answers to at most so many questions."""
    tests: list[Test] = [test for field in protocol.fields for test in dict.fromkeys(questions(field, near))]
    tests = rng.sample(tests, min(len(tests), most))
    valid, differing = 0, []
    with asking(tests) as asked:
        for data in packets:
            if (packet := as_a_hook_shows(data)) is None:
                continue
            is_valid = bool(packet.value(protocol.fields[0]))
            wanted = sum(1 << number for number, test in enumerate(tests) if holds(test, packet)) if is_valid else 0
            valid += is_valid
            wrong = kernel_answers(asked, packet.data) ^ wanted
            if wrong:
                told = "; ".join(
                    f"{describe(test)}: reference {bool(wanted >> number & 1)}" for number, test in enumerate(tests) if wrong >> number & 1
                )
                differing.append(f"{told[:600]}\n{packet.data.hex()}")
    return valid, differing


def nearly(rng: random.Random, packets: Sequence[Packet], others: Sequence[Packet], count: int) -> Iterator[bytes]:
    """The packets, one of them cut at every place, and mutations."""
    yield from (packet.data for packet in packets)
    shortest = min(packets, key=lambda packet: len(packet.data))
    for packet in {shortest.data: shortest, (one := rng.choice(packets)).data: one}.values():
        start = message_start(packet)
        for end in range(start, min(len(packet.data), start + count // 4)):
            yield packet.data[:end]
            yield resized(packet, packet.data[start:end])
    for _ in range(count):
        yield mutated(rng, rng.choice(packets), rng.choice(others))


def compare(protocol: Protocol, seed: int, *, frames: int | None, every: int, batch: int, count: int, most: int) -> tuple[int, int]:
    """How many packets were tried, and how many of them were valid."""
    rng = random.Random(seed)
    found = messages(frames, every)
    mine = found.get(protocol.name) or generated(rng, protocol, 50)
    others = [packet for several in found.values() for packet in several[:200]]
    tried = valid = 0
    while tried < count:
        packets = rng.sample(mine, min(len(mine), 12))
        known = [*mine, *others] if rng.random() < 0.3 else mine
        made = list(nearly(rng, packets, known, batch))
        some, differing = differences(rng, protocol, packets, made, most)
        assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
        tried, valid = tried + len(made), valid + some
    return tried, valid


@each_protocol
def test_kernel_is_reference_on_a_few_messages(protocol: Protocol) -> None:
    _, valid = compare(protocol, 7, frames=FEW_FRAMES, every=4, batch=120, count=1, most=60)
    assert valid > 20


@pytest.mark.long
@each_protocol
def test_kernel_is_reference_on_the_corpus(protocol: Protocol) -> None:
    count = int(os.environ.get("MANTLET_PACKETS", "20000"))
    _, valid = compare(protocol, random.SystemRandom().randrange(1 << 32), frames=None, every=1, batch=1_500, count=count, most=250)
    assert valid > count / 10
