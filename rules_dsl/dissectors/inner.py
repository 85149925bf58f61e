"""The IP packet in a tunnel: IP in IP, GRE (RFC 2784, RFC 2890), ERSPAN in GRE (draft-foschiano-erspan), VXLAN, GENEVE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.dissectors.geneve import geneve_content
from rules_dsl.dissectors.vxlan import vxlan_frame
from rules_dsl.dissectors.within import IPV4, IPV6, TRANSPARENT_ETHERNET, fields_within, packet_in_frame, packet_within
from rules_dsl.fields import Header
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_ERSPAN, _ERSPAN_3 = 0x88BE, 0x22EB
_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0007
"""Bits of GRE's first 16."""


def dissect_inner(packet: Packet) -> Mapping[str, Value] | None:
    inner = _tunneled(packet)
    if inner is None:
        return None
    return fields_within(inner, "inner", "ip.src", "ip.dst", "ip.version", "ip.proto", "ip.ttl")


def _tunneled(packet: Packet) -> Packet | None:
    match packet.transport_header:
        case Header.IPIP:
            return packet_within(packet.transport(Header.IPIP) or b"", IPV4, packet)
        case Header.IPV6_IN_IP:
            return packet_within(packet.transport(Header.IPV6_IN_IP) or b"", IPV6, packet)
        case Header.GRE:
            content = _gre_content(packet)
        case Header.UDP:
            frame = vxlan_frame(packet)
            content = geneve_content(packet) if frame is None else (TRANSPARENT_ETHERNET, frame)
        case _:
            return None
    if content is None:
        return None
    ether_type, data = content
    return packet_in_frame(data, packet) if ether_type == TRANSPARENT_ETHERNET else packet_within(data, ether_type, packet)


def _gre_content(packet: Packet) -> tuple[int, bytes] | None:
    """EtherType and bytes of what GRE carries; ERSPAN's frame as Ethernet."""
    gre = packet.transport(Header.GRE)
    if gre is None:
        return None
    flags, ether_type = int.from_bytes(gre[:2], "big"), int.from_bytes(gre[2:4], "big")
    if flags & (_ROUTING | _VERSION):
        return None
    content = gre[4 + 4 * sum(flags & bit != 0 for bit in (_CHECKSUM, _KEY, _SEQUENCE)) :]
    if ether_type == _ERSPAN and flags & _SEQUENCE:  # type II; without a sequence number type I, which has no header
        if len(content) < 8 or content[0] >> 4 != 1:
            return None
        content = content[8:]
    elif ether_type == _ERSPAN_3:
        if len(content) < 12 or content[0] >> 4 != 2:
            return None
        has_subheader = content[11] & 1
        content = content[20:] if has_subheader else content[12:]
    return TRANSPARENT_ETHERNET if ether_type in (_ERSPAN, _ERSPAN_3) else ether_type, content
