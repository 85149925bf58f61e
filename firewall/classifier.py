"""A classifier stage as a program: its search tree, what is counted, and those who ask which rule it found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from bpf.asking import Asking
from bpf.classifier.arena import FullError
from bpf.classifier.build import build
from bpf.classifier.change import Change, change, reclaim
from bpf.classifier.entries import NOT_COUNTED, Entry
from bpf.classifier.keys import Family, KeyField, Range, five_tuple
from bpf.classifier.layout import CELL, UNIT
from bpf.classifier.program import (
    COUNTERS_TOGETHER,
    RECORD_NUMBER,
    RECORD_OUTCOME,
    compile_classifier,
    counters_spec,
    record_spec,
    tree_spec,
)
from bpf.image import ProgramImage
from bpf.same_ends import same_ends
from firewall.counts import COUNTS
from firewall.generation import TreePatch
from firewall.match import Key
from firewall.plan.model import Box, Candidate, ClassifierStage
from firewall.plan.shapes import asks_header, top
from firewall.remembered import Made, Tree, rounded
from rules_dsl.policy import Action

_OUTCOMES: Final = {Action.ALLOW: 1, Action.BLOCK: 2, Action.REJECT: 3}
_KEPT: Final = 256
"""Programs."""
LEAST_STEP: Final = 64
"""Units of a map."""
_ROOM: Final = 2
"""Units of a map for each that a tree takes at first: changes are written beside what is read."""


@dataclass(slots=True)
class Classified:
    stage: ClassifierStage
    image: ProgramImage
    search: str | None = None
    """The chain that finds out which rule, or which verdict, it was."""
    _asking: Asking | None = None

    def says(self, action: Action) -> ProgramImage:
        """1 where the rule found has this action."""
        return self._asks().equals(RECORD_OUTCOME, _OUTCOMES[action])

    def digit(self, shift: int, width: int, value: int) -> ProgramImage:
        """1 where the index of the rule found has the digit `value`: its `width` bits above the lowest `shift`."""
        return self._asks().digit(RECORD_NUMBER, shift, width, value)

    def _asks(self) -> Asking:
        assert self._asking is not None, "a program without a record is asked nothing"
        return self._asking


@dataclass(frozen=True, slots=True)
class _Layout:
    """All that a program knows of its stage."""

    name: str
    family: Family
    with_header: bool
    """Whether its rules tell whole transport headers from others."""
    units: int
    """Of the tree."""
    rules: int
    """That it counts; 0: it does not count."""
    yes: frozenset[int]
    has_record: bool
    cell: int

    @property
    def keys(self) -> tuple[KeyField, ...]:
        return five_tuple(self.family, with_header=self.with_header)


def classified(
    name: str, stage: ClassifierStage, told: Collection[Action], made: Made, before: Made | None, *, is_counted: bool, has_record: bool
) -> Classified:
    """The program of a stage; it answers 1 for rules of the actions that are told. Counted rules have their slots as numbers, others
    their index. Where its tree is that of the generation `before` with a change, that goes to `made`. Raises FullCountersError."""
    map_name = _tree(name)
    former = before.trees.get(map_name) if before else None
    start, end = same_ends(former.candidates, stage.candidates) if former else (0, 0)
    fresh = stage.candidates[start : len(stage.candidates) - end]
    with_header = asks_header(candidate.box for candidate in fresh)
    if former and with_header and not former.with_header:
        former, start, end, fresh = None, 0, 0, stage.candidates
    made.slots.keep(rule.name for _, rule in stage.members if is_counted)
    number = made.slots.of if is_counted else {rule.name: index for index, rule in stage.members}.__getitem__
    yes = frozenset(_OUTCOMES[action] for action in told)
    rules = made.slots.room if is_counted else 0
    layout = _Layout(name, Family(stage.version), former.with_header if former else with_header, 0, rules, yes, has_record, made.cell)
    entries = [*_entries(fresh, layout, number)]
    changed = None
    if former:
        old = former.classifier.entries
        changed = _changed(former, (*old[:start], *entries, *old[len(old) - end :]))
        if changed is None and (start or end):
            entries = [*_entries(stage.candidates, layout, number)]
    value = b""
    if former and changed:
        classifier, units = changed.classifier, former.units
        made.patches.append(TreePatch(map_name, tuple(_written(changed, made.cell))))
    else:
        classifier = build(layout.family, layout.keys, entries)
        used = len(classifier.image)
        units, value = rounded(used * _ROOM if made.grows else used, LEAST_STEP), classifier.value(made.cell)
    if made.grows:
        made.trees[map_name] = Tree(classifier, stage.candidates, layout.with_header, units)
    image = _program(replace(layout, units=units))
    maps = tuple(replace(spec, initial=value) if spec.name == map_name else spec for spec in image.maps)
    return Classified(stage, replace(image, maps=maps), None, Asking(name, record_spec(_record(name))) if has_record else None)


def _changed(former: Tree, entries: tuple[Entry, ...]) -> Change | None:
    """None where it is better to build anew. What the one before the former had alone is free: no packet meets that any more."""
    classifier = former.classifier
    for _ in range(2):
        try:
            return change(replace(classifier, arena=classifier.arena.within(former.units)), entries)
        except FullError:
            if classifier.arena.end < former.units // 2:
                return None
            classifier = reclaim(replace(classifier, arena=classifier.arena.within(former.units)))
    return None


def _written(change: Change, cell: int) -> Iterator[tuple[int, bytes]]:
    image = change.classifier.arena.image
    for offset, size in change.written:
        yield offset * UNIT, image[offset : offset + size].tobytes()
    yield cell * CELL, change.classifier.root.to_bytes(CELL, sys.byteorder)


def _entries(candidates: Iterable[Candidate], layout: _Layout, number: Callable[[str], int]) -> Iterator[Entry]:
    in_keys = key_box(layout.family, with_header=layout.with_header)
    for candidate in candidates:
        rule = number(candidate.rule.name)
        slot = rule if layout.rules else NOT_COUNTED
        yield Entry(in_keys(candidate.box), rule, slot, _OUTCOMES[candidate.rule.action])


@lru_cache(_KEPT)
def _program(layout: _Layout) -> ProgramImage:
    counters = counters_spec(COUNTS, layout.rules, COUNTERS_TOGETHER) if layout.rules else None
    record = record_spec(_record(layout.name)) if layout.has_record else None
    tree = tree_spec(_tree(layout.name), layout.units)
    return compile_classifier(
        layout.name, layout.family, layout.keys, tree, cell=layout.cell, counters=counters, record=record, yes=layout.yes
    )


def key_box(family: Family, *, with_header: bool) -> Callable[[Box], tuple[Range, ...]]:
    """Turns boxes, as the plan has them (`plan.shapes`), into ranges of the five keys."""
    everything, every = (0, top(Key.PROTOCOL, family.value)), five_tuple(family, with_header=with_header)[-1].any

    def in_keys(box: Box) -> tuple[Range, ...]:
        *others, (low, high) = box
        if (low, high) == everything:
            return *others, every
        return (*others, (low, high)) if with_header else (*others, (low >> 1, high >> 1))

    return in_keys


def _tree(name: str) -> str:
    return f"{name}_tree"


def _record(name: str) -> str:
    return f"{name}_record"
