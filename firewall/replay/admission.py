"""Admission: which IP packets the kernel drops before any rule can see them, and why.

The kernel checks a packet as it comes in, in front of the prerouting hook: Linux 6.x, net/ipv4/ip_input.c (ip_rcv_core),
net/ipv6/ip6_input.c (ip6_rcv_core) and, for a hop-by-hop header, net/ipv6/exthdrs.c (ipv6_parse_hopopts). A packet refused there
is judged by nobody. Everything else (routing, reverse path filter, IPv4 options, further extension headers) comes behind the hook.

It is assumed that the interface is not the loopback device and that its settings, and the namespace's, are the kernel's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rules_dsl.packet import HOP_BY_HOP, ones_complement_sum

ETHERTYPES: Mapping[int, int] = MappingProxyType({0x0800: 4, 0x86DD: 6})
"""EtherType to the IP version whose receive function gets the frame."""

MOST_HOP_BY_HOP_OPTIONS = 8
"""Default of net.ipv6.max_hbh_opts_number; padding is not counted."""

MOST_PADDING_BYTES = 7
"""Longest run of padding between options (RFC 4942 section 2.1.9.5)."""

_PAD1, _PADN = 0, 1
"""Padding options (RFC 8200 section 4.2)."""

_LOOPBACK_V6 = bytes(15) + b"\x01"


def refusal(packet: bytes, ethertype: int | None = None) -> str | None:
    """Why the kernel drops `packet` (from its IP header to the frame's end) before prerouting, or None if the rules see it.

    `ethertype` is what the frame says it carries; without it the packet's version decides which family receives it."""
    if not packet:
        return "there is no IP packet in the frame"
    version = packet[0] >> 4
    expected = version if ethertype is None else ETHERTYPES.get(ethertype)
    if expected not in (4, 6):
        return f"the IP version is {version}" if ethertype is None else f"the frame's type {ethertype:#06x} is not IP"
    if version != expected:
        return f"the frame's type says IPv{expected}, the IP version is {version}"
    return _refusal_v4(packet) if version == 4 else _refusal_v6(packet)


def repair_checksum(packet: bytes) -> bytes:
    """`packet` with a right IPv4 header checksum; as it is, where it has no whole IPv4 header."""
    header_length = (packet[0] & 15) * 4 if packet else 0
    if not packet or packet[0] >> 4 != 4 or not 20 <= header_length <= len(packet):
        return packet
    cleared = packet[:10] + b"\x00\x00" + packet[12:]
    checksum = ~ones_complement_sum(cleared[:header_length]) & 0xFFFF
    return packet[:10] + checksum.to_bytes(2, "big") + packet[12:]


def _refusal_v4(packet: bytes) -> str | None:
    if len(packet) < 20:
        return f"the IPv4 header is cut: {len(packet)} of 20 bytes"
    header_length = (packet[0] & 15) * 4
    if header_length < 20:
        return f"the IPv4 header length is {header_length} bytes, less than 20"
    if len(packet) < header_length:
        return f"the IPv4 header is cut: {len(packet)} of {header_length} bytes"
    if ones_complement_sum(packet[:header_length]) != 0xFFFF:
        return "the IPv4 header checksum is wrong"
    total_length = int.from_bytes(packet[2:4], "big")
    if total_length > len(packet):
        return f"the IPv4 total length is {total_length} bytes, the frame holds {len(packet)}"
    if total_length < header_length:
        return f"the IPv4 total length is {total_length} bytes, less than the header's {header_length}"
    return None


def _refusal_v6(packet: bytes) -> str | None:
    if len(packet) < 40:
        return f"the IPv6 header is cut: {len(packet)} of 40 bytes"
    source, destination = packet[8:24], packet[24:40]
    # RFC 4291 section 2.5.3: never to or from the loopback address on a real interface.
    if source == _LOOPBACK_V6:
        return "the IPv6 source is the loopback address"
    if destination == _LOOPBACK_V6:
        return "the IPv6 destination is the loopback address"
    # RFC 4291 section 2.7 and its erratum 3480. The scope is the low half of a multicast address's second byte.
    if destination[0] == 0xFF and destination[1] & 15 == 1:
        return "the IPv6 destination is a multicast address of interface-local scope"
    if destination[0] == 0xFF and destination[1] & 15 == 0:
        return "the IPv6 destination is a multicast address of the reserved scope 0"
    if source[0] == 0xFF:
        return "the IPv6 source is a multicast address"
    payload_length = int.from_bytes(packet[4:6], "big")
    has_options = packet[6] == HOP_BY_HOP
    if payload_length or not has_options:  # else the length is left to a jumbo payload option
        if 40 + payload_length > len(packet):
            return f"the IPv6 payload length is {payload_length} bytes, the frame holds {len(packet) - 40}"
        packet = packet[: 40 + payload_length]
    return _refusal_of_options(packet) if has_options else None


def _refusal_of_options(packet: bytes) -> str | None:
    """Why the hop-by-hop options, which follow the IPv6 header, are refused."""
    if len(packet) < 48:
        return f"the hop-by-hop header is cut: {len(packet) - 40} of 8 bytes"
    end = 40 + (packet[41] + 1) * 8
    if len(packet) < end:
        return f"the hop-by-hop header is cut: {len(packet) - 40} of {end - 40} bytes"
    place, count, padding = 42, 0, 0
    while place < end:
        kind = packet[place]
        if kind == _PAD1:
            length = 1
        elif place + 2 > end or place + 2 + packet[place + 1] > end:
            return f"hop-by-hop option {kind} runs past its header"
        else:
            length = 2 + packet[place + 1]
        if kind in (_PAD1, _PADN):
            padding += length
            if padding > MOST_PADDING_BYTES:
                return f"the hop-by-hop options have more than {MOST_PADDING_BYTES} bytes of padding in a row"
            if any(packet[place + 2 : place + length]):
                return "the padding in the hop-by-hop options is not zero"
        else:
            padding = 0
            count += 1
            if count > MOST_HOP_BY_HOP_OPTIONS:
                return f"there are more than {MOST_HOP_BY_HOP_OPTIONS} hop-by-hop options"
            reason = _refusal_of_option(packet, kind, place)
            if reason is not None:
                return reason
        place += length
    return None


def _refusal_of_option(packet: bytes, kind: int, place: int) -> str | None:
    data_length = packet[place + 1]
    match kind:
        case 5:  # router alert (RFC 2711)
            return None if data_length == 2 else f"the router alert option has {data_length} bytes of data, not 2"
        case 7:  # CALIPSO (RFC 5570)
            # Valid only for a domain of interpretation that netlabel was told of, and by default it knows none.
            return "the CALIPSO option names a domain that is not configured"
        case 49:  # IOAM (RFC 9486), ignored unless net.ipv6.conf.*.ioam6_enabled
            return None if place % 4 == 0 else "the IOAM option is not aligned to 4 bytes"
        case 194:  # jumbo payload (RFC 2675)
            return _refusal_of_jumbo(packet, place)
        case _ if kind & 0xC0:  # the two highest bits: what to do with an unknown option (RFC 8200 section 4.2)
            return f"hop-by-hop option {kind} is unknown and says to drop the packet"
        case _:
            return None


def _refusal_of_jumbo(packet: bytes, place: int) -> str | None:
    if packet[place + 1] != 4 or place % 4 != 2:
        return "the jumbo payload option has a wrong length or alignment"
    jumbo_length = int.from_bytes(packet[place + 2 : place + 6], "big")
    if jumbo_length <= 0xFFFF:
        return f"the jumbo payload length is {jumbo_length} bytes, which needs no jumbo payload"
    if packet[4:6] != b"\x00\x00":
        return "a jumbo payload option stands in a packet whose payload length is not 0"
    if jumbo_length > len(packet) - 40:
        return f"the jumbo payload length is {jumbo_length} bytes, the frame holds {len(packet) - 40}"
    return None
