"""What the field catalogue is made of: types, headers, fields and protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class Type(Enum):
    BOOL = "Boolean"
    INT = "number"
    ADDRESS = "address"
    BYTES = "bytes"
    """Text and payloads: a run of bytes."""


class Header(Enum):
    """A header in the outermost packet. The transport headers exist where the packet's transport protocol (`ip.proto`) is that
    protocol and the packet is not a later fragment."""

    IP = "ip"
    """The IPv4 or the IPv6 header, whichever the packet has (bit slices only)."""
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    FRAGMENT = "fragment"
    """The IPv6 fragment extension header (RFC 8200 section 4.5)."""
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    """IPv4 only."""
    ICMPV6 = "icmpv6"
    """IPv6 only."""
    SCTP = "sctp"
    GRE = "gre"
    ESP = "esp"
    IPIP = "ipip"
    """No header: an IPv4 packet follows at once (RFC 2003, RFC 2473)."""
    IPV6_IN_IP = "ipv6 in ip"
    """No header: an IPv6 packet follows at once (RFC 4213, RFC 2473)."""


PROTOCOL_NUMBER: Mapping[Header, int] = MappingProxyType(
    {
        Header.TCP: 6, Header.UDP: 17, Header.ICMP: 1, Header.ICMPV6: 58, Header.SCTP: 132, Header.GRE: 47, Header.ESP: 50,
        Header.IPIP: 4, Header.IPV6_IN_IP: 41,
    }
)  # fmt: skip
"""IANA protocol number of each transport header."""

HEADER_BYTES: Mapping[Header, int] = MappingProxyType(
    {
        Header.TCP: 20, Header.UDP: 8, Header.ICMP: 8, Header.ICMPV6: 8, Header.SCTP: 12, Header.GRE: 4, Header.ESP: 8,
        Header.IPIP: 0, Header.IPV6_IN_IP: 0,
    }
)  # fmt: skip
"""Bytes that must be in the packet for the protocol's bare name to be true: the fixed header. TCP also needs a header length of
at least 20 bytes."""


@dataclass(frozen=True, slots=True)
class Bits:
    """A field's place: `width` bits at bit `offset` of `header`; the value is bits * scale + add (scale 0: the constant `add`).

    The field is absent where the header is, or where one of the bytes that hold the bits lies beyond the packet."""

    header: Header
    offset: int
    width: int
    scale: int = 1
    add: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: Type
    group: str
    """address, ip, l4, place or protocol."""
    summary: str
    """One sentence; says when the field is absent."""
    maximum: int = 0
    """The largest value of an INT."""
    at: tuple[Bits, ...] = ()
    """At most one place per IP family; empty: computed."""
    aliases: tuple[str, ...] = ()
    names: Mapping[str, int] | None = None
    """Names that stand for numbers when the field is compared (`ip.proto == "tcp"`)."""
    multiple: bool = False
    """Many values in one packet: a test is true where one of them passes."""
    bound: int = 16
    """Of a field of many values, so many are looked at, the first ones; with a key, the first ones of that key."""
    keyed: bool = False
    """Takes a key: `http.header["host"]`."""
    caseless: bool = False
    """Text that is compared without regard to the case of ASCII letters (names of the domain name system, RFC 4343)."""
    wireshark: str | None = None
    """The display filter field that means the same, where one does."""

    def __hash__(self) -> int:
        return hash(self.name)  # names are unique, and a mapping proxy has no hash before Python 3.12


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol above the transport header, which is recognised by its bytes and not by its port."""

    name: str
    """Of its Boolean field too, which is true where a valid message of it is there."""
    title: str
    """Its full name and where it is specified."""
    carriers: tuple[Header, ...]
    """The transport headers that its messages follow: a packet of another protocol has none of its fields."""
    valid: str
    """What counts as a message of it, for the field reference: some sentences."""
    fields: tuple[Field, ...]
    """The Boolean one first."""
