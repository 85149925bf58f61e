"""The canonical form: formatting keeps the meaning, and formatting again changes nothing."""

# ruff: noqa: SIM905 (words in a row read better than a list)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules_dsl import ListValue, Source, Span, check_policy, format_expression, format_policy, parse_expression, parse_policy
from rules_dsl.literals import quoted
from rules_dsl.policy import Policy

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.rules"))
LISTS = {"offices": ListValue.of_addresses(["198.51.100.0/24"]), "ports": ListValue.of_numbers([80])}


NOWHERE = Span(Source("", ""), 0, 0)


def meaning(policy: Policy) -> Policy:
    """The policy without its places in the text."""
    tests = tuple(replace(test, span=NOWHERE) for test in policy.expectations)
    return replace(policy, expectations=tests)


space = st.sampled_from([" ", "  ", "\n", "\t", " # words\n"])
number = st.integers(0, 65_535).flatmap(lambda n: st.sampled_from([str(n), hex(n), hex(n).upper().replace("X", "x")]))
numbers = st.one_of(
    number,
    st.tuples(st.integers(0, 99), st.sampled_from(["..", " .. ", ".. "]), st.integers(100, 65_535)).map(lambda t: f"{t[0]}{t[1]}{t[2]}"),
)
address = st.sampled_from(["192.0.2.1", "192.0.2.0/24", "10.0.0.1..10.0.0.9", "2001:DB8::/32", "::1", "::1 .. ::9"])
text = st.binary(max_size=6).map(quoted) | st.sampled_from(['"\\xff\\n"', 'r"a\\d"', 'r#"a"b"#', "01:2E:f3", '"é"', '"a # b"'])


def set_of(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(items, min_size=1, max_size=4), st.sampled_from([" ", ", ", ",", "\n"]), st.sampled_from(["", " "])).map(
        lambda t: "{" + t[2] + t[1].join(t[0]) + t[2] + "}"
    )


comparison = st.one_of(
    st.tuples(
        st.sampled_from(["tcp.dstport", "udp.srcport", "len(tcp.payload)", "len( payload )", "bit_slice( tcp,0,16 )"]),
        st.sampled_from("== eq != ne < lt <= le > gt >= ge".split()),
        number,
    ).map(" ".join),
    st.tuples(st.sampled_from(["tcp.dstport", "tcp.srcport"]), st.just("in"), set_of(numbers) | st.just("$ports")).map(" ".join),
    st.tuples(st.sampled_from(["tcp.flags", "ip.ttl"]), st.sampled_from(["&", "bitwise_and"]), st.integers(1, 255).map(hex)).map(" ".join),
    st.tuples(st.sampled_from(["ip.src", "ipv6.dst"]), st.just("in"), set_of(address) | st.just("$offices")).map(" ".join),
    st.tuples(st.sampled_from(["ip.src", "ip.dst"]), st.sampled_from(["==", "ne"]), st.sampled_from(["192.0.2.1", "2001:DB8::/32"])).map(
        " ".join
    ),
    st.tuples(
        st.sampled_from(["payload", "lower(tcp.payload)", "substring(udp.payload,0,-2)"]), st.sampled_from(["==", "contains", "!="]), text
    ).map(" ".join),
    st.tuples(st.just("tcp.payload"), st.sampled_from(["contains any", "in"]), set_of(text)).map(" ".join),
    st.tuples(st.just("payload"), st.sampled_from(["wildcard", "strict  wildcard"]), st.sampled_from(['"a*"', 'r"\\**"'])).map(" ".join),
    st.tuples(st.just("payload"), st.sampled_from(["matches", "~"]), st.sampled_from(['"a+"', 'r"\\d"'])).map(" ".join),
    st.tuples(st.sampled_from(["starts_with", "ends_with"]), text).map(lambda t: f"{t[0]}( tcp.payload ,{t[1]})"),
    st.sampled_from(
        [
            "tcp",
            "udp",
            "tcp.flags.syn",
            "sip",
            "true",
            "false",
            "tcp.flags.ece == true",
            "any(ipv6.exthdr == 43)",
            "all( ipv6.exthdr[*] != 43 )",
        ]
    ),
)
expression = st.recursive(
    comparison,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("and && or || xor ^^".split()), inner).map(" ".join),
        inner.map(lambda item: f"not {item}"),
        inner.map(lambda item: f"!({item})"),
        inner.map(lambda item: f"( {item} )"),
        st.tuples(inner, space, st.sampled_from(["and", "or"]), space, inner).map("".join),
    ),
    max_leaves=8,
)
name = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x17F, blacklist_characters='"\\#\x7f', blacklist_categories=["Cc", "Zs", "Cf"]),
    min_size=1,
    max_size=12,
)
head = st.one_of(
    st.tuples(st.sampled_from(["block", "allow", "log", "reject", "count", "monitor  block", "disabled log"]), space, name).map(
        lambda t: f'{t[0]}{t[1]}"{t[2]}"'
    ),
    st.sampled_from(["block", "log", "monitor\nallow"]),
    st.tuples(name, st.sampled_from(["100/second", "5 / minute per ip.src / 24", "1/hour per tcp.dstport burst 7"])).map(
        lambda t: f'limit "{t[0]}" to {t[1]}'
    ),
)
rule = st.tuples(head, space, st.just("when"), space, expression).map("".join)
other = st.sampled_from(
    [
        "default block",
        "protect 203.0.113.0/24,2001:DB8::/32".replace(",", "  "),
        'protect   interface "eth0" mark 0x10',
        "hook forward",
        "tenant  acme",
        "list offices={192.0.2.0/24,\n10.0.0.1 # one\n}",
        "list ports = {\n80\n443}",
        "# a comment",
        "   # another",
        "",
        "\n\n",
        'expect block when tcp && udp from "a.pcap" packets 1 .. 3',
        'expect  default from "b.pcap"',
    ]
)
rule_file = st.lists(st.one_of(rule, other), max_size=7).map("\n".join)


@given(expression)
@settings(max_examples=150, deadline=None)
def test_formatting_an_expression_keeps_its_meaning(source: str) -> None:
    formed = format_expression(source)
    assert format_expression(formed) == formed
    assert "\n" not in formed
    assert parse_expression(formed, lists=LISTS) == parse_expression(source, lists=LISTS)


@given(rule_file)
@settings(max_examples=150, deadline=None)
def test_formatting_a_file_keeps_its_meaning(source: str) -> None:
    formed = format_policy(source)
    assert format_policy(formed) == formed
    assert formed.count("#") == source.count("#")
    before, errors = check_policy(source, lists=LISTS)
    after, errors_after = check_policy(formed, lists=LISTS)
    assert sorted(d.code for d in errors_after) == sorted(d.code for d in errors)
    assert (after and meaning(after)) == (before and meaning(before))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_survive_formatting(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    formed = format_policy(source)
    assert format_policy(formed) == formed
    assert meaning(parse_policy(formed, folder=path.parent)) == meaning(parse_policy(source, folder=path.parent))


def test_comments_and_empty_lines_stay() -> None:
    source = "\n\n# one\n\n\n\n# two\ntcp\n".replace("tcp", 'block "x" when tcp # three\n    # four\n    and udp # five')
    assert format_policy(source) == '# one\n\n# two\nblock "x" when tcp  # three\n    # four\n    and udp  # five\n'


def test_a_file_of_comments_is_kept() -> None:
    assert format_policy("  # only this  \n\n") == "# only this\n"
    assert format_policy("") == ""


def test_a_byte_order_mark_and_carriage_returns_go() -> None:
    assert format_policy('\ufeffblock "a" when\ttcp # why\r\n  and ip.ttl<5\r\n') == 'block "a" when tcp  # why\n    and ip.ttl < 5\n'
