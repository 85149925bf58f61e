"""From what of a policy can be judged at once to the XDP programs that do it: the search trees of `bpf.classifier`, one an IP version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from bpf.classifier.build import build
from bpf.classifier.entries import NOT_COUNTED, Entry
from bpf.classifier.keys import Family, KeyField, five_tuple
from bpf.classifier.program import COUNTERS_TOGETHER, compile_classifier, counters_spec, tree_spec
from bpf.early_drop import GATE
from bpf.image import ProgramImage
from firewall.classifier import LEAST_STEP, key_box
from firewall.early_drop.pinned import COUNTS, program_name
from firewall.generation import EarlyDrop
from firewall.plan import Plan
from firewall.plan.early_drop import Judged, fronts
from firewall.plan.shapes import asks_header
from firewall.remembered import rounded

_PASSES, _DROPS = 0, 1
_KEPT: Final = 64
"""Programs."""
_KEPT_TREES: Final = 8
"""With their programs, for changes of what is not judged early."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """All that a program knows of its rules."""

    family: Family
    with_header: bool
    """Whether its rules tell whole transport headers from others."""
    units: int
    """Of the tree."""
    rules: int
    """That it counts."""

    @property
    def keys(self) -> tuple[KeyField, ...]:
        return five_tuple(self.family, with_header=self.with_header)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a program is made of."""

    version: int
    judged: tuple[Judged, ...]
    counted: tuple[int, ...]
    """The rules that are counted, by their slots."""

    def __hash__(self) -> int:
        """Of little, since there may be very many boxes; those of rules that stay are the same objects, and quick to compare."""
        return hash((self.version, len(self.judged), len(self.counted)))


def early_drop(plan: Plan) -> EarlyDrop | None:
    """What a generation of the plan has; None where the policy names no interface, or nothing can be dropped early."""
    policy = plan.policy
    if not policy.early_drop:
        return None
    found = [front for front in fronts(policy, plan.environment) if front.judged]
    members = dict(sorted(member for front in found for member in front.members))
    images = {front.version: _image(_Asked(front.version, front.judged, tuple(members))) for front in found}
    return EarlyDrop(policy.early_drop, images, tuple(rule.name for rule in members.values())) if images else None


@lru_cache(_KEPT_TREES)
def _image(asked: _Asked) -> ProgramImage:
    layout = _Layout(Family(asked.version), asks_header(judged.box for judged in asked.judged), 0, len(asked.counted))
    tree = build(layout.family, layout.keys, [*_entries(asked, layout)])
    image = _program(replace(layout, units=rounded(len(tree.image), LEAST_STEP)))
    name = _tree(asked.version)
    return replace(image, maps=tuple(replace(spec, initial=tree.value()) if spec.name == name else spec for spec in image.maps))


def _entries(asked: _Asked, layout: _Layout) -> Iterator[Entry]:
    slots = {index: slot for slot, index in enumerate(asked.counted)}
    in_keys = key_box(layout.family, with_header=layout.with_header)
    for number, judged in enumerate(asked.judged):
        slot = NOT_COUNTED if judged.index is None else slots[judged.index]
        yield Entry(in_keys(judged.box), number, slot, _DROPS if judged.drops else _PASSES)


@lru_cache(_KEPT)
def _program(layout: _Layout) -> ProgramImage:
    version = layout.family.value
    tree = replace(tree_spec(_tree(version), layout.units), shared=False)
    counters = counters_spec(COUNTS, layout.rules, COUNTERS_TOGETHER)
    return compile_classifier(program_name(version), layout.family, layout.keys, tree, counters=counters, yes={_DROPS}, gate=GATE)


def _tree(version: int) -> str:
    return f"early{version}_tree"
