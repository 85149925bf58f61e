"""From documents to the text of rules: phases, skips, executed rulesets with their overrides, lists, what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from api_account import execute, operator, refused, rule, ruleset, tenant

from api import lists, rulesets
from api.bodies import ItemBody, ListBody
from api.changes import Documents
from api.compile import Checker, cost, policy_text, refuse_complex, refuse_wrong
from api.documents import Ruleset, kernel_name
from api.policy_text import PolicyText, policy_of
from rules_dsl.policy import Mode

A, B, C = (f"udp.dstport == {port}" for port in (1, 2, 3))
SKIP = {"action_parameters": {"ruleset": "current"}}


def told(text: PolicyText) -> list[tuple[str, str, int]]:
    """Action (with `monitor` or `disabled` where it is), conditions and phase of each rule."""
    return [
        (
            each.action.value if each.mode is Mode.ENABLED else f"{each.mode.value} {each.action.value}",
            " & ".join(("" if one.holds else "!") + one.expression for one in each.conditions),
            each.phase,
        )
        for each in text.rules
    ]


def entry(documents: Documents, *rules: Any, phase: str = "magic_transit") -> Documents:
    return rulesets.create(documents, ruleset(phase, *rules)).documents


@pytest.fixture
def offered() -> tuple[Documents, Ruleset]:
    body = ruleset(
        "magic_transit_managed",
        rule(A, categories=["dns"], ref="a"),
        rule(B, "skip", **SKIP, ref="b"),
        rule(C, "log", categories=["dns", "new"], ref="c", enabled=False),
        kind="managed",
    )
    change = rulesets.create(operator(), body)
    assert change.ruleset is not None
    return replace(tenant(), offered=change.documents), change.ruleset


def test_phases_stand_in_their_order_and_custom_rulesets_alone_enforce_nothing() -> None:
    documents = entry(tenant(), rule(C), phase="magic_transit_ids_managed")
    documents = entry(documents, rule(B), phase="magic_transit_managed")
    documents = entry(documents, rule(A), rule(B, "skip", **SKIP), rule(C, "log", enabled=False))
    documents = rulesets.create(documents, ruleset("magic_transit", rule("true"), kind="custom")).documents
    text = policy_text(documents)
    assert told(text) == [("block", A, 0), ("allow", B, 0), ("disabled log", C, 0), ("block", B, 1), ("monitor block", C, 3)]
    assert text.tenant == "acme"
    assert text.protect.prefixes == ("203.0.113.0/24",)
    assert [each.name for each in policy_of(text).rules] == [each.name for each in text.rules]


def test_a_skip_of_what_only_detects_ends_its_phase_by_conditions() -> None:
    documents = entry(tenant(), rule(A, "skip", **SKIP), rule(B), rule(C, "log"), phase="magic_transit_ids_managed")
    assert told(policy_text(documents)) == [("count", A, 3), ("monitor block", f"!{A} & {B}", 3), ("log", f"!{A} & {C}", 3)]


def test_an_executed_ruleset_stands_in_the_place_of_its_rule(offered: tuple[Documents, Ruleset]) -> None:
    documents, managed = offered
    documents = entry(documents, rule("true", "log"), execute(managed.id, "ip.proto == 17"), rule(C), phase="magic_transit_managed")
    text = policy_text(documents)
    inside = "ip.proto == 17"
    assert told(text) == [
        ("log", "true", 1),
        ("block", f"{inside} & {A}", 1),
        ("count", f"{inside} & {B}", 1),
        ("disabled log", f"{inside} & !{B} & {C}", 1),
        ("block", C, 1),
    ]
    executing = next(iter(documents.rulesets.values())).rules[1].id
    assert [each.name for each in text.rules[1:4]] == [f"{executing}.{each.id}" for each in managed.rules]
    policy_of(text)


@pytest.mark.parametrize(
    ("overrides", "actions"),
    [
        ({"action": "log"}, ["log", "count", "disabled log"]),
        ({"enabled": True}, ["block", "count", "log"]),
        ({"enabled": False}, ["disabled block", "disabled count", "disabled log"]),
        ({"enabled": False, "categories": [{"category": "dns", "enabled": True}]}, ["block", "disabled count", "log"]),
        (
            {"categories": [{"category": "dns", "action": "log"}, {"category": "new", "action": "block"}]},
            ["log", "count", "disabled block"],
        ),
        (
            {"categories": [{"category": "dns", "enabled": False}], "rules": [{"id": "a", "enabled": True}]},
            ["block", "count", "disabled log"],
        ),
        ({"action": "log", "rules": [{"id": "c", "action": "block", "enabled": True}]}, ["log", "count", "block"]),
        ({"rules": [{"id": "b", "action": "block"}]}, ["block", "block", "disabled log"]),
    ],
)
def test_overrides_of_rules_go_before_those_of_categories_before_those_of_all(
    offered: tuple[Documents, Ruleset], overrides: dict[str, Any], actions: list[str]
) -> None:
    documents, managed = offered
    documents = entry(documents, execute(managed.id, overrides=overrides), phase="magic_transit_managed")
    assert [action for action, _, _ in told(policy_text(documents))] == actions


def test_an_executing_rule_that_is_disabled_executes_nothing(offered: tuple[Documents, Ruleset]) -> None:
    documents, managed = offered
    assert policy_text(entry(documents, execute(managed.id, enabled=False), phase="magic_transit_managed")).rules == ()


def test_a_rule_with_logging_is_logged_before_it_decides() -> None:
    documents = entry(tenant(), rule(A, logging={"enabled": True}), rule(B, logging={"enabled": False}))
    text = policy_text(documents)
    assert told(text) == [("log", A, 0), ("block", A, 0), ("block", B, 0)]
    assert text.rules[0].name == f"{text.rules[1].name}.log"


def test_only_lists_that_are_named_come_along() -> None:
    documents = tenant()
    for name in ("used", "unused"):
        change = lists.create(documents, ListBody(name=name, kind="ip"))
        documents = lists.add_items(change.documents, change.object, [ItemBody(ip="10.0.0.1"), ItemBody(ip="2001:db8::/64")]).documents
    documents = entry(documents, rule("ip.src in $used"))
    assert policy_text(documents).lists == {"used": ("10.0.0.1", "2001:db8::/64")}


def test_managed_rules_name_the_operators_lists_and_tenants_do_not() -> None:
    made = lists.create(operator(), ListBody(name="managed.bots", kind="ip"))
    offering = lists.add_items(made.documents, made.object, [ItemBody(ip="10.0.0.1")]).documents
    managed = rulesets.create(offering, ruleset("magic_transit_managed", rule("ip.src in $managed.bots"), kind="managed"))
    refuse_wrong(managed, offering, Checker())
    before = replace(tenant(), offered=managed.documents)
    change = rulesets.create(before, ruleset("magic_transit_managed", execute(managed.object)))
    refuse_wrong(change, before, Checker())
    assert policy_text(change.documents).lists == {"managed.bots": ("10.0.0.1",)}
    own = rulesets.create(before, ruleset("magic_transit", rule("ip.src in $managed.bots")))
    assert "managed.bots" in refused(lambda: refuse_wrong(own, before, Checker()))[2]


def test_every_wrong_rule_is_told_with_its_place() -> None:
    before = tenant(expression_characters=100)
    bodies = (rule(A), rule("udp.dstprot == 1"), rule("ip.src in $nothing"), rule(" or ".join([A] * 20)))
    change = rulesets.create(before, ruleset("magic_transit", *bodies, kind="custom"))
    with pytest.raises(Exception, match=r"udp\.dstprot") as error:
        refuse_wrong(change, before, Checker())
    problems = error.value.problems  # type: ignore[attr-defined]
    assert [each.pointer for each in problems] == ["/rules/1/expression", "/rules/2/expression", "/rules/3/expression"]
    first = problems[0].as_json()
    assert first["diagnostic"]["code"].startswith("E0")
    assert "udp.dstport" in first["diagnostic"]["help"]


def test_what_is_evaluated_has_a_quota() -> None:
    documents = entry(tenant(complexity=30), rule(A), rule(B, enabled=False))
    text = policy_text(documents)
    assert cost(text) == len(A) + len(B)
    assert "complexity constraints" in refused(lambda: refuse_complex(documents, text))[2]
    refuse_complex(entry(tenant(complexity=100), rule(A)), text)


def test_names_that_the_kernel_does_not_take_are_others_there() -> None:
    assert kernel_name("acme_1") == "acme_1"
    assert kernel_name("1acme").startswith("t-")
    assert len(kernel_name("0" * 32)) == 22
