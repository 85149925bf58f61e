"""The passes in their order: fold, normal form, split, merge."""

from __future__ import annotations

from collections.abc import Iterator

from bpf import refusal
from firewall.match import PacketClass
from firewall.plan.merge import merge
from firewall.plan.model import ClassPlan, Environment, Omission, Plan, RuleStage
from firewall.plan.split import Scene, UnenforceableError, split
from rules_dsl import expression as ex
from rules_dsl.diagnostics import Diagnostic, DiagnosticError
from rules_dsl.expression import Test
from rules_dsl.policy import Action, Mode, Policy, Rule


def plan(policy: Policy, environment: Environment) -> Plan:
    """What runs where for `policy`. Raises DiagnosticError (E09xx) with all that cannot be enforced."""
    diagnostics = enforceable(policy)
    classes: list[ClassPlan] = []
    omissions: list[Omission] = []
    refused = {diagnostic.span for diagnostic in diagnostics}
    for packets in PacketClass:
        scene = Scene(packets, policy.hook, environment, refusal)
        stages: list[RuleStage] = []
        ended_by: Rule | None = None
        for index, rule in enumerate(policy.rules):
            if rule.mode is Mode.DISABLED or rule.span in refused:
                omissions.append(Omission(packets, index, "disabled"))
                continue
            if ended_by is not None:
                omissions.append(Omission(packets, index, f"never reached: {ended_by.name!r} above takes every packet"))
                continue
            try:
                cases = split(rule.predicate, scene, once=not rule.ends)
            except UnenforceableError as error:
                refused.add(rule.span)
                diagnostics.append(Diagnostic(error.code, str(error), rule.span, help=error.help_line))
                continue
            if not cases:
                omissions.append(Omission(packets, index, f"never true for these packets ({packets.value})"))
                continue
            stages += [RuleStage(index, rule, case.terms, case.reasons) for case in cases]
            if rule.ends and any(term.is_plain and not term.matches for case in cases for term in case.terms):
                ended_by = rule
        classes.append(ClassPlan(packets, merge(stages)))
    if diagnostics:
        raise DiagnosticError(tuple(sorted(diagnostics, key=lambda diagnostic: diagnostic.span.start)))
    return Plan(policy, environment, tuple(classes), tuple(omissions))


def enforceable(policy: Policy) -> list[Diagnostic]:
    """What of the language no part of the kernel side enforces yet (E0901 limit, E0902 matches, E0903 connection state)."""
    found: list[Diagnostic] = []
    for rule in policy.active_rules:
        if rule.action is Action.LIMIT:
            found.append(Diagnostic("E0901", "`limit` cannot be enforced yet", rule.span, help="write `disabled limit` to keep the rule"))
        tests = list(_all_tests(rule.predicate))
        if any(isinstance(test, ex.Matches) for test in tests):
            found.append(Diagnostic("E0902", "`matches` cannot be enforced yet", rule.span, help="use contains, wildcard or starts_with"))
        names = sorted({root.field.name for test in tests if isinstance(root := ex.root_of(ex.operand_of(test)), ex.FieldValue)})
        for name in names:
            if name.startswith("ct."):
                found.append(Diagnostic("E0903", f"`{name}` cannot be enforced yet", rule.span, help="test the packet's own fields"))
    return found


def _all_tests(expression: ex.Expression) -> Iterator[Test]:
    for test in ex.tests_of(expression):
        yield test.test if isinstance(test, ex.All) else test
