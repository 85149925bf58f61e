"""Rulesets: versions, ids that stay, positions, entry points, what may stand where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from api_account import IDS, execute, expressions, operator, refused, rule, ruleset, tenant
from pydantic import ValidationError

from api import rulesets
from api.bodies import EntryPointBody, Position, RuleBody, RulesetUpdateBody
from api.changes import Change, Documents
from api.documents import Ruleset

A, B, C = (f"udp.dstport == {port}" for port in (1, 2, 3))


@pytest.fixture
def three() -> tuple[Documents, Ruleset]:
    """An entry point with three rules."""
    change = rulesets.create(tenant(), ruleset("magic_transit", rule(A, ref="a"), rule(B, ref="b"), rule(C, ref="c")))
    assert change.ruleset is not None
    return change.documents, change.ruleset


def update(documents: Documents, before: Ruleset, **body: Any) -> Change:
    return rulesets.update(documents, before.id, RulesetUpdateBody.model_validate(body))


def test_a_new_ruleset_has_version_1_and_rules_with_ids() -> None:
    change = rulesets.create(tenant(), ruleset("magic_transit", rule(A), rule(B, description="two", enabled=False)))
    made = change.ruleset
    assert made is not None
    assert (made.version, change.before, change.after, change.action) == ("1", None, "1", "rulesets.create")
    first, second = made.rules
    assert (first.version, first.enabled, first.description, first.ref) == ("1", True, None, first.id)
    assert (second.enabled, second.description) == (False, "two")
    assert change.pointers == {first.id: "/rules/0", second.id: "/rules/1"}
    assert change.documents.rulesets == {made.id: made}


def test_a_rule_is_the_same_while_its_ref_or_id_is(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    a, b, c = before.rules
    after = update(documents, before, rules=[rule(C, ref="c"), rule(A, "log", ref="a"), rule(B, id=b.id), rule("udp.dstport == 4")]).ruleset
    assert after is not None
    assert after.version == "2"
    assert [each.id for each in after.rules][:3] == [c.id, a.id, b.id]
    assert [each.version for each in after.rules] == ["1", "2", "1", "1"]
    assert after.rules[0] == c
    assert after.rules[2].ref == "b"
    assert after.rules[3].id not in {a.id, b.id, c.id}


def test_what_an_update_does_not_say_stays(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    after = update(documents, before, description="other", name=before.name, kind="root").ruleset
    assert after is not None
    assert (after.description, after.rules, after.version) == ("other", before.rules, "2")


def test_rules_of_an_old_version_can_be_put_back_as_they_were_answered(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    emptied = update(documents, before, rules=[])
    assert emptied.ruleset is not None
    again = [RuleBody.model_validate(each) for each in rulesets.shown(before)["rules"]]
    after = update(emptied.documents, emptied.ruleset, rules=again).ruleset
    assert after is not None
    assert [(each.id, each.ref, each.expression) for each in after.rules] == [(each.id, each.ref, each.expression) for each in before.rules]


@pytest.mark.parametrize("name", ["name", "kind", "phase", "id"])
def test_name_kind_and_phase_never_change(three: tuple[Documents, Ruleset], name: str) -> None:
    documents, before = three
    other = {"name": "other", "kind": "custom", "phase": "magic_transit_managed", "id": IDS[0]}[name]
    status, _, message, pointer = refused(lambda: update(documents, before, **{name: other}))
    assert (status, pointer) == (400, f"/{name}")
    assert "never changes" in message


@pytest.mark.parametrize(
    ("position", "order"),
    [
        (None, [A, B, C, "true"]),
        ({"before": ""}, ["true", A, B, C]),
        ({"after": ""}, [A, B, C, "true"]),
        ({"before": 1}, [A, "true", B, C]),
        ({"after": 0}, [A, "true", B, C]),
        ({"after": 2}, [A, B, C, "true"]),
        ({"index": 1}, ["true", A, B, C]),
        ({"index": 3}, [A, B, "true", C]),
        ({"index": 4}, [A, B, C, "true"]),
    ],
)
def test_a_new_rule_stands_where_it_is_said(three: tuple[Documents, Ruleset], position: dict[str, Any] | None, order: list[str]) -> None:
    documents, before = three
    ids = {at: each.id for at, each in enumerate(before.rules)}
    place = None if position is None else {name: at if name == "index" else ids.get(at, at) for name, at in position.items()}
    change = rulesets.add_rule(documents, before.id, rule("true"), None if place is None else Position.model_validate(place))
    assert expressions(change) == order
    assert change.after == "2"


@pytest.mark.parametrize(
    ("moved", "position", "order"),
    [
        (0, {"after": ""}, [B, C, A]),
        (2, {"before": ""}, [C, A, B]),
        (0, {"after": 1}, [B, A, C]),
        (2, {"before": 1}, [A, C, B]),
        (0, {"index": 3}, [B, C, A]),
        (0, {"index": 2}, [B, A, C]),
        (1, {"index": 2}, [A, B, C]),
    ],
)
def test_a_position_alone_moves_a_rule(three: tuple[Documents, Ruleset], moved: int, position: dict[str, Any], order: list[str]) -> None:
    documents, before = three
    ids = {at: each.id for at, each in enumerate(before.rules)}
    place = Position.model_validate({name: at if name == "index" else ids.get(at, at) for name, at in position.items()})
    change = rulesets.edit_rule(documents, before.id, ids[moved], RuleBody(), place)
    assert expressions(change) == order
    assert change.ruleset is not None
    assert set(change.ruleset.rules) == set(before.rules)


@pytest.mark.parametrize(
    ("position", "pointer"),
    [({"before": "f" * 32}, "/position/before"), ({"after": "no"}, "/position/after"), ({"index": 5}, "/position/index")],
)
def test_a_place_that_is_not_there_is_refused(three: tuple[Documents, Ruleset], position: dict[str, Any], pointer: str) -> None:
    documents, before = three
    place = Position.model_validate(position)
    assert refused(lambda: rulesets.add_rule(documents, before.id, rule(), place))[::3] == (400, pointer)


@pytest.mark.parametrize("position", [{}, {"before": "", "index": 1}, {"index": 0}, {"index": True}, {"behind": "x"}])
def test_a_position_is_one_of_three(position: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Position.model_validate(position)


def test_a_rule_is_not_placed_beside_itself(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    own = Position(before=before.rules[0].id)
    assert "itself" in refused(lambda: rulesets.edit_rule(documents, before.id, before.rules[0].id, RuleBody(), own))[2]


def test_an_edit_leaves_what_it_does_not_say(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    change = rulesets.edit_rule(documents, before.id, before.rules[1].id, RuleBody(enabled=False), None)
    assert change.ruleset is not None
    after = change.ruleset.rules[1]
    assert (after.expression, after.ref, after.enabled, after.version) == (B, "b", False, "2")
    assert change.ruleset.rules[::2] == before.rules[::2]


def test_an_edit_to_another_action_drops_the_parameters_of_the_one_before() -> None:
    made = rulesets.create(tenant(), ruleset("magic_transit", rule(A, "skip", action_parameters={"ruleset": "current"}))).documents
    ((key, before),) = made.rulesets.items()
    change = rulesets.edit_rule(made, key, before.rules[0].id, RuleBody(action="block"), None)
    assert change.ruleset is not None
    assert change.ruleset.rules[0].action_parameters is None


def test_an_edit_that_says_nothing_is_refused(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    assert refused(lambda: rulesets.edit_rule(documents, before.id, before.rules[0].id, RuleBody(), None))[0] == 400


def test_a_rule_is_deleted(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    assert expressions(rulesets.delete_rule(documents, before.id, before.rules[1].id)) == [A, C]
    assert refused(lambda: rulesets.delete_rule(documents, before.id, IDS[0]))[0] == 404
    assert refused(lambda: rulesets.delete_rule(documents, IDS[0], IDS[0]))[0] == 404


def test_ids_and_refs_are_taken_once(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    assert refused(lambda: rulesets.add_rule(documents, before.id, rule(ref="a"), None))[::3] == (400, "/ref")
    assert refused(lambda: rulesets.add_rule(documents, before.id, rule(id=before.rules[0].id), None))[::3] == (400, "/id")
    twice = [rule(id=IDS[0]), rule(id=IDS[0])]
    assert refused(lambda: update(documents, before, rules=twice))[::3] == (400, "/rules/1/id")
    other = ruleset("magic_transit", rule(id=before.rules[0].id), kind="custom")
    assert refused(lambda: rulesets.create(documents, other))[0] == 400


def test_a_phase_has_one_entry_point(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    assert refused(lambda: rulesets.create(documents, ruleset()))[:2] == (400, 20217)
    assert rulesets.create(documents, ruleset("magic_transit_managed")).ruleset is not None
    change = rulesets.put_entry_point(documents, "magic_transit", EntryPointBody(rules=[rule(C)]))
    assert (change.object, change.after, expressions(change)) == (before.id, "2", [C])
    fresh = rulesets.put_entry_point(documents, "magic_transit_ids_managed", EntryPointBody(description="d")).ruleset
    assert fresh is not None
    assert (fresh.kind, fresh.name, fresh.version, fresh.rules) == ("root", "default", "1", ())


def test_if_match_is_the_version(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    body = RulesetUpdateBody(description="x")
    for fits in (None, "*", '"1"', 'W/"1"', '"7", "1"'):
        assert rulesets.update(documents, before.id, body, fits).after == "2"
    assert refused(lambda: rulesets.update(documents, before.id, body, '"2"'))[::3] == (412, "If-Match")
    assert refused(lambda: rulesets.update(documents, before.id, body, "1"))[::3] == (400, "If-Match")
    assert refused(lambda: rulesets.put_entry_point(documents, "magic_transit_managed", EntryPointBody(), '"1"'))[0] == 412


def test_the_latest_version_cannot_be_deleted(three: tuple[Documents, Ruleset]) -> None:
    documents, before = three
    assert refused(lambda: rulesets.delete_version(documents, before.id, "1"))[0] == 400
    later = update(documents, before, description="x").documents
    change = rulesets.delete_version(later, before.id, "1")
    assert (change.forgotten, change.documents) == ("1", later)


def test_quotas_of_rulesets_and_rules() -> None:
    small = tenant(rulesets=1, rules=2)
    assert refused(lambda: rulesets.create(small, ruleset("magic_transit", rule(), rule(), rule())))[:2] == (400, 20120)
    made = rulesets.create(small, ruleset("magic_transit", rule(), rule())).documents
    assert refused(lambda: rulesets.create(made, ruleset("magic_transit_managed")))[:2] == (400, 20120)
    ((key, before),) = made.rulesets.items()
    assert refused(lambda: rulesets.add_rule(made, key, rule(), None))[:2] == (400, 20120)
    fewer = replace(made, tenant=replace(made.tenant, quotas=replace(made.tenant.quotas, rules=1)))
    assert len(rulesets.delete_rule(fewer, key, before.rules[0].id).documents.rulesets[key].rules) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (rule(A, "skip"), "/action_parameters"),
        (rule(A, "skip", action_parameters={"ruleset": "current", "id": IDS[0]}), "/action_parameters/id"),
        (rule(A, "block", action_parameters={"ruleset": "current"}), "/action_parameters/ruleset"),
        (rule(A, "execute"), "/action_parameters/id"),
        (execute(IDS[9]), "/action_parameters/id"),
        (RuleBody(action="block"), "/expression"),
        (RuleBody(expression=A), "/action"),
        (rule(A, ratelimit={"characteristics": ["ip.src"], "period": 10, "requests_per_period": 5}), "/ratelimit"),
    ],
)
def test_what_an_action_may_not_have_is_refused_at_its_place(body: RuleBody, pointer: str) -> None:
    assert refused(lambda: rulesets.create(tenant(), ruleset("magic_transit", rule(), body)))[::3] == (400, f"/rules/1{pointer}")


def test_rate_limits_are_stored_but_not_enabled() -> None:
    limit = {"characteristics": ["ip.src"], "period": 10, "requests_per_period": 5, "mitigation_timeout": 60}
    phase = "magic_transit_ratelimit"
    assert "not enforced yet" in refused(lambda: rulesets.create(tenant(), ruleset(phase, rule(ratelimit=limit))))[2]
    assert refused(lambda: rulesets.create(tenant(), ruleset(phase, rule())))[3] == "/rules/0/ratelimit"
    stored = rulesets.create(tenant(), ruleset(phase, rule(ratelimit=limit, enabled=False))).ruleset
    assert stored is not None
    assert rulesets.shown(stored)["rules"][0]["ratelimit"] == limit


@pytest.mark.parametrize("key", ["colour", "position", "exposed_credential_check"])
def test_an_unknown_key_is_named(key: str) -> None:
    with pytest.raises(ValidationError) as error:
        rule(**{key: 1})
    assert error.value.errors()[0]["loc"] == (key,)
    assert error.value.errors()[0]["type"] == "extra_forbidden"


# -- managed rulesets --------------------------------------------------------------------------------------------------


@pytest.fixture
def offered() -> tuple[Documents, Ruleset]:
    """A tenant, and a ruleset that the operator offers it."""
    body = ruleset("magic_transit_managed", rule(A, ref="a", categories=["dns"]), rule(B, ref="b"), kind="managed")
    change = rulesets.create(operator(), body)
    assert change.ruleset is not None
    return replace(tenant(), offered=change.documents), change.ruleset


def test_managed_rulesets_are_the_operators(offered: tuple[Documents, Ruleset]) -> None:
    documents, managed = offered
    assert refused(lambda: rulesets.create(documents, ruleset(kind="managed")))[::3] == (400, "/kind")
    assert refused(lambda: rulesets.create(operator(), ruleset()))[::3] == (400, "/kind")
    assert rulesets.find(documents, managed.id) is managed
    assert refused(lambda: rulesets.delete(documents, managed.id))[0] == 400
    assert refused(lambda: update(documents, managed, description="mine"))[0] == 400


def test_a_tenant_executes_what_is_offered_in_its_phase(offered: tuple[Documents, Ruleset]) -> None:
    documents, managed = offered
    overrides = {"rules": [{"id": "a", "enabled": False}, {"id": managed.rules[1].id, "action": "log"}]}
    assert rulesets.create(documents, ruleset("magic_transit_managed", execute(managed.id, overrides=overrides))).ruleset is not None
    wrong_phase = ruleset("magic_transit", execute(managed.id))
    assert refused(lambda: rulesets.create(documents, wrong_phase))[::3] == (400, "/rules/0/action_parameters/id")
    unknown = ruleset("magic_transit_managed", execute(managed.id, overrides={"rules": [{"id": "zzz", "enabled": False}]}))
    assert refused(lambda: rulesets.create(documents, unknown))[3] == "/rules/0/action_parameters/overrides/rules/0/id"
    nested = ruleset("magic_transit_managed", execute(managed.id), kind="custom")
    assert refused(lambda: rulesets.create(documents, nested))[3] == "/rules/0/action"


def test_what_is_executed_cannot_be_deleted() -> None:
    custom = rulesets.create(tenant(), ruleset("magic_transit", rule(A), kind="custom"))
    assert custom.ruleset is not None
    target = custom.object
    documents = rulesets.create(custom.documents, ruleset("magic_transit", execute(target))).documents
    assert refused(lambda: rulesets.delete(documents, target))[0] == 400
    assert rulesets.delete(custom.documents, target).documents.rulesets == {}
