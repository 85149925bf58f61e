"""VXLAN (RFC 7348 section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.dissectors.within import is_ip_or_arp
from rules_dsl.fields import Header
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_HEADER_BYTES = 8
_VALID_IDENTIFIER = 0x08
"""The flag I."""
_PORTS = (4789, 8472)


def dissect_vxlan(packet: Packet) -> Mapping[str, Value] | None:
    frame = vxlan_frame(packet)
    if frame is None or packet.udp_payload is None:
        return None
    return {"vxlan": True, "vxlan.vni": int.from_bytes(packet.udp_payload[4:7], "big")}


def vxlan_frame(packet: Packet) -> bytes | None:
    """The Ethernet frame in a VXLAN message."""
    message = packet.udp_payload or b""
    if len(message) < _HEADER_BYTES or not message[0] & _VALID_IDENTIFIER:
        return None
    frame = message[_HEADER_BYTES:]
    if packet.bits(Header.UDP, 16, 32) in _PORTS:
        return frame
    if message[:4] != b"\x08\x00\x00\x00" or message[7] != 0:
        return None
    return frame if is_ip_or_arp(frame, packet) else None
