"""Sixth pass: a run of ending rules that ask for addresses, ports and protocols alone goes to one search tree in eBPF, where nftables'
maps would cost more, or take longer to load.

Such a rule is boxes, in all classes of packets the same: so the rules of the run are divided by IP version alone, and the program finds
the transport header by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Final

from firewall.match import Key, PacketClass
from firewall.plan.expected_cost import CLASSIFIER, cost_of
from firewall.plan.known import MOST_KNOWN, Candidates, Known, Memory
from firewall.plan.merge import merge
from firewall.plan.model import Box, Candidate, ClassifierStage, RuleStage
from firewall.plan.shapes import boxes_in, boxes_of, protocol_values, top, universal, without_transport
from rules_dsl.expression import And, Expression, FieldValue, InAddresses, InRanges, IsTrue, Ranges
from rules_dsl.fields import PROTOCOL_NUMBER, Header
from rules_dsl.policy import Hook, Policy, Rule

MOST_BOXES: Final = 256
"""A rule of more boxes than this (a large list) has a set of its own."""
MOST_NATIVE: Final = 256
"""Elements of verdict maps that are not worth a program: of more, how long they take to load counts for more."""
FEWEST: Final = 4
"""Rules that are looked at."""

_ADDRESSES: Final = {"ip.src": Key.SOURCE, "ip.dst": Key.DESTINATION}
_HEADERS: Final = {header.value: PROTOCOL_NUMBER[header] for header in (Header.TCP, Header.UDP)}
_PORTS: Final = {
    f"{name}.{port}": (number, key)
    for name, number in _HEADERS.items()
    for port, key in (("srcport", Key.SOURCE_PORT), ("dstport", Key.DESTINATION_PORT))
}
_CLASSES: Final = {4: (PacketClass.IP4, PacketClass.IP4_LATER), 6: (PacketClass.IP6, PacketClass.IP6_LATER)}


@dataclass(frozen=True, slots=True)
class Run:
    """Rules that stand one behind the other, or with such between them as are never asked."""

    members: tuple[tuple[int, Rule], ...]
    stages: tuple[ClassifierStage, ...]
    """One for each IP version for which one of the rules may hold."""
    takers: dict[int, Rule]
    """By IP version: the rule that takes every packet, if one does."""

    def of(self, packets: PacketClass) -> ClassifierStage | None:
        return next((stage for stage in self.stages if stage.version == packets.version), None)


Member = tuple[Rule, Known, Candidates | None]
"""A rule; None: it can be in no run."""
_CANDIDATES: Final = itemgetter(2)


def members_of(policy: Policy, known: Sequence[Known | None], memory: Memory) -> list[Member | None]:
    """Of each rule; None where nothing is known."""
    remembered = memory.members
    if len(remembered) > MOST_KNOWN:
        remembered.clear()
    found: list[Member | None] = []
    for rule, each in zip(policy.rules, known, strict=True):
        if each is None:
            found.append(None)
            continue
        member = remembered.get(id(rule))
        if member is None or member[0] is not rule:
            member = remembered[id(rule)] = rule, each, _candidates(rule, each)
        found.append(member)
    return found


def runs(policy: Policy, order: Sequence[int], members: Sequence[Member | None]) -> Iterator[int | Run]:
    """The rules in that order, by their indices, or in runs. Something is known of each of them."""
    chosen = [member for index in order if (member := members[index]) is not None]
    if chosen and chosen[0][0].phase == chosen[-1][0].phase and all(map(_CANDIDATES, chosen)):
        yield from _run(policy, order, chosen)
        return
    indices: list[int] = []
    pending: list[Member] = []
    phase = 0
    for index, member in zip(order, chosen, strict=True):
        rule = member[0]
        if pending and (member[2] is None or rule.phase != phase):
            yield from _run(policy, indices, pending)
            indices, pending = [], []
        if member[2] is None:
            yield index
        else:
            phase = rule.phase
            indices.append(index)
            pending.append(member)
    yield from _run(policy, indices, pending)


def _candidates(rule: Rule, known: Known) -> Candidates | None:
    boxes = boxes_by_version(known) if rule.ends else None
    if boxes is None:
        return None
    found = {version: tuple(Candidate(box, rule) for box in some) for version, some in boxes.items()}
    return Candidates(found, frozenset(version for version, some in boxes.items() if universal(version) in some))


def boxes_by_version(known: Known) -> dict[int, tuple[Box, ...]] | None:
    """The rule as boxes of each IP version; None where it is no boxes, or not the same in all classes of packets."""
    if known.boxes is False:
        known.boxes = quick_boxes(known.predicate) or _boxes(known)
    return known.boxes


def quick_boxes(predicate: Expression, most: int = MOST_BOXES) -> dict[int, tuple[Box, ...]] | None:
    """What `_boxes` would say of a conjunction of plain tests on different keys; None for anything else, for more than `most` boxes, and
    where it is not sure. Rules of this kind come by the ten thousand."""
    asked: dict[int, dict[Key, Ranges]] = {4: {}, 6: {}}
    protocols: Ranges | None = None
    needed: int | None = None
    whole = False
    for test in predicate.items if isinstance(predicate, And) else (predicate,):
        match test:
            case InAddresses(FieldValue(field), v4, v6) if field.name in _ADDRESSES and _ADDRESSES[field.name] not in asked[4]:
                asked[4][_ADDRESSES[field.name]], asked[6][_ADDRESSES[field.name]] = v4, v6
            case InRanges(FieldValue(field), ranges) if (
                field.name == "ip.proto" and protocols is None and ranges != ((0, 255),) and ranges[-1][1] < 256
            ):
                protocols = ranges
            case InRanges(FieldValue(field), ranges) if field.name in _PORTS:
                number, key = _PORTS[field.name]
                if key in asked[4] or needed not in (None, number):
                    return None
                needed = number
                asked[4][key] = asked[6][key] = ranges
            case IsTrue(field) if field.name in _HEADERS and needed in (None, _HEADERS[field.name]):
                needed, whole = _HEADERS[field.name], True
            case _:
                return None
    if needed is not None:
        if protocols is not None and not any(low <= needed <= high for low, high in protocols):
            return {4: (), 6: ()}
        protocols = ((needed, needed),)
    found = {}
    for version, ranges_by_key in asked.items():
        if any(ranges and ranges[-1][1] > _most(key, version) for key, ranges in ranges_by_key.items()):
            return None
        if protocols is not None:
            ranges_by_key[Key.PROTOCOL] = protocol_values(protocols, whole=whole)
        boxes = boxes_in(ranges_by_key, version, most)
        if boxes is None:
            return None
        found[version] = boxes
    return found


def _most(key: Key, version: int) -> int:
    """The highest value of a key that packets have."""
    return top(key, version) - (key in (Key.SOURCE_PORT, Key.DESTINATION_PORT))


def _boxes(known: Known) -> dict[int, tuple[Box, ...]] | None:
    found = {}
    for version, (whole, later) in _CLASSES.items():
        terms = known.terms(whole)
        boxes = None if terms is None else boxes_of(terms, version, MOST_BOXES)
        if boxes is None:
            return None
        terms = known.terms(later)
        if terms is None or frozenset(boxes_of(terms, version, MOST_BOXES) or ()) != without_transport(boxes):
            return None
        found[version] = boxes
    return found


def _run(policy: Policy, indices: Sequence[int], members: Sequence[Member]) -> Iterator[int | Run]:
    every = [found for _, _, found in members if found is not None]
    parts = {version: [found.of[version] for found in every] for version in _CLASSES}
    by_version = {version: tuple(chain.from_iterable(some)) for version, some in parts.items()}
    why = None if len(members) < FEWEST else _why(policy, members, sum(map(len, by_version.values())))
    if why is None:
        yield from indices
        return
    numbered = tuple(zip(indices, [rule for rule, _, _ in members], strict=True))
    takes_all = [(member, found) for member, found in zip(members, every, strict=True) if found.takes]
    stages, takers = [], {}
    for version, candidates in by_version.items():
        if candidates:
            rules = numbered
            if not all(parts[version]):
                rules = tuple(each for each, some in zip(numbered, parts[version], strict=True) if some)
            reason = f"eBPF: {len(rules)} rules in a search tree, {len(candidates)} boxes of IPv{version}; {why}"
            stages.append(ClassifierStage(rules, version, candidates, (reason,)))
        taker = next((rule for (rule, _, _), found in takes_all if version in found.takes), None)
        if taker is not None:
            takers[version] = taker
    yield Run(numbered, tuple(stages), takers)


def _why(policy: Policy, members: Sequence[Member], boxes: int) -> str | None:
    """Why a tree is worth while; None where it is not."""
    if policy.hook is Hook.OUTPUT and len({rule.action for rule, _, _ in members}) > 1:
        return None  # which of the actions it is would have to be asked behind the program, and another packet may come between
    if boxes > MOST_NATIVE:
        return "maps of so many elements take long to load"
    native = max(_native(members, packets) for packets in (PacketClass.IP4, PacketClass.IP6))
    return f"nftables would take {native:.0f} ns" if native > CLASSIFIER else None


def _native(members: Sequence[Member], packets: PacketClass) -> float:
    """Nanoseconds of a packet that no rule concerns, in nftables."""
    stages = [
        RuleStage(place, rule, split.terms, split.reasons)
        for place, (rule, known, _) in enumerate(members)
        for split in known.splits(packets)
    ]
    return sum(cost_of(stage).native for stage in merge(stages))
