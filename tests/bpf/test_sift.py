"""A search that a sieve goes before = `in`: random and hostile bytes, at every place in a window and over the windows' edges."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from operator import itemgetter

import pytest
from generators.packets import with_checksum

from bpf import compile_program, load
from bpf.automaton import Fold
from bpf.sift import WINDOW, sieve_of
from rules_dsl.expression import Contains, Expression, FieldValue, Folded, Matches, StartsWith, Substring
from rules_dsl.fields import FIELDS

PAYLOAD = FieldValue(FIELDS["udp.payload"])
LONGEST_PAYLOAD = 3_300


def udp(payload: bytes) -> bytes:
    header = bytes([0x45, 0]) + (28 + len(payload)).to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 17, 0, 0]) + bytes([127, 0, 0, 1] * 2)
    return with_checksum(header + bytes([0, 9, 0, 9]) + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload)


def _text(rng: random.Random, letters: bytes, size: int) -> bytes:
    return bytes(rng.choices(letters, k=size))


def _payloads(rng: random.Random, pattern: bytes) -> Iterator[bytes]:
    """Without it as a rule, nearly it, and with it at places that matter."""
    letters = rng.choice((pattern, pattern + b"xyz", b"ab", bytes(range(256))))
    for size in (0, 1, len(pattern) - 1, len(pattern), len(pattern) + 1, WINDOW, rng.randrange(600), LONGEST_PAYLOAD):
        filling = _text(rng, letters, size)
        yield filling
        yield filling + pattern
        yield pattern + filling
        yield filling + pattern + filling
        near = pattern[1:], pattern[:-1], bytes([pattern[0] ^ 0xFF]) + pattern[1:], pattern[:-1] + bytes([pattern[-1] ^ 1])
        yield from ((part * (size // len(part) + 1))[:size] for part in near)
        yield ((near[2] * 400)[:size] + pattern)[-LONGEST_PAYLOAD:]
    for edge in range(WINDOW - len(pattern) - 1, WINDOW + 2):
        yield _text(rng, letters, max(edge, 0)) + pattern + _text(rng, letters, rng.randrange(3))


def _differing(
    expression: Expression, pattern: bytes, change: Callable[[bytes], bytes], payloads: Iterator[bytes]
) -> tuple[list[str], int]:
    wrong, hits = [], 0
    with load(compile_program("sift", expression)) as program:
        for payload in (each[:LONGEST_PAYLOAD] for each in payloads):
            wanted = pattern in change(payload)
            hits += wanted
            if program.run(udp(payload)) != wanted:
                wrong.append(f"{pattern!r} in {payload!r}: {wanted}")
    return wrong, hits


@pytest.mark.parametrize("length", [4, 5, 7, 8, 12, 31, 60, WINDOW - 1, WINDOW, WINDOW + 30])
@pytest.mark.parametrize("letters", [b"a", b"ab", b"abcdefghijklmnop", bytes(range(256))], ids=["one", "two", "many", "all"])
def test_a_pattern_is_found_where_it_is(length: int, letters: bytes) -> None:
    rng = random.Random(length * 1_000 + len(letters))
    pattern = _text(rng, letters, length)
    wrong, hits = _differing(Contains(PAYLOAD, (pattern,)), pattern, bytes, _payloads(rng, pattern))
    assert not wrong, f"{len(wrong)} wrong: {wrong[0]}"
    assert hits > 20


@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize("length", [4, 9, 32, 37])
def test_either_case_is_found_where_it_is_folded(length: int, upper: bool) -> None:
    rng = random.Random(length)
    letters = b"ABC[@`{1" if upper else b"abc[@`{1"
    pattern = _text(rng, letters, length)
    mixed = (bytes(rng.choice((byte, byte ^ 0x20)) for byte in payload) for payload in _payloads(rng, pattern))
    payloads = [*mixed, *(payload.swapcase() for payload in _payloads(rng, pattern))]
    expression = Contains(Folded(PAYLOAD, upper=upper), (pattern,))
    wrong, hits = _differing(expression, pattern, bytes.upper if upper else bytes.lower, iter(payloads))
    assert not wrong, f"{len(wrong)} wrong: {wrong[0]}"
    assert hits > 20


def test_only_the_part_asked_is_searched() -> None:
    rng = random.Random(3)
    for part in (slice(1, None), slice(5, -5), slice(0, WINDOW), slice(-WINDOW - 3, None)):
        expression = Contains(Substring(PAYLOAD, part.start, part.stop), (b"evil",))
        wrong, hits = _differing(expression, b"evil", itemgetter(part), _payloads(rng, b"evil"))
        assert not wrong, f"{len(wrong)} wrong: {wrong[0]}"
        assert hits > 2


def test_random_patterns_on_random_bytes() -> None:
    rng = random.Random(11)
    hits = 0
    for _ in range(60):
        letters = rng.choice((b"ab", b"abc", b"\x00\xff", b"GET /index"))
        pattern = _text(rng, letters, rng.choice((4, 4, 5, 6, 8)))
        payloads = [_text(rng, letters, rng.randrange(400)) for _ in range(40)]
        wrong, found = _differing(Contains(PAYLOAD, (pattern,)), pattern, bytes, iter(payloads))
        assert not wrong, f"{len(wrong)} wrong: {wrong[0]}"
        hits += found
    assert 300 < hits < 2_300


def _sieved(rng: random.Random, fold: Fold) -> tuple[tuple[bytes, ...], bytes]:
    """Patterns, and letters that payloads with and without them may be made of."""
    letters = {Fold.NONE: b"aAbB1[", Fold.LOWER: b"ab1[", Fold.UPPER: b"AB1["}[fold]
    size = rng.choice((4, 5, 8, 15, 60))
    return tuple(_text(rng, letters, size + rng.randrange(4)) for _ in range(rng.choice((1, 2, 30)))), b"aAbB1[{"


def test_a_sieve_passes_over_no_pattern() -> None:
    rng = random.Random(5)
    held = 0
    for _ in range(2_000):
        fold = rng.choice(list(Fold))
        patterns, letters = _sieved(rng, fold)
        operand = PAYLOAD if fold is Fold.NONE else Folded(PAYLOAD, upper=fold is Fold.UPPER)
        sieve = sieve_of([(Contains(operand, patterns), fold)])
        if sieve is None:
            continue
        text = _text(rng, letters, rng.randrange(200)) + rng.choice((b"", patterns[0])) + _text(rng, letters, rng.randrange(200))
        folded = bytes(map(fold.apply, text))
        first = min((at for pattern in patterns if (at := folded.find(pattern)) >= 0), default=None)
        if first is not None:
            held += 1
            found = sieve.may_hold(text)
            assert found is not None, (patterns, fold, text)
            assert found <= first, (patterns, fold, text)
    assert held > 300


def test_few_payloads_without_a_pattern_come_through_a_sieve() -> None:
    rng = random.Random(6)
    for count in (1, 10, 1_000, 10_000):
        letters = b"abcdefghijklmnopqrstuvwxyz"
        patterns = tuple(_text(rng, letters, rng.randint(8, 16)) for _ in range(count))
        sieve = sieve_of([(Contains(PAYLOAD, patterns), Fold.NONE)])
        assert sieve is not None
        payloads = [_text(rng, letters + b" ", 512) for _ in range(200)]
        assert sum(sieve.may_hold(payload) is not None for payload in payloads) < 40


def test_what_a_sieve_cannot_tell_has_none() -> None:
    short = Contains(PAYLOAD, (b"ab", b"a longer one"))
    assert sieve_of([(short, Fold.NONE)]) is None
    assert sieve_of([(Contains(PAYLOAD, (b"evil words",)), Fold.NONE), (StartsWith(PAYLOAD, b"evil words"), Fold.NONE)]) is None
    assert sieve_of([(Matches(PAYLOAD, "evil.*words"), Fold.NONE)]) is None
    assert sieve_of([(Matches(PAYLOAD, "(?i)evil words"), Fold.NONE)]) is not None


def test_a_payload_of_blocks_that_nearly_pass_is_left_to_the_automaton() -> None:
    """Each look finds the block in the first table and not in the second."""
    pattern = b"abcd"
    sieve = sieve_of([(Contains(PAYLOAD, (pattern,)), Fold.NONE)])
    assert sieve is not None
    rng = random.Random(7)
    near: list[bytes] = []
    while len(near) < 20:
        block = rng.randbytes(sieve.block)
        if sieve.has(block, 0) and not sieve.has(block, 1):
            near.append(block)
    with load(compile_program("sift", Contains(PAYLOAD, (pattern,)))) as program:
        for count in (1, 7, 8, 9, 20):
            filling = b"".join(near[:count]).ljust(700, b".")
            assert program.run(udp(filling + pattern)) == 1
            assert program.run(udp(filling)) == 0
