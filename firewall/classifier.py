"""A classifier stage as a program: its search tree, what is counted, and those who ask which rule it found."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from bpf.asking import Asking
from bpf.classifier.build import build
from bpf.classifier.entries import NOT_COUNTED, Entry
from bpf.classifier.keys import Family, KeyField, Range, five_tuple
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
from firewall.counts import COUNTS
from firewall.match import Key
from firewall.plan.model import ClassifierStage
from firewall.plan.shapes import asks_header, top
from rules_dsl.policy import Action

_OUTCOMES: Final = {Action.ALLOW: 1, Action.BLOCK: 2, Action.REJECT: 3}
_KEPT: Final = 256
"""Programs."""


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

    @property
    def keys(self) -> tuple[KeyField, ...]:
        return five_tuple(self.family, with_header=self.with_header)


def classified(
    name: str, stage: ClassifierStage, told: Collection[Action], rules: int, *, is_counted: bool, has_record: bool
) -> Classified:
    """The program of a stage; it answers 1 for rules of the actions that are told. Rules are counted by their index among `rules`."""
    with_header = asks_header(element.box for element in stage.elements)
    yes = frozenset(_OUTCOMES[action] for action in told)
    layout = _Layout(name, Family(stage.version), with_header, 0, rules if is_counted else 0, yes, has_record)
    made = build(layout.family, layout.keys, [*_entries(stage, layout)])
    image = _program(replace(layout, units=_rounded(len(made.image))))
    maps = tuple(replace(spec, initial=made.value()) if spec.name == _tree(name) else spec for spec in image.maps)
    return Classified(stage, replace(image, maps=maps), None, Asking(name, record_spec(_record(name))) if has_record else None)


def _entries(stage: ClassifierStage, layout: _Layout) -> Iterator[Entry]:
    actions = {index: _OUTCOMES[rule.action] for index, rule in stage.members}
    every = layout.keys[-1].any
    for element in stage.elements:
        *others, protocol = element.box
        slot = element.index if layout.rules else NOT_COUNTED
        yield Entry((*others, _protocol(protocol, every, layout)), element.index, slot, actions[element.index])


@lru_cache(_KEPT)
def _program(layout: _Layout) -> ProgramImage:
    counters = counters_spec(COUNTS, layout.rules, COUNTERS_TOGETHER) if layout.rules else None
    record = record_spec(_record(layout.name)) if layout.has_record else None
    tree = tree_spec(_tree(layout.name), layout.units)
    return compile_classifier(layout.name, layout.family, layout.keys, tree, counters=counters, record=record, yes=layout.yes)


def _protocol(box: Range, every: Range, layout: _Layout) -> Range:
    """A box's range of the protocol (`plan.shapes`) as one of the key, of which `every` is the whole range."""
    if box == (0, top(Key.PROTOCOL, layout.family.value)):
        return every
    return box if layout.with_header else (box[0] >> 1, box[1] >> 1)


def _tree(name: str) -> str:
    return f"{name}_tree"


def _record(name: str) -> str:
    return f"{name}_record"


def _rounded(units: int) -> int:
    """The next of four sizes between a power of two and the next: trees that differ in little have the same program."""
    step = 1 << max(units.bit_length() - 3, 6)
    return -(-units // step) * step
