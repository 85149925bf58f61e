"""The passes in their order: fold, normal form, split, merge, gather."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Final, assert_never

from bpf import refusal, too_large
from bpf.describe import describe
from firewall.match import PacketClass
from firewall.plan.gather import gather
from firewall.plan.merge import is_boxes, merge
from firewall.plan.model import ClassPlan, Environment, MapStage, Node, Omission, Plan, RuleStage, Stage
from firewall.plan.split import Scene, Split, UnenforceableError, split
from firewall.plan.transport_tree import asks_transport
from rules_dsl import expression as ex
from rules_dsl.diagnostics import Diagnostic, DiagnosticError
from rules_dsl.expression import Test
from rules_dsl.policy import Action, Hook, Mode, Policy, Rule


def plan(policy: Policy, environment: Environment) -> Plan:
    """What runs where for `policy`. Raises DiagnosticError (E09xx) with all that cannot be enforced."""
    planning = _Planning(policy, environment, enforceable(policy))
    classes = tuple(planning.of_class(packets) for packets in PacketClass)
    if planning.diagnostics:
        raise DiagnosticError(tuple(sorted(planning.diagnostics, key=lambda diagnostic: diagnostic.span.start)))
    return Plan(policy, environment, classes, tuple(planning.omissions), gather(policy, environment, classes))


MOST_KNOWN: Final = 100_000
"""Rules, of which each has a split for each class of packets, that are remembered from one plan to the next."""

ODD_REASON = "payload: nftables does not find this packet's transport header, so eBPF asks for protocol and ports"


_SMALLER = (
    "an exact count behind what may begin anywhere doubles the states with each byte: count less, write {0,n} or {n,}, or begin with ^"
)


class _Planning:
    """The passes over one policy, class by class, and what they find on the way."""

    def __init__(self, policy: Policy, environment: Environment, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = diagnostics
        self.omissions: list[Omission] = []
        self._policy, self._environment = policy, environment
        self._node, self._vlans = environment.node, tuple(sorted(environment.vlan_interfaces.items()))
        self._refused = {diagnostic.span for diagnostic in diagnostics}
        self._boxes: dict[int, RuleStage] = {}
        """Rules of IPv6 that ask for addresses, protocol and ports alone, by index."""

    def of_class(self, packets: PacketClass) -> ClassPlan:
        scene = _scene(packets, self._policy.hook, self._environment)
        stages: list[RuleStage] = []
        borrowed: set[int] = set()
        taker: Rule | None = None
        for index, rule in enumerate(self._policy.rules):
            if taker is not None and (taker.phase == rule.phase or not self._policy.goes_on(taker)):
                self.omissions.append(Omission(packets, index, f"never reached: {taker.name!r} above takes every packet"))
                continue
            if rule.mode is Mode.DISABLED or rule.span in self._refused:
                self.omissions.append(Omission(packets, index, "disabled"))
                continue
            if packets is PacketClass.IP6_ODD and index in self._boxes:
                found = [self._boxes[index]]
                borrowed.add(index)
            else:
                found = self._split(index, rule, scene)
            if not found:
                self.omissions.append(Omission(packets, index, f"never true for these packets ({packets.value})"))
                continue
            stages += found
            if packets is PacketClass.IP6 and len(found) == 1 and is_boxes(found[0]):
                self._boxes[index] = found[0]
            if rule.ends and any(term.is_plain and not term.matches for stage in found for term in stage.terms):
                taker = rule
        phases = groupby(stages, key=lambda stage: stage.phase)
        found_stages = (stage for _, members in phases for stage in merge(tuple(members)))
        if packets is PacketClass.IP6_ODD:
            found_stages = (asked for stage in found_stages for asked in self._asked_by_ebpf(stage, borrowed, scene))
        return ClassPlan(packets, tuple(found_stages))

    def _asked_by_ebpf(self, stage: Stage, borrowed: Set[int], scene: Scene) -> Iterator[Stage]:
        """The stage of an odd class; `borrowed` rules were split as those of other IPv6 packets are."""
        match stage:
            case RuleStage():
                yield from self._split(stage.index, stage.rule, scene) if stage.index in borrowed else (stage,)
            case MapStage():
                if not asks_transport(stage):
                    yield stage
                elif any(self._policy.goes_on(rule) for _, rule in stage.members):  # its chains are left by returns
                    for index, rule in stage.members:
                        yield from self._split(index, rule, scene)
                else:
                    yield replace(stage, is_odd=True, reasons=(*stage.reasons, ODD_REASON))
            case _:
                assert_never(stage)

    def _split(self, index: int, rule: Rule, scene: Scene) -> list[RuleStage]:
        try:
            cases = _known_split(rule.predicate, scene.packets, scene.hook, self._node, self._vlans, once=not rule.ends)
        except UnenforceableError as error:
            self._refused.add(rule.span)
            self.diagnostics.append(Diagnostic(error.code, str(error), rule.span, help=error.help_line))
            return []
        return [RuleStage(index, rule, case.terms, case.reasons) for case in cases]


@lru_cache(MOST_KNOWN)
def _known_split(
    predicate: ex.Expression, packets: PacketClass, hook: Hook, node: Node, vlans: tuple[tuple[str, int], ...], *, once: bool
) -> tuple[Split, ...]:
    """Where a few of many rules change, the others are not split again. Raises UnenforceableError."""
    return split(predicate, _scene(packets, hook, Environment(node, dict(vlans))), once=once)


def _scene(packets: PacketClass, hook: Hook, environment: Environment) -> Scene:
    return Scene(packets, hook, environment, refusal)


def enforceable(policy: Policy) -> list[Diagnostic]:
    """What of the language no part of the kernel side enforces yet (E0901 limit, E0903 connection state), and the patterns that are too
    large for a program (E0906)."""
    found: list[Diagnostic] = []
    for rule in policy.active_rules:
        if rule.action is Action.LIMIT:
            found.append(Diagnostic("E0901", "`limit` cannot be enforced yet", rule.span, help="write `disabled limit` to keep the rule"))
        tests = list(_all_tests(rule.predicate))
        for test in dict.fromkeys(test for test in tests if isinstance(test, ex.Matches) and refusal(test) is None):
            reason = too_large(test)
            if reason is not None:
                message = f'`{describe(test)}` in "{rule.name}" is too large: {reason}'
                found.append(Diagnostic("E0906", message, rule.span, help=_SMALLER))
        names = sorted({root.field.name for test in tests if isinstance(root := ex.root_of(ex.operand_of(test)), ex.FieldValue)})
        for name in names:
            if name.startswith("ct."):
                found.append(Diagnostic("E0903", f"`{name}` cannot be enforced yet", rule.span, help="test the packet's own fields"))
    return found


def _all_tests(expression: ex.Expression) -> Iterator[Test]:
    for test in ex.tests_of(expression):
        yield test.test if isinstance(test, ex.All) else test
