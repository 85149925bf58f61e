"""Random `matches` patterns: of every form of the syntax, or near a value that they then often match."""

from __future__ import annotations

import random

_ATOMS = (
    "a", "b", "c", "A", " ", "_", "-", "\n", "#", r"\n", r"\x41", r"\x{ff}", r"\.", ".", r"\d", r"\w", r"\W", r"\s", r"\S", r"\D",
    "[ab]", "[^a]", "[a-c-]", "[]a]", "[^]a-]", r"[\w-]",
    "[ a-c]", r"[^\W\n]", r"[\x00-a]", "[[:alpha:]]", "[[:^lower:]b]", "[^[:upper:]_]",
    "[[:punct:]]", "[[:^xdigit:]]",
)  # fmt: skip
_EDGES = ("^", "$", r"\A", r"\z", r"\b", r"\B")
_GROUPS = ("(", "(?:", "(?i:", "(?m:", "(?s:", "(?-i:", "(?i-s:", "(?P<n>", "(?<n>", "(?Us:")
_CHANGES = ("(?i)", "(?m)", "(?s)", "(?-im)", "(?U)")
_REPEATS = ("*", "+", "?", "{2}", "{1,2}", "{0,3}", "{2,}", "{0}")

LETTERS = b"aabbccA_ -#\n\xc3\xa9\xff\x00"
"""What texts are made of that these patterns both match and miss."""


def text(rng: random.Random, longest: int = 8) -> bytes:
    return bytes(rng.choice(LETTERS) for _ in range(rng.randint(0, longest)))


def pattern(rng: random.Random, depth: int = 3, *, rust_only: bool = True) -> str:
    """A pattern with groups up to `depth` deep. `rust_only`: also what RE2 has not, or means otherwise (white space that is skipped,
    text beyond ASCII)."""
    return "|".join(_branch(rng, depth, rust_only) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def _branch(rng: random.Random, depth: int, rust_only: bool) -> str:
    parts: list[str] = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
        kind = rng.random()
        if kind < 0.05:
            parts.append(rng.choice(_CHANGES))
        elif kind < 0.17:
            parts.append(rng.choice(_EDGES))
        else:
            parts.append(_atom(rng, depth, rust_only) + _repeat(rng))
    return "".join(parts)


def _atom(rng: random.Random, depth: int, rust_only: bool) -> str:
    if depth > 0 and rng.random() < 0.3:
        if rust_only and rng.random() < 0.1:
            return "(?x: " + " ".join(_spaced(rng) for _ in range(rng.randint(0, 3))) + "# (\n)"
        return rng.choice(_GROUPS) + pattern(rng, depth - 1, rust_only=rust_only) + ")"
    return "é" if rust_only and rng.random() < 0.03 else rng.choice(_ATOMS)


def _spaced(rng: random.Random) -> str:
    """An atom among white space that is skipped, with no white space or # of its own to repeat."""
    atom = rng.choice([atom for atom in _ATOMS if not set(atom) & set(" \n#")] + [r"\ ", r"\#", "[ a # b]c\n- d]", "[ ] a ]"])
    return atom + rng.choice((" ", "")) + _repeat(rng)


def _repeat(rng: random.Random) -> str:
    return rng.choice(_REPEATS) + rng.choice(("", "", "?")) if rng.random() < 0.35 else ""


def counted(rng: random.Random) -> str:
    """Repeats of repeats with bounds of every kind, in a row: copies of one item, of which an automaton need not keep all."""
    items = (
        "a",
        "b",
        "[ab]",
        ".",
        "(?:ab)",
        "(?:a|bc)",
        "(?:a?)",
        "(?:a{0,2}b)",
        "(?:a{2,}b)",
        r"(?:a\b)",
        "(?:^a|b)",
        "(?:a*c)",
        "(?:a$|b)",
    )
    counts = ("{0,5}", "{2,}", "{3}", "{1,4}", "{0,2}", "{4,}", "{2,6}", "*", "+")
    written = rng.choice(("", "^", "a", r"\b", "(?m)^"))
    for _ in range(rng.randint(1, 3)):
        once = rng.choice(items) + rng.choice(counts)
        written += once if rng.random() < 0.6 else f"(?:{once}){rng.choice(counts)}"
    return written + rng.choice(("", "b", "$", r"\b", "a"))


def near(rng: random.Random, value: bytes) -> str:
    """A pattern that `value`, a run of bytes that stands in what is searched, often matches. No repeat stands in a repeat, so that
    engines that try one way after another are quick."""
    written = "".join(_near_byte(rng, byte) for byte in value[: rng.choice((1, 2, 3, 4, 8))])
    match rng.randrange(8):
        case 0:
            written = f"^{written}"
        case 1:
            written += "$"
        case 2:
            written = rf"\b{written}"
        case 3:
            written = f"(?i){written}"
        case 4:
            written = f"(?s)^.{{0,{rng.choice((1, 4, 40))}}}{written}"
        case 5:
            written = f"(?:{written}|{''.join(_near_byte(rng, rng.randrange(256)) for _ in range(3))}|xyz+)"
        case _:
            pass
    return written


def _near_byte(rng: random.Random, byte: int) -> str:
    low, high = max(0, byte - rng.randint(0, 9)), min(255, byte + rng.randint(0, 9))
    plain = rf"\x{byte:02x}"
    atom = rng.choice((plain, plain, plain, rf"[\x{low:02x}-\x{high:02x}]", rf"[^\x{low:02x}]", ".", r"\w"))
    return atom + rng.choice(("", "", "", "", "+", "?", "{1,3}"))
