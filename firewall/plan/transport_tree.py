"""A merged run for packets whose transport header only eBPF finds: few programs, however many rules.

A verdict map cannot look up what nftables cannot load. Each distinct combination of protocol and ports is a predicate, behind which
the addresses are looked up; where there are very many, ports are asked digit by digit, so that the programs are bounded by the
number of digits and not by that of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firewall.match import Key
from firewall.plan.model import Element, MapStage
from rules_dsl.expression import And, BitSlice, Expression, FieldValue, InRanges
from rules_dsl.fields import FIELDS, Header

TRANSPORT_KEYS = (Key.PROTOCOL, Key.SOURCE_PORT, Key.DESTINATION_PORT)
MOST_PREDICATES = 64
"""Up to this many combinations each have a program of their own."""

_HEADERS = {6: Header.TCP, 17: Header.UDP, 132: Header.SCTP}
_PORT_FIELDS = {Key.SOURCE_PORT: "srcport", Key.DESTINATION_PORT: "dstport"}
_PORT_BITS = {Key.SOURCE_PORT: 0, Key.DESTINATION_PORT: 16}

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is left to look up: elements whose boxes have the address keys only (none: there is one element)."""

    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """Predicates of which at most one path to an element holds, each with what follows it."""

    ways: tuple[tuple[Expression, Branch | Leaf], ...]


def asks_transport(stage: MapStage) -> bool:
    """Whether the stage looks at protocol or ports."""
    return stage.protocol is not None or any(key in TRANSPORT_KEYS for key in stage.keys)


def address_keys(stage: MapStage) -> tuple[Key, ...]:
    return tuple(key for key in stage.keys if key not in TRANSPORT_KEYS)


def transport_tree(stage: MapStage) -> Branch:
    """The stage's elements by protocol and ports."""
    parts: dict[tuple[Range | None, ...], list[Element]] = {}
    for element in stage.elements:
        ranges = dict(zip(stage.keys, element.box, strict=True))
        if stage.protocol is not None:
            ranges[Key.PROTOCOL] = (stage.protocol, stage.protocol)
        part = tuple(ranges.get(key) for key in TRANSPORT_KEYS)
        rest = tuple(ranges[key] for key in address_keys(stage))
        parts.setdefault(part, []).append(Element(rest, element.index))
    leaves = {part: Leaf(tuple(elements)) for part, elements in parts.items()}
    ports = [key for key in _PORT_FIELDS if key in stage.keys]
    is_exact = all(each is None or each[0] == each[1] for part in leaves for each in part)
    if len(leaves) > MOST_PREDICATES and ports and is_exact:
        width = 4 if len(ports) == 1 else 8  # both ports by half-bytes would be more chains deep than nft allows
        return _by_digits([(_digits(part, width), leaf) for part, leaf in leaves.items()])
    return Branch(tuple((_predicate(part), leaf) for part, leaf in leaves.items()))


def _predicate(part: tuple[Range | None, ...]) -> Expression:
    protocol, *ports = part
    assert protocol is not None, "a port implies its protocol"
    tests: list[Expression] = []
    for key, ranges in zip(_PORT_FIELDS, ports, strict=True):
        if ranges is not None:
            name = f"{_HEADERS[protocol[0]].value}.{_PORT_FIELDS[key]}"
            tests.append(InRanges(FieldValue(FIELDS[name]), (ranges,)))
    if not tests:
        return InRanges(FieldValue(FIELDS["ip.proto"]), (protocol,))
    return tests[0] if len(tests) == 1 else And(tuple(tests))


def _digits(part: tuple[Range | None, ...], width: int) -> tuple[Expression, ...]:
    """Tests that together say the part: the protocol, then the ports' digits of `width` bits."""
    protocol, *ports = part
    assert protocol is not None, "a port implies its protocol"
    tests: list[Expression] = [InRanges(FieldValue(FIELDS["ip.proto"]), (protocol,))]
    header = _HEADERS[protocol[0]]
    for key, ranges in zip(_PORT_FIELDS, ports, strict=True):
        if ranges is None:
            continue
        for start in range(0, 16, width):
            digit = ranges[0] >> (16 - width - start) & ((1 << width) - 1)
            at = _PORT_BITS[key] + start
            tests.append(InRanges(BitSlice(header, at, at + width), ((digit, digit),)))
    return tuple(tests)


def _by_digits(paths: Sequence[tuple[tuple[Expression, ...], Leaf]]) -> Branch:
    groups: dict[Expression, list[tuple[tuple[Expression, ...], Leaf]]] = {}
    for (first, *rest), leaf in paths:
        groups.setdefault(first, []).append((tuple(rest), leaf))
    return Branch(tuple((test, group[0][1] if not group[0][0] else _by_digits(group)) for test, group in groups.items()))
