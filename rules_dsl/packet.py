"""The reference packet decoder: the value of every catalogue field in one packet, read from its bytes.

A packet is an IP packet as the kernel's prerouting hook has it: from the IP header, cut to the length that header states. Nothing
here refuses a damaged packet; what is not there is absent (None). Fields of protocols are read by rules_dsl/dissectors. Written for
clearness; the lowerings share none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.fields import HEADER_BYTES, PROTOCOL_NUMBER, PROTOCOL_OF, Field, Header, Type
from rules_dsl.value import Address, Value

IPV6_HEADER_BYTES = 40

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
"""IANA protocol numbers of the IPv6 extension headers that are walked."""

BYTES_TO_WALK: Mapping[int, int] = MappingProxyType({HOP_BY_HOP: 2, ROUTING: 4, FRAGMENT: 4, AUTHENTICATION: 2, DESTINATION_OPTIONS: 2})
"""Bytes of an extension header that must be in the packet for the walk to go on (net/ipv6/exthdrs_core.c, ipv6_find_hdr)."""

FURTHEST_TRANSPORT = 65535
"""The bound of the walk: a transport header that would begin beyond this offset is not found (nft keeps the offset in 16 bits)."""

_TRANSPORT_HEADERS: Mapping[int, Mapping[int, Header]] = MappingProxyType(
    {
        4: {number: header for header, number in PROTOCOL_NUMBER.items() if header is not Header.ICMPV6},
        6: {number: header for header, number in PROTOCOL_NUMBER.items() if header is not Header.ICMP},
    }
)
"""IP version and protocol number to the transport header; each ICMP belongs to one version only."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a packet besides its bytes: where it came in, and the node that judges it."""

    interface_in: str | None
    interface_out: str | None = None
    mark: int = 0
    vlan_id: int | None = None
    """The outermost VLAN id of the VLAN interface that the packet came in by."""
    colo_name: str = ""
    colo_region: str = ""


class Layout(NamedTuple):
    """Where the headers are; offsets in bytes from the packet's first."""

    protocol: int | None
    """ip.proto; None where the chain of extension headers is cut or continues beyond a later fragment's header."""
    transport: int | None
    """Where the transport header begins or would begin; None for a later fragment or where `protocol` is None."""
    extensions: tuple[int, ...] = ()
    """Protocol numbers of the IPv6 extension headers walked."""
    fragment: int | None = None
    """Where the first IPv6 fragment header is."""


class Packet:
    """One packet and its place. `data` begins at the IP header; what lies behind the IP length (Ethernet padding) is cut off.

    Raises ValueError where the first byte says neither version 4 nor 6, or where there is no byte at all."""

    __slots__ = ("_layout", "_values", "data", "place", "version")

    def __init__(self, data: bytes, place: Place) -> None:
        version = data[0] >> 4 if data else None
        if version not in (4, 6):
            raise ValueError("an IP packet begins with version 4 or 6")
        self.version: int = version
        self.data = data[: ip_length(data)]
        self.place = place
        self._layout: Layout | None = None
        self._values: dict[str, Value] = {}

    def value(self, field: Field) -> Value:
        """The field's value in this packet; None where it is absent."""
        name = field.name
        if name not in self._values:
            if name in PROTOCOL_OF:
                self._dissect(PROTOCOL_OF[name].name)
            self._values.setdefault(name, self._plain(field) if field.at else _COMPUTED.get(name, _absent)(self))
        return self._values[name]

    def _dissect(self, protocol: str) -> None:
        """The values of all fields of that protocol."""
        self._values.update(DISSECTORS[protocol](self) or {})

    @property
    def tcp_payload(self) -> bytes | None:
        """The field `tcp.payload`."""
        return _tcp_payload(self)

    @property
    def udp_payload(self) -> bytes | None:
        """The field `udp.payload`."""
        return _udp_payload(self)

    def bits(self, header: Header, start: int, end: int) -> int | None:
        """Bits `start` to `end` (half-open) from the first bit of `header`, as an unsigned big-endian integer; None where the
        header is absent or one of the bytes that hold the bits lies beyond the packet."""
        offset = self.offset_of(header)
        if offset is None:
            return None
        first, last = offset + start // 8, offset + (end + 7) // 8
        if last > len(self.data):
            return None
        number = int.from_bytes(self.data[first:last], "big")
        return number >> (-end % 8) & ((1 << (end - start)) - 1)

    def offset_of(self, header: Header) -> int | None:
        """Where `header` begins, in bytes from the packet's first; None where the packet has no such header. A transport header
        has its place even where the packet ends before it."""
        match header:
            case Header.IP:
                return 0
            case Header.IPV4:
                return 0 if self.version == 4 else None
            case Header.IPV6:
                return 0 if self.version == 6 else None
            case Header.FRAGMENT:
                return self.layout.fragment
            case _:
                return self.layout.transport if self.transport_header is header else None

    @property
    def transport_header(self) -> Header | None:
        """The transport header that the packet's protocol names, if it is one of the catalogue's."""
        protocol = self.layout.protocol
        return None if protocol is None else _TRANSPORT_HEADERS[self.version].get(protocol)

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            self._layout = _layout_v4(self.data) if self.version == 4 else _layout_v6(self.data)
        return self._layout

    def transport(self, header: Header) -> bytes | None:
        """What the packet has from the first byte of `header`; None where its fixed part is not whole."""
        offset = self.offset_of(header)
        if offset is None or len(self.data) < offset + HEADER_BYTES[header]:
            return None
        return self.data[offset:]

    def _plain(self, field: Field) -> Value:
        for place in field.at:
            number = self.bits(place.header, place.offset, place.offset + place.width)
            if number is None:
                continue
            match field.type:
                case Type.BOOL:
                    return bool(number)
                case Type.ADDRESS:
                    return Address(self.version, number)
                case _:
                    return number * place.scale + place.add
        return None


def ip_length(data: bytes) -> int:
    """How many bytes of `data` are the IP packet, by its header: IPv4's total length, or 40 and IPv6's payload length.

    An IPv6 payload length of 0 in front of a hop-by-hop header leaves the length open, for a jumbo payload (RFC 2675); the kernel
    then takes all that is there (net/ipv6/ip6_input.c)."""
    if data[0] >> 4 == 4:
        return int.from_bytes(data[2:4], "big")
    payload_length = int.from_bytes(data[4:6], "big")
    if payload_length == 0 and data[6:7] == bytes([HOP_BY_HOP]):
        return len(data)
    return IPV6_HEADER_BYTES + payload_length


def _layout_v4(data: bytes) -> Layout:
    if len(data) < 20:
        return Layout(None, None)
    is_later_fragment = int.from_bytes(data[6:8], "big") & 0x1FFF != 0
    return Layout(data[9], None if is_later_fragment else (data[0] & 15) * 4)


def _layout_v6(data: bytes) -> Layout:
    """Walks the chain of extension headers (RFC 8200 section 4, RFC 4302 for AH) as the kernel's ipv6_find_hdr does."""
    if len(data) < IPV6_HEADER_BYTES:
        return Layout(None, None)
    header, offset = data[6], IPV6_HEADER_BYTES
    walked: tuple[int, ...] = ()
    fragment = None
    while header in BYTES_TO_WALK:
        if offset + BYTES_TO_WALK[header] > len(data):
            return Layout(None, None, walked, fragment)
        walked += (header,)
        following, length = data[offset], data[offset + 1]
        if header == FRAGMENT:
            if fragment is None:
                fragment = offset
            if int.from_bytes(data[offset + 2 : offset + 4], "big") & 0xFFF8:
                protocol = None if following in BYTES_TO_WALK else following
                return Layout(protocol, None, walked, fragment)
            offset += 8
        elif header == AUTHENTICATION:
            offset += (length + 2) * 4
        else:
            offset += (length + 1) * 8
        header = following
    if offset > FURTHEST_TRANSPORT:
        return Layout(None, None, walked, fragment)
    return Layout(header, offset, walked, fragment)


# -- computed fields ---------------------------------------------------------------------------------------------------


def _tcp_header_length(packet: Packet) -> int | None:
    """The header length a TCP header states, in bytes; None where there is no TCP (`tcp` is false)."""
    segment = packet.transport(Header.TCP)
    if segment is None:
        return None
    length = (segment[12] >> 4) * 4
    return length if length >= HEADER_BYTES[Header.TCP] else None


def _tcp_payload(packet: Packet) -> bytes | None:
    length, segment = _tcp_header_length(packet), packet.transport(Header.TCP)
    if length is None or segment is None or length > len(segment):
        return None
    return segment[length:]


def _tcp_maximum_segment_size(packet: Packet) -> int | None:
    length, segment = _tcp_header_length(packet), packet.transport(Header.TCP)
    if length is None or segment is None or length > len(segment):
        return None
    options = segment[20:length]
    while options:
        kind = options[0]
        if kind == 0:  # end of option list
            return None
        if kind == 1:  # no operation
            options = options[1:]
            continue
        if len(options) < 2 or not 2 <= options[1] <= len(options):
            return None
        if kind == 2 and options[1] == 4:
            return int.from_bytes(options[2:4], "big")
        options = options[options[1] :]
    return None


def _udp_payload(packet: Packet) -> bytes | None:
    datagram = packet.transport(Header.UDP)
    if datagram is None:
        return None
    length = int.from_bytes(datagram[4:6], "big")
    return datagram[8:length] if length >= 8 else None


def _gre_payload(packet: Packet) -> bytes | None:
    gre = packet.transport(Header.GRE)
    if gre is None:
        return None
    flags = int.from_bytes(gre[0:2], "big")
    length = 4
    if flags & 0xC000:  # checksum or routing present: the word of checksum and offset (RFC 1701)
        length += 4
    if flags & 0x2000:  # key (RFC 2890)
        length += 4
    if flags & 0x1000:  # sequence number
        length += 4
    return gre[length:] if length <= len(gre) else None


def _payload(packet: Packet) -> bytes | None:
    start = packet.layout.transport
    if start is None:
        return None
    match packet.transport_header:
        case Header.TCP:
            return _tcp_payload(packet)
        case Header.UDP:
            return _udp_payload(packet)
        case Header.GRE:
            return _gre_payload(packet)
        case None:
            # A last extension header that runs past the packet's end leaves nothing to follow it.
            return packet.data[start:] if start <= len(packet.data) else None
        case header:
            whole = packet.transport(header)
            return None if whole is None else whole[HEADER_BYTES[header] :]


def _is_fragment(packet: Packet) -> bool | None:
    if packet.version == 6:
        return packet.layout.fragment is not None
    if len(packet.data) < 8:
        return None
    return int.from_bytes(packet.data[6:8], "big") & 0x3FFF != 0  # more fragments, or an offset (RFC 791)


def _first_ip_option(packet: Packet) -> int | None:
    if packet.version == 6 or len(packet.data) <= 20 or packet.data[0] & 15 <= 5:
        return None
    return packet.data[20]


def _is_checksum_valid(packet: Packet) -> bool:
    if packet.version == 6 or len(packet.data) < 20:
        return False
    length = (packet.data[0] & 15) * 4
    return 20 <= length <= len(packet.data) and ones_complement_sum(packet.data[:length]) == 0xFFFF


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit ones' complement sum of `data` (RFC 1071), whose length is even; 0xffff over a header with a right checksum."""
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _is_whole(header: Header) -> Callable[[Packet], bool]:
    return lambda packet: packet.transport(header) is not None


def _length_of(payload: Callable[[Packet], bytes | None]) -> Callable[[Packet], int | None]:
    def length(packet: Packet) -> int | None:
        value = payload(packet)
        return None if value is None else len(value)

    return length


def _absent(packet: Packet) -> None:
    """A field that the packet's message does not have."""


def _never(name: str) -> Callable[[Packet], Value]:
    def refuse(packet: Packet) -> Value:
        raise AssertionError(f"{name} is resolved by the checker, or refused, before any packet is judged")

    return refuse


_COMPUTED: Mapping[str, Callable[[Packet], Value]] = MappingProxyType(
    {
        "ip": lambda packet: True,
        "ip.proto": lambda packet: packet.layout.protocol,
        "ip.opt.type": _first_ip_option,
        "ip.frag": _is_fragment,
        "ip.checksum.valid": _is_checksum_valid,
        "ipv6.exthdr": lambda packet: packet.layout.extensions or None,
        "tcp": lambda packet: _tcp_header_length(packet) is not None,
        "tcp.options.mss": _tcp_maximum_segment_size,
        "tcp.payload": _tcp_payload,
        "tcp.payload.len": _length_of(_tcp_payload),
        "udp": _is_whole(Header.UDP),
        "udp.payload": _udp_payload,
        "udp.payload.len": _length_of(_udp_payload),
        "icmp": _is_whole(Header.ICMP),
        "icmpv6": _is_whole(Header.ICMPV6),
        "sctp": _is_whole(Header.SCTP),
        "gre": _is_whole(Header.GRE),
        "esp": _is_whole(Header.ESP),
        "payload": _payload,
        "payload.len": _length_of(_payload),
        "cf.colo.name": lambda packet: packet.place.colo_name.encode(),
        "cf.colo.region": lambda packet: packet.place.colo_region.encode(),
        "interface.in": lambda packet: _encoded(packet.place.interface_in),
        "interface.out": lambda packet: _encoded(packet.place.interface_out),
        "meta.mark": lambda packet: packet.place.mark,
        "vlan.id": lambda packet: packet.place.vlan_id,
        **{
            name: _never(name)
            for name in (
                "ip.src.country", "ip.dst.country", "ip.geoip.country", "ip.src.asnum", "ip.dst.asnum",
                "ct.state", "ct.direction",
            )
        },
    }
)  # fmt: skip
"""How each field without plain bits is found."""


def _encoded(name: str | None) -> bytes | None:
    return None if name is None else name.encode()
