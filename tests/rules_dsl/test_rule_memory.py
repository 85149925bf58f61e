"""What is remembered of rules changes nothing but the time: policies, places and diagnostics are those of a text that is read anew.

2,000 texts in the normal run; MANTLET_TEXTS=N for more."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rules_dsl import Diagnostic, Limits, check_policy, parse_policy, rule_checks, rule_memory, rulefile
from rules_dsl.policy import Policy
from rules_dsl.rule_memory import KnownRule, RuleMemory

TEXTS = int(os.environ.get("MANTLET_TEXTS", "2000"))
LIMITS = Limits(expression_characters=300, rules=60, nesting=20)

Checked = tuple[Policy | None, list[object], tuple[Diagnostic, ...]]


class Forgetful(RuleMemory):
    """Remembers nothing."""

    def keep(self, text: str, rule: KnownRule | None) -> None:
        self.templates.clear()

    def make_room(self) -> None:
        self.templates.clear()


@pytest.fixture(autouse=True)
def no_memory() -> None:
    rule_memory.memory.cache_clear()


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Checked]:
    def check(text: str) -> Checked:
        with monkeypatch.context() as patched:
            for module in (rule_checks, rulefile):
                patched.setattr(module, "memory", lambda _: Forgetful())
            return checked(text, tmp_path)

    return check


def checked(text: str, folder: Path) -> Checked:
    """The policy, where its rules stand, and the diagnostics."""
    policy, found = check_policy(text, name="x.rules", folder=folder, limits=LIMITS)
    places: list[object] = [] if policy is None else [(rule.name, policy.span(rule)) for rule in policy.rules]
    assert policy is None or len(policy.spans) == len(policy.rules)
    return policy, places, found


# -- random files, edited ----------------------------------------------------------------------------------------------

ADDRESSES = ("192.0.2.1", "192.0.2.0/24", "192.0.2.1/24", "2001:db8::/32", "::1", "10.0.0.1..10.0.0.9", "1.2.3", "fe80::1", "AB::1")
NUMBERS = ("80", "0x50", "65535", "65536", "017", "1..5", "5 .. 9", "-1", "1.2.3.4", '"tcp"', "01:02", "443")
STRINGS = ('"evil"', '"a b"', '"a\\"b"', '"\\x00"', '"\\q"', 'r"a b 5"', 'r#"a"b"#', '"#no comment"', '"\u00e9"', '"', "7")
FORMS = (
    "ip.src == {a}", "ip.dst != {a} and tcp.dstport == {n}", "ip.src=={a}&&udp.srcport in{{{n} {n}}}", "ip.src in {{ {a} {a}, {a} }}",
    "tcp.dstport in {{ {n} {n} }}", "tcp", "true", "not udp and (ip.ttl < {n} or ip.src == {a})", "ip.proto eq {n} xor ip.len>={n}",
    "tcp.flags & {n}", "udp.payload contains {s}", "payload contains any {{{s} {s}}}", "http.host == {s} or http.host ~{s}", "not not tcp",
    "ip.src in $offices", "udp.dstport == {n} and ip.dst in $offices", "ip.src in $ports", "starts_with(udp.payload, {s})", "a.b == {n}",
    "len(udp.payload) > {n}", "bit_slice(tcp, {n}, 16) == {n}", 'http.header["x{n}"] == {s}', "any(dns.qry.name == {s})", "(tcp) and {n}",
    "ip.src.country == {s}", "tcp.dstport == 80 # only {n}", "tcp.dstport\n    == {n}", "ip.src == {a} and", "ip.dst wildcard {s}",
)  # fmt: skip
HEADS = (
    'block "r{i}" when ', 'allow "r{i}" when ', 'log "r{j}" when ', "count when ", 'monitor block "r{i}" when ',
    'disabled\nreject "r{i}" when ',
    '  block "r{i}"   when ', 'limit "r{i}" to {n}/second when ', 'block r"r{i}" when ', 'block "r {i} \u00e9" when\t', 'block "" when ',
    "block when ", 'monitor monitor allow "r{i}" when ',
)  # fmt: skip
OTHERS = (
    "", "", "# a comment: 5 \"x\"", "   # indented", "monitor", "    and tcp", "default block",
    'r"a"', "tenant acme", "list more = {{ {n} {n} }}",
    'expect block "r{i}" from "x.pcap"', "blok", "\t", "expect", "\f", "allow", "default", 'expect block from "x.pcap" packet {n}',
)  # fmt: skip
OFFICES = ("192.0.2.0/24", "198.51.100.0/24 2001:db8::/32", "80 443")


def filled(rng: random.Random, form: str) -> str:
    result = form
    for mark, words in (("{a}", ADDRESSES), ("{n}", NUMBERS), ("{s}", STRINGS)):
        while mark in result:
            word = rng.choice(words[:2] if rng.random() < 0.8 else words)
            result = result.replace(mark, word, 1)
    return result.replace("{{", "{").replace("}}", "}")


def random_line(rng: random.Random) -> str:
    if rng.random() < 0.15:
        return filled(rng, rng.choice(OTHERS).replace("{i}", str(rng.randrange(40))))
    head = rng.choice(HEADS[:2] if rng.random() < 0.6 else HEADS)
    number = rng.randrange(1000) if rng.random() < 0.95 else rng.randrange(3)
    form = rng.choice(FORMS[:8] if rng.random() < 0.8 else FORMS)
    return filled(rng, head.replace("{i}", str(number)).replace("{j}", str(rng.randrange(1000))) + form)


def edited(rng: random.Random, lines: list[str]) -> list[str]:
    """A change such as an author makes, or two."""
    lines = list(lines)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(lines) + 1)
        match rng.randrange(8):
            case 0 | 1:
                lines.insert(at, random_line(rng))
            case 2:
                lines[at : at + 1] = [random_line(rng)]
            case 3:
                del lines[at : at + rng.randint(1, 3)]
            case 4:
                some = lines[at : at + 3]
                del lines[at : at + 3]
                at = rng.randrange(len(lines) + 1)
                lines[at:at] = some
            case 5 if at < len(lines):
                place = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + rng.choice(("", " ", "5", '"', "#", "\n", "x", "-", "\r")) + lines[at][place + 1 :]
            case 6:
                lines.insert(at, rng.choice(("", "# said", "monitor", "    or udp")))
            case _:
                lines[:1] = [f"list offices = {{ {rng.choice(OFFICES)} }}"]
    return lines


def files(rng: random.Random) -> Iterator[str]:
    """Files, each an edit of the one before."""
    lines = ["list offices = { 192.0.2.0/24 }", *(random_line(rng) for _ in range(rng.randrange(rng.choice((4, 10, 40)))))]
    end = rng.choice(("\n", "\n", "\r\n"))
    for _ in range(10):
        yield end.join(lines) + rng.choice(("", end))
        lines = edited(rng, lines)


def test_a_text_says_the_same_whatever_was_read_before(anew: Callable[[str], Checked], tmp_path: Path) -> None:
    rng = random.Random(5)
    right = rules = 0
    for _ in range(TEXTS // 10):
        for text in files(rng):
            expected = anew(text)
            assert checked(text, tmp_path) == expected, text
            right += expected[0] is not None
            rules += 0 if expected[0] is None else len(expected[0].rules)
    assert right > TEXTS // 50
    assert rules > right


def test_right_rules_say_the_same(anew: Callable[[str], Checked], tmp_path: Path) -> None:
    """Files without errors: their rules are chosen among those that are right by themselves."""
    rng = random.Random(6)
    head = "list offices = { 192.0.2.0/24 }"
    known: dict[str, bool] = {}
    for _ in range(TEXTS // 20):
        lines: dict[str, None] = {}
        while len(lines) < 20:
            line = filled(rng, f'{rng.choice(("block", "allow", "log"))} "r{len(lines)}" when {rng.choice(FORMS)}')
            if line not in known:
                known[line] = anew(f"{head}\n{line}\n")[0] is not None
            if known[line]:
                lines[line] = None
        text = "\n".join([head, *lines, ""])
        expected = anew(text)
        assert expected[0] is not None
        assert checked(text, tmp_path) == expected, text


# -- what is shared ----------------------------------------------------------------------------------------------------


def many(count: int) -> list[str]:
    rng = random.Random(7)
    sources = [".".join(str(rng.randrange(256)) for _ in range(3)) for _ in range(count)]
    return [f'block "rule {at}" when ip.src == 10.{source} and tcp.dstport == {at % 997}' for at, source in enumerate(sources)]


def test_rules_that_do_not_change_are_the_same_objects() -> None:
    lines = many(50)
    before = parse_policy("\n".join(lines))
    lines[20] = 'block "other" when udp'
    lines.insert(5, "# words")
    after = parse_policy("\n".join(lines))
    same = [one is other for one, other in zip(before.rules, after.rules, strict=True)]
    assert same == [number != 20 for number in range(50)]
    assert after.span(after.rules[30]).source.position(after.span(after.rules[30]).start) == (32, 1)
    assert before.span(before.rules[30]).source.position(before.span(before.rules[30]).start) == (31, 1)


def test_a_rule_whose_list_changed_is_another() -> None:
    rules = '\nblock "a" when ip.src in $x\nblock "b" when tcp\nlog "c" when ip.src in $x'
    before = parse_policy("list x = { 192.0.2.1 }" + rules)
    assert parse_policy("list x = { 192.0.2.1 }" + rules).rules[0] is before.rules[0]
    after = parse_policy("list x = { 192.0.2.2 }" + rules)
    assert after.rules[0].predicate != before.rules[0].predicate
    assert after.rules[1] is before.rules[1]
    assert after.rules[2].predicate != before.rules[2].predicate


def test_numbered_rules_are_called_by_their_place() -> None:
    assert [rule.name for rule in parse_policy("block when tcp\nblock when udp").rules] == ["#1", "#2"]
    assert [rule.name for rule in parse_policy("log when sctp\nblock when tcp\nblock when udp").rules] == ["#1", "#2", "#3"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_memory, "MOST_RULES", 100)
    monkeypatch.setattr(rule_memory, "MOST_VALUES", 100)
    remembered = rule_memory.memory(Limits())
    assert len(parse_policy("\n".join(many(1000))).rules) == 1000
    assert len(remembered.rules) <= 100
    assert remembered.values + len(remembered.templates) <= 102


def test_one_rule_of_many_is_read_in_little_time() -> None:
    lines = many(5000)
    started = time.process_time()
    parse_policy("\n".join(lines))
    whole = time.process_time() - started
    took = []
    for number in range(5):
        lines[1000 * number] = f'allow "new {number}" when udp.dstport == 53'
        text = "\n".join(lines)
        started = time.process_time()
        parse_policy(text)
        took.append(time.process_time() - started)
    assert min(took) < whole / 10, f"{min(took) * 1000:.1f} of {whole * 1000:.1f} ms"
