"""Rulesets: made, replaced, deleted, and their rules added, edited, moved and deleted. Each change makes a version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from api.bodies import EntryPointBody, Position, RuleBody, RulesetBody, RulesetUpdateBody
from api.changes import Change, Documents, must_match, over_quota
from api.documents import OPERATOR, Kind, Phase, Rule, Ruleset, new_id, now
from api.errors import ApiError, Code, Problem, bad_request, not_found

RATE_LIMITS: Final = "magic_transit_ratelimit"
_LATER: Final = "rate limiting is not enforced yet: a rule with `ratelimit` can be stored with `enabled: false` only"


# -- reading -----------------------------------------------------------------------------------------------------------


def find(documents: Documents, ruleset: str) -> Ruleset:
    """The tenant's own or an offered one. Raises ApiError (404)."""
    found = documents.rulesets.get(ruleset)
    if found is None and documents.offered is not None:
        found = documents.offered.rulesets.get(ruleset)
    if found is None:
        raise not_found("ruleset")
    return found


def entry_point(documents: Documents, phase: str) -> Ruleset | None:
    return next((each for each in documents.rulesets.values() if each.kind == "root" and each.phase == phase), None)


def shown(ruleset: Ruleset, *, rules: bool = True) -> dict[str, Any]:
    """As the API answers it."""
    answer: dict[str, Any] = {
        "id": ruleset.id,
        "name": ruleset.name,
        "description": ruleset.description,
        "kind": ruleset.kind,
        "phase": ruleset.phase,
        "version": ruleset.version,
        "last_updated": ruleset.last_updated,
    }
    if rules:
        answer["rules"] = [shown_rule(rule) for rule in ruleset.rules]
    return answer


def shown_rule(rule: Rule) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": rule.id,
        "version": rule.version,
        "action": rule.action,
        "expression": rule.expression,
        "description": rule.description or "",
        "enabled": rule.enabled,
        "ref": rule.ref,
        "last_updated": rule.last_updated,
    }
    optional = {
        "action_parameters": rule.action_parameters,
        "categories": rule.categories,
        "logging": rule.logging,
        "ratelimit": rule.ratelimit,
    }
    return answer | {name: value for name, value in optional.items() if value is not None}


# -- rulesets ----------------------------------------------------------------------------------------------------------


def create(documents: Documents, body: RulesetBody) -> Change:
    operator = documents.tenant.id == OPERATOR
    if operator != (body.kind == "managed"):
        message = "the operator's rulesets are managed ones" if operator else "managed rulesets are the operator's"
        raise bad_request(message, pointer="/kind")
    if body.kind == "root" and entry_point(documents, body.phase) is not None:
        message = f"exceeded the maximum number of rulesets of kind root for the phase {body.phase}: 1"
        raise ApiError(400, Problem(Code.TOO_MANY_RULESETS, message, "/phase"))
    return _created(documents, body.name, body.kind, body.phase, body.description, body.rules, "rulesets.create")


def update(documents: Documents, ruleset: str, body: RulesetUpdateBody, wanted: str | None = None) -> Change:
    before = _own(documents, ruleset, wanted)
    for name in ("name", "kind", "phase", "id"):
        said = getattr(body, name)
        if said is not None and said != getattr(before, name):
            raise bad_request(f"`{name}` never changes: it is {getattr(before, name)!r}", pointer=f"/{name}")
    return _updated(documents, before, body.description, body.rules, "rulesets.update")


def put_entry_point(documents: Documents, phase: Phase, body: EntryPointBody, wanted: str | None = None) -> Change:
    if documents.tenant.id == OPERATOR:
        raise bad_request("the operator's rulesets are managed ones, and no phase begins with them")
    present = entry_point(documents, phase)
    if present is None:
        if wanted is not None:
            raise ApiError(412, Problem(Code.CONFLICT, "the phase has no entry point yet", parameter="If-Match"))
        return _created(documents, "default", "root", phase, body.description or "", body.rules or [], "rulesets.phases.update")
    must_match(present.version, wanted)
    return _updated(documents, present, body.description, body.rules, "rulesets.phases.update")


def delete(documents: Documents, ruleset: str, wanted: str | None = None) -> Change:
    before = _own(documents, ruleset, wanted)
    for other in documents.rulesets.values():
        if any(executed(rule) == ruleset for rule in other.rules):
            raise bad_request(f"the ruleset is executed by a rule of the ruleset {other.id}; delete that rule first")
    left = {key: value for key, value in documents.rulesets.items() if key != ruleset}
    return Change(replace(documents, rulesets=left), "rulesets.delete", ruleset, before.version, None, before)


def delete_version(documents: Documents, ruleset: str, version: str) -> Change:
    """That there is such a version is for the caller to see."""
    latest = _own(documents, ruleset, None)
    if latest.version == version:
        raise bad_request("the latest version cannot be deleted: it is the one that is enforced")
    return Change(documents, "rulesets.versions.delete", ruleset, latest.version, latest.version, forgotten=version)


def _own(documents: Documents, ruleset: str, wanted: str | None) -> Ruleset:
    found = find(documents, ruleset)
    if ruleset not in documents.rulesets:
        raise bad_request("the ruleset is the operator's: it can be read and executed here, not written")
    must_match(found.version, wanted)
    return found


def _created(
    documents: Documents, name: str, kind: Kind, phase: Phase, description: str, bodies: Sequence[RuleBody], action: str
) -> Change:
    if len(documents.rulesets) >= documents.tenant.quotas.rulesets:
        raise over_quota("rulesets", documents.tenant.quotas.rulesets)
    time = now()
    empty = Ruleset(new_id(), kind, phase, name, description, "1", time)
    ruleset = replace(empty, rules=_rules(documents, empty, bodies, time))
    return _written(documents, ruleset, None, action, {rule.id: f"/rules/{at}" for at, rule in enumerate(ruleset.rules)})


def _updated(documents: Documents, before: Ruleset, description: str | None, bodies: Sequence[RuleBody] | None, action: str) -> Change:
    time = now()
    rules = before.rules if bodies is None else _rules(documents, before, bodies, time)
    ruleset = _next(before, rules, time, before.description if description is None else description)
    return _written(documents, ruleset, before, action, {rule.id: f"/rules/{at}" for at, rule in enumerate(rules)})


def _next(before: Ruleset, rules: tuple[Rule, ...], time: str, description: str | None = None) -> Ruleset:
    description = before.description if description is None else description
    return replace(before, version=str(int(before.version) + 1), rules=rules, description=description, last_updated=time)


def _written(documents: Documents, ruleset: Ruleset, before: Ruleset | None, action: str, pointers: dict[str, str]) -> Change:
    after = documents.with_ruleset(ruleset)
    version = None if before is None else before.version
    return Change(after, action, ruleset.id, version, ruleset.version, ruleset, pointers=pointers)


# -- rules -------------------------------------------------------------------------------------------------------------


def add_rule(documents: Documents, ruleset: str, body: RuleBody, position: Position | None, wanted: str | None = None) -> Change:
    before = _own(documents, ruleset, wanted)
    if any(rule.id == body.id for rule in before.rules):
        raise bad_request("the ruleset has a rule of this id", pointer="/id")
    time = now()
    rule = _rule(documents, before, body, None, time, "")
    rules = _placed(before.rules, rule, position)
    _distinct(documents, before, rules, dict.fromkeys([rule.id], ""))
    return _written(documents, _next(before, rules, time), before, "rulesets.rules.create", {rule.id: ""})


def edit_rule(
    documents: Documents, ruleset: str, rule_id: str, body: RuleBody, position: Position | None, wanted: str | None = None
) -> Change:
    """What the body does not say stays."""
    before = _own(documents, ruleset, wanted)
    present = _rule_of(before, rule_id)
    if body.id not in (None, rule_id):
        raise bad_request("a rule's id never changes", pointer="/id")
    if not body.model_fields_set - {"id", "version", "last_updated"} and position is None:
        raise bad_request("nothing is to be changed: neither a part of the rule nor its position")
    time = now()
    rule = _rule(documents, before, body, present, time, "")
    if position is None:
        rules = tuple(rule if each.id == rule_id else each for each in before.rules)
    else:
        rules = _placed(tuple(each for each in before.rules if each.id != rule_id), rule, position)
    _distinct(documents, before, rules, dict.fromkeys([rule.id], ""))
    return _written(documents, _next(before, rules, time), before, "rulesets.rules.edit", {rule.id: ""})


def delete_rule(documents: Documents, ruleset: str, rule_id: str, wanted: str | None = None) -> Change:
    before = _own(documents, ruleset, wanted)
    _rule_of(before, rule_id)
    rules = tuple(each for each in before.rules if each.id != rule_id)
    return _written(documents, _next(before, rules, now()), before, "rulesets.rules.delete", {})


def _rule_of(ruleset: Ruleset, rule: str) -> Rule:
    found = next((each for each in ruleset.rules if each.id == rule), None)
    if found is None:
        raise not_found("rule")
    return found


def _placed(others: tuple[Rule, ...], rule: Rule, position: Position | None) -> tuple[Rule, ...]:
    """`others` with the rule at its place; at the end where none is said."""
    ids = [each.id for each in others]
    at = len(others)
    if position is not None and position.index is not None:
        if position.index > len(others) + 1:
            raise bad_request(f"the index is 1 to {len(others) + 1}", pointer="/position/index")
        at = position.index - 1
    elif position is not None:
        side, other = ("before", position.before) if position.before is not None else ("after", position.after)
        if other:
            if other not in ids:
                message = "a rule is not placed beside itself" if other == rule.id else f"the ruleset has no rule {other!r}"
                raise bad_request(message, pointer=f"/position/{side}")
            at = ids.index(other) + (side == "after")
        else:
            at = 0 if side == "before" else len(others)
    return (*others[:at], rule, *others[at:])


def _rules(documents: Documents, ruleset: Ruleset, bodies: Sequence[RuleBody], time: str) -> tuple[Rule, ...]:
    """The rules that replace the ruleset's: one that has the id or the `ref` of a rule there is that rule."""
    by_id = {rule.id: rule for rule in ruleset.rules}
    by_ref = {rule.ref: rule for rule in ruleset.rules}
    rules = []
    for at, body in enumerate(bodies):
        present = by_id.get(body.id or "") or (by_ref.get(body.ref or "") if body.id is None else None)
        rules.append(_rule(documents, ruleset, body, present, time, f"/rules/{at}", whole=True))
    _distinct(documents, ruleset, rules, {rule.id: f"/rules/{at}" for at, rule in enumerate(rules)})
    return tuple(rules)


def _distinct(documents: Documents, ruleset: Ruleset, rules: Sequence[Rule], pointers: dict[str, str]) -> None:
    """Ids are unique in an account, refs in a ruleset; and there are not too many rules."""
    elsewhere = [rule for other in documents.rulesets.values() if other.id != ruleset.id for rule in other.rules]
    if len(rules) > len(ruleset.rules) and len(elsewhere) + len(rules) > documents.tenant.quotas.rules:
        raise over_quota("rules", documents.tenant.quotas.rules)
    taken = {rule.id for rule in elsewhere}
    refs: set[str] = set()
    for rule in rules:
        pointer = pointers.get(rule.id)
        if rule.id in taken:
            raise bad_request("another rule has this id", pointer=None if pointer is None else f"{pointer}/id")
        if rule.ref in refs:
            raise bad_request("another rule of the ruleset has this ref", pointer=None if pointer is None else f"{pointer}/ref")
        taken.add(rule.id)
        refs.add(rule.ref)


def _rule(
    documents: Documents, ruleset: Ruleset, body: RuleBody, present: Rule | None, time: str, pointer: str, *, whole: bool = False
) -> Rule:
    """The rule that a body says; of `present` stays what the body does not say, with `whole` its id, ref and version alone."""
    said = body.model_dump(exclude_unset=True, exclude_none=False)
    said = {name: value for name, value in said.items() if name not in ("id", "version", "last_updated", "position")}
    for name in ("action_parameters", "logging", "ratelimit"):
        if said.get(name) is not None:
            said[name] = getattr(body, name).model_dump(exclude_unset=True, exclude_none=True)
    if present is not None and not whole:
        if "action" in said and said["action"] != present.action and "action_parameters" not in said:
            said["action_parameters"] = None
        kept = {name: getattr(present, name) for name in _DEFINITION}
        said = {**kept, **said}
    for name in ("action", "expression"):
        if said.get(name) is None:
            raise bad_request(f"a rule has an `{name}`", pointer=f"{pointer}/{name}")
    if said.get("categories") is not None:
        said["categories"] = tuple(said["categories"])
    if said.get("enabled") is None:
        said["enabled"] = True
    identity = present.id if present is not None else body.id or new_id()
    said["ref"] = said.get("ref") or (present.ref if present is not None else identity)
    rule = Rule(id=identity, version="1", last_updated=time, **said)
    _check(documents, ruleset, rule, pointer)
    if present is None:
        return rule
    if all(getattr(rule, name) == getattr(present, name) for name in _DEFINITION):
        return present
    return replace(rule, version=str(int(present.version) + 1))


_DEFINITION: Final = (
    "action", "expression", "description", "enabled", "ref", "action_parameters", "categories", "logging", "ratelimit",
)  # fmt: skip


def executed(rule: Rule) -> str | None:
    """The id of the ruleset that the rule executes."""
    return None if rule.action != "execute" or rule.action_parameters is None else rule.action_parameters["id"]


def _check(documents: Documents, ruleset: Ruleset, rule: Rule, pointer: str) -> None:
    """What an action may have, and where it may stand. Raises ApiError."""
    parameters = rule.action_parameters or {}
    taken = {"skip": ("ruleset",), "execute": ("id", "overrides")}.get(rule.action, ())
    for name in parameters:
        if name not in taken:
            raise bad_request(f"`{rule.action}` has no parameter `{name}`", pointer=f"{pointer}/action_parameters/{name}")
    if rule.action == "skip" and "ruleset" not in parameters:
        raise bad_request('`skip` has the parameters {"ruleset": "current"}', pointer=f"{pointer}/action_parameters")
    if rule.action == "execute":
        _check_execution(documents, ruleset, parameters, f"{pointer}/action_parameters")
        if ruleset.kind != "root":
            raise bad_request("rulesets are executed by a phase's entry point only", pointer=f"{pointer}/action")
    if rule.logging is not None and rule.logging.get("enabled") and rule.action == "execute":
        raise bad_request("executed rules log by themselves: override their action", pointer=f"{pointer}/logging")
    if (rule.ratelimit is not None) != (ruleset.phase == RATE_LIMITS and rule.action != "execute"):
        message = f"a rule of the phase {RATE_LIMITS} has `ratelimit`, and no other has"
        raise bad_request(message, pointer=f"{pointer}/ratelimit")
    if rule.ratelimit is not None and rule.enabled:
        raise bad_request(_LATER, pointer=f"{pointer}/ratelimit")


def _check_execution(documents: Documents, ruleset: Ruleset, parameters: dict[str, Any] | Any, pointer: str) -> None:
    if "id" not in parameters:
        raise bad_request("`execute` has the `id` of a ruleset", pointer=f"{pointer}/id")
    try:
        target = find(documents, parameters["id"])
    except ApiError:
        raise bad_request("there is no ruleset of this id", pointer=f"{pointer}/id") from None
    if target.kind == "root":
        raise bad_request("a phase's entry point cannot be executed", pointer=f"{pointer}/id")
    if target.phase != ruleset.phase:
        raise bad_request(f"the ruleset is of the phase {target.phase}, not {ruleset.phase}", pointer=f"{pointer}/id")
    known = names_of(target.rules)
    for at, override in enumerate(parameters.get("overrides", {}).get("rules", ())):
        if override["id"] not in known:
            raise bad_request("the executed ruleset has no such rule", pointer=f"{pointer}/overrides/rules/{at}/id")


def names_of(rules: Iterable[Rule]) -> set[str]:
    """Ids and refs: what an override may call a rule."""
    return {name for rule in rules for name in (rule.id, rule.ref)}
