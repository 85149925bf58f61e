"""GENEVE (RFC 8926 section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.dissectors.within import TRANSPARENT_ETHERNET, is_ip_or_arp, packet_within
from rules_dsl.fields import Header
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_HEADER_BYTES = 8
_PORT = 6081


def dissect_geneve(packet: Packet) -> Mapping[str, Value] | None:
    if geneve_content(packet) is None or packet.udp_payload is None:
        return None
    return {"geneve": True, "geneve.vni": int.from_bytes(packet.udp_payload[4:7], "big")}


def geneve_content(packet: Packet) -> tuple[int, bytes] | None:
    """EtherType and bytes of what a GENEVE message carries."""
    message = packet.udp_payload or b""
    if len(message) < _HEADER_BYTES:
        return None
    version, reserved = message[0] >> 6, (message[1] & 0x3F, message[7])
    behind_options = _HEADER_BYTES + (message[0] & 0x3F) * 4
    if version != 0 or behind_options > len(message):
        return None
    ether_type, content = int.from_bytes(message[2:4], "big"), message[behind_options:]
    if packet.bits(Header.UDP, 16, 32) == _PORT:
        return ether_type, content
    if reserved != (0, 0):
        return None
    if ether_type == TRANSPARENT_ETHERNET:
        is_valid = is_ip_or_arp(content, packet)
    else:
        is_valid = packet_within(content, ether_type, packet) is not None
    return (ether_type, content) if is_valid else None
