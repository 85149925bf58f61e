"""What the plan chooses: classes of packets, native and payload parts, cases, omissions, diagnostics."""

from __future__ import annotations

import pytest

from firewall.plan import Environment, Node, PacketClass, Plan, RuleStage, enforceable, plan
from firewall.plan.fold import FALSE, TRUE, fold
from firewall.plan.normal import MOST_TERMS, TooManyTermsError, alternatives
from rules_dsl import parse_expression, parse_policy
from rules_dsl.diagnostics import DiagnosticError
from rules_dsl.expression import Expression, FieldValue, InRanges, Or
from rules_dsl.fields import FIELDS
from rules_dsl.policy import Hook

ENVIRONMENT = Environment(Node("ams1", "weur"), {"eth0.10": 10})


def planned(text: str) -> Plan:
    return plan(parse_policy(f"tenant acme\n{text}\n"), ENVIRONMENT)


def only_rule(text: str, packets: PacketClass = PacketClass.IP4) -> RuleStage:
    (stage,) = planned(text).stages_of(packets)
    assert isinstance(stage, RuleStage)
    return stage


def folded(expression: str, packets: PacketClass = PacketClass.IP4, hook: Hook = Hook.PREROUTING) -> Expression:
    return fold(parse_expression(expression), packets, hook, ENVIRONMENT)


def codes(text: str) -> list[str]:
    with pytest.raises(DiagnosticError) as caught:
        planned(text)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


# -- folding


@pytest.mark.parametrize(
    ("expression", "packets", "value"),
    [
        ("ip", PacketClass.IP4, TRUE),
        ("ip.version == 6", PacketClass.IP4, FALSE),
        ("ip.hdr_len == 40", PacketClass.IP6, TRUE),
        ("ip.id == 1", PacketClass.IP6, FALSE),
        ("not ip.id == 1", PacketClass.IP6, TRUE),
        ("icmp.type == 8", PacketClass.IP6, FALSE),
        ("icmpv6", PacketClass.IP4, FALSE),
        ("tcp.dstport == 80", PacketClass.IP4_LATER, FALSE),
        ('payload contains "x"', PacketClass.IP6_LATER, FALSE),
        ("ip.frag", PacketClass.IP6_LATER, TRUE),
        ("ip.frag.offset > 0", PacketClass.IP4, FALSE),
        ("ipv6.exthdr == 51", PacketClass.IP6, FALSE),
        ("ipv6.exthdr == 44", PacketClass.IP6_LATER, TRUE),
        ("ip.checksum.valid", PacketClass.IP4, TRUE),
        ('cf.colo.name == "ams1"', PacketClass.IP4, TRUE),
        ('lower(cf.colo.region) == "apac"', PacketClass.IP4, FALSE),
        ('interface.out == "eth0"', PacketClass.IP4, FALSE),
        ("tcp and icmp.type == 8", PacketClass.IP6, FALSE),
        ("tcp xor ip.version == 4", PacketClass.IP4_LATER, TRUE),
    ],
)
def test_constants_of_a_class_fold(expression: str, packets: PacketClass, value: Expression) -> None:
    assert folded(expression, packets) == value


def test_the_interface_a_packet_leaves_by_is_known_at_forward() -> None:
    assert folded('interface.out == "eth0"', hook=Hook.FORWARD) not in (TRUE, FALSE)
    assert folded('interface.in == "eth0"', hook=Hook.OUTPUT) == FALSE


# -- normal form


def is_payload(test: object) -> bool:
    return "payload" in repr(test)


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("ip.ttl == 1 or ip.len == 2", 2),
        ("tcp.dstport == 1 or tcp.dstport == 2", 1),
        ("not (ip.ttl == 1 and ip.len == 2)", 2),
        ("ip.ttl == 1 xor ip.len == 2", 2),
        ("(ip.ttl == 1 or ip.len == 2) and (ip.id == 3 or ip.dscp == 4)", 4),
        ("ip.ttl == 1 and not ip.ttl == 1", 0),
        ("ip.ttl == 1 or (ip.ttl == 1 and ip.len == 2)", 1),
        ("ip.ttl == 1 and ip.ttl == 2", 0),
        ('udp.payload contains "a" or tcp.payload contains "b" or payload contains "c"', 1),
        ('ip.ttl == 1 and (udp.payload contains "a" xor tcp.payload contains "b")', 1),
    ],
)
def test_alternatives(expression: str, count: int) -> None:
    assert len(alternatives(folded(expression), is_payload)) == count


def test_too_many_alternatives() -> None:
    text = " and ".join(f"(ip.ttl == {n} or ip.len == {n})" for n in range(1, 8))
    with pytest.raises(TooManyTermsError):
        alternatives(folded(text), is_payload)
    assert MOST_TERMS == 64


# -- native and payload


def test_header_tests_are_native_and_cheap_ones_come_first() -> None:
    stage = only_rule('block "x" when ip.src in {10.0.0.0/8} and tcp.dstport == 80 and ip.ttl == 1')
    (term,) = stage.terms
    assert term.is_plain
    assert [match.left for match in term.matches] == ["ip saddr", "ip ttl", "tcp dport"]


def test_payload_stands_behind_what_is_native() -> None:
    stage = only_rule('block "x" when udp.dstport == 5060 and udp.payload contains "sipvicious"')
    (term,) = stage.terms
    assert [match.left for match in term.matches] == ["udp dport", "@ih,0,8 & 0x0"]
    assert term.payload is not None
    assert any(reason.startswith("payload: ") for reason in stage.reasons)


def test_payload_parts_of_one_alternative_are_one_predicate() -> None:
    stage = only_rule('block "x" when tcp and tcp.payload contains "a" and not tcp.payload contains "b"')
    assert len(stage.terms) == 1


def test_a_negated_test_on_what_may_be_absent_stands_aside() -> None:
    (term,) = only_rule('block "x" when ip.ttl == 1 and tcp.dstport != 80').terms
    assert [[match.left for match in guard] for guard in term.absent] == [["tcp dport"]]


def test_a_negated_test_on_what_is_there_stands_in_line() -> None:
    (term,) = only_rule('block "x" when tcp.flags.syn and not tcp.dstport == 80').terms
    assert not term.absent
    assert [match.negated for match in term.matches if match.left == "tcp dport"] == [True]


def test_what_never_holds_is_left_out_with_the_reason() -> None:
    found = planned('block "x" when icmp.type == 8')
    assert not found.stages_of(PacketClass.IP6)
    assert any(each.packets is PacketClass.IP6 and "never true" in each.reason for each in found.omissions)


def test_rules_below_an_unconditional_one_are_left_out() -> None:
    found = planned('allow "all" when true\nblock "x" when ip.ttl == 1')
    assert len(found.stages_of(PacketClass.IP4)) == 1
    assert any("never reached" in each.reason for each in found.omissions)


def test_disabled_rules_are_left_out() -> None:
    assert not planned('disabled block "x" when ip.ttl == 1').stages_of(PacketClass.IP4)


def test_too_many_alternatives_go_to_ebpf_as_a_whole() -> None:
    text = " and ".join(f"(ip.ttl == {n} or ip.len == {n})" for n in range(1, 8))
    (term,) = only_rule(f'block "x" when {text}').terms
    assert not term.matches
    assert term.payload is not None


def test_interfaces_among_too_many_alternatives_make_cases() -> None:
    text = " and ".join(f"(ip.ttl == {n} or ip.len == {n})" for n in range(1, 8))
    stages = planned(f'block "x" when interface.in == "eth0" xor ({text})').stages_of(PacketClass.IP4)
    assert len(stages) == 2


# -- what cannot be enforced


def test_all_that_cannot_be_enforced_is_reported_at_once() -> None:
    text = """limit "a" to 10/second when udp
block "b" when tcp.payload matches "x.{20}y"
block "c" when ct.state == "new"
block "d" when lower(interface.in) == "eth0"
"""
    assert codes(text) == ["E0901", "E0906", "E0903", "E0905"]


def test_too_many_cases_are_an_error() -> None:
    names = " and ".join(f'(interface.in == "eth{n}" or ip.ttl == {n} or payload contains "{n}")' for n in range(12))
    assert codes(f'block "x" when {names}') == ["E0904"]


def test_disabled_rules_need_not_be_enforceable() -> None:
    assert not enforceable(parse_policy('tenant acme\ndisabled block "b" when tcp.payload matches "x.{20}y"\n'))


def test_ranges_of_one_field_are_joined() -> None:
    ranges = Or(tuple(InRanges(FieldValue(FIELDS["ip.ttl"]), ((n, n),)) for n in (1, 2, 9)))
    ((literal,),) = alternatives(ranges, is_payload)
    assert literal.expression == InRanges(FieldValue(FIELDS["ip.ttl"]), ((1, 2), (9, 9)))
