"""The rendered generation: names, texts, sharing, and that the kernel takes it."""

from __future__ import annotations

import re

import pytest
from kernel_lab import GROUP, KernelLab, ipv4, udp

from firewall.generation import Generation, counter_name
from firewall.plan import Environment, plan
from firewall.render import LONGEST_COMMENT, MOST_NATIVE_RANGES, MOST_TEXT_RANGES, render, safe_comment
from rules_dsl import parse_policy


def rendered(text: str, *, observe: int | None = None) -> Generation:
    return render(plan(parse_policy(f"tenant acme\n{text}\n"), Environment()), 3, observe=observe)


def lines(generation: Generation, chain: str) -> list[str]:
    start = f"add rule inet mantlet acme.r3.{chain} "
    return [line.removeprefix(start) for line in generation.nft.splitlines() if line.startswith(start)]


def test_everything_of_a_generation_bears_its_prefix() -> None:
    generation = rendered('block "x" when ip.src in {10.0.0.1} and udp.payload contains "y"\nlog "z" when not tcp.dstport == 80 or ip.frag')
    for line in generation.nft.splitlines():
        kind, name = re.match(r"add (\w+) inet mantlet (\S+)", line).groups()  # type: ignore[union-attr]
        assert name.startswith("acme.c." if kind == "counter" else "acme.r3."), line
    assert all(match.chain.startswith("acme.r3.") and match.target.startswith("acme.r3.") for match in generation.matches)
    assert generation.counters == {counter_name("acme", name): name for name in ("x", "z")}


def test_versions_and_fragments_are_told_apart_first() -> None:
    generation = rendered('block "x" when tcp.dstport == 80')
    assert (generation.entry, generation.entry6) == ("acme.r3.ip4", "acme.r3.ip6")
    assert lines(generation, "ip4")[0].startswith("@nh,48,16 & 0x1fff != 0x0 goto acme.r3.ip4.later")
    assert lines(generation, "ip4")[1] == 'tcp dport == 80 goto acme.r3.rule0 comment "x"'


def test_without_transport_tests_there_is_one_chain_a_version() -> None:
    generation = rendered('block "x" when ip.ttl == 1')
    assert lines(generation, "ip4") == ['ip ttl == 1 goto acme.r3.rule0 comment "x"', 'accept comment "default"']


@pytest.mark.parametrize(
    ("statement", "end"),
    [
        ('block "x" when ip.ttl == 1', ["counter name COUNTER drop"]),
        ('allow "x" when ip.ttl == 1', ["counter name COUNTER accept"]),
        ('count "x" when ip.ttl == 1', ["counter name COUNTER"]),
        (
            'reject "x" when ip.ttl == 1',
            ["counter name COUNTER", "meta l4proto tcp reject with tcp reset", "reject with icmpx port-unreachable"],
        ),
        ('log "x" when ip.ttl == 1', ["counter name COUNTER", 'limit rate 10/second burst 20 packets log prefix "acme log x: "']),
        (
            'monitor block "x" when ip.ttl == 1',
            ["counter name COUNTER", 'limit rate 10/second burst 20 packets log prefix "acme monitor block x: "'],
        ),
    ],
)
def test_ends(statement: str, end: list[str]) -> None:
    found = [line.replace(' comment "x"', "").replace(counter_name("acme", "x"), "COUNTER") for line in lines(rendered(statement), "rule0")]
    assert found == end


def test_observed_ends_log_the_rule_and_the_default() -> None:
    generation = rendered('allow "y" when ip.ttl == 2\nblock "x" when ip.ttl == 1\ndefault block', observe=5)
    assert 'log prefix "1" group 5 drop comment "x"' in lines(generation, "rule1")[0]
    assert lines(generation, "default") == ['log prefix "default" group 5 drop comment "default"']


def test_rules_share_a_set_of_the_same_addresses() -> None:
    addresses = " ".join(f"10.0.{n}.1" for n in range(40))
    generation = rendered(f'list l = {{ {addresses} }}\nblock "x" when ip.src in $l and ip.ttl == 1\nlog "y" when ip.dst in $l')
    assert generation.nft.count("add set ") == 1
    assert "ip saddr @acme.r3.l.v4.0" in generation.nft
    assert "ip daddr @acme.r3.l.v4.0" in generation.nft


def test_large_sets_are_loaded_in_bulk() -> None:
    addresses = " ".join(f"10.{n >> 8}.{n & 255}.1" for n in range(MOST_TEXT_RANGES + 1))
    generation = rendered(f'list l = {{ {addresses} }}\nblock "x" when not ip.src in $l')
    (bulk,) = generation.bulk
    assert (bulk.key_bytes, len(bulk.ranges)) == (4, MOST_TEXT_RANGES + 1)
    assert f"add set inet mantlet {bulk.set_name} {{ type ipv4_addr; flags interval; }}" in generation.nft


def test_large_sets_are_looked_up_by_programs_that_share_them() -> None:
    addresses = " ".join(f"10.{n >> 8}.{n & 255}.1" for n in range(MOST_NATIVE_RANGES + 1))
    rules = "".join(f'log "{side} {ttl}" when ip.{side} in $l and ip.ttl == {ttl}\n' for side in ("src", "dst") for ttl in range(3))
    generation = rendered(f"list l = {{ {addresses} }}\n{rules}")
    assert not generation.bulk
    assert "add set" not in generation.nft
    assert len(generation.programs) == 2
    assert len({spec.name for image in generation.programs.values() for spec in image.maps}) == 1


def test_equal_payload_predicates_share_a_program() -> None:
    """At local output, where no evaluator may be asked."""
    rules = 'log "a" when udp.dstport == 1 and payload contains "x"\nlog "b" when udp.dstport == 2 and payload contains "x"'
    generation = rendered(f"hook output\n{rules}")
    assert len({match.program.name for match in generation.matches if match.chain in ("acme.r3.ip4", "acme.r3.ip6")}) == 1


def test_one_program_evaluates_all_payload_rules() -> None:
    generation = rendered(
        'block "a" when udp.dstport == 1 and payload contains "x"\nallow "b" when ip.ttl == 5\nlog "c" when tcp.payload contains "y"'
    )
    evaluating = [match for match in generation.matches if match.program is not None and match.program.name == "payload0"]
    assert {match.chain for match in evaluating} == {"acme.r3.ip4.evaluate", "acme.r3.ip6.evaluate", "acme.r3.ip6.odd"}
    assert lines(generation, "ip4")[1:] == [
        'udp dport == 1 goto acme.r3.ip4.evaluate comment "what payload rules may concern"',
        'meta l4proto == 6 @ih,0,8 & 0x0 == 0x0 goto acme.r3.ip4.evaluate comment "what payload rules may concern"',
        "goto acme.r3.ip4.rest",
    ]
    assert lines(generation, "ip4.rest") == ['ip ttl == 5 goto acme.r3.rule1 comment "b"', 'accept comment "default"']
    assert lines(generation, "ip4.hit") == [
        'goto acme.r3.rule0 comment "a"',
        'ip ttl == 5 goto acme.r3.rule1 comment "b"',
        'jump acme.r3.rule2 comment "c"',
        'accept comment "default"',
    ]
    asking = {match.place: match.program.name for match in generation.matches if match.chain == "acme.r3.ip4.hit" and match.program}
    assert asking == {0: "payload0_ended_0_1", 2: "payload0_held_1"}


def test_one_gate_stands_before_the_program_in_the_same_rule() -> None:
    rules = "\n".join(f'block "{n}" when udp.dstport == {n} and udp.payload contains "{n}"' for n in range(1, 4))
    generation = rendered(f'{rules}\nblock "t" when ip.ttl == 1')
    assert lines(generation, "ip4")[1:] == [
        'udp dport == 1-3 @ih,0,8 & 0x0 == 0x0 goto acme.r3.ip4.hit comment "1, 2, 3"',
        'ip ttl == 1 goto acme.r3.rule3 comment "t"',
        'accept comment "default"',
    ]


def test_a_program_stands_beside_no_set_without_a_name() -> None:
    """The kernel binds such a set to the one rule that nft's text has made."""
    generation = rendered(
        'block "x" when udp.dstport in {5 7..9} and interface.in in {"a" "b"} and ip.id in {1 3} and udp.payload contains "y"'
    )
    placed = [match for match in generation.matches if match.place is not None]
    assert not [match for match in placed if "{" in lines(generation, match.chain.removeprefix("acme.r3."))[match.place or 0]]
    generation = rendered('block "x" when udp.dstport in {5 7..9} and interface.in in {"a" "b"} and udp.payload contains "y"')
    assert any("iifname @acme.r3.set" in line and "udp dport @acme.r3.set" in line for line in lines(generation, "ip4"))


def test_later_fragments_stay_where_all_rules_want_content() -> None:
    """nft's own transport header it reads from them too, and would read wrongly."""
    assert not any("later" in line for line in lines(rendered('block "x" when udp.payload contains "y"'), "ip4"))
    assert any("later" in line for line in lines(rendered('block "x" when udp.payload contains "y" or udp.dstport == 7'), "ip4"))


@pytest.mark.kernel
@pytest.mark.parametrize("count", [2, 33, 300, 5000])
def test_the_rule_that_ended_an_evaluation_is_found(count: int) -> None:
    """Chains one behind the other are few, however many the rules are."""
    rules = "\n".join(f'block "{n}" when payload contains "word{n}."' for n in range(count))
    with KernelLab() as lab:
        lab.install(rendered(rules, observe=GROUP))
        for number in (0, 1, count // 2, count - 1):
            assert lab.send(ipv4(udp(1, 3, b"a word%d. more" % number))) == [str(number)]
        assert lab.send(ipv4(udp(1, 3, b"a word%d. more" % count))) == ["default"]


def test_a_payload_rule_alone_has_a_program_of_its_own() -> None:
    generation = rendered('block "a" when payload contains "x"')
    assert len(generation.programs) == 1
    assert not any("evaluate" in match.chain for match in generation.matches)


def test_program_lines_name_the_rule() -> None:
    generation = rendered('block "evil words" when payload contains "x"')
    assert "evil words" in generation.matches[0].program.disassemble()
    assert generation.matches[0].program.name == "0_evil_words"


@pytest.mark.parametrize("name", ["a\\b$c;{}#", "Ünïcödé 規則", "x" * 300, "日本" * 60, "a'b`c*", "% @ !"])
def test_comments_are_short_and_harmless(name: str) -> None:
    text = safe_comment(name)
    assert len(text.encode()) <= LONGEST_COMMENT
    assert '"' not in text
    assert "\\" not in text


@pytest.mark.kernel
def test_the_kernel_takes_every_kind_of_rule_name() -> None:
    names = ["a$c;{}#", "Ünïcödé 規則", "x" * 110, "日本" * 18, "a'b`c*", "$foo", "drop", "% @ !", "-"]
    logs = [f'log "{name}" when ip.ttl == {n} or payload contains "{n}"' for n, name in enumerate(names)]
    text = "\n".join(f'{log}\nblock "{names[n]} 2" when udp.dstport == {n}' for n, log in enumerate(logs))
    with KernelLab() as lab:
        lab.install(rendered(text))
        lab.install(rendered(text, observe=GROUP))
        assert lab.send(ipv4(udp(1, 3, b"3"), ttl=3)) == ["6", "7"]


@pytest.mark.kernel
def test_a_rejected_packet_ends_there() -> None:
    with KernelLab() as lab:
        lab.install(rendered('reject "x" when udp.dstport == 53\nblock "y" when udp', observe=GROUP))
        assert lab.send(ipv4(udp())) == ["0"]
        assert lab.send(ipv4(udp(destination=54))) == ["1"]
