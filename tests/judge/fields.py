"""Which of Wireshark's fields each field of the catalogue is held against, in which packets, and where their values differ on purpose.

A field is compared in the frames in which either side has it. Wireshark's belongs to the outermost packet where the frame's layers
are as the protocol's scope says; of several values the first is then the outermost header's, or the first message's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from judge.differences import Difference
from judge.expressions import IPV4, IPV6, TAGGED, extension, under

from rules_dsl.fields import FIELDS, Field, Type
from rules_dsl.value import Address, Scalar, Value

SCOPE: Mapping[str, str] = {
    "ip": IPV4,
    "ipv6": IPV6,
    "vlan": TAGGED,
    **{name: under(name) for name in ("tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "esp")},
    "bittorrent": under("tcp(?::mptcp)*:bittorrent"),
    "bt_dht": under("udp:bt-dht"),
    "cldap": under("udp:cldap"),
    "dhcp": under("udp:dhcp"),
    "dns": f"({under('udp:(?:dns|mdns|llmnr)')} or {under('tcp:dns')})",
    "geneve": under("udp:geneve"),
    "http": under("tcp"),
    "memcached": under("(?:udp|tcp):memcache"),
    "ntp": under("udp:ntp"),
    "quic": under("udp"),
    "radius": under("udp:radius"),
    "rtcp": under("udp:(?:rtp:)?rtcp"),
    "rtp": under("udp:rtp(?!:rtcp)"),
    "sip": under("(?:udp|tcp):sip"),
    "snmp": under("(?:udp|tcp):snmp"),
    "ssdp": under("udp:ssdp"),
    "ssh": under("tcp(?::mptcp)*:ssh"),
    "stun": under("(?:udp|tcp):stun"),
    "tftp": under("udp:tftp"),
    "tls": under("tcp"),
    "vxlan": under("udp:vxlan"),
}
"""The display filter for frames whose outermost packet has the protocol, by the first word of its fields' names."""

OF_IPV6: Mapping[str, tuple[str, str, int]] = {
    "ip.src": ("ipv6.src", IPV6, 0),
    "ip.dst": ("ipv6.dst", IPV6, 0),
    "ip.version": ("ipv6.version", IPV6, 0),
    "ip.len": ("ipv6.plen", IPV6, 40),
    "ip.ttl": ("ipv6.hlim", IPV6, 0),
    "ip.dscp": ("ipv6.tclass.dscp", IPV6, 0),
    "ip.ecn": ("ipv6.tclass.ecn", IPV6, 0),
    "ip.frag.offset": ("ipv6.fraghdr.offset", extension("ipv6.fraghdr"), 0),
    "ip.frag.more": ("ipv6.fraghdr.more", extension("ipv6.fraghdr"), 0),
}
"""Wireshark's field of IPv6 packets, where the catalogue has one field for both families: its name, its scope, and what to add."""

_FIRST_BYTE = ("tcp.flags",)
"""Wireshark's value has four bits more in front, of which the last is a flag of RFC 9768."""

SCOPES: tuple[str, ...] = tuple(dict.fromkeys((*SCOPE.values(), *(scope for _, scope, _ in OF_IPV6.values()))))
QUESTIONS: tuple[str, ...] = tuple(
    dict.fromkeys((*(field.wireshark for field in FIELDS.values() if field.wireshark), *(name for name, _, _ in OF_IPV6.values())))
)

VALUE_DIFFERENCES: tuple[Difference, ...] = ()
"""Differences that a comparison of values shows and the pairs of expressions do not."""


def scope_of(field: Field) -> str:
    return SCOPE[field.name.partition(".")[0]]


def theirs(field: Field, said: Sequence[str], add: int = 0) -> tuple[Scalar, ...]:
    """Wireshark's values (written as `wireshark.lua` says) as the catalogue's type has them; of a field of one value the first."""
    values = [_value(field, one) for one in (said if field.multiple else said[:1])]
    if field.name in _FIRST_BYTE:
        values = [value & 0xFF for value in values if isinstance(value, int)]
    return tuple(value + add if add and isinstance(value, int) else value for value in values)


def _value(field: Field, said: str) -> Scalar:
    letter, text = said[0], said[1:]
    match field.type:
        case Type.BOOL:
            return said != "n0"
        case Type.INT if letter == "s":
            digits = bytes.fromhex(text)
            return int(digits) if digits.isdigit() else digits
        case Type.INT:
            return int(text)
        case Type.ADDRESS:
            address = ip_address(text)
            return Address(address.version, int(address))
        case Type.BYTES:
            return bytes.fromhex(text.replace(":", ""))


def ours(value: Value) -> tuple[Scalar, ...]:
    """The values of a field that is not keyed; none where it is absent."""
    if value is None:
        return ()
    several = value if isinstance(value, tuple) and not isinstance(value, Address) else (value,)
    return tuple(one for one in several if isinstance(one, bool | int | bytes | Address))


def equal(field: Field, mine: Sequence[Scalar], other: Sequence[Scalar]) -> bool:
    """Boolean fields by their truth, which an absent one has not; many values in any order; text without regard to case where the
    catalogue says so, and what is no UTF-8 as Wireshark shows it."""
    if field.type is Type.BOOL:
        return (True in mine) == (True in other)
    if field.type is Type.BYTES:
        return sorted(_shown(field, value) for value in mine) == sorted(_shown(field, value) for value in other)
    return sorted(mine, key=repr) == sorted(other, key=repr)


def _shown(field: Field, value: Scalar) -> bytes:
    assert isinstance(value, bytes)
    return value.lower() if field.caseless else value
