"""Rules that no packet reaches are left out, and rules that no rule between has a packet in common with stand together."""

from __future__ import annotations

import pytest

from firewall.plan import ClassifierStage, Environment, MapStage, PacketClass, Pass, Plan, RuleStage, plan
from firewall.plan.dead import MOST_ASKED, MOST_TAKERS
from firewall.render import render
from rules_dsl.policy import Policy
from rules_dsl.rulefile import parse_policy

LATER = (Pass.CLASSIFY, Pass.MERGE)


def policy(*rules: str, head: str = "") -> Policy:
    return parse_policy(f"tenant t\n{head}\n" + "".join(f"{rule}\n" for rule in rules))


def planned(*rules: str, without: tuple[Pass, ...] = ()) -> Plan:
    return plan(policy(*rules), Environment(), without=without)


def order(found: Plan, packets: PacketClass = PacketClass.IP4) -> list[str]:
    """The names of rules, in the order of their stages."""
    names: list[str] = []
    for stage in found.stages_of(packets):
        names += [stage.rule.name] if isinstance(stage, RuleStage) else [rule.name for _, rule in stage.members]
    return names


# -- dead


def test_a_rule_that_no_packet_reaches_has_no_stage_but_a_counter() -> None:
    rules = (
        'block "a" when ip.src == 10.0.0.0/8',
        'allow "b" when ip.src == 10.1.0.0/16 and dns.qry.type == 255',
        'block "c" when ip.dst == 192.0.2.1',
    )
    found = planned(*rules)
    assert order(found) == ["a", "c"]
    assert {omission.reason for omission in found.omissions if omission.index == 1} == {"never reached: 'a' above takes all of its packets"}
    generation = render(found, 1)
    assert set(generation.counters.values()) == {"a", "b", "c"}
    assert not generation.programs, "nobody asks for its payload"
    assert order(planned(*rules, without=(Pass.DEAD,))) == ["a", "b", "c"]


def test_several_rules_that_take_its_packets_are_named() -> None:
    takers = [f'block "{name}" when ip.src == 10.{place * 64}.0.0/10' for place, name in enumerate("wxyz")]
    found = planned(*takers, 'log "dead" when ip.src == 10.0.0.0/8')
    assert order(found) == [*"wxyz"]
    assert found.omissions[0].reason == "never reached: 'w', 'x', 'y' and 1 more above take all of its packets"


def test_a_rule_that_does_not_end_takes_nothing() -> None:
    assert order(planned('log "a" when udp', 'monitor block "b" when udp', 'block "c" when udp')) == ["a", "b", "c"]


def test_of_many_rules_only_those_are_looked_at_that_cost_something_by_themselves() -> None:
    many = [f'block "n{place}" when ip.src == 10.{place >> 8}.{place & 255}.0/24' for place in range(MOST_ASKED)]
    found = planned(*many, 'block "equal" when ip.src == 10.0.0.0/24', 'log "dead" when ip.src == 10.0.0.0/25')
    assert "dead" not in order(found)
    assert "equal" in order(found)
    counted = render(found, 1)
    assert "dead" in (*counted.counted, *counted.counters.values())


def test_of_many_rules_the_first_take_packets() -> None:
    many = [f'block "n{place}" when ip.src == 10.{place >> 8}.{place & 255}.0/24' for place in range(MOST_TAKERS + 9)]
    last = f"10.{MOST_TAKERS + 8 >> 8}.{MOST_TAKERS + 8 & 255}.0/24"
    names = order(planned(*many, f'log "late" when ip.src == {last}', 'log "early" when ip.src == 10.0.0.0/24'))
    assert "early" not in names
    assert "late" in names


# -- reorder


APART = [
    *(f'block "a{place}" when ip.src == 10.0.{place}.0/24 and tcp.dstport == {place}' for place in range(4)),
    'log "seen" when ip.dst == 192.0.2.1 and udp.payload contains "x"',
    *(f'allow "b{place}" when ip.src == 10.1.{place}.0/24 and tcp.srcport == {place}' for place in range(4)),
]


def test_rules_stand_together_where_what_is_between_has_none_of_their_packets() -> None:
    found = planned(*APART)
    (tree, log) = found.stages_of(PacketClass.IP4)
    assert isinstance(tree, ClassifierStage)
    assert len(tree.members) == 8
    assert isinstance(log, RuleStage)
    assert order(planned(*APART, without=(Pass.REORDER,)))[4] == "seen"


@pytest.mark.parametrize(
    "between", ['log "seen" when ip.dst == 192.0.2.1', 'block "dns" when dns.qry.type == 255', 'count "all" when ip.ttl < 5']
)
def test_they_stay_where_it_may_have_one(between: str) -> None:
    rules = [*APART[:4], between, *APART[5:]]
    assert order(planned(*rules, without=(Pass.ADJOIN,))) == order(planned(*rules, without=(Pass.REORDER, Pass.ADJOIN)))


def test_no_rule_leaves_its_phase() -> None:
    from dataclasses import replace

    given = policy(*APART)
    phased = replace(given, rules=tuple(replace(rule, phase=int(place > 5)) for place, rule in enumerate(given.rules)))
    found = plan(phased, Environment())
    assert order(found)[:6] == [*(f"a{place}" for place in range(4)), "b0", "seen"]


# -- adjoin


def test_rules_of_one_shape_make_one_map_over_others_that_they_have_no_packet_in_common_with() -> None:
    rules = [
        'block "p1" when tcp.dstport == 1 and tcp.flags.syn',
        'block "p2" when tcp.dstport == 2 and tcp.flags.syn',
        'block "dns" when udp.dstport == 53 and dns.qry.type == 255',
        'allow "p3" when tcp.dstport == 3 and tcp.flags.syn',
        'allow "p4" when tcp.dstport == 2 and tcp.flags.syn',
    ]
    (first, second) = planned(*rules).stages_of(PacketClass.IP4)
    assert isinstance(first, MapStage)
    assert [rule.name for _, rule in first.members] == ["p1", "p2", "p3", "p4"]
    assert sorted((element.box, element.index) for element in first.elements) == [(((1, 1),), 0), (((2, 2),), 1), (((3, 3),), 3)]
    assert isinstance(second, RuleStage)
    assert order(planned(*rules, without=(Pass.ADJOIN,))) == ["p1", "p2", "dns", "p3", "p4"]


def test_a_rule_goes_past_none_that_may_have_its_packets() -> None:
    rules = [
        'block "p1" when tcp.dstport == 1 and tcp.flags.syn',
        'block "web" when http and ip.ttl < 9',
        'allow "p2" when tcp.dstport == 2 and tcp.flags.syn',
        'log "p" when tcp.dstport in {3..5}',
        'allow "p4" when tcp.dstport == 4 and tcp.flags.syn',
    ]
    assert order(planned(*rules)) == ["p1", "web", "p2", "p", "p4"]
