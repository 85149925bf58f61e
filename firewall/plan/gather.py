"""Last pass: the rules whose payload one program of the tenant evaluates together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeGuard

from bpf import refusal
from firewall.match import Conjunction, Key, Match, PacketClass
from firewall.plan.fold import FALSE, fold_place
from firewall.plan.model import ClassPlan, Environment, Evaluated, RuleStage, Stage, Term
from rules_dsl import expression as ex
from rules_dsl.policy import Hook, Policy
from rules_dsl.ranges import merged

FEWEST = 2
"""A rule alone has a program of its own: there is nothing to share, and nobody to ask."""

MOST_RANGES = 64
"""Ranges of addresses in one match before a gate; more are not asked for."""


def gather(policy: Policy, environment: Environment, classes: Sequence[ClassPlan]) -> tuple[Evaluated, ...]:
    """The rules that eBPF judges in packets of the usual classes, with their predicates as a whole, in order: those of phases that have
    several. None at the hook of local output: there another packet may come between the evaluator and those who ask what it found."""
    if policy.hook is Hook.OUTPUT:
        return ()
    deep = {stage.index for each in classes if each.packets is not PacketClass.IP6_ODD for stage in each.stages if has_payload(stage)}
    found: dict[int, list[Evaluated]] = {}
    for index in sorted(deep):
        predicate = fold_place(policy.rules[index].predicate, policy.hook, environment)
        if predicate != FALSE and all(refusal(test) is None for test in ex.tests_of(predicate)):
            found.setdefault(policy.rules[index].phase, []).append(Evaluated(index, predicate))
    return tuple(each for members in found.values() if len(members) >= FEWEST for each in members)


def has_payload(stage: Stage) -> TypeGuard[RuleStage]:
    return isinstance(stage, RuleStage) and any(term.payload is not None for term in stage.terms)


# -- the gate ----------------------------------------------------------------------------------------------------------


def gate(stages: Iterable[RuleStage]) -> tuple[Conjunction, ...]:
    """Matches that hold, one of them at least, for every packet for which a payload term of the stages may: few, however many the terms
    are. One that is empty holds for every packet."""
    parts: dict[object, list[tuple[Match, Match | None]]] = {}
    for stage in stages:
        for term in stage.terms:
            if term.payload is not None:
                first, second = _told_by(term)
                if first is None:
                    return ((),)
                parts.setdefault((first.left, first.notation, first.protocol), []).append((first, second))
    found: list[Conjunction] = []
    for pairs in parts.values():
        first = pairs[0][0]
        ranges = merged(pair for match, _ in pairs for pair in match.ranges)
        if first.key in (Key.SOURCE, Key.DESTINATION) and len(ranges) > MOST_RANGES:
            return ((),)
        joint = Match(
            first.left, ranges, first.notation, always=first.always, protocol=first.protocol, typed=first.typed, key=first.key,
            reach=min(match.reach for match, _ in pairs),
        )  # fmt: skip
        content = pairs[0][1] if all(second is not None for _, second in pairs) else None
        found.append((joint,) if content is None else (joint, content))
    return tuple(found)


def _told_by(term: Term) -> tuple[Match | None, Match | None]:
    """The match that leaves the fewest packets, by the kind of what it looks at; and the one for content, if the term has it."""
    content = next((match for match in term.matches if match.left.startswith("@ih")), None)
    for key in (Key.DESTINATION_PORT, Key.SOURCE_PORT, Key.PROTOCOL, Key.DESTINATION, Key.SOURCE):
        for match in term.matches:
            if match.key is key and not match.negated and (match.typed or key in (Key.PROTOCOL, Key.DESTINATION, Key.SOURCE)):
                return match, content
    return None, None
