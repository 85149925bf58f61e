"""The classifier = a linear scan: its tree by its own lookup, and its program in the kernel, over boxes that overlap badly and packets at
their borders, in both families."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from generators.boxes import a_packet, entries_of, first_of, found, mostly_narrow
from generators.live_tree import LiveTree, units_for

from bpf import load
from bpf.asking import Asking
from bpf.classifier import (
    Classifier,
    Entry,
    Family,
    KeyField,
    build,
    compile_classifier,
    counters_spec,
    five_tuple,
    read_counters,
    record_spec,
    tree_spec,
)
from bpf.classifier.keys import CODE, PROTOCOL, TCP_FLAGS, TTL, TYPE, Where, word_boxes, words_of
from bpf.classifier.program import COUNTERS_TOGETHER, RECORD_NUMBER, RECORD_OUTCOME
from bpf.classifier.tree import Tuning
from bpf.maps import Map, create_map
from bpf.program import Program
from rules_dsl.fields import FIELDS
from rules_dsl.packet import Packet, Place


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Records and counters are a CPU's own."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("seed", range(24))
def test_the_tree_is_a_linear_scan(family: Family, seed: int) -> None:
    rng = random.Random(seed)
    keys = five_tuple(family) if seed % 3 else (PROTOCOL, TYPE, CODE, TCP_FLAGS, TTL)
    entries = entries_of(rng, keys, rng.choice((1, 2, 5, 20, 100, 400)))
    tuning = Tuning() if seed % 2 else Tuning(most_entries=1.0, most_levels=rng.choice((2, 5, 48)))
    classifier = build(family, keys, entries, tuning=tuning)
    for _ in range(300):
        numbers = a_packet(rng, keys, entries)
        assert found(classifier, numbers) == first_of(entries, numbers), numbers


def test_no_rules() -> None:
    classifier = build(Family.IPV4, five_tuple(Family.IPV4), [])
    assert found(classifier, (1, 2, 3, 4, 6)) is None


def test_many_equal_boxes() -> None:
    keys = five_tuple(Family.IPV4)
    same = ((1, 9), (0, 99), (5, 5), (7, 8), (6, 6))
    classifier = build(Family.IPV4, keys, [Entry(same, number) for number in range(1000)])
    assert found(classifier, (1, 99, 5, 8, 6)) == 0
    assert found(classifier, (0, 99, 5, 8, 6)) is None


def test_crossing_boxes_stay_small() -> None:
    """Wide in one address or the other: each of one kind crosses each of the other, and a tree that only divides would have n² leaves."""
    rng = random.Random(5)
    anything = ((0, 65536), (0, 65536), (0, 256))
    entries = []
    for number in range(3000):
        low = rng.getrandbits(32)
        narrow, wide = (low, min(low + 5, 0xFFFF_FFFF)), (0, 0xFFFF_FFFF)
        entries.append(Entry(((narrow, wide) if number % 2 else (wide, narrow)) + anything, number))
    classifier = build(Family.IPV4, five_tuple(Family.IPV4), entries)
    assert classifier.statistics.entries < 20 * len(entries)
    for _ in range(300):
        numbers = a_packet(rng, classifier.keys, entries)
        assert found(classifier, numbers) == first_of(entries, numbers)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("seed", range(3))
def test_wide_boxes_are_parted_from_narrow_ones(family: Family, seed: int) -> None:
    rng = random.Random(seed)
    keys = five_tuple(family)
    entries = mostly_narrow(rng, keys, 1500)
    classifier = build(family, keys, entries)
    steps = 0
    for _ in range(400):
        numbers = a_packet(rng, keys, entries)
        assert found(classifier, numbers) == first_of(entries, numbers), numbers
        steps += classifier.lookup(numbers).steps
    assert classifier.statistics.entries < 4 * len(entries)
    assert steps < 20 * 400


def test_slabs_that_all_cross_stay_bounded() -> None:
    """Every pair of boxes overlaps in part in every key: the worst there is."""
    rng = random.Random(6)
    entries = []
    for number in range(1000):
        box = tuple((rng.randrange(0, half), rng.randrange(half, 2 * half)) for half in (1 << 31, 1 << 31, 1 << 15, 1 << 15, 128))
        entries.append(Entry(box, number))
    classifier = build(Family.IPV4, five_tuple(Family.IPV4), entries)
    assert classifier.statistics.entries < 50 * len(entries)
    for _ in range(300):
        numbers = a_packet(rng, classifier.keys, entries)
        assert found(classifier, numbers) == first_of(entries, numbers)


@pytest.mark.parametrize("seed", range(200))
def test_words_of_a_range_hold_it_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    interesting = [rng.getrandbits(128), rng.getrandbits(32) << 96, (rng.getrandbits(64) << 64) - 1, 0, (1 << 128) - 1, rng.getrandbits(33)]
    low, high = sorted(max(number, 0) for number in rng.choices(interesting, k=2))
    boxes = list(word_boxes(low, high, 4))
    assert len(boxes) <= 7
    for number in {low, high, max(low - 1, 0), min(high + 1, (1 << 128) - 1), rng.randint(low, high), rng.getrandbits(128)}:
        inside = [all(a <= word <= b for word, (a, b) in zip(words_of(number, 4), box, strict=True)) for box in boxes]
        assert sum(inside) == (low <= number <= high)


# -- the program -------------------------------------------------------------------------------------------------------


def a_frame(rng: random.Random, family: Family, numbers: dict[str, int]) -> bytes:
    """An IP packet whose keys are, where it can be, those numbers: with options or extension headers, as a fragment, cut."""
    protocol = numbers.get("ip.proto", 256)
    protocol = rng.choice((6, 17, 1, 58)) if protocol > 255 else protocol
    ports = [numbers.get(name, 65536) & 0xFFFF for name in ("source port", "destination port")]
    transport = bytearray(struct.pack(">HH", *ports) + rng.randbytes(16))
    for name, place in (("type", 0), ("code", 1), ("tcp.flags", 13)):
        if name in numbers:
            transport[place] = numbers[name] & 0xFF
    ttl = numbers.get("ip.ttl", 64)
    kind = rng.randrange(8)
    if family is Family.IPV4:
        options = rng.randbytes(4 * rng.randrange(1, 11)) if kind == 0 else b""
        offset = rng.choice((1, 0x1FFF, 0x2001)) if kind == 1 else rng.choice((0, 0x4000, 0x2000))
        total = 20 + len(options) + len(transport)
        head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, total, 0, offset, ttl, protocol, 0)
        packet = head + struct.pack(">II", numbers.get("ip.src", 1), numbers.get("ip.dst", 2)) + options + transport
        fixed = 20
    else:
        chain = b""
        following = protocol
        if kind == 0:
            for _ in range(rng.randrange(1, 5)):
                chain, following = bytes([following, 0]) + rng.randbytes(6) + chain, rng.choice((0, 43, 60))
        elif kind == 1:
            chain, following = struct.pack(">BBHI", following, 0, rng.choice((8, 1, 0, 0xFFF8)), 7), 44
        elif kind == 2:
            chain, following = bytes([following, 4]) + rng.randbytes(22), 51
        head = struct.pack(">IHBB", 0x6000_0000, len(chain) + len(transport), following, ttl)
        addresses = numbers.get("ip.src", 1).to_bytes(16, "big") + numbers.get("ip.dst", 2).to_bytes(16, "big")
        packet = head + addresses + chain + transport
        fixed = 40
    return packet[: rng.randrange(fixed, len(packet))] if rng.random() < 0.2 else packet


def keys_in(packet: bytes, keys: Sequence[KeyField]) -> list[int]:
    """The packet's keys, as the reference decoder reads it."""
    one = Packet(packet, Place("eth0"))
    one.data = packet
    offset = one.layout.transport
    numbers = []
    for key in keys:
        match key.where:
            case Where.PROTOCOL:
                number = one.layout.protocol
            case Where.IP:
                value = one.value(FIELDS[key.name])
                number = value if isinstance(value, int) else value.number  # type: ignore[union-attr]
            case Where.TRANSPORT:
                start = None if offset is None else offset + (key.ipv4 or 0)
                number = (
                    int.from_bytes(packet[start : start + key.size], "big")
                    if start is not None and start + key.size <= len(packet)
                    else None
                )
        absent = key.absent
        numbers.append(number if number is not None else absent)
    assert None not in numbers
    return numbers  # type: ignore[return-value]


@contextmanager
def running(classifier: Classifier, yes: set[int], *, record: bool = True, cell: int = 0) -> Iterator[tuple[Program, dict[str, Map]]]:
    """The program with its maps."""
    specs = [
        tree_spec("tree", units_for(classifier)),
        counters_spec("counters", classifier.boxes.count, 1 if cell else COUNTERS_TOGETHER),
        record_spec("record"),
    ]
    with ExitStack() as stack:
        maps = {spec.name: stack.enter_context(create_map(spec)) for spec in specs}
        with LiveTree(maps["tree"]) as live:
            live.put(classifier, cell)
        image = compile_classifier(
            "test", classifier.family, classifier.keys, specs[0], cell=cell, counters=specs[1], record=specs[2] if record else None, yes=yes
        )
        yield stack.enter_context(load(image, maps)), maps


def recorded(maps: dict[str, Map]) -> tuple[int | None, int]:
    """What any CPU has in its record: only one has run anything, if the test has stayed on one."""
    value = maps["record"].lookup(bytes(4))
    assert value is not None
    for start in range(0, len(value), 16):
        number, outcome = struct.unpack_from("=QQ", value, start)
        if number:
            return number - 1, outcome
    return None, 0


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("seed", range(6))
def test_the_program_is_a_linear_scan(family: Family, seed: int, one_cpu: None) -> None:
    rng = random.Random(seed)
    keys = five_tuple(family) if seed % 3 else (*five_tuple(family), TCP_FLAGS, TTL)
    entries = mostly_narrow(rng, keys, 600) if seed == 5 else entries_of(rng, keys, rng.choice((3, 30, 300)))
    tuning = Tuning() if seed % 2 else Tuning(most_entries=1.0, most_levels=rng.choice((1, 3, 48)))
    classifier = build(family, keys, entries, tuning=tuning)
    by_number = {entry.number: entry for entry in entries}
    packets, octets = [0] * len(entries), [0] * len(entries)
    with running(classifier, {1, 3}) as (program, maps):
        for _ in range(400):
            numbers = a_packet(rng, keys, entries)
            packet = a_frame(rng, family, {key.name: number for key, number in zip(keys, numbers, strict=True)})
            right = first_of(entries, keys_in(packet, keys))
            answer = program.run(packet)
            outcome = by_number[right].outcome if right is not None else 0
            assert recorded(maps) == (right, outcome), packet.hex()
            assert answer == (right is not None and outcome in (1, 3)), packet.hex()
            if right is not None:
                packets[right] += 1
                octets[right] += len(packet)
        counted = read_counters(maps["counters"])
        assert counted[: len(entries)].tolist() == [list(pair) for pair in zip(packets, octets, strict=True)]


def test_a_long_walk_goes_on_in_callbacks(one_cpu: None) -> None:
    """A leaf of a thousand records takes more steps than the program has by itself."""
    rng = random.Random(3)
    keys = five_tuple(Family.IPV4)
    entries = entries_of(rng, keys, 1000)
    classifier = build(Family.IPV4, keys, entries, tuning=Tuning(most_levels=0))
    assert classifier.statistics.nodes == 1
    with running(classifier, {1}) as (program, maps):
        for _ in range(200):
            packet = a_frame(rng, Family.IPV4, {key.name: n for key, n in zip(keys, a_packet(rng, keys, entries), strict=True)})
            program.run(packet)
            assert recorded(maps)[0] == first_of(entries, keys_in(packet, keys))


@pytest.mark.parametrize("family", Family)
def test_a_packet_of_the_other_family_or_without_a_header_meets_no_rule(family: Family, one_cpu: None) -> None:
    keys = five_tuple(family)
    classifier = build(family, keys, [Entry(tuple(key.any for key in keys), 7, outcome=1)])
    other = Family.IPV6 if family is Family.IPV4 else Family.IPV4
    rng = random.Random(1)
    with running(classifier, {1}) as (program, maps):
        whole = a_frame(rng, family, {})
        assert (program.run(whole[: family.header_bytes + 4]), recorded(maps)[0]) == (1, 7)
        for packet in (a_frame(rng, other, {}), whole[: family.header_bytes - 1], whole[:1]):
            assert (program.run(packet), recorded(maps)[0]) == (0, None)


def test_without_a_record_and_from_another_cell(one_cpu: None) -> None:
    keys = five_tuple(Family.IPV4)
    classifier = build(Family.IPV4, keys, [Entry(tuple(key.any for key in keys), 7, slot=0, outcome=1)])
    with running(classifier, {1}, record=False, cell=3) as (program, maps):
        assert [program.run(a_frame(random.Random(seed), Family.IPV4, {})) for seed in range(10)] == [1] * 10
        assert recorded(maps) == (None, 0)
        assert read_counters(maps["counters"])[0].tolist()[0] == 10
        with LiveTree(maps["tree"]) as live:
            live.switch(0, 3)
        assert program.run(a_frame(random.Random(1), Family.IPV4, {})) == 0


def test_small_programs_ask_what_was_found(one_cpu: None) -> None:
    keys = five_tuple(Family.IPV4)
    box = tuple(key.any for key in keys)
    entries = [Entry(((number, number), *box[1:]), 100 + number, outcome=number % 4) for number in range(16)]
    classifier = build(Family.IPV4, keys, entries)
    with running(classifier, {1}) as (program, maps), ExitStack() as stack:
        spec = maps["record"].spec
        asking = Asking("asked", spec)
        among = stack.enter_context(load(asking.is_among(RECORD_NUMBER, 104, 109), maps))
        digit = stack.enter_context(load(asking.digit(RECORD_NUMBER, 2, 3, 3), maps))
        outcome = stack.enter_context(load(asking.equals(RECORD_OUTCOME, 2), maps))
        for source in range(17):
            program.run(struct.pack(">BBHHHBBHII", 0x45, 0, 20, 0, 0, 1, 6, 0, source, 0))
            number = 100 + source if source < 16 else None
            assert among.run(bytes(40)) == (number in range(104, 109))
            assert outcome.run(bytes(40)) == (number is not None and source % 4 == 2)
            if number is not None:
                assert digit.run(bytes(40)) == (number >> 2 & 7 == 3)
