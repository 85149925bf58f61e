"""Whatever the text: parsing, checking and formatting raise nothing but DiagnosticError, and every diagnostic can be shown.

2,000 texts in the normal run; `pytest -m long` or MANTLET_FUZZ=N runs more (100,000 by default)."""

# ruff: noqa: SIM905 (words in a row read better than a list)

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Iterator

import pytest

from rules_dsl import (
    CODES,
    Diagnostic,
    DiagnosticError,
    Geo,
    Limits,
    ListValue,
    check_policy,
    format_expression,
    format_policy,
    parse_expression,
    render,
    to_json,
)
from rules_dsl.fields import BY_NAME
from rules_dsl.literals import LiteralError
from rules_dsl.regexes import parse_regex
from rules_dsl.statements import KEYWORDS

EXPRESSION_WORDS = (
    *BY_NAME, *"and or xor not in eq ne lt le gt ge contains matches wildcard strict any all true false bitwise_and".split(),
    *"== != < <= > >= & ~ && || ^^ ! ( ) [ ] { } , * [*] = | / . .. $ # \\ ' \" ` - + ; : @ \n \t \0".split(" "),
    *"len lower upper substring starts_with ends_with bit_slice".split(),
    *"0 1 80 0x50 65535 65536 4294967296 017 -1 1..5 5..1 1.. ..5 1..5..9 1_000 99999999999999999999999999999999999999999999".split(),
    *"192.0.2.1 192.0.2.0/24 192.0.2.1/24 192.0.2.256 10.0.0.1..10.0.0.9 10.0.0.9..10.0.0.1 1.2.3.4/33 1.2.3 ::1 2001:db8::/32".split(),
    *"2001:db8::1/32 ::ffff:1.2.3.4 1:2:3:4:5:6:7:8 01:02:03 01:2 fe80::1%eth0 ::1..::9 ::1..1.2.3.4 ::/129 a: :: ::: 1/2/3".split(),
    '"tcp"', '"a"', '""', '"\\x00\\377"', '"\\777"', '"\\q"', '"unclosed', 'r"raw\\d"', 'r#"a"b"#', 'r##"x"#', '"(a|b)*"', '"a**b"', '"*"',
    '"DE"', '"\u00e9"', "\u00e9", "\u201cx\u201d", "\ud7ff", "\U0001f600", "$offices", "$ports", "$words", "$nowhere", "$cf.anonymizer",
    *"in{80} {80 443} {} {,} {1,,2} {$ports} {tcp} {1 2".split(),
)  # fmt: skip
STATEMENT_WORDS = (
    *(f"\n{word}" for word in sorted(KEYWORDS)),
    *"tenant protect hook list default expect geo allow block reject log count limit monitor disabled".split(),
    *"when to per burst from packet packets file interface mark all acme prerouting input second minute blok".split(),
    *("\nblok", "\n", " # comment\n", "\n\n"),
    '"name"', '"name"', '"other"', '"nowhere.txt"', '"a\\"b"', "100/second", "ip.src/24", "packet 3", "packets 1..3", "a = { 80 }", "\r\n",
)  # fmt: skip

EXAMPLE = """\
tenant acme
protect 203.0.113.0/24 2001:db8:ac::/48 interface "eth0" mark 0x1   # what these rules see
list offices = { 198.51.100.0/24, 2001:db8:10::/48 }
list words = { "friendly-scanner" r"sip\\vicious" 01:02:ff }
allow "offices" when ip.src in $offices and not (tcp.flags.syn and tcp.flags & 0x12)
block "words" when udp.payload contains any $words or lower(substring(tcp.payload, 0, -4)) matches r"^(GET|POST) [a-z]{1,9}"
limit "rate" to 100/second per ip.src/24 burst 20 when udp.dstport in {53 5353 1..9} xor ip.ttl >= 5
monitor reject when tcp.payload wildcard "GET *" and bit_slice(tcp, 0, 16) == 80
disabled log "last" when all(ipv6.exthdr != 43) and ip.src == 192.0.2.0/24 and sip
default block
expect block "words" when ip.proto == "tcp" from "a.pcap" packets 1..5
"""

LISTS = {
    "offices": ListValue.of_addresses(["198.51.100.0/24"]),
    "ports": ListValue.of_numbers([80, 443]),
    "words": ListValue.of_strings([b"a"]),
    "cf.anonymizer": ListValue.of_addresses([]),
}
GEO = Geo.parse("network,country,asn\n192.0.2.0/25,DE,64496\n", "geo.csv")
LIMITS = Limits(nesting=20)


def soup(random_: random.Random, words: tuple[str, ...]) -> str:
    return random_.choice((" ", " ", "")).join(random_.choices(words, k=random_.randint(0, 25)))


def mutated(random_: random.Random, text: str) -> str:
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(text) + 1)
        end = min(len(text), at + random_.choice((0, 1, 1, 2, 5, 20)))
        match random_.randrange(4):
            case 0:
                text = text[:at] + text[end:]
            case 1:
                text = (
                    text[:at] + chr(random_.choice((9, 10, 13, 34, 35, 40, 41, 46, 58, 92, 123, 125, 0, 0xE9, 0x2028, 0x85))) + text[end:]
                )
            case 2:
                text = text[:at] + random_.choice((*EXPRESSION_WORDS, *STATEMENT_WORDS)) + text[end:]
            case _:
                other = random_.randrange(len(text) + 1)
                text = text[:at] + text[other : other + 30] + text[at:]
    return text


def show(diagnostics: tuple[Diagnostic, ...]) -> None:
    for diagnostic in diagnostics:
        assert diagnostic.code in CODES
        span = diagnostic.span
        assert 0 <= span.start <= span.end <= len(span.source.text)
        assert render(diagnostic)
        assert json.dumps(to_json(diagnostic))


def attempt(text: str) -> None:
    try:
        parse_expression(text, lists=LISTS, limits=LIMITS, geo=GEO)
    except DiagnosticError as error:
        show(error.diagnostics)
    policy, found = check_policy(text, limits=LIMITS)
    show(found)
    for form in (format_expression, format_policy):
        try:
            formed = form(text)
        except DiagnosticError as error:
            show(error.diagnostics)
        else:
            assert form(formed) == formed
    assert policy is not None or found


def texts(seed: int, count: int) -> Iterator[str]:
    random_ = random.Random(seed)
    for number in range(count):
        match number % 4:
            case 0:
                yield soup(random_, EXPRESSION_WORDS)
            case 1:
                yield soup(random_, EXPRESSION_WORDS + STATEMENT_WORDS)
            case 2:
                yield mutated(random_, EXAMPLE)
            case _:
                line = random_.choice(EXAMPLE.splitlines())
                yield mutated(random_, line.partition(" when ")[2] or line)


def run(seed: int, count: int) -> None:
    for text in texts(seed, count):
        try:
            attempt(text)
        except Exception as error:
            raise AssertionError(f"{text!r}") from error


def test_random_texts_raise_nothing_but_diagnostics() -> None:
    run(2026, 2_000)


@pytest.mark.long
def test_many_random_texts_raise_nothing_but_diagnostics() -> None:
    run(random.SystemRandom().randrange(1 << 32), int(os.environ.get("MANTLET_FUZZ", "100000")))


def test_random_patterns_raise_nothing_but_literal_errors() -> None:
    random_ = random.Random(7)
    for _ in range(5_000):
        pattern = "".join(random_.choices("ab01()[]{}?*+|^$.\\-:=!<>Pdwsbxk,&# \u00e9", k=random_.randint(0, 14)))
        with contextlib.suppress(LiteralError):
            parse_regex(pattern, 1_000)
