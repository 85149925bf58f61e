"""What of a policy can be judged as soon as a frame is received: the packets that one of its first rules is certain to block.

From the first rule on, each rule is boxes of addresses, ports and protocol, which the first that contains a packet decides: a rule that
blocks drops it; any other leaves it to nftables, which then decides as it does without an early drop. Of a rule that asks for more than
boxes can say, the boxes are those that hold for no fewer packets. It ends at the first rule that may concern every packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firewall.plan.classify import MOST_BOXES, boxes_by_version, quick_boxes
from firewall.plan.header_part import header_part
from firewall.plan.known import Memory, memory
from firewall.plan.model import Box, Environment
from firewall.plan.shapes import universal
from rules_dsl.policy import Action, Mode, Policy, Rule

MOST_LIFTED: Final = 1 << 18
"""Boxes in all: their tree takes tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A box of a rule, or of the default."""

    box: Box
    index: int | None
    """Of the rule whose packets are dropped and counted; None: nothing is counted."""
    drops: bool


@dataclass(frozen=True, slots=True)
class Front:
    """What is judged at once of packets of one IP version."""

    version: int
    judged: tuple[Judged, ...]
    """In order of precedence; they may overlap."""
    members: tuple[tuple[int, Rule], ...]
    """The rules that block."""
    with_default: bool
    """Packets of which no rule holds are dropped too."""
    end: str | None
    """Why it goes no further; None: it has all rules."""


def fronts(policy: Policy, environment: Environment) -> tuple[Front, ...]:
    """Those of both IP versions; one without members, and without the default, drops nothing."""
    exact = memory(policy.hook, environment)
    partial = Memory(policy.hook, environment)
    found = {version: _Search(policy, version) for version in (4, 6)}
    for index, rule in enumerate(policy.rules):
        searches = [search for search in found.values() if search.end is None]
        if not searches:
            break
        if rule.mode is Mode.DISABLED:
            continue
        boxes = _exact_boxes(rule, exact)
        is_exact = boxes is not None
        if boxes is None:
            boxes = boxes_by_version(partial.of(header_part(rule.predicate, MOST_BOXES)))
        for search in searches:
            search.take(index, rule, None if boxes is None else boxes[search.version], is_exact=is_exact)
    return tuple(search.front() for search in found.values())


def _exact_boxes(rule: Rule, exact: Memory) -> dict[int, tuple[Box, ...]] | None:
    known = exact.of(rule.predicate)
    return boxes_by_version(known) or quick_boxes(rule.predicate, MOST_LIFTED)


class _Search:
    """Rules are taken in order, until there is an `end`."""

    def __init__(self, policy: Policy, version: int) -> None:
        self.version = version
        self.end: str | None = None
        self._policy = policy
        self._judged: list[Judged] = []
        self._members: list[tuple[int, Rule]] = []

    def take(self, index: int, rule: Rule, boxes: tuple[Box, ...] | None, *, is_exact: bool) -> None:
        """`boxes` hold for no fewer packets than the rule."""
        if boxes is not None and len(self._judged) + len(boxes) > MOST_LIFTED:
            self.end = f'"{rule.name}" has more boxes than {MOST_LIFTED:,}'
            return
        drops = is_exact and rule.ends and rule.action is Action.BLOCK
        every = universal(self.version)
        if boxes is None or (every in boxes and not drops):
            self.end = f'"{rule.name}" may concern every packet'
            return
        self._judged += [Judged(box, index if drops else None, drops) for box in boxes]
        if drops and boxes:
            self._members.append((index, rule))
        if every in boxes:
            self.end = f'"{rule.name}" blocks every packet'

    def front(self) -> Front:
        with_default = self.end is None and self._policy.default is Action.BLOCK
        if with_default:
            self._judged.append(Judged(universal(self.version), None, True))
        while self._judged and not self._judged[-1].drops:
            del self._judged[-1]
        return Front(self.version, tuple(self._judged), tuple(self._members), with_default, self.end)
