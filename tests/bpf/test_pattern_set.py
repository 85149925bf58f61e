"""Automata of many tests tell exactly those that hold in the reference, however the tests are mixed; large sets are one automaton."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Sequence

import pytest
from generators.expressions import Expressions
from generators.packets import packet
from generators.patterns import LETTERS, near, pattern

from bpf.automaton import Fold
from bpf.joint_automata import JoinBounds
from bpf.lower_bytes import fold_of
from bpf.pattern_set import BytesTest, pattern_set
from bpf.regex_automaton import TooLargeError
from bpf.set_automaton import AT_END, AT_ENTRY, DONE, FIRST_CLASS, MARK, SetAutomaton
from rules_dsl.expression import (
    CompareBytes,
    Contains,
    EndsWith,
    FieldValue,
    InStrings,
    Matches,
    Order,
    StartsWith,
    Substring,
    Wildcard,
)
from rules_dsl.fields import FIELDS
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import passes, values_of

PAIRS_LONG = int(os.environ.get("MANTLET_PAIRS", "1000000"))
PAYLOAD = FieldValue(FIELDS["udp.payload"])
FOLDED = {Fold.NONE: bytes, Fold.LOWER: bytes.lower, Fold.UPPER: bytes.upper}
TEXT = b"abcdefghijklmnopqrstuvwxyz0123456789-._/ =:"

Asked = tuple[BytesTest, Fold]


def text(rng: random.Random, longest: int, shortest: int = 0, letters: bytes = b"abAB") -> bytes:
    return bytes(rng.choice(letters) for _ in range(rng.randint(shortest, longest)))


def random_test(rng: random.Random, letters: bytes) -> BytesTest:
    def some(longest: int, shortest: int = 0) -> bytes:
        return text(rng, longest, shortest, letters)

    match rng.randrange(9):
        case 0:
            return CompareBytes(PAYLOAD, Order.EQ, some(4))
        case 1:
            return InStrings(PAYLOAD, tuple(sorted({some(4) for _ in range(rng.randint(1, 4))})))
        case 2 | 3:
            shortest = int(rng.random() < 0.95)
            return Contains(PAYLOAD, tuple(dict.fromkeys(some(4, shortest) for _ in range(rng.randint(1, 3)))))
        case 4:
            return StartsWith(PAYLOAD, some(3))
        case 5:
            return EndsWith(PAYLOAD, some(3))
        case 6:
            strict = rng.random() < 0.5
            middle = [some(3, 1) for _ in range(rng.randint(0, 2))]
            segments = rng.choice(([some(3)], [some(2), *middle, some(2)]))
            return Wildcard(PAYLOAD, tuple(segment if strict else segment.lower() for segment in segments), strict)
        case 7:
            return Matches(PAYLOAD, near(rng, some(4, 1)))
        case _:
            return Matches(PAYLOAD, pattern(rng, 2))


def found(automata: Sequence[SetAutomaton], value: bytes) -> set[int]:
    bits: set[int] = set()
    for one in automata:
        bits |= one.found(value)
    return bits


def check_form(automata: Sequence[SetAutomaton], tests: int, base: int) -> None:
    """Places, marks and reports are what the kernel's run relies on."""
    assert sorted(test for one in automata for test in one.tests) == list(range(tests))
    for one in automata:
        assert one.base == base
        assert len(one.data) == one.end - one.base
        assert one.end % 8 == one.report_base % 8 == 0
        assert len(one.classes) == 256
        assert max(one.classes) < one.width - FIRST_CLASS
        base = one.end
        starts = range(0, len(one.rows), one.width)
        states = {one.base + start * 4 | (MARK if one.rows[start + AT_ENTRY] else 0) for start in starts} | {DONE}
        assert states.issuperset(cell for start in starts for cell in one.rows[start + FIRST_CLASS : start + one.width])
        assert not one.rows[AT_ENTRY]
        reports = {one.begin, *(one.rows[start + at] for start in starts for at in (AT_END, AT_ENTRY))} - {0}
        assert all(one.report_base <= report < one.end and report % 8 == 0 for report in reports)


def compare(seed: int, pairs: int) -> tuple[int, int]:
    """Pairs of a test and a value that were compared, and those that held."""
    rng = random.Random(seed)
    compared = hits = 0
    while compared < pairs:
        letters = rng.choice((b"ab", b"abAB", b"aB\n \xff", LETTERS))
        count = rng.choice((1, 1, 2, 3, 8, 20))
        tests = [(random_test(rng, letters), rng.choice(tuple(Fold))) for _ in range(count)]
        bits = rng.sample(range(200), count)
        base = rng.choice((0, 64))
        bounds = rng.choice((JoinBounds(), JoinBounds(), JoinBounds(states=rng.choice((10, 100)), cells=rng.choice((500, 5_000)))))
        try:
            automata = pattern_set(tests, bits, base, bounds)
        except TooLargeError:  # one in many thousands
            continue
        check_form(automata, count, base)
        for value in (text(rng, rng.choice((2, 6, 12)), letters=letters) for _ in range(12)):
            wanted = {bit for bit, (test, fold) in zip(bits, tests, strict=True) if passes(test, FOLDED[fold](value))}
            assert found(automata, value) == wanted, (tests, value, bits)
            compared, hits = compared + count, hits + len(wanted)
    return compared, hits


def test_random_tests_on_random_values() -> None:
    compared, hits = compare(21, 50_000)
    assert 10_000 < hits < compared - 10_000


@pytest.mark.long
def test_many_random_tests_on_random_values() -> None:
    compare(random.SystemRandom().randrange(1 << 32), PAIRS_LONG)


def test_tests_near_the_payloads_of_packets() -> None:
    """Longer constants, cut from the very values."""
    rng = random.Random(22)
    packets: list[Packet] = []
    while len(packets) < 40:
        one = Packet(packet(rng, longest=1500), Place("eth0"))
        packets += [one] if one.value(PAYLOAD.field) else []
    drawn = Expressions(rng, near=packets)
    compared = hits = 0
    for _ in range(12):
        tests: list[Asked] = []
        while len(tests) < 25:
            test = drawn.test_of(PAYLOAD.field)
            if not isinstance(test, BytesTest) or isinstance(test.operand, Substring) or "Substring" in repr(test.operand):
                continue
            if not isinstance(test, CompareBytes) or test.order is Order.EQ:
                tests.append((test, fold_of(test.operand)))
        automata = pattern_set(tests)
        for one in packets:
            value = one.value(PAYLOAD.field)
            assert isinstance(value, bytes)
            wanted = {number for number, (test, _) in enumerate(tests) if passes(test, values_of(test.operand, one)[0])}
            assert found(automata, value) == wanted
            compared, hits = compared + len(tests), hits + len(wanted)
    assert compared == 12_000
    assert 1_000 < hits < compared - 1_000


@pytest.mark.parametrize("patterns", [150, pytest.param(20_000, marks=pytest.mark.long)])
def test_patterns_of_a_set_against_re2(patterns: int) -> None:
    re2 = pytest.importorskip("re2", reason="google-re2 is not installed")
    options = re2.Options()
    options.encoding, options.log_errors = re2.Options.Encoding.LATIN1, False
    rng = random.Random(23)
    for _ in range(patterns):
        written = [one for one in (pattern(rng, 2, rust_only=False) for _ in range(6)) if one.count("<n>") < 2]
        others = [re2.compile(one.encode("latin-1"), options) for one in written]
        automata = pattern_set([(Matches(PAYLOAD, one), Fold.NONE) for one in written])
        for value in (text(rng, 16, letters=letters) for letters in (LETTERS, b"aabbc\n ") * 5):
            assert found(automata, value) == {number for number, other in enumerate(others) if other.search(value)}, (written, value)


# -- large sets --------------------------------------------------------------------------------------------------------


def built(name: str, tests: Sequence[Asked]) -> tuple[SetAutomaton, ...]:
    """Prints what it took."""
    start = time.process_time()
    automata = pattern_set(tests)
    took = time.process_time() - start
    sizes = ", ".join(f"{one.states:,} states {len(one.data):,} bytes {one.most_entries} entries" for one in automata)
    print(f"{name}: {took * 1000:.0f} ms, {sizes}")
    return automata


@pytest.mark.parametrize("count", [1, 10, 100, 1_000, 10_000])
@pytest.mark.parametrize("kind", ["anywhere", "whole", "ends"])
def test_many_literals_are_one_automaton(count: int, kind: str) -> None:
    rng = random.Random(count)
    texts = [text(rng, 20, 8, TEXT) for _ in range(count)]
    tests: dict[str, list[Asked]] = {
        "anywhere": [(Contains(PAYLOAD, (one,)), Fold.LOWER) for one in texts],
        "whole": [(CompareBytes(PAYLOAD, Order.EQ, one), Fold.NONE) for one in texts],
        "ends": [((StartsWith, EndsWith)[number % 2](PAYLOAD, one), Fold.NONE) for number, one in enumerate(texts)],
    }
    automata = built(f"{count} {kind}", tests[kind])
    assert len(automata) == 1
    assert automata[0].states <= sum(map(len, texts)) + 2
    for _ in range(100):
        some = [rng.choice(texts) for _ in range(rng.randint(0, 3))]
        value = rng.choice((b"", b"", b"x")) + rng.choice((b"", b"", b"-")).join(some) + rng.choice((b"", b"", b"y"))
        wanted = {
            "anywhere": [one in value for one in texts],
            "whole": [one == value for one in texts],
            "ends": [(value.startswith, value.endswith)[number % 2](one) for number, one in enumerate(texts)],
        }
        shown = value.upper() if kind == "anywhere" else value
        assert automata[0].found(shown) == {number for number, holds in enumerate(wanted[kind]) if holds}


@pytest.mark.parametrize("count", [100, 1_000])
def test_literals_in_their_own_case_and_in_either_are_one_automaton(count: int) -> None:
    rng = random.Random(31)
    texts = [text(rng, 20, 8, TEXT) for _ in range(count)]
    automata = built(f"{count} in two cases", [(Contains(PAYLOAD, (one,)), (Fold.NONE, Fold.LOWER)[n % 2]) for n, one in enumerate(texts)])
    assert len(automata) == 1
    for _ in range(100):
        value = b"".join(rng.choice((bytes.upper, bytes.lower, bytes.swapcase))(rng.choice(texts)[rng.randint(0, 1) :]) for _ in range(4))
        seen = (value, value.lower())
        assert automata[0].found(value) == {n for n, one in enumerate(texts) if one in seen[n % 2]}


SEARCHES = (
    r"(?i)user-agent:\s*(?:sqlmap|nikto|masscan|zgrab)", r"\bevil\b", r"[0-9]{3}-[0-9]{2}", r"^SSH-[12]\.[0-9]+", r"cmd=[a-z]+;",
    r"\.(exe|dll|scr)$", r"(?i)\$\{jndi:(ldap|rmi|dns)", r"eval\(base64_[a-z]+\(", r"/etc/(passwd|shadow)", r"(?i)union\s+select",
    r"<script[^>]*>", r"\.\./\.\./", r"[a-z]{3}\d{4}x", r"^HTTP/1\.[01] [45]\d\d", r"id=\d+('|\")", r"wget\s+http",
)  # fmt: skip
HITS = (
    b"User-Agent:  NIKTO", b" evil ", b"555-12", b"cmd=ls;", b"a.exe", b"${JNDI:rmi", b"eval(base64_x(", b"/etc/shadow", b"UNION  select",
    b"<script a>", b"../../", b"abc1234x", b"id=7'", b"wget http", b"SSH-2.0", b"HTTP/1.1 404",
)  # fmt: skip


@pytest.mark.parametrize(("literals", "searches", "most"), [(80, 4, 1), (0, 16, 2), (80, 16, 2), (1_000, 4, 2)])
def test_literals_and_patterns(literals: int, searches: int, most: int) -> None:
    rng = random.Random(32)
    texts = [text(rng, 20, 8, TEXT) for _ in range(literals)]
    tests: list[Asked] = [(Contains(PAYLOAD, (one,)), Fold.NONE) for one in texts]
    tests += [(Matches(PAYLOAD, one), Fold.NONE) for one in SEARCHES[:searches]]
    automata = built(f"{literals} literals, {searches} patterns", tests)
    assert len(automata) <= most
    for _ in range(300):
        parts = [rng.choice((*HITS, *rng.sample(texts, min(literals, 9)))) for _ in range(rng.randint(0, 5))]
        value = rng.choice((b"", b" ", b"x")).join(parts)
        wanted = {number for number, one in enumerate(texts) if one in value}
        wanted |= {literals + number for number, one in enumerate(SEARCHES[:searches]) if re.search(one.encode(), value)}
        assert found(automata, value) == wanted


# -- what is told, and when --------------------------------------------------------------------------------------------


def test_one_test_alone_ends_the_search() -> None:
    alone: tuple[BytesTest, ...] = Contains(PAYLOAD, (b"evil", b"bad")), Matches(PAYLOAD, "e.il|bad+")
    for test in alone:
        (automaton,) = pattern_set([(test, Fold.NONE)])
        assert [start for start in range(0, len(automaton.rows), automaton.width) if automaton.rows[start + AT_ENTRY]]
        for start in range(0, len(automaton.rows), automaton.width):
            if automaton.rows[start + AT_ENTRY]:
                assert set(automaton.rows[start + FIRST_CLASS : start + automaton.width]) == {DONE}


def test_what_is_sought_at_the_start_alone_ends_early() -> None:
    (automaton,) = pattern_set([(StartsWith(PAYLOAD, b"GET "), Fold.NONE), (Matches(PAYLOAD, "^POST [a-z]"), Fold.NONE)])
    assert automaton.rows[FIRST_CLASS + automaton.classes[ord("x")]] == DONE


def test_patterns_that_are_literals_need_no_automaton_of_their_own() -> None:
    tests: list[Asked] = [
        (Matches(PAYLOAD, one), Fold.NONE) for one in ("(?i)sqlmap|nikto", "^GET /", ".*evil.*", r"\.exe$", "colou?r", "a{3}")
    ]
    plain: list[Asked] = [(Contains(PAYLOAD, (b"sqlmap", b"nikto")), Fold.LOWER), (StartsWith(PAYLOAD, b"GET /"), Fold.NONE)]
    plain += [(Contains(PAYLOAD, (b"evil",)), Fold.NONE), (EndsWith(PAYLOAD, b".exe"), Fold.NONE)]
    plain += [(Contains(PAYLOAD, (b"color", b"colour")), Fold.NONE), (Contains(PAYLOAD, (b"aaa",)), Fold.NONE)]
    assert [(one.rows, one.reports) for one in pattern_set(tests)] == [(one.rows, one.reports) for one in pattern_set(plain)]


def test_what_always_holds_is_told_at_the_beginning() -> None:
    tests: list[Asked] = [(Contains(PAYLOAD, (b"",)), Fold.NONE), (Matches(PAYLOAD, "a*"), Fold.NONE), (EndsWith(PAYLOAD, b""), Fold.UPPER)]
    tests += [(Wildcard(PAYLOAD, (b"", b""), strict=False), Fold.NONE), (Contains(PAYLOAD, (b"A",)), Fold.LOWER)]
    (automaton,) = pattern_set(tests)
    assert automaton.begin
    assert automaton.rows[FIRST_CLASS] == DONE
    assert automaton.found(b"") == automaton.found(b"A") == {0, 1, 2, 3}


def test_a_report_has_an_entry_for_each_word() -> None:
    tests: list[Asked] = [(Contains(PAYLOAD, (b"evil"[:length],)), Fold.NONE) for length in (4, 4, 4, 2)]
    (automaton,) = pattern_set(tests, bits=(0, 63, 64, 65))
    assert automaton.most_entries == 2
    assert automaton.found(b"evil") == {0, 63, 64, 65}
    assert automaton.found(b"ev") == {65}


def test_a_pattern_that_is_too_large_says_so() -> None:
    with pytest.raises(TooLargeError, match="it needs more than 20,000 states, and the limit is 10,000"):
        pattern_set([(Matches(PAYLOAD, "a.{20}b"), Fold.NONE), (Contains(PAYLOAD, (b"x",)), Fold.NONE)])


def test_literals_that_are_too_large_say_so() -> None:
    rng = random.Random(33)
    with pytest.raises(TooLargeError, match="bytes of tables"):
        pattern_set([(Contains(PAYLOAD, tuple(rng.randbytes(300) for _ in range(600))), Fold.NONE)])
