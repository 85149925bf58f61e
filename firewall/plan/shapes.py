"""What a term asks of each key, and the boxes that it is then: inclusive ranges in all keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Final

from firewall.match import Key, Match
from firewall.plan.model import Box, Term
from rules_dsl.expression import Ranges

ABSENT_PORT: Final = 1 << 16
"""The value of a port, for a classifier, in a packet that has none; only rules that do not ask for the port hold there."""
ABSENT_PROTOCOL: Final = 1 << 8
"""As above. A box has the protocol twice, and 1 more for packets in which the fixed part of its header is whole."""

_TOPS: Final = {Key.SOURCE_PORT: ABSENT_PORT, Key.DESTINATION_PORT: ABSENT_PORT, Key.PROTOCOL: 2 * ABSENT_PROTOCOL + 1}
_PROTOCOL: Final = tuple(Key).index(Key.PROTOCOL)
_PORTS: Final = tuple(place for place, key in enumerate(Key) if key in (Key.SOURCE_PORT, Key.DESTINATION_PORT))


def shape(term: Term) -> tuple[dict[Key, Ranges], frozenset[Match]] | None:
    """What the term asks of each key, and its other matches; None where it is no plain conjunction of matches."""
    if not term.is_plain:
        return None
    ranges: dict[Key, Ranges] = {}
    fixed: list[Match] = []
    for match in term.matches:
        if match.protocol is not None:
            ranges[Key.PROTOCOL] = ((match.protocol, match.protocol),)
    for match in term.matches:
        if match.key is None or match.negated:
            fixed.append(match)
        elif match.key is not Key.PROTOCOL:
            if match.key in ranges:
                return None
            ranges[match.key] = match.ranges
        elif Key.PROTOCOL not in ranges:
            ranges[Key.PROTOCOL] = match.ranges
    return ranges, frozenset(fixed)


def top(key: Key, version: int) -> int:
    """The highest value of a key, with that for packets that do not have it."""
    return _TOPS.get(key) or (1 << (32 if version == 4 else 128)) - 1


def boxes_of(terms: Iterable[Term], version: int, most: int) -> tuple[Box, ...] | None:
    """The terms as boxes in all keys, in the order of `Key`; None where they ask for anything else, or are more than `most`."""
    boxes: list[Box] = []
    for term in terms:
        found = shape(term)
        if found is None:
            return None
        ranges, fixed = found
        if version == 6 and any(match.key is Key.PROTOCOL for match in fixed):
            return None  # a packet may have none
        for match in fixed:
            if not match.is_header and (match.key is None or not match.always or match.key in ranges):
                return None
            if match.key is not None:
                ranges[match.key] = _others(match.ranges, ABSENT_PROTOCOL if match.key is Key.PROTOCOL else top(match.key, version))
        if Key.PROTOCOL in ranges:
            whole = any(match.is_header for match in fixed)
            ranges[Key.PROTOCOL] = protocol_values(ranges[Key.PROTOCOL], whole=whole)
        more = boxes_in(ranges, version, most - len(boxes))
        if more is None:
            return None
        boxes += more
    return tuple(boxes)


def protocol_values(ranges: Ranges, *, whole: bool) -> Ranges:
    """Protocols as boxes have them: of all packets, or of those alone whose header is whole."""
    return tuple((2 * low + whole, 2 * high + 1) for low, high in ranges)


def boxes_in(ranges: Mapping[Key, Ranges], version: int, most: int) -> tuple[Box, ...] | None:
    """The product of the ranges of each key, as boxes; None where they are more than `most`."""
    values = [ranges[key] if key in ranges else ((0, top(key, version)),) for key in Key]
    return None if prod(map(len, values)) > most else tuple(product(*values))


def without_transport(boxes: Sequence[Box]) -> frozenset[Box]:
    """Those of the boxes in which packets lie that have no transport header."""
    return frozenset(box for box in boxes if all(box[place][1] == ABSENT_PORT for place in _PORTS) and not box[_PROTOCOL][0] & 1)


def asks_header(boxes: Iterable[Box]) -> bool:
    """Whether one of the boxes tells whole transport headers from others."""
    return any(box[_PROTOCOL][0] & 1 for box in boxes)


def universal(version: int) -> Box:
    """The box of all packets."""
    return tuple((0, top(key, version)) for key in Key)


def _others(ranges: Ranges, highest: int) -> Ranges:
    """What the ranges leave."""
    return tuple(_gaps(ranges, highest))


def _gaps(ranges: Ranges, highest: int) -> Iterator[tuple[int, int]]:
    behind = 0
    for low, high in ranges:
        if behind < low:
            yield behind, low - 1
        behind = high + 1
    if behind <= highest:
        yield behind, highest
