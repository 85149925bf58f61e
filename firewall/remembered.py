"""What a compiler remembers of the generations that it has made of one tenant, so that the next is a change of the one that is enforced:
the numbers of the rules that programs count, the search trees with their places in memory, and address sets."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bpf.classifier.build import Classifier
    from firewall.address_set import AddressSet
    from firewall.generation import TreePatch
    from firewall.plan.model import Candidate

KEPT: Final = 3
"""Generations: one is enforced, others may be, or were made for a trial."""
CELLS: Final = 2
"""Of a tree's map: a generation looks up at another root than the one before it."""


class FullCountersError(Exception):
    """More rules are to be counted than the map has room for."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A search tree as it lies in its map."""

    classifier: Classifier
    candidates: tuple[Candidate, ...]
    """What it was made of; as many as the classifier has entries."""
    with_header: bool
    units: int
    """Of the map."""


@dataclass(slots=True)
class Slots:
    """The numbers of rules in the map of counts, by name. A rule keeps its own from one generation to the next, and no other rule gets the
    number of one that is gone: it has counted something."""

    room: int
    before: Mapping[str, int] = field(default_factory=dict)
    end: int = 0
    """The first number that no rule has had."""
    taken: dict[str, int] = field(default_factory=dict)

    def keep(self, rules: Iterable[str]) -> None:
        """Those of them that had a number have it again."""
        if self.before:
            self.taken |= {rule: self.before[rule] for rule in rules if rule in self.before and rule not in self.taken}

    def of(self, rule: str) -> int:
        """Raises FullCountersError."""
        slot = self.taken.get(rule)
        if slot is None:
            slot = self.before.get(rule)
            if slot is None:
                if self.end >= self.room:
                    raise FullCountersError
                slot, self.end = self.end, self.end + 1
            self.taken[rule] = slot
        return slot

    def names(self) -> tuple[str, ...]:
        """The rules by their numbers, "" where there is none."""
        found = [""] * self.end
        for name, slot in self.taken.items():
            found[slot] = name
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Made:
    """A generation."""

    number: int
    cell: int
    slots: Slots
    grows: bool
    """Others will go on from it: there is room for them in its maps."""
    trees: dict[str, Tree] = field(default_factory=dict)
    """By the name of the map."""
    patches: list[TreePatch] = field(default_factory=list)
    sets: dict[str, AddressSet] = field(default_factory=dict)
    """By the name of the map."""


class Remembered:
    """Of one tenant."""

    def __init__(self) -> None:
        self._made: dict[int, Made] = {}

    def get(self, number: int | None) -> Made | None:
        found = None if number is None else self._made.pop(number, None)
        return None if found is None else self.keep(found)

    def keep(self, made: Made) -> Made:
        """And of the others those that were asked for last."""
        self._made[made.number] = made
        while len(self._made) > KEPT:
            del self._made[next(iter(self._made))]
        return made


def begun(before: Made | None, rules: int, *, grows: bool) -> Made:
    """A generation to be made, of so many rules."""
    if before is None:
        return Made(secrets.randbits(63), 0, Slots(rounded(rules + rules // 4, 64) if grows else rules), grows)
    slots = Slots(before.slots.room, before.slots.taken, before.slots.end)
    return Made(secrets.randbits(63), (before.cell + 1) % CELLS, slots, grows)


def rounded(number: int, least: int) -> int:
    """The next of four sizes between a power of two and the next: what differs in little has the same size."""
    step = max(1 << max(number.bit_length() - 3, 0), least)
    return -(-number // step) * step
