"""Seventh pass: a rule that could be an element of a map stands with those above it that could be of the same one, where no rule between
has a packet in common with it.

What `reorder` does for search trees, this does for the maps of one class of packets, and for rules with more tests than trees have keys.
Each element goes to its own rule's end, so whatever stands together, every rule counts what it did. A rule that does not end, or whose
payload is asked, is never moved, but others may go past it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from firewall.match import Key
from firewall.plan.merge import candidate_of
from firewall.plan.model import ClassifierStage, RuleStage, Term
from rules_dsl.expression import Ranges

MOST_PASSED: Final = 16
"""Groups of rules that one goes past."""
MOST_COMPARISONS: Final = 20_000
"""Of terms, in all for a class of packets; beyond it rules stay where they are."""

Asked = dict[Key, Ranges]
"""By key, the values that a packet of a term can have."""


@dataclass(slots=True)
class _Group:
    """Stages that stand together."""

    kind: object
    stages: list[RuleStage | ClassifierStage] = field(default_factory=list)
    asked: list[Asked] | None = field(default_factory=list)
    """Of each term in it; None where that is not known."""


def adjoined(stages: Sequence[RuleStage | ClassifierStage]) -> tuple[RuleStage | ClassifierStage, ...]:
    """The stages of a phase, in an order that means the same."""
    groups: list[_Group] = []
    left = MOST_COMPARISONS
    for stage in stages:
        candidate = candidate_of(stage)
        kind = None if candidate is None else (candidate.keys, candidate.fixed)
        asked = _asked(stage)
        place = len(groups) - 1
        if candidate is not None and asked is not None:
            first = max(len(groups) - 1 - MOST_PASSED, 0)
            while place >= first and groups[place].kind != kind:
                between = groups[place].asked
                left -= len(between or ()) * len(asked)
                if between is None or left < 0 or not all(_are_apart(one, other) for one in asked for other in between):
                    place = -1
                else:
                    place -= 1
            if place < first:
                place = -1
        elif place >= 0 and groups[place].kind != kind:
            place = -1
        if place < 0:
            groups.append(_Group(kind))
        group = groups[place]
        group.stages.append(stage)
        group.asked = None if group.asked is None or asked is None else group.asked + asked
    return tuple(stage for group in groups for stage in group.stages)


def _asked(stage: RuleStage | ClassifierStage) -> list[Asked] | None:
    """Of each term; None of a search tree, past which no rule goes."""
    return None if isinstance(stage, ClassifierStage) else [_of_term(term) for term in stage.terms]


def _of_term(term: Term) -> Asked:
    """What its matches say, and that is no less than the term."""
    asked: Asked = {}
    for match in term.matches:
        if match.protocol is not None:
            asked[Key.PROTOCOL] = ((match.protocol, match.protocol),)
        if match.key is not None and not match.negated:
            asked.setdefault(match.key, match.ranges)
    return asked


def _are_apart(one: Asked, other: Asked) -> bool:
    """Whether no packet is of both."""
    return any(key in other and not _meet(ranges, other[key]) for key, ranges in one.items())


def _meet(one: Ranges, other: Ranges) -> bool:
    """Whether they have a number in common."""
    place = 0
    for low, high in one:
        while place < len(other) and other[place][1] < low:
            place += 1
        if place < len(other) and other[place][0] <= high:
            return True
    return False
