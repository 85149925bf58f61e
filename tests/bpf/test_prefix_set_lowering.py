"""Rules with lists of very many addresses: their programs hold just those addresses. Needs root."""

from __future__ import annotations

import random

import pytest
from prefix_sets import borders, is_inside, networks, packet

from bpf.lower import compile_program
from bpf.lower_numbers import MANY_RANGES
from bpf.program import load
from rules_dsl.expression import FieldValue, InAddresses, Or
from rules_dsl.fields import FIELDS

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("lengths", [(40, 48, 64), (128,), (63, 65)], ids=["networks", "hosts", "about half"])
def test_a_rule_with_a_long_list(lengths: tuple[int, ...]) -> None:
    dice = random.Random(1)
    v4, v6 = networks(dice, 4, MANY_RANGES + 1_000, 24, 28, 32), networks(dice, 6, MANY_RANGES + 1_000, *lengths)
    assert min(len(v4), len(v6)) >= MANY_RANGES
    with load(compile_program("listed", InAddresses(FieldValue(FIELDS["ip.src"]), v4, v6))) as program:
        for version, expected in ((4, v4), (6, v6)):
            for address in borders(expected, version, dice, 300):
                assert program.run(packet(version, address, 1)) == is_inside(expected, address), hex(address)


def test_several_lists_in_one_rule() -> None:
    dice = random.Random(2)
    sources, destinations = (networks(dice, 4, MANY_RANGES + 1_000, 24, 28, 32) for _ in range(2))
    others = networks(dice, 6, MANY_RANGES + 1_000, 48, 64)
    rule = Or((InAddresses(FieldValue(FIELDS["ip.src"]), sources, ()), InAddresses(FieldValue(FIELDS["ip.dst"]), destinations, others)))
    with load(compile_program("listed", rule)) as program:
        for source, destination in zip(borders(sources, 4, dice, 200), borders(destinations, 4, dice, 200), strict=False):
            expected = is_inside(sources, source) or is_inside(destinations, destination)
            assert program.run(packet(4, source, destination)) == expected
        for address in borders(others, 6, dice, 100):
            assert program.run(packet(6, address, address)) == is_inside(others, address)
