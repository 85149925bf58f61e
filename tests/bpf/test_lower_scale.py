"""Large predicates load, and judge as the reference does: the verifier's bounds are not met by what rules say."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from generators.expressions import Expressions
from generators.packets import packet

from bpf import compile_program, load
from rules_dsl.expression import (
    And,
    BitSlice,
    Contains,
    Expression,
    FieldValue,
    Folded,
    InAddresses,
    InRanges,
    InStrings,
    IsTrue,
    Not,
    Or,
    StartsWith,
    Wildcard,
    Xor,
)
from rules_dsl.fields import FIELDS, Header
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

RNG = random.Random(11)
PACKETS = [Packet(packet(RNG, longest=3300), Place("eth0")) for _ in range(60)]
PAYLOAD = FieldValue(FIELDS["payload"])
PORT = FieldValue(FIELDS["udp.dstport"])


def words(count: int, length: int) -> tuple[bytes, ...]:
    rng = random.Random(count)
    return (*dict.fromkeys(rng.randbytes(length) for _ in range(count - 1)), b"evil")


def ranges(count: int, bits: int) -> tuple[tuple[int, int], ...]:
    shift = max(0, bits - 48)
    bounds = sorted(random.Random(count).sample(range(1 << min(bits, 48)), 2 * count))
    return tuple((bounds[i] << shift, bounds[i + 1] << shift) for i in range(0, 2 * count, 2))


def one_test(rng: random.Random) -> Expression:
    return Expressions(rng, place=False, ebpf_only=True, near=PACKETS).test()


def nested(rng: random.Random, depth: int) -> Expression:
    if depth == 0:
        return one_test(rng)
    left, right = nested(rng, depth - 1), nested(rng, depth - 1)
    return rng.choice((And((left, right)), Or((Not(left), right)), Xor(left, right)))


def chained(rng: random.Random, depth: int) -> Expression:
    expression = one_test(rng)
    for index in range(depth):
        other = one_test(rng)
        expression = (And((other, expression)), Or((expression, other)), Xor(other, expression), Not(expression))[index % 4]
    return expression


def exclusive(rng: random.Random, depth: int) -> Expression:
    expression = one_test(rng)
    for _ in range(depth):
        expression = Xor(one_test(rng), expression)
    return expression


CASES: dict[str, Callable[[], Expression]] = {
    "200 patterns": lambda: Contains(PAYLOAD, words(200, 12)),
    "1,000 patterns of 20 bytes": lambda: Contains(Folded(PAYLOAD, upper=False), words(1000, 20)),
    "a pattern of 4,000 bytes": lambda: Contains(PAYLOAD, (random.Random(1).randbytes(4000), b"evil")),
    "200 searches": lambda: Or(tuple(And((Contains(PAYLOAD, (word,)), IsTrue(FIELDS["tcp"]))) for word in words(200, 12))),
    "300 prefixes": lambda: Or(tuple(Not(StartsWith(PAYLOAD, word)) for word in words(300, 20))),
    "2,000 strings": lambda: InStrings(PAYLOAD, tuple(sorted({*words(2000, 8), b"", b"a"}))),
    "a wildcard of 60 segments": lambda: Wildcard(PAYLOAD, (b"", *(b"e" for _ in range(60)), b""), strict=False),
    "64 port ranges": lambda: InRanges(PORT, ranges(64, 16)),
    "64 address ranges": lambda: InAddresses(FieldValue(FIELDS["ip.src"]), ranges(64, 32), ranges(64, 128)),
    "50,000 address ranges": lambda: InAddresses(FieldValue(FIELDS["ip.dst"]), ranges(50_000, 32), ranges(50_000, 128)),
    "1,000 ports with lengths": lambda: Or(
        tuple(And((InRanges(PORT, ((i, i),)), InRanges(FieldValue(FIELDS["ip.len"]), ((i, i + 50),)))) for i in range(1000))
    ),
    "600 bit slices": lambda: And(tuple(Not(InRanges(BitSlice(Header.UDP, i * 3, i * 3 + 1 + i % 32), ((i, i + 3),))) for i in range(600))),
    "nested 10 deep": lambda: nested(random.Random(3), 10),
    "chained 128 deep": lambda: chained(random.Random(4), 128),
    "exclusive 128 deep": lambda: exclusive(random.Random(5), 127),
}


@pytest.mark.parametrize("name", CASES)
def test_large_predicate(name: str) -> None:
    expression = CASES[name]()
    with load(compile_program(name, expression)) as program:
        for one in PACKETS:
            assert program.run(one.data) == holds(expression, one)
