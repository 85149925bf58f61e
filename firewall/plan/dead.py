"""First pass: rules that no packet reaches are left out, as `shadow` finds them. Their counters stay, at 0.

Looking costs more than a search tree saves by it, which has no place for a rule that lies within another anyway. So of many rules
only those are looked at that cost a packet something by themselves, and only the first of the rules above take packets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from firewall.plan.model import Headers
from firewall.plan.shadow import Search
from rules_dsl.policy import Policy, Rule

MOST_ASKED: Final = 128
"""Rules that are looked at. Where there are more, those are not that could be in a search tree: it has no place for most dead ones."""
MOST_TAKERS: Final = 512
"""Boxes of rules that may take packets."""

MOST_NAMED: Final = 3
"""Rules that a reason names."""


def dead(policy: Policy, headers: Sequence[Headers | None], asked: Collection[int]) -> Mapping[int, tuple[int, ...]]:
    """Of the rules that are `asked`, by index, those that no packet reaches, each with those above that together take all of its packets.
    `headers`: of each rule, None where nothing is known."""
    if not asked:
        return {}
    kept: Sequence[int] = range(len(policy.rules))
    if policy.rules[0].phase == policy.last_phase:  # else an `allow` of any rule has its part
        kept = sorted({*kept[: 2 * MOST_TAKERS], *asked})
        policy = replace(policy, rules=tuple(policy.rules[index] for index in kept))
    among = frozenset(asked)
    search = Search(policy, [headers[index] for index in kept], is_asked=lambda place: kept[place] in among, most_takers=MOST_TAKERS)
    return {kept[place]: tuple(kept[each] for each in sorted(by)) for place, by in search.found()}


def never_reached(takers: Sequence[Rule]) -> str:
    """Why a rule has no stage, in words."""
    names = [repr(rule.name) for rule in takers[:MOST_NAMED]]
    if len(takers) > MOST_NAMED:
        names.append(f"{len(takers) - MOST_NAMED:,} more")
    listed = " and ".join(name for name in (", ".join(names[:-1]), names[-1]) if name)
    return f"never reached: {listed} above {'takes' if len(takers) == 1 else 'take'} all of its packets"
