"""A classifier stage as a program: its search tree, what is counted, and those who ask which rule it found."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from bpf.asking import Asking
from bpf.classifier.build import build
from bpf.classifier.entries import NOT_COUNTED, Entry
from bpf.classifier.keys import Family, five_tuple
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
from firewall.plan.model import ClassifierStage
from rules_dsl.policy import Action

_OUTCOMES: Final = {Action.ALLOW: 1, Action.BLOCK: 2, Action.REJECT: 3}


_KEPT: Final = 256
"""Programs."""


@dataclass(slots=True)
class Classified:
    stage: ClassifierStage
    image: ProgramImage
    search: str | None = None
    """The chain that finds out which rule it was."""
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


def classified(
    name: str, stage: ClassifierStage, told: Collection[Action], rules: int, *, is_counted: bool, has_record: bool
) -> Classified:
    """The program of a stage; it answers 1 for rules of the actions that are told. Rules are counted by their index among `rules`."""
    family = Family(stage.version)
    keys = five_tuple(family)
    actions = {index: _OUTCOMES[rule.action] for index, rule in stage.members}
    entries = [
        Entry(element.box, element.index, element.index if is_counted else NOT_COUNTED, actions[element.index])
        for element in stage.elements
    ]
    made = build(family, keys, entries)
    content = bytearray(made.image.tobytes())
    struct.pack_into("=Q", content, 0, made.root)
    yes = frozenset(_OUTCOMES[action] for action in told)
    image = _program(name, family, _rounded(len(made.image)), rules if is_counted else 0, yes, has_record=has_record)
    maps = tuple(replace(spec, initial=bytes(content)) if spec.name == _tree(name) else spec for spec in image.maps)
    return Classified(stage, replace(image, maps=maps), None, Asking(name, record_spec(_record(name))) if has_record else None)


@lru_cache(_KEPT)
def _program(name: str, family: Family, units: int, rules: int, yes: frozenset[int], *, has_record: bool) -> ProgramImage:
    """It knows the tree's size, and nothing else of it."""
    counters = counters_spec(COUNTS, rules, COUNTERS_TOGETHER) if rules else None
    record = record_spec(_record(name)) if has_record else None
    return compile_classifier(name, family, five_tuple(family), tree_spec(_tree(name), units), counters=counters, record=record, yes=yes)


def _tree(name: str) -> str:
    return f"{name}_tree"


def _record(name: str) -> str:
    return f"{name}_record"


def _rounded(units: int) -> int:
    """The next of four sizes between a power of two and the next: trees that differ in little have the same program."""
    step = 1 << max(units.bit_length() - 3, 6)
    return -(-units // step) * step
