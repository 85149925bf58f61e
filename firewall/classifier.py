"""A classifier stage as a program: its search tree, what is counted, and those who ask which rule it found."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from bpf.asking import Asking
from bpf.classifier.build import build
from bpf.classifier.entries import NOT_COUNTED, Entry
from bpf.classifier.keys import Family, five_tuple
from bpf.classifier.program import RECORD_NUMBER, RECORD_OUTCOME, compile_classifier, counters_spec, record_spec, tree_spec
from bpf.image import ProgramImage
from firewall.counts import COUNTS
from firewall.plan.model import ClassifierStage
from rules_dsl.policy import Action

_OUTCOMES: Final = {Action.ALLOW: 1, Action.BLOCK: 2, Action.REJECT: 3}


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
    tree = replace(tree_spec(f"{name}_tree", len(made.image)), initial=bytes(content))
    record = record_spec(f"{name}_record") if has_record else None
    image = compile_classifier(
        name, family, keys, tree, counters=counters_spec(COUNTS, rules) if is_counted else None,
        record=record, yes=[_OUTCOMES[action] for action in told],
    )  # fmt: skip
    return Classified(stage, image, None, None if record is None else Asking(name, record))
