"""What the step from one policy of a tenant to the next changes: rules added, removed, changed and moved, by name."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from rules_dsl.policy import Policy, Protect, Rule


@dataclass(frozen=True, slots=True)
class RuleChange:
    before: Rule
    after: Rule
    what: tuple[str, ...]
    """Of action, mode, expression, list, limit; `list` where the text is the same and what its lists hold is not."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Rules are the same where their names are."""

    added: tuple[Rule, ...] = ()
    removed: tuple[Rule, ...] = ()
    changed: tuple[RuleChange, ...] = ()
    moved: tuple[str, ...] = ()
    """Names of rules that are in both, in the order of the later, and that stand behind another rule of both than before."""
    settings: tuple[str, ...] = ()
    """`default block -> allow` and the like."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.moved or self.settings)


def changes(before: Policy | None, after: Policy) -> Changes:
    """`before` None: everything is new."""
    if before is None:
        return Changes(added=after.rules)
    old = {rule.name: rule for rule in before.rules}
    new = {rule.name: rule for rule in after.rules}
    both = [(old[name], new[name]) for name in new if name in old]
    changed = tuple(RuleChange(one, other, what) for one, other in both if (what := _differences(one, other)))
    return Changes(
        tuple(rule for rule in after.rules if rule.name not in old),
        tuple(rule for rule in before.rules if rule.name not in new),
        changed,
        _moved([name for name in old if name in new], [name for name in new if name in old]),
        tuple(_settings(before, after)),
    )


def _differences(before: Rule, after: Rule) -> tuple[str, ...]:
    found = []
    if before.action is not after.action:
        found.append("action")
    if before.mode is not after.mode:
        found.append("mode")
    if before.expression != after.expression:
        found.append("expression")
    elif before.predicate != after.predicate:
        found.append("list")
    if before.limit != after.limit:
        found.append("limit")
    return tuple(found)


def _moved(before: list[str], after: list[str]) -> tuple[str, ...]:
    """The fewest names that have to be moved to get from one order to the other: those outside a longest common run of both."""
    place = {name: at for at, name in enumerate(before)}
    # Longest increasing subsequence of the old places, by patience sorting; `previous` leads back along it.
    ends: list[int] = []
    previous: dict[int, int | None] = {}
    for at, name in enumerate(after):
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            if place[after[ends[middle]]] < place[name]:
                low = middle + 1
            else:
                high = middle
        previous[at] = ends[low - 1] if low else None
        ends[low : low + 1] = [at]
    staying = set()
    step: int | None = ends[-1] if ends else None
    while step is not None:
        staying.add(after[step])
        step = previous[step]
    return tuple(name for name in after if name not in staying)


def _settings(before: Policy, after: Policy) -> list[str]:
    found = []
    if before.default is not after.default:
        found.append(f"default {before.default.value} -> {after.default.value}")
    if before.hook is not after.hook:
        found.append(f"hook {before.hook.value} -> {after.hook.value}")
    if before.early_drop != after.early_drop:
        found.append(f"early_drop {' '.join(before.early_drop) or 'nowhere'} -> {' '.join(after.early_drop) or 'nowhere'}")
    if before.protect != after.protect:
        found.append(f"protect {_protect(before.protect)} -> {_protect(after.protect)}")
    return found


def _protect(protect: Protect) -> str:
    return " ".join(protect_words(protect)) or "all"


def protect_words(protect: Protect) -> list[str]:
    """What is protected, as the rule file would say it; empty for everything."""
    words = [
        str(network)
        for ranges, family in ((protect.v4, IPv4Address), (protect.v6, IPv6Address))
        for low, high in ranges
        for network in summarize_address_range(family(low), family(high))
    ]
    words += [f'interface "{name}"' for name in protect.interfaces]
    return words + [f"mark {mark:#x}" for mark in protect.marks]
