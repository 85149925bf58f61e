"""Literals, patterns, lists, tables and places: what has a value, which, and what has none."""

from __future__ import annotations

import ipaddress
import itertools
import random
from pathlib import Path

import pytest

from rules_dsl import Diagnostic, DiagnosticError, Geo, Limits, ListKind, ListValue, Source, Span, parse_expression, render, to_json
from rules_dsl import literals as lit
from rules_dsl.literals import LiteralError
from rules_dsl.ranges import merged
from rules_dsl.regexes import parse_regex
from rules_dsl.statements import pieces

# -- literals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        ('""', b""),
        ('"a b"', b"a b"),
        (r'"\"\\\n\r\t"', b'"\\\n\r\t'),
        (r'"\x00\xfF\377\000"', b"\x00\xff\xff\x00"),
        ('"\u00e9"', b"\xc3\xa9"),
        (r'r"\x00"', rb"\x00"),
        ('r##"a"#b"##', b'a"#b'),
    ],
)
def test_strings(spelling: str, value: bytes) -> None:
    assert lit.string_value(spelling) == value


def test_quoting_gives_the_value_back() -> None:
    value = bytes(range(256))
    assert lit.string_value(lit.quoted(value)) == value


@pytest.mark.parametrize(
    ("spelling", "pair"), [("0", (0, 0)), ("0x1F", (31, 31)), ("1..5", (1, 5)), ("7 .. 0x7", (7, 7)), (str(2**128), (2**128, 2**128))]
)
def test_numbers(spelling: str, pair: tuple[int, int]) -> None:
    assert lit.number_range(spelling) == pair


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("", "E0302"),
        ("01", "E0302"),
        ("0x", "E0302"),
        ("1_0", "E0302"),
        ("1a", "E0302"),
        ("\u0665", "E0302"),
        ("-5", "E0305"),
        ("-0x5", "E0305"),
        ("9" * 5_000, "E0302"),
        ("5..", "E0302"),
        ("5..4", "E0304"),
        ("1..2..3", "E0302"),
        ("1..-2", "E0305"),
    ],
)
def test_what_is_no_number(spelling: str, code: str) -> None:
    with pytest.raises(LiteralError) as error:
        lit.number_range(spelling)
    assert error.value.code == code


def test_addresses_are_those_of_the_standard_library() -> None:
    random_ = random.Random(3)
    for _ in range(500):
        version = random_.choice((4, 6))
        bits = lit.BITS[version]
        length = random_.randint(0, bits)
        network = ipaddress.ip_network((random_.getrandbits(bits), length), strict=False)
        low, high = int(network.network_address), int(network.broadcast_address)
        assert lit.address_range(str(network)) == (version, low, high)
        assert lit.address_range(f"{network.network_address}..{network.broadcast_address}") == (version, low, high)
        assert ipaddress.ip_address(lit.address_text(version, low)) == network.network_address


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("192.0.2.256", "E0302"),
        ("192.0.2", "E0302"),
        ("192.0.02.1", "E0302"),
        ("192.0.2.0/33", "E0302"),
        ("192.0.2.0/", "E0302"),
        ("::/129", "E0302"),
        ("fe80::1%eth0", "E0302"),
        ("192.0.2.1/24", "E0303"),
        ("2001:db8::1/32", "E0303"),
        ("192.0.2.9..192.0.2.1", "E0304"),
        ("::1..1.2.3.4", "E0306"),
        ("192.0.2.1..", "E0302"),
        ("192.0.2.0/24..192.0.3.0/24", "E0302"),
        ("192.0.2.0/\u0662\u0664", "E0302"),
        ("1.2.3.4\0", "E0302"),
    ],
)
def test_what_is_no_address(spelling: str, code: str) -> None:
    with pytest.raises(LiteralError) as error:
        lit.address_range(spelling)
    assert error.value.code == code


def test_host_bits_name_the_network_meant() -> None:
    with pytest.raises(LiteralError) as error:
        lit.address_range("198.51.100.7/24")
    assert "198.51.100.0/24" in error.value.message


def test_ranges_are_merged() -> None:
    random_ = random.Random(5)
    for _ in range(300):
        pairs = [(low, low + random_.randint(0, 6)) for low in random_.choices(range(60), k=random_.randint(0, 12))]
        found = merged(pairs)
        assert {n for low, high in found for n in range(low, high + 1)} == {n for low, high in pairs for n in range(low, high + 1)}
        assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(found))


# -- patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a",
        "a|",
        "(a|b)*c+?d??",
        "[a-z0-9_.-]{1,40}",
        "[]a]",
        "[^]a]",
        "[a-]",
        r"[\]\-\\]",
        "[[:alpha:][:^digit:]x]",
        r"\d\D\w\W\s\S\b\B\A\z",
        r"\x41\x{41}\n\r\t\f\v\a",
        r"\.\*\+\?\(\)\[\]\{\}\|\^\$\\\/",
        "(?i)a(?-i:b)(?P<n>c)(?<m>d)(?s-m:.)",
        "a{3}b{3,}c{3,5}?",
        "^$",
        "(^a|b$)",
        "}",
        "]",
        "a\nb",
    ],
)
def test_patterns(pattern: str) -> None:
    parse_regex(pattern, 1_000)


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("(?=a)", "look-around"),
        ("(?!a)", "look-around"),
        ("(?<=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "back-reference"),
        (r"(?P<x>a)(?P=x)", "back-reference"),
        (r"\k<x>", "back-reference"),
        ("(?>a)", "not supported"),
        ("a*+", "possessive"),
        ("(a", "not closed"),
        ("a)", "closes nothing"),
        ("[a", "not closed"),
        ("[z-a]", "backwards"),
        (r"[\d-z]", "from one byte"),
        ("a{5,2}", "backwards"),
        ("a{", "count"),
        ("a{,5}", "count"),
        ("*a", "nothing before"),
        ("(*a)", "nothing before"),
        ("a|+", "nothing before"),
        ("^*", "nothing before"),
        ("a**", "nothing before"),
        (r"\b+", "nothing before"),
        (r"\q", "no escape"),
        ("a\\", "lone"),
        (r"\xg", "hexadecimal"),
        (r"\x{100}", "more than a byte"),
        (r"\pL", "Unicode"),
        ("[[:nope:]]", "class"),
        ("[a&&b]", "not supported"),
        ("(?x", "(?"),
        ("(" * 101, "deep"),
    ],
)
def test_what_is_no_pattern(pattern: str, part: str) -> None:
    with pytest.raises(LiteralError, match=part.replace("(", r"\(").replace("?", r"\?")) as error:
        parse_regex(pattern, 1_000)
    assert 0 <= error.value.start < error.value.end <= len(pattern) + 3


@pytest.mark.parametrize(
    ("pattern", "segments"),
    [
        (b"", (b"",)),
        (b"a", (b"a",)),
        (b"*", (b"", b"")),
        (b"a*b*", (b"a", b"b", b"")),
        (rb"\*a\\*", (b"*a\\", b"")),
        (rb"*\**", (b"", b"*", b"")),
    ],
)
def test_wildcards(pattern: bytes, segments: tuple[bytes, ...]) -> None:
    assert lit.wildcard_segments(pattern) == segments


# -- lists and tables --------------------------------------------------------------------------------------------------


def test_lists_from_values() -> None:
    assert ListValue.of_addresses(["10.0.0.0/9", "10.128.0.0/9", "::1"]) == ListValue(
        ListKind.ADDRESSES, ((0x0A000000, 0x0AFFFFFF),), ((1, 1),)
    )
    assert ListValue.of_numbers([80, (1, 5), 81]).numbers == ((1, 5), (80, 81))
    assert ListValue.of_strings([b"b", b"a", b"b"]).strings == (b"b", b"a")


def test_an_empty_list_fits_every_field() -> None:
    for text in ("ip.src in $a", "tcp.dstport in $a", "tcp.payload in $a", "tcp.payload contains any $a"):
        parse_expression(text, lists={"a": ListValue.of_addresses([])})


def test_a_table_of_countries(tmp_path: Path) -> None:
    path = tmp_path / "geo.csv"
    path.write_text(
        "\ufeffnetwork,country,asn\r\n# words\r\n\r\n192.0.2.0/24,DE,64496\r\n2001:db8::/32,DE,\r\n10.0.0.0/8,,64496\r\n", encoding="utf-8"
    )
    geo = Geo.load(path)
    assert geo.countries == {b"DE": (((0xC0000200, 0xC00002FF),), ((0x20010DB8 << 96, (0x20010DB9 << 96) - 1),))}
    assert list(geo.systems) == [64496]
    assert geo.in_systems(((64496, 64496),))[0] == ((0x0A000000, 0x0AFFFFFF), (0xC0000200, 0xC00002FF))


def test_a_missing_table_is_a_diagnostic(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as error:
        Geo.load(tmp_path / "nowhere.csv")
    assert error.value.diagnostics[0].code == "E0601"


# -- diagnostics -------------------------------------------------------------------------------------------------------


def test_json_points_into_the_text() -> None:
    with pytest.raises(DiagnosticError) as error:
        parse_expression('tcp or\n  tcp.dstport == "https"', name="/rules/0/expression")
    (diagnostic,) = error.value.diagnostics
    assert to_json(diagnostic) == {
        "code": "E0103",
        "severity": "error",
        "message": '`tcp.dstport` is a number, and "https" is a string',
        "file": "/rules/0/expression",
        "line": 2,
        "column": 18,
        "end_line": 2,
        "end_column": 25,
        "start": 24,
        "end": 31,
        "label": "expected a number",
        "help": "write 443",
        "related": [
            {"file": "/rules/0/expression", "line": 2, "column": 3, "end_line": 2, "end_column": 14, "start": 9, "end": 20, "label": ""}
        ],
    }


def test_tabs_and_control_characters_keep_the_underline_in_place() -> None:
    source = Source("x", "a\tb\x1b[31m bad")
    shown = render(Diagnostic("E0001", "so\x1b[31m", Span(source, 9, 12), "here"))
    assert "\x1b" not in shown
    assert shown.splitlines()[3:] == ["1 | a\tb\ufffd[31m bad", "  |  \t       ^^^ here"]


def test_colour_is_asked_for() -> None:
    diagnostic = Diagnostic("W0501", "m", Span(Source("x", "abc"), 0, 1), help="h")
    assert "\x1b[1;33mwarning[W0501]" in render(diagnostic, colour=True)
    assert "\x1b" not in render(diagnostic)


def test_a_span_over_lines_is_underlined_on_its_first() -> None:
    shown = render(Diagnostic("E0001", "m", Span(Source("x", "one two\nthree"), 4, 13), "here"))
    assert shown.splitlines()[-1] == "  |     ^^^ here"


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(DiagnosticError) as error:
        parse_expression('tcp.payload contains "\ud800"')
    assert error.value.diagnostics[0].code == "E0007"


def test_the_limit_of_characters_is_exact() -> None:
    limits = Limits(expression_characters=3)
    parse_expression("tcp", limits=limits)
    with pytest.raises(DiagnosticError):
        parse_expression("tcp ", limits=limits)


# -- statements --------------------------------------------------------------------------------------------------------


def test_statements_begin_where_their_keywords_stand() -> None:
    text = '\n# block "no"\nlist a = {\n  80\n  443 }\nmonitor\nblock "allow" when tcp # allow\n and udp\n'
    text += 'allow when x == "\\"\nblock" or\nblok x\nexpect\n  block from "b"'
    assert [text[piece.start : piece.end].split(maxsplit=1)[0] for piece in pieces(text)] == [
        "list",
        "monitor",
        "allow",
        'block"',
        "blok",
        "expect",
    ]
