"""What a classifier looks at in a packet: keys, each one or more words of 32 bits, and the boxes that rules make of them.

A key is a number that the packet has, or one above the key's range where it has none: `absent`. A rule that does not ask for a key
contains all of its numbers, `absent` too; a range that a rule asks for never does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bpf.isa import Bytes

WORD: Final = 32
"""Bits of a word."""
HIGHEST: Final = (1 << WORD) - 1

Range = tuple[int, int]
"""Lowest and highest number, both included."""


class Family(Enum):
    """Of addresses; a classifier is for one."""

    IPV4 = 4
    IPV6 = 6

    @property
    def header_bytes(self) -> int:
        """Of the IP header without options and extension headers."""
        return 20 if self is Family.IPV4 else 40


class Where(Enum):
    """The header that a key is in."""

    IP = "the IP header's fixed part, which every packet has"
    TRANSPORT = "the transport header, of whatever protocol, as far as the packet reaches"
    PROTOCOL = "the number of the transport protocol"
    HEADER = "twice the number of the transport protocol, and 1 more where the fixed part of its header is whole"


@dataclass(frozen=True, slots=True)
class KeyField:
    """A key: bytes of a header, in network order."""

    name: str
    where: Where
    size: Bytes | int = 1
    """In bytes; 16 for an IPv6 address."""
    ipv4: int | None = 0
    """Offset in the header; None: IPv4 has no such key."""
    ipv6: int | None = 0

    def __post_init__(self) -> None:
        assert self.size in (1, 2, 4, 16), "so many bytes are loaded"

    @property
    def absent(self) -> int | None:
        """The number of a packet that has none; None where every packet has one."""
        return None if self.where is Where.IP else 1 << 8 * self.size

    @property
    def any(self) -> Range:
        """The range of a rule that does not ask."""
        return 0, (1 << 8 * self.size) - 1 if self.absent is None else self.absent

    @property
    def words(self) -> int:
        return max(self.size * 8 // WORD, 1)

    def offset(self, family: Family) -> int:
        """In its header."""
        offset = self.ipv4 if family is Family.IPV4 else self.ipv6
        assert offset is not None, f"{family.name} has no key {self.name}"
        return offset


PROTOCOL: Final = KeyField("ip.proto", Where.PROTOCOL)
HEADER: Final = KeyField("ip.proto and its header", Where.HEADER, 2)
"""Its bytes are those of `rules_dsl.fields.HEADER_BYTES`; a TCP header also says that it has 20 bytes at least. The header of a protocol
that is not in there is never whole. A packet without a protocol has twice PROTOCOL's `absent`."""
SOURCE_PORT: Final = KeyField("source port", Where.TRANSPORT, 2)
DESTINATION_PORT: Final = KeyField("destination port", Where.TRANSPORT, 2, 2, 2)
TYPE: Final = KeyField("type", Where.TRANSPORT, 1)
"""Of ICMP and ICMPv6."""
CODE: Final = KeyField("code", Where.TRANSPORT, 1, 1, 1)
TCP_FLAGS: Final = KeyField("tcp.flags", Where.TRANSPORT, 1, 13, 13)
TTL: Final = KeyField("ip.ttl", Where.IP, 1, 8, 7)


def source_address(family: Family) -> KeyField:
    """ip.src"""
    return KeyField("ip.src", Where.IP, 4, 12, None) if family is Family.IPV4 else KeyField("ip.src", Where.IP, 16, None, 8)


def destination_address(family: Family) -> KeyField:
    """ip.dst"""
    return KeyField("ip.dst", Where.IP, 4, 16, None) if family is Family.IPV4 else KeyField("ip.dst", Where.IP, 16, None, 24)


def five_tuple(family: Family, *, with_header: bool = False) -> tuple[KeyField, ...]:
    """Addresses, ports and protocol, or with that whether its header is whole."""
    return source_address(family), destination_address(family), SOURCE_PORT, DESTINATION_PORT, HEADER if with_header else PROTOCOL


def word_count(keys: Sequence[KeyField]) -> int:
    return sum(key.words for key in keys)


def words_of(number: int, words: int) -> tuple[int, ...]:
    """The number as so many words, the highest first."""
    return tuple(number >> WORD * place & HIGHEST for place in reversed(range(words)))


def word_boxes(low: int, high: int, words: int) -> Iterator[tuple[Range, ...]]:
    """Disjoint boxes of words that together hold the numbers from `low` to `high`: one for a prefix, at most 2 * words - 1."""
    if words == 1:
        yield ((low, high),)
        return
    below = WORD * (words - 1)
    rest = (1 << below) - 1
    first, last, start, end = low >> below, high >> below, low & rest, high & rest
    if first == last:
        for box in word_boxes(start, end, words - 1):
            yield ((first, first), *box)
        return
    if start:
        for box in word_boxes(start, rest, words - 1):
            yield ((first, first), *box)
        first += 1
    whole_end = last if end == rest else last - 1
    if first <= whole_end:
        yield ((first, whole_end), *[(0, HIGHEST)] * (words - 1))
    if end != rest:
        for box in word_boxes(0, end, words - 1):
            yield ((last, last), *box)
