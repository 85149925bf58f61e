"""First pass: rules that no packet reaches are left out, as `shadow` finds them. Their counters stay, at 0.

Looking costs more than a search tree saves by it, which has no place for a rule that lies within another anyway. So of many rules
only those are looked at that cost a packet something by themselves, and only the first of the rules above take packets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from firewall.plan.model import Headers
from firewall.plan.shadow import Search
from rules_dsl.policy import Policy, Rule

MOST_ASKED: Final = 128
"""Rules that are looked at. Where there are more, boxes that end are not: a search tree has no place for most of the dead ones."""
MOST_TAKERS: Final = 512
"""Boxes of rules that may take packets."""

MOST_NAMED: Final = 3
"""Rules that a reason names."""


def dead(policy: Policy, headers: Sequence[Headers | None]) -> Mapping[int, tuple[int, ...]]:
    """Rules that no packet reaches, each with those above that together take all of its packets. `headers`: of each rule, None where
    nothing is known."""
    active = sum(each is not None for each in headers)
    asked = [
        index
        for index, (rule, each) in enumerate(zip(policy.rules, headers, strict=True))
        if each is not None and (active <= MOST_ASKED or not each.is_exact or not rule.ends)
    ]
    if not asked:
        return {}
    search = Search(policy, headers, is_asked=frozenset(asked[:MOST_ASKED]).__contains__, most_takers=MOST_TAKERS)
    return {index: tuple(sorted(by)) for index, by in search.found()}


def never_reached(takers: Sequence[Rule]) -> str:
    """Why a rule has no stage, in words."""
    names = [repr(rule.name) for rule in takers[:MOST_NAMED]]
    if len(takers) > MOST_NAMED:
        names.append(f"{len(takers) - MOST_NAMED:,} more")
    listed = " and ".join(name for name in (", ".join(names[:-1]), names[-1]) if name)
    return f"never reached: {listed} above {'takes' if len(takers) == 1 else 'take'} all of its packets"
