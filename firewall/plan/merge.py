"""Eighth pass: a run of ending rules that differ only in constants (address, port, protocol) becomes verdict maps.

Every element goes to its rule's own end, so that counters and replays name the rule. Exact keys make a hash map; one key of ranges
is cut into disjoint intervals in which the first rule wins; several keys of ranges make one map only as far as their elements are
disjoint, and then the next map begins: maps stand in the order of the rules, so the first match still wins."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from firewall.match import Conjunction, Key, Match, Notation
from firewall.plan.boxes import MOST_CELLS, DisjointBoxes, exact, flattened, interval_keys
from firewall.plan.model import Box, ClassifierStage, Element, MapStage, RuleStage, Stage, Term
from firewall.plan.shapes import shape

FEWEST_ALTERNATIVES = 3
"""Fewer rule lines than this are cheaper than a map's lookup (kernel: ~45 ns a line, 50 to 150 ns a lookup)."""

MOST_BOXES = 256
"""A rule of more boxes than this (a large list) has a set of its own."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that could be elements of a map."""

    stage: RuleStage
    keys: frozenset[Key]
    fixed: frozenset[Match]
    boxes: tuple[Box, ...]
    """In the order of `Key`."""


def merge(stages: Sequence[RuleStage | ClassifierStage]) -> tuple[Stage, ...]:
    """The stages in their order, runs of them merged."""
    merged: list[Stage] = []
    run: list[Candidate] = []
    for stage in stages:
        candidate = candidate_of(stage)
        if run and (candidate is None or (candidate.keys, candidate.fixed) != (run[0].keys, run[0].fixed)):
            merged += _merged_run(run)
            run = []
        if candidate is None:
            merged.append(stage)
        else:
            run.append(candidate)
    merged += _merged_run(run)
    return tuple(merged)


def is_boxes(terms: Iterable[Term]) -> bool:
    """Whether the terms ask for nothing but what can be keys and what any IPv6 packet has in one place."""
    return all(
        term.is_plain
        and all(not match.negated if match.key is Key.PROTOCOL else match.key or _is_in_ipv6_header(match) for match in term.matches)
        for term in terms
    )


def _is_in_ipv6_header(match: Match) -> bool:
    return match.protocol is None and match.notation is not Notation.EXISTS and not match.left.startswith("frag ")


def candidate_of(stage: RuleStage | ClassifierStage) -> Candidate | None:
    """The stage as elements of a map; None where it cannot be."""
    if not isinstance(stage, RuleStage) or not stage.rule.ends:
        return None
    shapes = [found for term in stage.terms if (found := shape(term)) is not None]
    if len(shapes) < len(stage.terms):
        return None
    keys, fixed = frozenset(shapes[0][0]), shapes[0][1]
    if not keys or any(frozenset(each) != keys or other != fixed for each, other in shapes):
        return None
    boxes: list[Box] = []
    for ranges, _ in shapes:
        count = 1
        for each in ranges.values():
            count *= len(each)
        if len(boxes) + count > MOST_BOXES:
            return None
        boxes += product(*(ranges[key] for key in Key if key in ranges))
    return Candidate(stage, keys, fixed, tuple(boxes))


def _merged_run(run: Sequence[Candidate]) -> list[Stage]:
    stages: list[Stage] = []
    start = 0
    while start < len(run):
        rest = run[start:]
        size, boxes = _flat_part(rest)
        if size < len(rest):
            other_size, other_boxes = _disjoint_part(rest)
            if other_size > size:
                size, boxes = other_size, other_boxes
        part = rest[:size]
        if sum(len(candidate.stage.terms) for candidate in part) < FEWEST_ALTERNATIVES:
            stages.append(part[0].stage)
            start += 1
        else:
            stages.append(_map_stage(part, boxes))
            start += size
    return stages


def _boxes(candidates: Sequence[Candidate]) -> list[tuple[Box, int]]:
    return [(box, candidate.stage.index) for candidate in candidates for box in candidate.boxes]


def _flat_part(run: Sequence[Candidate]) -> tuple[int, list[tuple[Box, int]]]:
    """How many rules from the run's first have ranges in one key at most, and their disjoint boxes."""
    wide: set[int] = set()
    size = 0
    for candidate in run:
        widened = wide | set(interval_keys(candidate.boxes))
        if len(widened) > 1:
            break
        wide = widened
        size += 1
    boxes = _boxes(run[:size])
    return size, flattened(boxes, wide.pop()) if wide else exact(boxes)


def _disjoint_part(run: Sequence[Candidate]) -> tuple[int, list[tuple[Box, int]]]:
    """How many rules from the run's first have boxes of which no two overlap, and the boxes."""
    place, shift = _index_of(run)
    taken = DisjointBoxes(place, shift)
    for size, candidate in enumerate(run):
        before = len(taken.taken)
        if not all(taken.take(box, candidate.stage.index) for box in candidate.boxes):
            return size, taken.taken[:before]
    return len(run), taken.taken


def _index_of(run: Sequence[Candidate]) -> tuple[int, int]:
    """By which key (its place) boxes are found again, and the size of its cells as a power of 2."""
    keys = [key for key in Key if key in run[0].keys]
    boxes = [box for candidate in run for box in candidate.boxes]
    shifts = [_cell_shift(key, max(box[place][1] for box in boxes)) for place, key in enumerate(keys)]

    def spread(place: int) -> tuple[int, int]:
        """How many boxes of few cells there are, in how many different cells."""
        ranges = [(box[place][0] >> shifts[place], box[place][1] >> shifts[place]) for box in boxes]
        narrow = [first for first, last in ranges if last - first < MOST_CELLS]
        return min(len(narrow), len(boxes) - len(boxes) // 16), len(set(narrow))

    place = max(range(len(keys)), key=spread)
    return place, shifts[place]


def _cell_shift(key: Key, highest: int) -> int:
    match key:
        case Key.SOURCE | Key.DESTINATION:
            return 8 if highest < 1 << 32 else 80  # a /24, or a /48
        case Key.SOURCE_PORT | Key.DESTINATION_PORT:
            return 4
        case _:
            return 0


def _map_stage(part: Sequence[Candidate], boxes: Sequence[tuple[Box, int]]) -> MapStage:
    keys = [key for key in Key if key in part[0].keys]
    fixed = list(part[0].fixed)
    protocol: int | None = None
    if Key.PROTOCOL in keys:
        place = keys.index(Key.PROTOCOL)
        values = {box[place] for candidate in part for box in candidate.boxes}
        low, high = next(iter(values))
        if len(values) == 1 and low == high and len(keys) > 1:
            protocol = low
            keys.pop(place)
            boxes = [((*box[:place], *box[place + 1 :]), target) for box, target in boxes]
    order = sorted(range(len(keys)), key=lambda place: (keys[place] is Key.PROTOCOL, _crowd(boxes, place)))
    elements = tuple(Element(tuple(box[place] for place in order), target) for box, target in boxes)
    notation = next((match.notation for match in part[0].stage.terms[0].matches if match.key in _ADDRESSES), Notation.NUMBER)
    ordered: Conjunction = tuple(sorted(fixed, key=lambda match: (match.protocol is not None, match.cost, match.left)))
    names = " . ".join(keys[place].value for place in order)
    return MapStage(
        tuple((candidate.stage.index, candidate.stage.rule) for candidate in part), ordered, tuple(keys[place] for place in order),
        protocol, elements, notation, (f"native: {len(part)} rules merged into a map over {names} of {len(elements)} elements",),
    )  # fmt: skip


def _crowd(boxes: Sequence[tuple[Box, int]], place: int) -> int:
    """In how many elements a value of this key lies, measured by samples: the kernel walks the keys of an interval map in their
    order, and is the quicker the fewer elements the first ones leave (net/netfilter/nft_set_pipapo.c)."""
    values = [box[place][0] for box, _ in boxes[:: len(boxes) // 64 + 1]]
    ranges = [box[place] for box, _ in boxes[:: len(boxes) // 1024 + 1]]
    lows, highs = sorted(low for low, _ in ranges), sorted(high for _, high in ranges)
    return sum(bisect_right(lows, value) - bisect_left(highs, value) for value in values)


_ADDRESSES = (Key.SOURCE, Key.DESTINATION)
