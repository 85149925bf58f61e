"""Rule files as a whole: what the functions of the package give, how large files may be, and that the registry of codes is true."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import rules_dsl
from rules_dsl import (
    CODES,
    Code,
    DiagnosticError,
    Geo,
    Limits,
    ListValue,
    check_policy,
    format_expression,
    load_policy,
    parse_expression,
    parse_policy,
)
from rules_dsl.expression import InStrings
from rules_dsl.policy import Action, Hook, Limit, Mode, Protect, Verdict
from rules_dsl.statement_checks import VERDICTS

ROOT = Path(__file__).parents[2]

POLICY = """\
tenant acme
protect 203.0.113.0/25 203.0.113.128/25 2001:db8::/32 192.0.2.1..192.0.2.9
protect interface "eth0" mark 0x10 mark 16
hook forward
list offices = { 198.51.100.0/24 }
allow "offices" when ip.src in $offices
disabled block when tcp   and
  udp # both
limit "rate" to 0x64/minute per ipv6.src/24 burst 5 when udp
default reject
expect default when tcp from "a.pcap" packets 2..3
expect allow "offices" from "b.pcap" packet 7
"""


def test_a_policy_says_what_its_file_says() -> None:
    policy = parse_policy(POLICY, name="acme.rules")
    assert (policy.tenant, policy.hook, policy.default, policy.source) == ("acme", Hook.FORWARD, Action.REJECT, "acme.rules")
    v4 = ((0xC0000201, 0xC0000209), (0xCB007100, 0xCB0071FF))
    assert policy.protect == Protect(v4, ((0x20010DB8 << 96, (0x20010DB9 << 96) - 1),), ("eth0",), (16,))
    assert [(rule.name, rule.action, rule.mode) for rule in policy.rules] == [
        ("offices", Action.ALLOW, Mode.ENABLED),
        ("#2", Action.BLOCK, Mode.DISABLED),
        ("rate", Action.LIMIT, Mode.ENABLED),
    ]
    assert policy.rules[2].limit == Limit(100, "minute", "ip.src", 24, 5)
    assert policy.rules[1].expression == "tcp and udp"
    span = policy.span(policy.rules[1])
    assert POLICY[span.start : span.end] == "disabled block when tcp   and\n  udp"
    assert [(test.verdict, test.rule, test.capture, test.frames) for test in policy.expectations] == [
        ("default", None, "a.pcap", ((2, 3),)),
        ("allow", "offices", "b.pcap", ((7, 7),)),
    ]
    assert policy.expectations[0].when == parse_expression("tcp")


def test_protect_all_wins_over_what_stands_beside_it() -> None:
    assert parse_policy("protect 192.0.2.0/24 all").protect.everything
    assert parse_policy("tenant a").protect.everything


@pytest.mark.parametrize(
    ("name", "tenant"),
    [("acme.rules", "acme"), ("/x/my edge.v2.rules", "my-edge-v2"), ("9lives.rules", "default"), ("<policy>", "default")],
)
def test_without_a_statement_the_file_names_the_tenant(name: str, tenant: str) -> None:
    assert parse_policy("", name=name).tenant == tenant


def test_stored_lists_and_a_given_table_serve_a_file() -> None:
    geo = Geo.parse("network,country,asn\n192.0.2.0/24,DE,1\n", "g")
    text = 'block "a" when ip.src in $stored and ip.dst.country == "DE"'
    policy = parse_policy(text, lists={"stored": ListValue.of_addresses(["10.0.0.0/8"])}, geo=geo)
    assert "list_name='stored'" in repr(policy.rules[0].predicate)


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.txt").write_text("192.0.2.1\n")
    (tmp_path / "a.rules").write_text('list a = file "lists/a.txt"\nblock "x" when ip.src in $a\n')
    assert load_policy(tmp_path / "a.rules").rules[0].name == "x"


def test_a_missing_rule_file_is_a_diagnostic(tmp_path: Path) -> None:
    policy, found = check_policy(tmp_path / "nowhere.rules")
    assert policy is None
    assert [diagnostic.code for diagnostic in found] == ["E0601"]


def test_warnings_do_not_keep_a_policy_back() -> None:
    policy, found = check_policy("list a = { 1 }")
    assert policy is not None
    assert [diagnostic.code for diagnostic in found] == ["W0501"]
    assert parse_policy("list a = { 1 }") == policy


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_bytes('\ufefftenant acme\r\nblock "x" when tcp\r\n and udp\r\n'.encode())
    assert load_policy(tmp_path / "a.rules").rules[0].expression == "tcp and udp"


def test_a_raw_string_may_begin_a_line() -> None:
    (rule,) = parse_policy('tenant a\nblock "x" when udp.payload in {""\nr"a\\d"\nr#"b"#}\n').rules
    assert isinstance(rule.predicate, InStrings)
    assert rule.predicate.values == (b"", b"a\\d", b"b")


def test_the_verdicts_of_tests_are_those_of_packets() -> None:
    assert set(VERDICTS) == {verdict.value for verdict in Verdict}


def test_cloudflares_expressions_parse() -> None:
    """Those of examples/cloudflare.rules, which hold every one that the product's documentation shows."""
    policy = load_policy(ROOT / "examples" / "cloudflare.rules")
    assert len(policy.rules) > 20


# -- the public surface ------------------------------------------------------------------------------------------------


def test_every_public_name_is_there() -> None:
    for name in rules_dsl.__all__:
        assert getattr(rules_dsl, name) is not None
    with pytest.raises(AttributeError):
        _ = rules_dsl.nothing_of_that_name


def test_importing_the_language_loads_no_parser() -> None:
    script = "import sys, rules_dsl.rulefile, rules_dsl.format; print('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout == "False\n"


# -- the registry of codes ---------------------------------------------------------------------------------------------

SPECIAL = {
    "E0006": "an expression",
    "E0007": "bytes",
    "E0008": "bytes",
    "E0401": "length",
    "E0402": "length",
    "E0403": "length",
    "E0404": "length",
    "E0605": "a table",
    "E0608": "a table",
    "W0503": "a table",
    "W0504": "by the plan",
    "E0904": "enforcement",
}
"""Codes whose examples cannot be run as they stand."""


def codes_of(text: str) -> set[str]:
    lists = {"offices": ListValue.of_addresses(["192.0.2.0/24"]), "ports": ListValue.of_numbers([80])}
    geo = None if "country" in text else Geo()
    if text.split(None, 1)[0] in rules_dsl.statements.KEYWORDS or "\n" in text or text.startswith("blok"):
        return {diagnostic.code for diagnostic in check_policy(text, lists=lists, geo=geo)[1]}
    try:
        parse_expression(text, lists=lists, geo=geo)
    except DiagnosticError as error:
        return {diagnostic.code for diagnostic in error.diagnostics}
    return set()


@pytest.mark.parametrize(
    "code", [code for name, code in CODES.items() if name not in SPECIAL and not name.startswith("E09")], ids=lambda code: code.code
)
def test_the_examples_of_a_code_are_true(code: Code) -> None:
    assert code.code in codes_of(code.wrong)
    assert codes_of(code.right) - {"W0501", "E0601"} == set()


def test_codes_are_in_order_and_complete() -> None:
    assert list(CODES) == sorted(CODES, key=lambda name: (name[0] == "W", name))
    assert all(code.title and code.explanation.endswith(".") and code.right for code in CODES.values())


# -- size --------------------------------------------------------------------------------------------------------------


def rules(count: int) -> str:
    random_ = random.Random(1)

    def network() -> str:
        return f"{random_.randrange(1, 224)}.{random_.randrange(256)}.{random_.randrange(256)}.0/24"

    return "".join(
        f'block "r{number}" when ip.src == {network()} and ip.dst in {{{network()} {network()}}} and tcp.dstport == {number}\n'
        for number in range(count)
    )


def test_ten_thousand_rules_take_seconds() -> None:
    start = time.process_time()
    policy = parse_policy(rules(10_000))
    assert len(policy.rules) == 10_000
    assert time.process_time() - start < 10  # about 1 s on an idle machine; what is guarded against is 10 times that


def test_a_list_of_a_hundred_thousand_networks_takes_seconds(tmp_path: Path) -> None:
    lines = [f"{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.{number % 8 * 32}/27" for number in range(100_000)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    start = time.process_time()
    policy = parse_policy('list a = file "a.txt"\nblock "x" when ip.src in $a', folder=tmp_path)
    assert time.process_time() - start < 5
    assert policy.rules[0].name == "x"


def test_an_inline_set_may_be_large() -> None:
    text = "tcp.dstport in {" + " ".join(str(number) for number in range(0, 60_000, 2)) + "}"
    parse_expression(text, limits=Limits(expression_characters=1_000_000))


def test_threads_may_parse_at_once() -> None:
    texts = [f"tcp.dstport == {number} {'and not ' * (number % 7)} and udp".replace("  and", " and") for number in range(100)]
    texts += [f"tcp {'or udp ' * number}" for number in range(50)]

    def outcome(text: str) -> str:
        try:
            return repr(parse_expression(text)) + format_expression(text)
        except DiagnosticError as error:
            return str(error)

    expected = [outcome(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, texts * 3)) == expected * 3
