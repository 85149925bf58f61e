"""Rules that no packet reaches, because rules above them that end take all of theirs: one of them, or several together.

What is known of a rule by its addresses, ports and protocol decides, as boxes. Only rules that are boxes and nothing more take packets
from others; a rule that asks for more is shadowed where all that its header part allows is taken. What is not known, or would be too
much work to find out, is not said. Nothing here depends on the machine: rules that ask for its name or its VLANs take nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from firewall.match import Key
from firewall.plan.classify import MOST_BOXES, boxes_by_version
from firewall.plan.cover import Cover
from firewall.plan.header_part import header_part
from firewall.plan.known import Known, memory
from firewall.plan.model import Box, Environment, Headers
from firewall.plan.shapes import ABSENT_PORT, ABSENT_PROTOCOL, top, universal
from rules_dsl import expression as ex
from rules_dsl.expression import Ranges
from rules_dsl.policy import Mode, Policy, Protect, Rule

MOST_PARTS: Final = 4096
"""Parts of a rule's boxes, one for each range of what the policy protects: of more, the whole boxes are looked at."""

_OF_THE_MACHINE: Final = frozenset(("vlan.id", "cf.colo.name", "cf.colo.region"))

_PORT: Final = (0, ABSENT_PORT - 1)
_NO_PORT: Final = (ABSENT_PORT, ABSENT_PORT)
_WITH_PORTS: Final = (6, 17, 132)
_LIKELY_PORTS: Final = 49152, 80
"""Source and destination: the first that no service has (RFC 6335), and a service's."""
_LIKELY_ADDRESSES: Final = {4: (0xC0000201, 0xC6336401), 6: ((0x20010DB8 << 96) + 1, (0x20010DB8 << 96) + 2)}
"""Source and destination from the networks for documentation (RFC 5737, RFC 3849)."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet by its headers, which are whole. Addresses are integers; `protocol` is None where a chain of IPv6 extension headers is cut,
    a port where the packet has none."""

    version: int
    source: int
    destination: int
    protocol: int | None
    source_port: int | None
    destination_port: int | None


@dataclass(frozen=True, slots=True)
class Shadow:
    rule: Rule
    by: tuple[Rule, ...]
    """In order: rules that together take every packet of it."""
    witness: Witness
    """A packet that would match, or, where the rule asks for more than a header (`is_whole` is false), that has its header."""
    taker: Rule
    """The first of the rules that are known as boxes which takes the witness."""
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Shadows:
    found: tuple[Shadow, ...]
    not_told: tuple[Rule, ...]
    """Rules of which it is not said, because the work would be too much."""


def shadows(policy: Policy) -> Shadows:
    """The rules that are never reached, in order. Disabled rules are not looked at."""
    environment = Environment()
    remembered = memory(policy.hook, environment)
    headers = [None if rule.mode is Mode.DISABLED else _on_any_machine(remembered.of(rule.predicate)) for rule in policy.rules]
    search = Search(policy, headers)
    found = tuple(search.shadow(index, by) for index, by in search.found())
    return Shadows(found, tuple(policy.rules[index] for index in search.given_up))


class Search:
    """Goes through the rules once."""

    def __init__(
        self,
        policy: Policy,
        headers: Sequence[Headers | None],
        *,
        is_asked: Callable[[int], bool] = lambda _: True,
        most_takers: int | None = None,
    ) -> None:
        """`headers`: of each rule, None where nothing is known. Of those that are not asked nothing is said. `most_takers`: boxes
        that may take packets; only the first rules do that have no more."""
        self._policy, self._headers, self._is_asked = policy, headers, is_asked
        self.given_up: list[int] = []
        """Rules that were too much work."""
        self._takers = frozenset(self._first_takers(most_takers))
        self._covers = {version: self._cover(version) for version in (4, 6)}
        self._blind = False
        """In this phase an `allow` may have let anything go on to the next."""

    def _cover(self, version: int) -> Cover:
        every = universal(version)
        possible = [(*every[:2], *ports) for ports in _POSSIBLE[version]]
        protected = [(every[0], seen, *every[2:]) for seen in _protected(self._policy.protect, version)]
        known = [
            (index in self._takers, each.boxes[version])
            for index, each in enumerate(self._headers)
            if each is not None and (index in self._takers or self._is_asked(index))
        ]
        boxes = [box for _, each in known for box in each]
        return Cover([*boxes, *possible, *protected], sum(len(each) for takes, each in known if takes))

    def _first_takers(self, most: int | None) -> Iterator[int]:
        count = 0
        for index, (rule, each) in enumerate(zip(self._policy.rules, self._headers, strict=True)):
            if each is not None and each.is_exact and rule.ends:
                count += sum(map(len, each.boxes.values()))
                if most is not None and count > most:
                    return
                yield index

    def found(self) -> Iterator[tuple[int, frozenset[int]]]:
        """Rules that are never reached, each with those that together take its packets."""
        rules = self._policy.rules
        taking: list[int] = []
        """Rules that take packets from all behind them."""
        for index, rule in enumerate(rules):
            if index and rule.phase != rules[index - 1].phase:
                self._end_phase(taking)
            headers = self._headers[index]
            if headers is None:
                self._blind |= self._policy.goes_on(rule)
                continue
            by = self._all_of(index, headers) if self._is_asked(index) else None
            if by is not None:
                yield index, by
            elif rule.ends:
                self._take(index, headers, taking)

    def _take(self, index: int, headers: Headers, taking: list[int]) -> None:
        rule = self._policy.rules[index]
        goes_on = self._policy.goes_on(rule)
        if index not in self._takers:
            self._blind |= goes_on
            return
        if not goes_on and not self._blind and not self._let_on(index, headers):
            taking.append(index)
        for version, boxes in headers.boxes.items():
            for box in boxes:
                self._covers[version].take(box, index)

    def _let_on(self, index: int, headers: Headers) -> bool:
        """Whether an `allow` of its phase lets packets of the rule go on to the next phase."""
        rules = self._policy.rules
        if rules[index].phase == self._policy.last_phase:
            return False
        above = (self._covers[version].meeting(box) for version, boxes in headers.boxes.items() for box in boxes)
        return any(self._policy.goes_on(rules[owner]) for owners in above for owner in owners)

    def _end_phase(self, taking: Sequence[int]) -> None:
        for cover in self._covers.values():
            cover.keep(taking)
        self._blind = False

    def _all_of(self, index: int, headers: Headers) -> frozenset[int] | None:
        found: set[int] = set()
        for version, part in _parts(headers, self._policy.protect):
            owners = self._covers[version].owners_of(part)
            if owners is None:
                if self._covers[version].gave_up:
                    self.given_up.append(index)
                return None
            found |= owners
        return frozenset(found) or None

    def shadow(self, index: int, by: frozenset[int]) -> Shadow:
        """What is told of a rule that was just found."""
        rules, headers = self._policy.rules, self._headers[index]
        assert headers is not None, "it was found by them"
        version, part = next(_parts(headers, self._policy.protect))
        point = _likely(part, version)
        taker = self._covers[version].first_at(point)
        assert taker is not None, "the part is covered"
        return Shadow(rules[index], tuple(rules[each] for each in sorted(by)), _witness(point, version), rules[taker], headers.is_exact)


def headers_of(known: Known) -> Headers | None:
    """Exact on the machine that `known` is of."""
    if known.headers is False:
        boxes = boxes_by_version(known)
        known.headers = _of_part(known) if boxes is None else Headers(boxes, True)
    return known.headers


def _on_any_machine(known: Known) -> Headers | None:
    """Exact where it is so on every other machine too."""
    roots = (ex.root_of(ex.operand_of(test)) for test in ex.tests_of(known.predicate))
    asks_machine = any(isinstance(root, ex.FieldValue) and root.field.name in _OF_THE_MACHINE for root in roots)
    return _of_part(known) if asks_machine else headers_of(known)


def _of_part(known: Known) -> Headers | None:
    boxes = boxes_by_version(known.other(header_part(known.predicate, MOST_BOXES)))
    return None if boxes is None else Headers(boxes, False)


# -- packets -----------------------------------------------------------------------------------------------------------


def _possible(version: int) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """Source port, destination port and protocol, as boxes have them, of packets that there are. Where a header is whole there are its
    ports; a packet cut within its ports has the first alone; every IPv4 packet has a protocol."""
    for number in _WITH_PORTS:
        yield _PORT, _PORT, (2 * number, 2 * number + 1)
    behind = 0
    for number in _WITH_PORTS:
        yield _NO_PORT, _NO_PORT, (behind, 2 * number)
        behind = 2 * number + 2
    yield _NO_PORT, _NO_PORT, (behind, 2 * ABSENT_PROTOCOL - 1 if version == 4 else top(Key.PROTOCOL, 6))
    for number in _WITH_PORTS:
        yield _PORT, _NO_PORT, (2 * number, 2 * number)


_POSSIBLE: Final = {version: tuple(_possible(version)) for version in (4, 6)}


def _protected(protect: Protect, version: int) -> Ranges:
    """The destinations of packets that the policy sees."""
    if protect.everything or protect.interfaces or protect.marks:
        return ((0, top(Key.DESTINATION, version)),)
    return protect.v4 if version == 4 else protect.v6


def _parts(headers: Headers, protect: Protect) -> Iterator[tuple[int, Box]]:
    """What of the boxes can be in a packet that the policy protects, by IP version."""
    for version, boxes in headers.boxes.items():
        seen = _protected(protect, version)
        if len(seen) * len(boxes) > MOST_PARTS:
            seen = ((0, top(Key.DESTINATION, version)),)
        for source, destination, *asked in boxes:
            cut = [part for part in (_common(destination, given) for given in seen) if part[0] <= part[1]]
            for ports in _POSSIBLE[version]:
                found = [_common(one, other) for one, other in zip(asked, ports, strict=True)]
                if all(low <= high for low, high in found):
                    for part in cut:
                        yield version, (source, part, *found)


def _common(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return (one[0] if one[0] > other[0] else other[0]), (one[1] if one[1] < other[1] else other[1])


def _likely(part: Box, version: int) -> tuple[int, ...]:
    """A packet of the part as one meets it: no network's own address, a client's source port, a whole header."""
    *ends, protocol = part
    likely = [
        wanted if low <= wanted <= high else min(low + is_address, high)
        for (low, high), wanted, is_address in zip(ends, (*_LIKELY_ADDRESSES[version], *_LIKELY_PORTS), (1, 1, 0, 0), strict=True)
    ]
    return (*likely, min(protocol[0] | 1, protocol[1]))


def _witness(point: Sequence[int], version: int) -> Witness:
    source, destination, source_port, destination_port, protocol = point
    return Witness(
        version,
        source,
        destination,
        protocol >> 1 if protocol >> 1 < ABSENT_PROTOCOL else None,
        source_port if source_port < ABSENT_PORT else None,
        destination_port if destination_port < ABSENT_PORT else None,
    )
