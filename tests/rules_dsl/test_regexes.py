"""Patterns of `matches`: their tree, and what they mean by Python's `re` and by RE2."""

from __future__ import annotations

import random
import re

import pytest
from generators.patterns import pattern, text

from rules_dsl.python_regex import python_regex
from rules_dsl.regexes import Concat, Edge, Either, Look, OneOf, Regex, Repeat, parse_regex


def one(*bytes_: int | str) -> OneOf:
    return OneOf(frozenset(byte if isinstance(byte, int) else ord(byte) for byte in bytes_))


A, B = one("a"), one("b")
DIGITS = one(*range(0x30, 0x3A))


@pytest.mark.parametrize(
    ("written", "tree"),
    [
        ("", Concat(())),
        ("a", A),
        ("ab", Concat((A, B))),
        ("a|", Either((A, Concat(())))),
        ("(a|b)", Either((A, B))),
        ("a*?", Repeat(A, 0, None)),
        ("a+", Repeat(A, 1, None)),
        ("a??", Repeat(A, 0, 1)),
        ("a{2}", Repeat(A, 2, 2)),
        ("a{2,}", Repeat(A, 2, None)),
        ("a{0,3}?", Repeat(A, 0, 3)),
        ("^$", Concat((Look(Edge.START), Look(Edge.END)))),
        ("(?m)^$", Concat((Look(Edge.LINE_START), Look(Edge.LINE_END)))),
        (r"\A\z\b\B", Concat(tuple(map(Look, (Edge.START, Edge.END, Edge.WORD, Edge.NO_WORD))))),
        (".", OneOf(frozenset(range(256)) - {10})),
        ("(?s).", OneOf(frozenset(range(256)))),
        ("(?i)a", one("a", "A")),
        ("(?i:a)a", Concat((one("a", "A"), A))),
        ("a(?i)a|a", Either((Concat((A, one("a", "A"))), one("a", "A")))),
        ("((?i)a)a", Concat((one("a", "A"), A))),
        ("(?i)(?-i:a)a", Concat((A, one("a", "A")))),
        ("(?i)[a-b]", one("a", "b", "A", "B")),
        ("(?i)[^a]", OneOf(frozenset(range(256)) - set(b"aA"))),
        (r"\d", DIGITS),
        (r"[^\D]", DIGITS),
        ("[[:digit:]]", DIGITS),
        ("[^[:^digit:]]", DIGITS),
        ("(?i)[^[:^upper:]B-z]", one()),
        ("[]a]", one("]", "a")),
        ("[a-]", one("a", "-")),
        ("[^-a]", OneOf(frozenset(range(256)) - set(b"a-"))),
        (r"[\x00-\x{2}]", one(0, 1, 2)),
        (r"\x41\n\a\.", Concat((one("A"), one("\n"), one(7), one(".")))),
        ("é", Concat((one(0xC3), one(0xA9)))),
        ("é*", Repeat(Concat((one(0xC3), one(0xA9))), 0, None)),
        ("(?x) a # b\n b \\ ", Concat((A, B, one(" ")))),
        ("(?x)[ a # c]\n- b ]", one("a", "b")),
        ("(?x:a )b ", Concat((A, B, one(" ")))),
        ("(^)*", Repeat(Concat((Look(Edge.START),)), 0, None)),
        ("(?U)a*", Repeat(A, 0, None)),
    ],
)
def test_tree(written: str, tree: Regex) -> None:
    assert parse_regex(written) == tree


@pytest.mark.parametrize(
    ("written", "found", "missed"),
    [
        ("$", [b"", b"a\n"], []),
        ("a$", [b"a"], [b"a\n"]),
        (r"(?m)^a$", [b"b\na\nb", b"a"], [b"ba", b"a\r\n"]),
        (r"\Aa\z", [b"a"], [b"a\n", b"\na"]),
        (r"(?m)\Aa\z", [b"a"], [b"a\n", b"\na"]),
        (r"a.b", [b"a\0b", b"a\xffb"], [b"a\nb"]),
        (r"\B", [b"", b"-", b"ab"], [b"a"]),
        (r"(?i)é", ["É é".encode()], ["É".encode(), b"\xe9"]),
        (r"(?i)[[:^lower:]]", [b"1"], [b"a", b"A"]),
        (r"a(?i)b|c", [b"aB", b"C"], [b"AB"]),
        (r"\x{e9}", [b"\xe9"], ["é".encode()]),
    ],
)
def test_meaning(written: str, found: list[bytes], missed: list[bytes]) -> None:
    meaning = python_regex(written)
    assert [value for value in found if not meaning.search(value)] == []
    assert [value for value in missed if meaning.search(value)] == []


def test_every_byte_of_every_class() -> None:
    """The tree's sets are those of Python's own `re`."""
    names = ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"]
    atoms = [".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"]
    atoms += [text for name in names for text in (f"[[:{name}:]]", f"[[:^{name}:]]", f"[^[:{name}:]_]")]
    for atom in (flag + atom for flag in ("", "(?i)", "(?s)") for atom in atoms):
        tree = parse_regex(atom)
        assert isinstance(tree, OneOf)
        meaning = python_regex(atom)
        assert tree.bytes == {byte for byte in range(256) if meaning.search(bytes((byte,)))}, atom


def test_the_reference_means_what_re2_means() -> None:
    """RE2 over Latin-1, where a character is a byte; on patterns that it reads as Rust's regex crate does."""
    re2 = pytest.importorskip("re2", reason="google-re2 is not installed")
    options = re2.Options()
    options.encoding, options.log_errors = re2.Options.Encoding.LATIN1, False
    rng = random.Random(8)
    compared = hits = 0
    for _ in range(1_500):
        written = re.sub("<n>", lambda _: f"<n{rng.getrandbits(60)}>", pattern(rng, rust_only=False))  # RE2 wants names unique
        other, meaning = re2.compile(written.encode("latin-1"), options), python_regex(written)
        for value in (text(rng) for _ in range(10)):
            wanted = other.search(value) is not None
            assert (meaning.search(value) is not None) is wanted, (written, value)
            compared, hits = compared + 1, hits + wanted
    assert compared == 15_000
    assert 3_000 < hits < 12_000
