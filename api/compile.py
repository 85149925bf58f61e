"""From a tenant's documents to the text of its rules: phases in their order, executed rulesets in the place of the rules that execute
them, and the lists that are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, get_args

from api import lists
from api.changes import Change, Documents
from api.documents import Items, Phase, Rule, Ruleset, kernel_name
from api.errors import ApiError, Code, Problem, expression_problems
from api.policy_text import Condition, PolicyText, RuleText
from api.rulesets import entry_point, executed
from rules_dsl import Diagnostic, DiagnosticError, Limits, ListValue, parse_expression
from rules_dsl.checker_geo import GEO_FIELDS
from rules_dsl.geo import Geo
from rules_dsl.policy import Action, Mode

PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
"""In the order in which they are evaluated."""
DETECT_ONLY: Final = "magic_transit_ids_managed"
_ACTIONS: Final = {"block": Action.BLOCK, "log": Action.LOG, "skip": Action.ALLOW}
_NO_ADDRESSES: Final = ListValue.of_addresses(())
_MOST_PROBLEMS: Final = 100
"""That one answer tells."""


# -- the text ----------------------------------------------------------------------------------------------------------


def policy_text(documents: Documents) -> PolicyText:
    """What is to be enforced for the tenant. Its rules are named by their ids, executed ones by `EXECUTING.EXECUTED`; the log that a
    rule asks for besides its action is `ID.log`."""
    rules = tuple(
        text
        for number, phase in enumerate(PHASES)
        if (ruleset := entry_point(documents, phase)) is not None
        for text in _phase(documents, ruleset, number)
    )
    named = {name for rule in rules for condition in rule.conditions for name in lists.names_in(condition.expression)}
    tenant = documents.tenant
    return PolicyText(kernel_name(tenant.id), rules, _addresses(documents, named), tenant.protect, tenant.hook, tenant.early_drop)


def _addresses(documents: Documents, named: set[str]) -> dict[str, tuple[str, ...]]:
    holders = (documents,) if documents.offered is None else (documents, documents.offered)
    return {
        each.name: tuple(item.ip for item in holder.items.get(each.id, Items()).items)
        for holder in holders
        for each in sorted(holder.lists.values(), key=lambda found: found.name)
        if each.name in named
    }


@dataclass(frozen=True, slots=True)
class _Placed:
    """A rule where it is evaluated."""

    name: str
    rule: Rule
    action: str
    enabled: bool
    conditions: tuple[Condition, ...]


def _phase(documents: Documents, ruleset: Ruleset, number: int) -> Iterator[RuleText]:
    detect = ruleset.phase == DETECT_ONLY
    passed: tuple[Condition, ...] = ()
    for rule in ruleset.rules:
        own = Condition(rule.expression)
        if (target := executed(rule)) is not None:
            if rule.enabled:
                for placed in _executed(documents, rule, target, (*passed, own)):
                    yield from _texts(placed, number, detect, skips=False)
            continue
        yield from _texts(_Placed(rule.id, rule, rule.action, rule.enabled, (*passed, own)), number, detect, skips=not detect)
        if detect and rule.action == "skip" and rule.enabled:  # what only detects ends nothing by itself
            passed = (*passed, Condition(rule.expression, holds=False))


def _executed(documents: Documents, by: Rule, target: str, conditions: tuple[Condition, ...]) -> Iterator[_Placed]:
    """The rules of an executed ruleset, overridden. A `skip` of it ends it alone: its later rules do not hold where the skip does."""
    ruleset = documents.rulesets.get(target) or (documents.offered.rulesets.get(target) if documents.offered else None)
    overrides = (by.action_parameters or {}).get("overrides", {})
    for rule in ruleset.rules if ruleset is not None else ():
        action, enabled = _overridden(rule, overrides)
        yield _Placed(f"{by.id}.{rule.id}", rule, action, enabled, (*conditions, Condition(rule.expression)))
        if action == "skip" and enabled:
            conditions = (*conditions, Condition(rule.expression, holds=False))


def _overridden(rule: Rule, overrides: Mapping[str, Any]) -> tuple[str, bool]:
    """Action and whether it is enabled: all rules' overrides, over them those of categories (the last counts), over them the rule's."""
    action, enabled = rule.action, rule.enabled
    if rule.action != "skip":
        action = overrides.get("action", action)
    enabled = overrides.get("enabled", enabled)
    layers = [each for each in overrides.get("categories", ()) if each["category"] in (rule.categories or ())]
    layers += [each for each in overrides.get("rules", ()) if each["id"] in (rule.id, rule.ref)]
    for layer in layers:
        action, enabled = layer.get("action", action), layer.get("enabled", enabled)
    return action, enabled


def _texts(placed: _Placed, phase: int, detect: bool, *, skips: bool) -> Iterator[RuleText]:
    mode = Mode.ENABLED if placed.enabled else Mode.DISABLED
    if placed.action != "log" and (placed.rule.logging or {}).get("enabled"):
        yield RuleText(f"{placed.name}.log", Action.LOG, placed.conditions, phase, mode)
    action = Action.COUNT if placed.action == "skip" and not skips else _ACTIONS[placed.action]
    if detect and placed.enabled and action is Action.BLOCK:
        mode = Mode.MONITOR
    yield RuleText(placed.name, action, placed.conditions, phase, mode)


def cost(text: PolicyText) -> int:
    """Characters of all conditions."""
    return sum(len(condition.expression) for rule in text.rules for condition in rule.conditions)


def asks_geo(text: PolicyText) -> bool:
    """Whether what it means depends on geo files. (That a string has such a name in it counts too.)"""
    return any(name in condition.expression for rule in text.rules for condition in rule.conditions for name in GEO_FIELDS)


# -- what is wrong with it ---------------------------------------------------------------------------------------------


class Checker:
    """Says what is wrong with expressions, and remembers it."""

    def __init__(self, geo: Geo | None = None) -> None:
        self.diagnostics: Final = lru_cache(100_000)(partial(_diagnostics, geo))


def refuse_wrong(change: Change, before: Documents, checker: Checker) -> None:
    """Refuses a change that leaves a rule of a changed ruleset wrong, executed or not. Raises ApiError with every error of every rule."""
    documents = change.documents
    known = frozenset(each.name for each in documents.lists.values())
    problems: list[Problem] = []
    for ruleset in documents.rulesets.values():
        if before.rulesets.get(ruleset.id) is ruleset:
            continue
        for rule in ruleset.rules:
            found = checker.diagnostics(
                rule.expression, lists.names_in(rule.expression) & known, documents.tenant.quotas.expression_characters
            )
            if found:
                pointer = change.pointers.get(rule.id)
                problems += expression_problems(found, f"/rules/{rule.id}" if pointer is None else f"{pointer}/expression")
    if problems:
        raise ApiError(400, *problems[:_MOST_PROBLEMS])


def refuse_complex(documents: Documents, text: PolicyText) -> None:
    """Raises ApiError for rules that would cost more than the tenant's quota."""
    limit = documents.tenant.quotas.complexity
    if (asked := cost(text)) > limit:
        message = f"ruleset exceeds complexity constraints: the conditions of all rules have {asked:,} characters, and may have {limit:,}"
        raise ApiError(400, Problem(Code.QUOTA, message))


def _diagnostics(geo: Geo | None, expression: str, known: frozenset[str], characters: int) -> tuple[Diagnostic, ...]:
    """What is wrong with an expression that may name these lists."""
    limits = Limits(expression_characters=characters)
    try:
        parse_expression(expression, lists=dict.fromkeys(known, _NO_ADDRESSES), limits=limits, geo=geo)
    except DiagnosticError as error:
        return error.diagnostics
    return ()
