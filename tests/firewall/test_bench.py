"""The payload benchmark: its contenders agree, its packets are what it says, and no program runs for packets that no rule concerns."""

from __future__ import annotations

import pytest

from firewall.bench import hand_written, payload
from firewall.bench.payloads import HOSTILE, LAST, MESSAGES, ONE_IN, deep_packets, hostile, texts, words
from firewall.bench.workload import lines
from rules_dsl import parse_expression
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds


def test_the_payloads_have_a_pattern_where_told_alone() -> None:
    wanted = words(20)
    packets = texts(wanted)
    hits = [packet for packet in packets if any(word in packet for word in wanted)]
    assert len(hits) == len(packets) // ONE_IN
    assert all(any(packet[28:].startswith(word) for word in wanted) for packet in hits)


@pytest.mark.parametrize("field", MESSAGES)
def test_deep_packets_carry_their_field(field: str) -> None:
    last, any_value = (parse_expression(text) for text in (f'{field} == "{LAST}"', f'{field} contains ".example"'))
    for hit in (False, True):
        for data in deep_packets((field,), hit=hit):
            packet = Packet(data, Place("eth0"))
            assert holds(any_value, packet)
            assert holds(last, packet) is hit


def test_hostile_packets_are_as_long_as_told() -> None:
    for rules, data in hostile().values():
        assert rules.startswith("tenant bench\n")
        assert HOSTILE - 8 < len(data) - (28 if data[9] == 17 else 40) <= HOSTILE


def test_the_hostile_name_is_a_name() -> None:
    _, data = hostile()["a DNS name of pointers"]
    assert holds(parse_expression('dns.qry.name contains "b.b.b.a.a.a"'), Packet(data, Place("eth0")))


@pytest.mark.kernel
def test_the_contenders_agree() -> None:
    base, costs = payload.patterns(3, rounds=1)  # raises where they do not
    assert base > 0
    assert {cost.contender for cost in costs} >= {payload.RULE_A_PATTERN, payload.ONE_RULE, payload.NFT}
    assert (payload.IN_C in {cost.contender for cost in costs}) is (hand_written.missing() is None)


@pytest.mark.kernel
def test_packets_of_no_rule_run_no_program() -> None:
    runs = {each.packets: each for each in payload.program_runs(3)}
    assert {name: each.runs for name, each in runs.items() if each.runs} == {"UDP to port 53": runs["UDP to port 53"].sent}


def test_rules_are_distinct() -> None:
    assert len(set(words(1_000))) == len(set(lines(1_000, "one shape"))) == 1_000
