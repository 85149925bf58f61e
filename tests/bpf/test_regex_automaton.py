"""Automata of patterns give what Python's `re` and RE2 give; small patterns have few states, and large ones a clear error."""

from __future__ import annotations

import os
import random

import pytest
from generators.patterns import LETTERS, counted, near, pattern, text

from bpf.automaton import REJECT, Fold
from bpf.regex_automaton import Bounds, TooLargeError, matching
from rules_dsl.python_regex import python_regex

FOLDED = {Fold.NONE: bytes, Fold.LOWER: bytes.lower, Fold.UPPER: bytes.upper}
PATTERNS_LONG = int(os.environ.get("MANTLET_PATTERNS", "100000"))


def compare(seed: int, patterns: int, depth: int = 3) -> tuple[int, int]:
    """Pairs that were compared, and those that matched."""
    rng = random.Random(seed)
    compared = hits = 0
    for _ in range(patterns):
        values = [text(rng, rng.choice((4, 8, 16))) for _ in range(10)]
        written = near(rng, max(values)[rng.randint(0, 3) :]) if rng.random() < 0.2 else pattern(rng, depth)
        fold, base = rng.choice(tuple(Fold)), rng.choice((0, 64))
        try:
            automaton = matching(written, fold, base)
        except TooLargeError:  # one in many thousands
            continue
        meaning = python_regex(written)
        for value in values:
            wanted = meaning.search(FOLDED[fold](value)) is not None
            assert automaton.accepts(value) is wanted, (written, fold, value)
            compared, hits = compared + 1, hits + wanted
    return compared, hits


def test_random_patterns_against_python() -> None:
    compared, hits = compare(4, 3_000)
    assert compared > 29_500
    assert 6_000 < hits < compared - 6_000


@pytest.mark.long
def test_many_random_patterns_against_python() -> None:
    """Not so deep: Python tries one way after another, which in repeats within repeats may take hours."""
    compare(random.SystemRandom().randrange(1 << 32), PATTERNS_LONG, depth=2)


@pytest.mark.parametrize("patterns", [1_500, pytest.param(PATTERNS_LONG, marks=pytest.mark.long)])
def test_random_patterns_against_re2(patterns: int) -> None:
    re2 = pytest.importorskip("re2", reason="google-re2 is not installed")
    options = re2.Options()
    options.encoding, options.log_errors = re2.Options.Encoding.LATIN1, False
    rng = random.Random(9)
    compared = 0
    for _ in range(patterns):
        written = pattern(rng, rust_only=False) if rng.random() < 0.6 else counted(rng)
        if written.count("<n>") > 1:  # RE2 wants names unique
            continue
        try:
            automaton, other = matching(written, Fold.NONE), re2.compile(written.encode("latin-1"), options)
        except TooLargeError:  # one in many thousands
            continue
        for value in (bytes(rng.choice(letters) for _ in range(rng.randint(0, 16))) for letters in (LETTERS, b"aabbc\n ") * 5):
            assert automaton.accepts(value) is (other.search(value) is not None), (written, value)
            compared += 1
    assert compared > patterns * 8


@pytest.mark.parametrize(
    ("written", "states"),
    [
        ("", 1),
        ("a", 1),
        ("abc", 3),
        ("[0-9]+", 1),
        (".*abc.*", 3),
        (r"[^\x00-\xff]", 1),
        ("^GET /", 5),
        ("(?s)^.{1000}$", 1001),
        (r"\bevil\b", 6),
        (r"(?i)user-agent:\s*(?:sqlmap|nikto|masscan|zgrab)", 31),
        (r"^(GET|POST) /[a-z0-9.-]{1,40}\.php\x00?[^\]]", 203),
        ("a.{0,40}b", 42),
        ("a.{20,}b", 22),
        (r"(?:[a-z]{1,63}\.){1,10}com", 68),
        ("(a|b).{9}c", 1024),
        ("(?:a*){1000}", 1),
        ("(?:a{1,100}){1,100}", 1),
    ],
)
def test_states(written: str, states: int) -> None:
    assert matching(written, Fold.NONE).states == states


def test_a_search_ends_where_it_is_decided() -> None:
    """An anchored pattern that cannot match any more rejects at once; every state that is left may still go either way."""
    automaton = matching("^GET /", Fold.NONE)
    assert automaton.rows[1 + automaton.classes[ord("X")]] == REJECT
    assert not automaton.accepts(b" GET /")


def test_case_is_folded_before_the_pattern_sees_it() -> None:
    assert matching("a", Fold.LOWER).accepts(b"A")
    assert not matching("A", Fold.LOWER).accepts(b"A")
    assert matching("^[A-Z]+$", Fold.UPPER).accepts(b"abC")
    assert not matching("^[^a-z]+$", Fold.LOWER).accepts(b"ABC")


def test_a_byte_beyond_ascii_has_no_case() -> None:
    assert not matching("(?i)\xe9", Fold.NONE).accepts("\xc9".encode())
    assert matching("(?i)\xe9", Fold.NONE).accepts("\xe9".encode())


@pytest.mark.parametrize(
    ("written", "bounds", "message"),
    [
        ("(?:a{100}){101}", Bounds(), "it needs 10,100 positions, and the limit is 10,000"),
        ("(a|b).{13}c", Bounds(), "it needs 16,384 states, and the limit is 10,000"),
        ("a.{20}b", Bounds(), "it needs more than 20,000 states, and the limit is 10,000"),
        ("abcdefgh", Bounds(states=7), "it needs 8 states, and the limit is 7"),
        ("abcdefgh", Bounds(table_bytes=319), "it needs 320 bytes of tables, and the limit is 319"),
        ("(a|b).{9}c", Bounds(steps=100), "it needs more than 100 steps to find its states, and the limit is 100"),
    ],
)
def test_what_is_too_large_says_by_how_much(written: str, bounds: Bounds, message: str) -> None:
    with pytest.raises(TooLargeError) as error:
        matching(written, Fold.NONE, bounds=bounds)
    assert str(error.value) == message
