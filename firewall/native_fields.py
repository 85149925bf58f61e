"""Which catalogue fields nftables can load, and how it spells them, per class of packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType

from firewall.match import Key, Notation, PacketClass
from rules_dsl.fields import PROTOCOL_NUMBER, Bits, Field, Header


@dataclass(frozen=True, slots=True)
class Load:
    """An nft expression for the bits of a field; a value of the field is (bits * scale + add), and stands in what nft loads
    `shift` bits further left."""

    left: str
    mask: int | None
    """Bits of the load that are the field's, already shifted; None: all of them."""
    shift: int = 0
    scale: int = 1
    add: int = 0
    maximum: int = 0
    """The largest value of the bits."""
    always: bool = False
    protocol: int | None = None
    typed: bool = False
    key: Key | None = None
    notation: Notation = Notation.NUMBER
    has_bits: bool = True
    """nft can mask it further."""
    reach: int = 0
    """Bytes of the transport header up to the last one loaded."""


_V4, _V6 = 4, 6

_TYPED: Mapping[tuple[str, int], str] = MappingProxyType(
    {
        ("ip.src", _V4): "ip saddr", ("ip.src", _V6): "ip6 saddr", ("ip.dst", _V4): "ip daddr", ("ip.dst", _V6): "ip6 daddr",
        ("ip.ttl", _V4): "ip ttl", ("ip.ttl", _V6): "ip6 hoplimit", ("ip.len", _V4): "ip length", ("ip.len", _V6): "ip6 length",
        ("ip.id", _V4): "ip id",
    }
)  # fmt: skip
"""nft's names of whole-byte fields of the IP headers; any other is a raw load."""

_TYPED_TRANSPORT: Mapping[str, str] = MappingProxyType(
    {
        "tcp.srcport": "tcp sport", "tcp.dstport": "tcp dport", "tcp.seq": "tcp sequence", "tcp.ack": "tcp ackseq",
        "tcp.window": "tcp window", "udp.srcport": "udp sport", "udp.dstport": "udp dport", "udp.length": "udp length",
        "sctp.srcport": "sctp sport", "sctp.dstport": "sctp dport", "icmp.type": "icmp type", "icmp.code": "icmp code",
        "icmpv6.type": "icmpv6 type", "icmpv6.code": "icmpv6 code", "esp.spi": "esp spi",
    }
)  # fmt: skip

_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "ip.src": Key.SOURCE, "ip.dst": Key.DESTINATION,
        "tcp.srcport": Key.SOURCE_PORT, "udp.srcport": Key.SOURCE_PORT, "sctp.srcport": Key.SOURCE_PORT,
        "tcp.dstport": Key.DESTINATION_PORT, "udp.dstport": Key.DESTINATION_PORT, "sctp.dstport": Key.DESTINATION_PORT,
    }
)  # fmt: skip

IP_HEADER_BITS: Mapping[int, int] = MappingProxyType({4: 160, 6: 320})
"""Bits of the IP header that the kernel makes sure of before the first hook."""

_FARTHEST_BYTE = 255
"""Largest offset of a payload load (NFTA_PAYLOAD_OFFSET has 8 bits: net/netfilter/nft_payload.c)."""


@cache
def place_in(field: Field, packets: PacketClass) -> Bits | None:
    """The field's place in packets of this class; None where they do not have it."""
    return next((place for place in field.at if header_exists(place.header, packets)), None)


def header_exists(header: Header, packets: PacketClass) -> bool:
    """Whether packets of the class can have the header."""
    match header:
        case Header.IP:
            return True
        case Header.IPV4:
            return packets.version == 4
        case Header.IPV6 | Header.FRAGMENT:
            return packets.version == 6
        case Header.ICMP:
            return packets is PacketClass.IP4
        case Header.ICMPV6:
            return packets.version == 6 and not packets.is_later_fragment
        case _:
            return not packets.is_later_fragment


@cache
def load_of(field: Field, packets: PacketClass) -> Load | str:
    """How nft loads a field that lies as plain bits in packets of the class, or `ip.proto`, `meta.mark`; else why it cannot."""
    if field.name == "meta.mark":
        return Load("meta mark", None, maximum=0xFFFFFFFF, always=True, notation=Notation.HEX)
    if field.name == "ip.proto":
        if packets is PacketClass.IP6_ODD:
            return "nftables does not walk past this packet's extension headers"
        return Load("meta l4proto", None, maximum=255, always=packets.version == 4, key=Key.PROTOCOL)
    place = place_in(field, packets)
    if place is None:
        return "nftables does not compute it"
    if place.header is Header.FRAGMENT:
        return _fragment_load(field, place)
    if place.header in PROTOCOL_NUMBER:
        load = bits_load(place.header, place.offset, place.offset + place.width, packets)
        typed = _TYPED_TRANSPORT.get(field.name)
    else:
        load = bits_load(place.header, place.offset, place.offset + place.width, packets)
        typed = _TYPED.get((field.name, packets.version))
    if isinstance(load, str):
        return load
    notation = load.notation
    if field.name in ("ip.src", "ip.dst"):
        notation = Notation.IPV4 if packets.version == 4 else Notation.IPV6
    elif typed:
        notation = Notation.NUMBER
    return Load(
        typed or load.left, load.mask, load.shift, place.scale, place.add, load.maximum, load.always, load.protocol, typed is not None,
        _KEYS.get(field.name), notation, reach=load.reach,
    )  # fmt: skip


def _fragment_load(field: Field, place: Bits) -> Load | str:
    maximum = (1 << place.width) - 1
    match field.name:
        case "ip.frag.offset":  # nft masks and shifts by itself; a further mask it would apply in the wrong byte order
            return Load("frag frag-off", None, 0, place.scale, place.add, maximum, has_bits=False)
        case "ip.frag.more":
            return Load("frag more-fragments", None, 0, place.scale, place.add, maximum, has_bits=False)
        case _:
            return "nftables names no such bits of the fragment header"


@lru_cache(maxsize=4096)
def bits_load(header: Header, start: int, end: int, packets: PacketClass) -> Load | str:
    """Bits `start` to `end` (half-open) of a header as a raw load of the bytes that hold them, or why nft cannot."""
    first, last = start // 8, (end + 7) // 8
    protocol = PROTOCOL_NUMBER.get(header)
    always = False
    if header is Header.FRAGMENT:
        return "nftables loads no raw bits of the fragment header"
    if protocol is None:
        base = "nh"
        always = last * 8 <= IP_HEADER_BITS[packets.version]
    elif packets is PacketClass.IP6_ODD:
        return "nftables does not find the transport header behind this packet's extension headers"
    else:
        base = "th"
    if first > _FARTHEST_BYTE:
        return "nftables loads nothing so far behind a header"
    shift, width = -end % 8, end - start
    maximum = (1 << width) - 1
    whole = width == (last - first) * 8
    left = f"@{base},{first * 8},{(last - first) * 8}"
    return Load(
        left,
        None if whole else maximum << shift,
        shift,
        1,
        0,
        maximum,
        always,
        protocol,
        notation=Notation.HEX,
        reach=last if protocol is not None else 0,
    )
