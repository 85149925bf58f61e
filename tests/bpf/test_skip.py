"""The skipping search = `in`: random and hostile bytes, at every place in a window and over the windows' edges."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from operator import itemgetter

import pytest
from generators.packets import with_checksum

from bpf import compile_program, load
from bpf.automaton import Fold
from bpf.skip import LONGEST, SHORTEST, WINDOW, needle
from rules_dsl.expression import Contains, Expression, FieldValue, Folded, Substring
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
    with load(compile_program("skip", expression)) as program:
        for payload in (each[:LONGEST_PAYLOAD] for each in payloads):
            wanted = pattern in change(payload)
            hits += wanted
            if program.run(udp(payload)) != wanted:
                wrong.append(f"{pattern!r} in {payload!r}: {wanted}")
    return wrong, hits


@pytest.mark.parametrize("length", [SHORTEST, SHORTEST + 1, 7, 12, LONGEST - 1, LONGEST, LONGEST + 1, 60, WINDOW, WINDOW + 30])
@pytest.mark.parametrize("letters", [b"a", b"ab", b"abcdefghijklmnop", bytes(range(256))], ids=["one", "two", "many", "all"])
def test_a_pattern_is_found_where_it_is(length: int, letters: bytes) -> None:
    rng = random.Random(length * 1_000 + len(letters))
    pattern = _text(rng, letters, length)
    wrong, hits = _differing(Contains(PAYLOAD, (pattern,)), pattern, bytes, _payloads(rng, pattern))
    assert not wrong, f"{len(wrong)} wrong: {wrong[0]}"
    assert hits > 20


@pytest.mark.parametrize("upper", [False, True], ids=["lower", "upper"])
@pytest.mark.parametrize("length", [SHORTEST, 9, LONGEST, LONGEST + 5])
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


def test_no_move_of_a_needle_passes_over_a_match() -> None:
    rng = random.Random(5)
    for _ in range(300):
        fold = rng.choice(list(Fold))
        letters = {Fold.NONE: b"aAbB", Fold.LOWER: b"ab1", Fold.UPPER: b"AB1"}[fold]
        pattern = _text(rng, letters, rng.choice((4, 5, 6, LONGEST, LONGEST + 1)))
        data, wanted = needle(pattern, fold), pattern[:LONGEST]
        text = _text(rng, b"aAbB1", 4 * len(wanted))
        folded = bytes(map(fold.apply, text))
        for end in range(len(wanted) - 1, len(text) - 1):
            move = data[text[end]] or data[256 + text[end - 1]]
            for passed in range(1, move):
                first = end + passed - len(wanted) + 1
                assert folded[first : first + len(wanted)] != wanted, (pattern, fold, text, end, passed)
