"""The rules of a tenant as text: all that a node needs to compile them, and what goes to the enforcer, which trusts nothing compiled.

The API makes it of a tenant's stored rulesets and lists, in the order in which they are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from rules_dsl import Diagnostic, DiagnosticError, Limits, ListValue, parse_expression
from rules_dsl.expression import And, Expression, Not
from rules_dsl.geo import Geo
from rules_dsl.policy import Action, Hook, Mode, Policy, Protect, Rule


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression, and whether it is to hold."""

    expression: str
    holds: bool = True


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule: all of its conditions are to be met."""

    name: str
    """What its counter and a refusal call it; unique among the tenant's rules."""
    action: Action
    conditions: tuple[Condition, ...]
    phase: int = 0
    mode: Mode = Mode.ENABLED


@dataclass(frozen=True, slots=True)
class ProtectText:
    """What a tenant protects: prefixes (IPv4 and IPv6), input interfaces and marks. Empty: everything."""

    prefixes: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyText:
    tenant: str
    """Its name in the kernel (`rules_dsl.policy.TENANT_NAME`)."""
    rules: tuple[RuleText, ...] = ()
    """In the order of evaluation; phases ascend."""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The addresses, CIDRs and ranges of each list that a condition may name."""
    protect: ProtectText = ProtectText()
    hook: Hook = Hook.PREROUTING
    early_drop: tuple[str, ...] = ()
    """Interfaces at which frames are judged as they are received."""


NO_LIMIT: Final = Limits()
MOST_KNOWN: Final = 100_000
"""Expressions that are remembered at a time."""


class RuleError(Exception):
    """Conditions of some rules are not right."""

    def __init__(self, found: Mapping[str, tuple[Diagnostic, ...]]) -> None:
        super().__init__("; ".join(f"{name}: {diagnostics[0].message}" for name, diagnostics in found.items()))
        self.found = found
        """By the rule's name."""


class Expressions:
    """Expressions that were checked before, for texts that differ in few rules. What one with a `$` means depends on the lists: it is
    checked again where a list is another."""

    def __init__(self) -> None:
        self._lists: Mapping[str, tuple[str, ...]] = {}
        self.values: Mapping[str, ListValue] = {}
        self.known: dict[str, Expression] = {}
        self.rules: dict[str, tuple[RuleText, Rule]] = {}
        """Of the last text, by name."""

    def use(self, lists: Mapping[str, tuple[str, ...]]) -> None:
        """Raises LiteralError."""
        if len(self.known) > MOST_KNOWN:
            self.known, self.rules = {}, {}
        if lists != self._lists:
            same = {name for name, items in lists.items() if self._lists.get(name) == items}
            self.known = {text: made for text, made in self.known.items() if "$" not in text}
            self.rules = {name: made for name, made in self.rules.items() if "$" not in made[1].expression}
            self._lists, before = {}, self.values  # nothing is known of lists that are refused
            self.values = {name: before[name] if name in same else ListValue.of_addresses(items) for name, items in lists.items()}
            self._lists = dict(lists)


def policy_of(text: PolicyText, *, limits: Limits = NO_LIMIT, geo: Geo | None = None, before: Expressions | None = None) -> Policy:
    """The policy that the text says; a rule's name is that of its text. `before` holds what was checked before, with the same limits and
    geo. Raises RuleError with every error of every rule."""
    checked = before or Expressions()
    checked.use(text.lists)
    known = checked.known
    found: dict[str, tuple[Diagnostic, ...]] = {}
    rules: dict[str, tuple[RuleText, Rule]] = {}
    for rule in text.rules:
        same = checked.rules.get(rule.name)
        if same is not None and (same[0] is rule or same[0] == rule):
            rules[rule.name] = same
            continue
        tests: list[Expression] = []
        wrong: list[Diagnostic] = []
        for condition in rule.conditions:
            made = known.get(condition.expression)
            if made is None:
                try:
                    made = parse_expression(condition.expression, name=rule.name, lists=checked.values, limits=limits, geo=geo)
                except DiagnosticError as error:
                    wrong += error.diagnostics
                    continue
                known[condition.expression] = made
            tests.append(made if condition.holds else Not(made))
        if wrong:
            found[rule.name] = tuple(wrong)
            continue
        shown = " and ".join(f"({each.expression})" if each.holds else f"not ({each.expression})" for each in rule.conditions)
        predicate = tests[0] if len(tests) == 1 else And(tuple(tests))
        rules[rule.name] = rule, Rule(rule.name, rule.action, rule.mode, predicate, shown, phase=rule.phase)
    if found:
        raise RuleError(found)
    checked.rules = rules
    ordered = tuple([rule for _, rule in rules.values()])
    return Policy(text.tenant, ordered, protect=_protect(text.protect), hook=text.hook, early_drop=text.early_drop, source=text.tenant)


def _protect(text: ProtectText) -> Protect:
    """Raises LiteralError for what is no prefix."""
    addresses = ListValue.of_addresses(text.prefixes)
    return Protect(addresses.v4, addresses.v6, text.interfaces, text.marks)
