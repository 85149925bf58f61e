"""A classifier changed in part = the linear scan of the new entries, change after change, and the tree before it still that of the old."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytest
from generators.boxes import a_packet, entries_of, first_of, found, mostly_narrow
from generators.live_tree import LiveTree, units_for

from bpf import load
from bpf.classifier import (
    Classifier,
    Entry,
    Family,
    FullError,
    build,
    change,
    compile_classifier,
    five_tuple,
    reclaim,
    tree_spec,
)
from bpf.maps import create_map

ROOM = 20_000


def roomy(classifier: Classifier) -> Classifier:
    return replace(classifier, arena=classifier.arena.within(classifier.arena.end + ROOM))


def edited(rng: random.Random, classifier: Classifier, first_number: int) -> list[Entry]:
    """Some entries more, fewer, or others, anywhere; the numbers of the new ones begin there."""
    entries = list(classifier.entries)
    for number in range(first_number, first_number + rng.choice((1, 1, 1, 3))):
        kind = rng.choice(("add", "remove", "replace"))
        if kind != "add" and entries:
            del entries[rng.randrange(len(entries))]
        if kind != "remove":
            fresh = entries_of(rng, classifier.keys, 1)[0] if rng.random() < 0.5 or not entries else rng.choice(entries)
            entries.insert(rng.randrange(len(entries) + 1), replace(fresh, number=number))
    return entries


def agrees(rng: random.Random, classifier: Classifier, entries: Sequence[Entry], packets: int) -> None:
    for _ in range(packets if entries else 0):
        numbers = a_packet(rng, classifier.keys, entries)
        assert found(classifier, numbers) == first_of(entries, numbers), numbers


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("seed", range(9))
def test_change_after_change_is_a_linear_scan(family: Family, seed: int) -> None:
    rng = random.Random(seed)
    keys = five_tuple(family)
    entries = mostly_narrow(rng, keys, 800) if seed > 5 else entries_of(rng, keys, rng.choice((5, 60, 300)))
    classifier = roomy(build(family, keys, entries))
    in_part = 0
    for step in range(12):
        entries = edited(rng, classifier, 1000 + 10 * step)
        before = classifier
        try:
            classifier = change(before, entries).classifier
            in_part += 1
        except FullError:
            classifier = roomy(build(family, before.keys, entries))
        agrees(rng, classifier, entries, 60)
        agrees(rng, before, before.entries, 30)
        if step % 4 == 3:
            classifier = reclaim(classifier)
    assert in_part > 6


def test_what_a_rule_hid_comes_to_light_when_it_goes() -> None:
    keys = five_tuple(Family.IPV4)
    everything = tuple(key.any for key in keys)
    narrow = [Entry(((number, number), *everything[1:]), number) for number in range(200)]
    hiding = roomy(build(Family.IPV4, keys, [Entry(everything, 999), *narrow]))
    assert found(hiding, (7, 0, 0, 0, 0)) == 999
    after = change(hiding, narrow).classifier
    assert [found(after, (number, 0, 0, 0, 0)) for number in (0, 7, 199, 200)] == [0, 7, 199, None]
    assert found(hiding, (7, 0, 0, 0, 0)) == 999


def test_a_change_is_small() -> None:
    rng = random.Random(4)
    keys = five_tuple(Family.IPV4)
    entries = [
        Entry(((low := rng.getrandbits(32) & ~255, low + 255), (high := rng.getrandbits(32), high), (0, 65536), (80, 80), (6, 6)), number)
        for number in range(5000)
    ]
    classifier = roomy(build(Family.IPV4, keys, entries))
    fresh = replace(entries[17], number=9999, box=(entries[99].box[0], *entries[17].box[1:]))
    changed = change(classifier, [*entries[:2500], fresh, *entries[2500:]])
    assert changed.units <= 4096 + 200  # a block of slots, and what is below one of them
    agrees(rng, changed.classifier, changed.classifier.entries, 100)


def test_between_neighbours_without_an_order_everything_is_built_anew() -> None:
    keys = five_tuple(Family.IPV4)
    everything = tuple(key.any for key in keys)
    entries = [Entry(everything, 0), Entry(everything, 1)]
    classifier = roomy(build(Family.IPV4, keys, entries))

    def insert_many() -> None:
        nonlocal classifier
        for number in range(2, 100):
            entries.insert(1, Entry(((number, number), *everything[1:]), number))
            classifier = change(classifier, entries).classifier

    with pytest.raises(FullError, match="no order"):
        insert_many()


def test_reclaimed_units_are_used_again() -> None:
    rng = random.Random(2)
    keys = five_tuple(Family.IPV4)
    classifier = build(Family.IPV4, keys, entries_of(rng, keys, 200))
    classifier = replace(classifier, arena=classifier.arena.within(classifier.arena.end + 3000))
    changes = 0
    for step in range(60):
        entries = list(classifier.entries)
        entries[rng.randrange(len(entries))] = replace(rng.choice(entries), number=1000 + step)
        try:
            classifier = change(classifier, entries).classifier
            changes += 1
        except FullError:
            classifier = reclaim(classifier)
    agrees(rng, classifier, classifier.entries, 200)
    assert changes > 30


def test_packets_meet_the_old_tree_or_the_new_one() -> None:
    """In the kernel: a rule comes and goes in a map that a program reads."""
    keys = five_tuple(Family.IPV4)
    rng = random.Random(8)
    everything = tuple(key.any for key in keys)
    others = entries_of(rng, keys, 300)
    block = Entry(((7, 7), *everything[1:]), 5000, outcome=9)
    classifier = build(Family.IPV4, keys, others)
    spec = tree_spec("tree", units_for(classifier))
    packet = b"\x45\0\0\x18\0\0\0\0\x40\x06\0\0" + (7).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"\0\1\0\2"
    with ExitStack() as stack:
        held = stack.enter_context(create_map(spec))
        live = stack.enter_context(LiveTree(held))
        classifier = live.put(classifier)
        image = compile_classifier("test", Family.IPV4, keys, spec, yes={9})
        program = stack.enter_context(load(image, {"tree": held}))
        assert program.run(packet) == 0
        for _ in range(5):
            for entries, blocked in (([block, *others], 1), (others, 0)):
                changed = change(classifier, entries)
                assert program.run(packet) == 1 - blocked
                live.apply(changed)
                assert program.run(packet) == blocked
                classifier = changed.classifier
