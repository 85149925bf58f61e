"""The parser: shapes parse as Lark parses the text itself, spans fit, and depth and size are bounded."""

from __future__ import annotations

import random
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from lark import Lark, Token
from lark.exceptions import LarkError

from rules_dsl import DiagnosticError, Limits, Source, parse_expression
from rules_dsl import lexemes as lx
from rules_dsl.parser import parse_expression_tree, parse_statement_tree
from rules_dsl.statements import KEYWORDS
from rules_dsl.syntax import SetOf
from rules_dsl.tree_builder import TreeBuilder

GRAMMAR = resources.files("rules_dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
CASES = Path(__file__).parents[1] / "cases"


class Direct:
    """The tree builder on Lark's own tokens of the text itself."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(TreeBuilder(), name)
        return lambda children: method([self._lexeme(child) for child in children])

    def _lexeme(self, child: Any) -> Any:
        if not isinstance(child, Token):
            return child
        kind = child.type if child.type in ("WORD", "STRING", "RAW_STRING", "LIST") else "NAME" if child[0].isalpha() else "sign"
        return lx.lexeme(str(child), kind, child.start_pos)

    def set(self, children: list[Any]) -> SetOf:
        opening, *items, closing = (self._lexeme(child) for child in children)
        return SetOf(tuple(lx.leaf(item) for item in items), opening.start, closing.end)


@pytest.fixture(scope="module")
def direct() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", start=["expression", "statement"], transformer=Direct())


@pytest.mark.parametrize("name", ["WORD", "RAW_STRING", "STRING", "LIST", "NAME"])
def test_terminals_are_the_lexemes(name: str) -> None:
    found = re.search(rf"^{name}(?:\.\d)?: /(.*)/$", GRAMMAR, re.MULTILINE)
    assert found is not None
    assert found[1] == getattr(lx, name)


def test_statement_keywords_are_those_of_the_grammar() -> None:
    words = set(re.findall(r"^_?[A-Z_]+\.1: /([a-z_]+)", GRAMMAR, re.MULTILINE))
    assert words >= KEYWORDS


TEXTS = [
    'not ip.proto in {"esp", 6 1..5} && (tcp.payload contains any $x or any(http.header[*] == r#"a"b"#))',
    'a.b["k"] == 01:2e and starts_with(lower(x), "a") xor not not !true or c & 0x1 ^^ d strict wildcard "e"',
    'x in {} or y in { $a b 1,2 3..4 } || z ~ "f"',
    "bit_slice(tcp, 0, 8) ge 3 and len(x) bitwise_and 5 and f() or g[0] == -5",
]
STATEMENTS = [
    'limit "n" to 100/second per ip.src/24 burst 5 when udp',
    "monitor disabled block when tcp.flags & 0x12",
    'protect 10.0.0.0/8 ::1..::9 interface "eth0" mark 0x1 all',
    'list a.b = file r"x"',
    'list a = { 1, 2 "c" }',
    'expect block "r" when tcp from "any.pcap" packets 3..5',
    'expect allow from "offices.pcap" packet 1',
    "default allow",
    'geo "x.csv"',
    'geo "x.mmdb" r"y"',
    "hook input",
    'tenant "acme"',
    'reject r"n" when true',
]


@pytest.mark.parametrize("text", TEXTS)
def test_an_expression_parses_as_lark_does(direct: Lark, text: str) -> None:
    assert parse_expression_tree(Source("x", text), 0, len(text), 128)[0] == direct.parse(text, start="expression")


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_parses_as_lark_does(direct: Lark, text: str) -> None:
    assert parse_statement_tree(Source("x", text), 0, len(text), 128)[0] == direct.parse(text, start="statement")


def test_random_texts_parse_as_lark_does(direct: Lark) -> None:
    random_ = random.Random(11)
    words = sorted({word for text in TEXTS for word in re.findall(r"[\w.$]+|\"[^\"]*\"|[^\w\s]+|\s+", text)})
    parsed = 0
    for _ in range(3_000):
        text = list(random_.choice(TEXTS))
        for _ in range(random_.randint(0, 3)):
            at = random_.randrange(len(text))
            text[at : at + random_.randint(0, 3)] = random_.choice(words)
        whole = "".join(text)
        try:
            expected: Any = direct.parse(whole, start="expression")
            parsed += 1
        except (LarkError, lx.MisplacedWordError):
            expected = None
        try:
            found: Any = parse_expression_tree(Source("x", whole), 0, len(whole), 128)[0]
        except DiagnosticError:
            found = None
        assert found == expected, whole
    assert parsed > 300


def test_a_shape_that_was_seen_keeps_its_own_places() -> None:
    first, second = "tcp.dstport in {80} and ip.ttl < 5", "tcp.dstport   in { 1 2 3 }   and ip.ttl < 64"
    for text in (first, second):
        tree, _ = parse_expression_tree(Source("x", text), 0, len(text), 128)
        assert (tree.start, tree.end) == (0, len(text))
        comparison = tree.items[0]  # type: ignore[union-attr]
        assert text[comparison.right.start : comparison.right.end].startswith("{")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["(" * 100_000, "(" * 100_000 + "tcp" + ")" * 100_000, "not " * 100_000 + "tcp", "!" * 50_000 + "tcp", "lower(" * 50_000]
)
def test_deep_nesting_is_a_clear_error(text: str) -> None:
    with pytest.raises(DiagnosticError) as error:
        parse_expression(text, limits=Limits(expression_characters=10_000_000))
    assert [diagnostic.code for diagnostic in error.value.diagnostics] == ["E0402"]


@pytest.mark.parametrize("word", ["and", "or", "xor"])
def test_a_long_chain_is_no_nesting(word: str) -> None:
    text = f" {word} ".join(["tcp", "not udp", "(icmp)"] * 5_000)
    parse_expression(text, limits=Limits(expression_characters=1_000_000))


@pytest.mark.parametrize(
    "text", ["andtcp", "tcp andudp", "tcp.dstport == 80andudp", "tcp.dstport == 80 andudp", "nottcp", "tcp.dstport in{80}orudp"]
)
def test_keywords_end_where_names_do(text: str) -> None:
    with pytest.raises(DiagnosticError):
        parse_expression(text)


@pytest.mark.parametrize(
    "text", ["(tcp)and(udp)", "tcp.dstport==80&&tcp.srcport!=80", "!(tcp)", "tcp.dstport in{80}", "tcp\n\tand\r\nudp # end"]
)
def test_space_is_free(text: str) -> None:
    parse_expression(text)
