"""The passes in their order: dead, reorder; fold, normal form, split (`known` has what they make of a rule by itself); classify, adjoin,
merge, gather."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import replace
from enum import Enum
from itertools import groupby
from typing import assert_never

from bpf.describe import describe
from firewall.match import PacketClass
from firewall.plan.adjoin import adjoined
from firewall.plan.classify import Member, Run, members_of, runs
from firewall.plan.dead import MOST_ASKED, dead, never_reached
from firewall.plan.gather import gather
from firewall.plan.known import Known, memory
from firewall.plan.merge import is_boxes, merge
from firewall.plan.model import ClassifierStage, ClassPlan, Environment, MapStage, Omission, Plan, RuleStage, Stage
from firewall.plan.reorder import reordered
from firewall.plan.shadow import headers_of
from firewall.plan.split import UnenforceableError
from firewall.plan.transport_tree import asks_transport
from rules_dsl.diagnostics import Diagnostic, DiagnosticError
from rules_dsl.policy import Action, Mode, Policy, Rule


class Pass(Enum):
    """What can be left out, to measure what it brings: the meaning stays. The others are what makes rules of nftables and eBPF out of
    expressions at all."""

    DEAD = "dead"
    REORDER = "reorder"
    CLASSIFY = "classify"
    ADJOIN = "adjoin"
    MERGE = "merge"
    GATHER = "gather"


def plan(policy: Policy, environment: Environment, *, without: Collection[Pass] = ()) -> Plan:
    """What runs where for `policy`. Raises DiagnosticError (E09xx) with all that cannot be enforced."""
    planning = _Planning(policy, environment, without)
    classes = tuple(planning.of_class(packets) for packets in PacketClass)
    if planning.diagnostics:
        raise DiagnosticError(tuple(sorted(planning.diagnostics, key=lambda diagnostic: diagnostic.span.start)))
    evaluated = () if Pass.GATHER in without else gather(policy, environment, classes)
    return Plan(policy, environment, classes, tuple(planning.omissions), evaluated)


ODD_REASON = "payload: nftables does not find this packet's transport header, so eBPF asks for protocol and ports"


_SMALLER = (
    "an exact count behind what may begin anywhere doubles the states with each byte: count less, write {0,n} or {n,}, or begin with ^"
)


class _Planning:
    """The passes over one policy, class by class, and what they find on the way."""

    def __init__(self, policy: Policy, environment: Environment, without: Collection[Pass]) -> None:
        remembered = memory(policy.hook, environment)
        active = [None if rule.mode is Mode.DISABLED else remembered.of(rule.predicate) for rule in policy.rules]
        found = [*_unenforceable(policy, active)]
        self.diagnostics = [diagnostic for _, diagnostic in found]
        disabled = [index for index, known in enumerate(active) if known is None]
        self.omissions = [Omission(packets, index, "disabled") for packets in PacketClass for index in disabled]
        self._policy, self._without = policy, without
        refused = {name for name, _ in found}
        self._known = active
        if refused:
            self._known = [None if rule.name in refused else known for rule, known in zip(policy.rules, active, strict=True)]
        members = members_of(policy, self._known, remembered)
        order = self._order(members)
        self._parts: list[int | Run] = [*(order if Pass.CLASSIFY in without else runs(policy, order, members))]
        """The rules in order: by their indices, or in runs."""
        self._refused = refused
        self._boxes: dict[int, RuleStage] = {}
        """Rules of IPv6 that ask for addresses, protocol and ports alone, by index."""

    def _order(self, members: Sequence[Member | None]) -> Sequence[int]:
        """The rules that have a part in the plan."""
        asked = [index for index, member in enumerate(members) if member is not None]
        if Pass.DEAD in self._without and Pass.REORDER in self._without:
            return asked
        others = [index for index in asked if (member := members[index]) is not None and member[2] is None]
        if len(asked) > MOST_ASKED and not others:
            return asked  # one run, of which `dead` asks nothing
        headers = [None if known is None else headers_of(known) for known in self._known]
        if Pass.DEAD not in self._without:
            never = dead(self._policy, headers, asked if len(asked) <= MOST_ASKED else others[:MOST_ASKED])
            for index, takers in never.items():
                reason = never_reached([self._policy.rules[taker] for taker in takers])
                self.omissions += [Omission(packets, index, reason) for packets in PacketClass]
            asked = [index for index in asked if index not in never]
        return asked if Pass.REORDER in self._without else reordered(self._policy, asked, headers, frozenset(others))

    def of_class(self, packets: PacketClass) -> ClassPlan:
        stages: list[RuleStage | ClassifierStage] = []
        borrowed: set[int] = set()
        taker: Rule | None = None
        for part in self._parts:
            members = part.members if isinstance(part, Run) else ((part, self._policy.rules[part]),)
            if taker is not None and (taker.phase == members[0][1].phase or not self._policy.goes_on(taker)):
                never = f"never reached: {taker.name!r} above takes every packet"
                self.omissions += [Omission(packets, index, never) for index, _ in members]
                continue
            if isinstance(part, Run):
                if (classifier := part.of(packets)) is not None:
                    stages.append(classifier)
                taker = part.takers.get(packets.version, taker)
                continue
            index, rule = members[0]
            if packets is PacketClass.IP6_ODD and index in self._boxes:
                found = [self._boxes[index]]
                borrowed.add(index)
            else:
                found = self._split(index, rule, packets)
            if not found:
                self.omissions.append(Omission(packets, index, f"never true for these packets ({packets.value})"))
                continue
            stages += found
            if packets is PacketClass.IP6 and len(found) == 1 and rule.ends and is_boxes(found[0].terms):
                self._boxes[index] = found[0]
            if rule.ends and any(term.is_plain and not term.matches for stage in found for term in stage.terms):
                taker = rule
        found_stages = self._merged(stages)
        if packets is PacketClass.IP6_ODD:
            found_stages = (asked for stage in found_stages for asked in self._asked_by_ebpf(stage, borrowed))
        return ClassPlan(packets, tuple(found_stages))

    def _merged(self, stages: Sequence[RuleStage | ClassifierStage]) -> Iterator[Stage]:
        if Pass.MERGE in self._without:
            yield from stages
        else:
            for _, group in groupby(stages, key=lambda stage: stage.phase):
                members = tuple(group)
                yield from merge(members if Pass.ADJOIN in self._without else adjoined(members))

    def _asked_by_ebpf(self, stage: Stage, borrowed: Set[int]) -> Iterator[Stage]:
        """The stage of an odd class; `borrowed` rules were split as those of other IPv6 packets are."""
        match stage:
            case ClassifierStage():
                yield stage
            case RuleStage():
                yield from self._split(stage.index, stage.rule, PacketClass.IP6_ODD) if stage.index in borrowed else (stage,)
            case MapStage():
                if not asks_transport(stage):
                    yield stage
                elif any(self._policy.goes_on(rule) for _, rule in stage.members):  # its chains are left by returns
                    for index, rule in stage.members:
                        yield from self._split(index, rule, PacketClass.IP6_ODD)
                else:
                    yield replace(stage, is_odd=True, reasons=(*stage.reasons, ODD_REASON))
            case _:
                assert_never(stage)

    def _split(self, index: int, rule: Rule, packets: PacketClass) -> list[RuleStage]:
        known = self._known[index]
        if known is None or rule.name in self._refused:
            return []
        try:
            cases = known.splits(packets, once=not rule.ends)
        except UnenforceableError as error:
            self._refused.add(rule.name)
            self.diagnostics.append(Diagnostic(error.code, str(error), self._policy.span(rule), help=error.help_line))
            return []
        return [RuleStage(index, rule, case.terms, case.reasons) for case in cases]


def enforceable(policy: Policy) -> list[Diagnostic]:
    """What of the language no part of the kernel side enforces yet (E0901 limit, E0903 connection state), and the patterns that are too
    large for a program (E0906)."""
    remembered = memory(policy.hook, Environment())
    active = [None if rule.mode is Mode.DISABLED else remembered.of(rule.predicate) for rule in policy.rules]
    return [diagnostic for _, diagnostic in _unenforceable(policy, active)]


def _unenforceable(policy: Policy, active: Sequence[Known | None]) -> Iterator[tuple[str, Diagnostic]]:
    """With the names of the rules."""
    for rule, known in zip(policy.rules, active, strict=True):
        if known is None or (known.is_enforceable and rule.action is not Action.LIMIT):
            continue
        if rule.action is Action.LIMIT:
            help = "write `disabled limit` to keep the rule"
            yield rule.name, Diagnostic("E0901", "`limit` cannot be enforced yet", policy.span(rule), help=help)
        for test, reason in known.too_large:
            message = f'`{describe(test)}` in "{rule.name}" is too large: {reason}'
            yield rule.name, Diagnostic("E0906", message, policy.span(rule), help=_SMALLER)
        for name in known.connection:
            help = "test the packet's own fields"
            yield rule.name, Diagnostic("E0903", f"`{name}` cannot be enforced yet", policy.span(rule), help=help)
