"""Which of Wireshark's fields each field of the catalogue is held against, in which packets, and where their values differ on purpose.

A field is compared in the frames in which either side has it. Wireshark's belongs to the outermost packet where the frame's layers
are as the protocol's scope says; of several values the first is then the outermost header's, or the first message's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from judge.differences import Difference
from judge.expressions import IPV4, IPV6, TAGGED, extension, under

from rules_dsl.fields import Field, Type
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

ALSO: Mapping[str, tuple[str, ...]] = {"dns": ("mdns", "llmnr"), "rtcp": ("srtcp",), "tls.record.type": ("tls.record.opaque_type",)}
"""Further fields of Wireshark whose values are the catalogue's one field's."""

NARROWER: Mapping[str, str] = {"ip.opt.type": f"({IPV4} and ip.hdr_len#1 > 20)"}
"""Scopes of single fields: an inner header may have options where the outermost has none."""

VALUE_DIFFERENCES: tuple[Difference, ...] = (
    Difference("An ICMP header that is not whole", ("icmp.",), mantlet='ip.proto == "icmp" and not icmp'),
    Difference("An IPv6 payload length of 0", ("icmpv6",), mantlet="ip.version == 6 and ip.len == 40"),
    Difference("IP options that do not fit", ("ip.opt",), wireshark='_ws.expert.message contains "option goes past end of options"'),
    Difference("NTP by its header", ("ntp.",), wireshark="ntp.flags.mode > 5"),
    Difference("QUIC's short headers", ("quic.fixed_bit",), mantlet="quic.long.packet_type == 3 or quic.long.packet_type_v2 == 0"),
    Difference("RTCP that does not add up", ("rtcp",), wireshark=f"{SCOPE['rtcp']} and _ws.malformed"),
    Difference("STUN methods that nobody assigned", ("stun.att.type",), mantlet="stun.att.type in {0x4000..0x4002}"),
    Difference("What is STUN to Wireshark only", ("stun",), wireshark="stun and (not stun.cookie or count(stun.length) > 1)"),
    Difference("Names of services", ("dns.resp.name",), wireshark="dns.srv.service"),
    Difference("Data of a reset", ("tcp.payload",), mantlet="tcp.flags.reset and tcp.payload.len > 0"),
    Difference("TFTP data of other sizes", ("tftp.source_file", "tftp.destination_file"), wireshark="tftp.opcode > 2"),
)
"""Differences that a comparison of values shows and the pairs of expressions do not, by the frames concerned."""

Values = tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Retold:
    """The two values are not equal, but one tells the other."""

    title: str
    fields: tuple[str, ...]
    explains: Callable[[Values, Values], bool]
    """Whether this is what makes Mantlet's values (first) and Wireshark's differ."""


def _text(value: Scalar) -> bytes:
    return value if isinstance(value, bytes) else b""


def _is_replaced(mine: Values, other: Values) -> bool:
    return [_text(value).decode("utf-8", "replace").encode() for value in mine] == [_text(value) for value in other]


def _is_cut_at_nul(mine: Values, other: Values) -> bool:
    return [_text(value).partition(b"\0")[0] for value in mine] == [_text(value) for value in other]


def _is_dns_name(mine: Values, other: Values) -> bool:
    read = [b"" if value == b"<Root>" else re.sub(rb"\\(\d{3})", lambda byte: bytes([int(byte[1])]), _text(value)) for value in other]
    return sorted(map(_text, mine)) == sorted(value.lower() for value in read)


def _is_root(mine: Values, other: Values) -> bool:
    """Lengths and numbers of labels: the root has a length of 6 and a label in Wireshark."""
    return len(mine) == len(other) and all(one == two or (one == 0 and two in (1, 6)) for one, two in zip(mine, other, strict=True))


def _is_dhcp(mine: Values, other: Values) -> bool:
    """Pads, the end, and the one option that the message cuts are missing."""
    options = tuple(value for value in other if value not in (0, 255))
    return mine in (options, options[:-1])


RETOLD: tuple[Retold, ...] = (
    Retold("Offsets of fragments", ("ip.frag.offset",), lambda mine, other: mine == tuple(value * 8 for value in other)),
    Retold("AccECN connections", ("tcp.flags",), lambda mine, other: mine == tuple(value & 0xFF for value in other)),
    Retold("DHCP options", ("dhcp.option.type",), _is_dhcp),
    Retold("Names of DNS that are not well-formed, and the root", ("dns.qry.name", "dns.resp.name"), _is_dns_name),
    Retold("Names of DNS that are not well-formed, and the root", ("dns.qry.name.len", "dns.count.labels"), _is_root),
    Retold("RADIUS user names with a NUL", ("radius.", "stun.", "snmp."), _is_cut_at_nul),
    Retold("A UDP length that leaves bytes over", ("udp.payload",), lambda mine, other: _text(other[0]).startswith(_text(mine[0]))),
    Retold("Text that is not UTF-8", ("",), _is_replaced),
)


def scope_of(field: Field) -> str:
    return NARROWER.get(field.name) or SCOPE[field.name.partition(".")[0]]


def theirs(field: Field, said: Sequence[str], add: int = 0) -> tuple[Scalar, ...]:
    """Wireshark's values (written as `wireshark.lua` says) as the catalogue's type has them; of a field of one value the first."""
    values = [_value(field, one) for one in (said if field.multiple else said[:1])]
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


def is_shown(mine: Sequence[Scalar]) -> bool:
    """Whether Wireshark shows anything for such values: false Booleans of a protocol are absent there, and so are empty runs of bytes."""
    return any(value is not False and value != b"" for value in mine)


def equal(field: Field, mine: Sequence[Scalar], other: Sequence[Scalar]) -> bool:
    """Boolean fields by their truth, which an absent one has not; many values in any order; text without regard to case where the
    catalogue says so."""
    if field.type is Type.BOOL:
        return (True in mine) == (True in other)
    if field.type is Type.BYTES:
        return sorted(_shown(field, value) for value in mine) == sorted(_shown(field, value) for value in other)
    return sorted(mine, key=repr) == sorted(other, key=repr)


def _shown(field: Field, value: Scalar) -> bytes:
    assert isinstance(value, bytes)
    return value.lower() if field.caseless else value
