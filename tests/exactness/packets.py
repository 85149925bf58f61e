"""Packets at the borders of rules, in arrays: their bytes, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from exactness.rule_sets import ANCHORS, WORDS, Asked, HeaderRule
from numpy.typing import NDArray

from firewall.bench.classbench import TCP, UDP

Numbers = NDArray[np.int64]
Octets = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Wide = NDArray[np.uint64]

_LOW: Final = (1 << 64) - 1
_CANDIDATES: Final = 6
_AIMED: Final = 0.85
"""The share of numbers that are those of the rule aimed at; the others are another rule's."""
_ODD: Final = 0.05
"""The share of each odd way that a packet can be made."""
_CUT: Final = 0.08
_TRANSPORT: Final = {TCP: 32, UDP: 20}
"""Bytes of the transport header with its payload; a word stands in the last four."""
_HEADER: Final = {TCP: 20, UDP: 8}
_WALKED: Final = (0, 43, 44, 51, 60, 135, 139, 140, 253, 254)
"""Protocol numbers that are not a transport's in an IPv6 packet, or may not be; 0 in an IPv4 packet is as any other."""

PLAIN, OPTIONS, LATER, FIRST, AUTHENTICATED = range(5)
"""How a packet is made: as usual, with IPv4 options, a later or a first fragment, with an authentication header (IPv6)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is in packets, each an array."""

    version: Numbers
    source_high: Wide
    source: Wide
    """An IPv4 address, or the low half of an IPv6 one."""
    destination_high: Wide
    destination: Wide
    protocol: Numbers
    source_port: Numbers
    """-1 where there is none; so too for the others."""
    destination_port: Numbers
    is_whole: Bools
    """The fixed part of a TCP or UDP header is there."""
    word: Numbers
    made: Numbers

    def __len__(self) -> int:
        return self.version.size

    def at(self, places: Numbers | Bools) -> Columns:
        return Columns(*(getattr(self, each.name)[places] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Packets:
    columns: Columns
    data: tuple[bytes, ...]
    """From the IP header on."""


def aimed(rng: np.random.Generator, rules: Sequence[HeaderRule], count: int) -> Packets:
    """Each at a rule, all equally likely: at a border of what it asks for, just outside, or within."""
    aims = _Aims(rng, rules)
    rule = rng.integers(len(rules), size=count)
    version = np.where(rng.random(count) < 0.97, aims.version[rule], rng.choice((4, 6), count))

    def number(key: str) -> Numbers:
        other = np.where(rng.random(count) < _AIMED, rule, rng.integers(len(rules), size=count))
        return aims.numbers[key][other, rng.integers(_CANDIDATES, size=count)]

    def address(key: str) -> tuple[Wide, Wide]:
        other = np.where(rng.random(count) < _AIMED, rule, rng.integers(len(rules), size=count))
        place = rng.integers(_CANDIDATES, size=count)
        high, low = aims.addresses[key, 6]
        narrow = aims.addresses[key, 4][1][other, place]
        return np.where(version == 4, 0, high[other, place]), np.where(version == 4, narrow, low[other, place])

    source_high, source = address("source")
    destination_high, destination = address("destination")
    protocol = number("protocol")
    protocol = np.where((version == 6) & np.isin(protocol, _WALKED), TCP, protocol)
    odd = rng.random(count)
    made = np.where(odd < _ODD, LATER, np.where(odd < 2 * _ODD, FIRST, PLAIN))
    made = np.where((odd > 1 - _ODD), np.where(version == 4, OPTIONS, AUTHENTICATED), made)
    whole_size = np.select([protocol == TCP, protocol == UDP], [_TRANSPORT[TCP], _TRANSPORT[UDP]], 20)
    size = np.where(rng.random(count) < _CUT, rng.integers(0, 21, count), whole_size)
    has_ports = np.isin(protocol, (TCP, UDP)) & (made != LATER)
    ports = number("source_port"), number("destination_port")
    word = np.where(
        has_ports & (size == whole_size) & (made != FIRST) & (rng.random(count) < 0.5), rng.integers(len(WORDS), size=count), -1
    )
    columns = Columns(
        version, source_high, source, destination_high, destination, protocol,
        np.where(has_ports & (size >= 2), ports[0], -1), np.where(has_ports & (size >= 4), ports[1], -1),
        has_ports & (size >= np.where(protocol == TCP, _HEADER[TCP], _HEADER[UDP])), word, made,
    )  # fmt: skip
    return Packets(columns, _bytes(columns, ports, size))


class _Aims:
    """By rule: numbers of each key at its borders."""

    def __init__(self, rng: np.random.Generator, rules: Sequence[HeaderRule]) -> None:
        self.version = np.array([rule.version for rule in rules])
        self.numbers = {
            "protocol": self._numbers(rng, [_protocol(rule) for rule in rules], 255),
            "source_port": self._numbers(rng, [rule.source_port for rule in rules], 65535),
            "destination_port": self._numbers(rng, [rule.destination_port for rule in rules], 65535),
        }
        self.addresses = {}
        for key in ("source", "destination"):
            for version in (4, 6):
                asked = [getattr(rule, key) if rule.version == version else None for rule in rules]
                self.addresses[key, version] = self._addresses(rng, asked, version)

    @staticmethod
    def _numbers(rng: np.random.Generator, asked: Sequence[Asked | None], top: int) -> Numbers:
        pool = [end for each in asked if each is not None for end in (each.low, each.high)] or [1, 6, 17]
        return np.array([_around(rng, each, pool, top) for each in asked], np.int64)

    @staticmethod
    def _addresses(rng: np.random.Generator, asked: Sequence[Asked | None], version: int) -> tuple[Wide, Wide]:
        top = (1 << (32 if version == 4 else 128)) - 1
        pool = [end for each in asked if each is not None for end in (each.low, each.high)] or list(ANCHORS[version])
        rows = [[_received(number, version) for number in _around(rng, each, pool, top)] for each in asked]
        high, low = ([[half(number) for number in row] for row in rows] for half in (lambda each: each >> 64, lambda each: each & _LOW))
        return np.array(high, np.uint64), np.array(low, np.uint64)


def _protocol(rule: HeaderRule) -> Asked | None:
    if rule.transport is not None:
        number = TCP if rule.transport == "tcp" else UDP
        return Asked(number, number)
    return rule.protocol


def _around(rng: np.random.Generator, asked: Asked | None, pool: Sequence[int], top: int) -> list[int]:
    if asked is None:
        return [pool[place] for place in rng.integers(len(pool), size=_CANDIDATES)]
    width = asked.high - asked.low
    within = [asked.low + int.from_bytes(rng.bytes(17)) % (width + 1) for _ in range(2)]
    return [asked.low, asked.high, max(asked.low - 1, 0), min(asked.high + 1, top), *within]


def _received(address: int, version: int) -> int:
    """The address, or one in place of those that the kernel takes from no interface."""
    return ANCHORS[6][0] | address & _LOW if version == 6 and address >> 120 in (0, 0xFF) else address


# -- bytes -------------------------------------------------------------------------------------------------------------


def _bytes(columns: Columns, ports: tuple[Numbers, Numbers], size: Numbers) -> tuple[bytes, ...]:
    data: list[bytes] = [b""] * len(columns)
    transport = _transport(columns, ports)
    for version in (4, 6):
        for made in (PLAIN, OPTIONS, LATER, FIRST, AUTHENTICATED):
            places = np.flatnonzero((columns.version == version) & (columns.made == made))
            if places.size:
                head = _head4(columns.at(places), made, size[places]) if version == 4 else _head6(columns.at(places), made, size[places])
                block = np.hstack((head, transport[places]))
                octets, row = block.tobytes(), block.shape[1]
                ends = (head.shape[1] + size[places]).tolist()
                for number, (place, end) in enumerate(zip(places.tolist(), ends, strict=True)):
                    data[place] = octets[number * row : number * row + end]
    return tuple(data)


def _transport(columns: Columns, ports: tuple[Numbers, Numbers]) -> Octets:
    block = np.zeros((len(columns), max(_TRANSPORT.values())), np.uint8)
    block[:, 0:2], block[:, 2:4] = _two(ports[0]), _two(ports[1])
    is_tcp, is_udp = columns.protocol == TCP, columns.protocol == UDP
    block[is_tcp, 12], block[is_tcp, 13] = 0x50, 0x10
    block[is_udp, 5] = _TRANSPORT[UDP]
    for number, word in enumerate(WORDS):
        for protocol, is_it in ((TCP, is_tcp), (UDP, is_udp)):
            end = _TRANSPORT[protocol]
            block[is_it & (columns.word == number), end - 4 : end] = np.frombuffer(word.encode(), np.uint8)
    return block


def _head4(columns: Columns, made: int, size: Numbers) -> Octets:
    length = 24 if made == OPTIONS else 20
    head = np.zeros((len(columns), length), np.uint8)
    head[:, 0], head[:, 8], head[:, 9] = 0x40 | length // 4, 64, columns.protocol
    head[:, 2:4] = _two(length + size)
    head[:, 6:8] = {LATER: (0, 1), FIRST: (0x20, 0)}.get(made, (0, 0))
    head[:, 12:16], head[:, 16:20] = _eight(columns.source)[:, 4:], _eight(columns.destination)[:, 4:]
    if made == OPTIONS:
        head[:, 20:24] = (1, 1, 1, 0)
    total = head.reshape(len(columns), -1, 2).astype(np.int64)
    check = (total[:, :, 0] * 256 + total[:, :, 1]).sum(1)
    check = (check & 0xFFFF) + (check >> 16)
    head[:, 10:12] = _two(~((check & 0xFFFF) + (check >> 16)) & 0xFFFF)
    return head


def _head6(columns: Columns, made: int, size: Numbers) -> Octets:
    extra = {PLAIN: 0, AUTHENTICATED: 24}.get(made, 8)
    head = np.zeros((len(columns), 40 + extra), np.uint8)
    head[:, 0], head[:, 7] = 0x60, 64
    head[:, 4:6] = _two(extra + size)
    head[:, 6] = {PLAIN: columns.protocol, AUTHENTICATED: 51}.get(made, 44)
    head[:, 8:16], head[:, 16:24] = _eight(columns.source_high), _eight(columns.source)
    head[:, 24:32], head[:, 32:40] = _eight(columns.destination_high), _eight(columns.destination)
    if extra:
        head[:, 40] = columns.protocol
        head[:, 41] = 4 if made == AUTHENTICATED else 0
        head[:, 43] = {LATER: 8, FIRST: 1}.get(made, 0)
    return head


def _two(numbers: Numbers) -> Octets:
    return np.stack((numbers >> 8, numbers & 0xFF), 1).astype(np.uint8)


def _eight(numbers: Wide) -> Octets:
    return numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
