"""RTP (RFC 3550 section 5.1) by its bytes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_ASSIGNED = frozenset({0, *range(3, 19), 25, 26, 28, 31, 32, 33, 34})
"""RFC 3551 section 6; 1, 2, 19, 20 to 24, 27, 29 and 30 are reserved or not assigned."""
_DYNAMIC = range(96, 128)
_MORE_DYNAMIC = range(35, 64)
"""WebRTC takes these when the others are used up (RFC 3551 section 3)."""


def dissect_rtp(packet: Packet) -> Mapping[str, Value] | None:
    message = packet.udp_payload
    if message is None or len(message) < 12:
        return None
    version, padding, extended, sources = message[0] >> 6, message[0] >> 5 & 1, message[0] >> 4 & 1, message[0] & 15
    payload_type = message[1] & 0x7F
    header = 12 + 4 * sources
    marked = False
    if extended:
        extension = message[header : header + 4]
        if len(extension) < 4:
            return None
        profile = int.from_bytes(extension[:2], "big")
        marked = profile == 0xBEDE or profile >> 4 == 0x100
        header += 4 + 4 * int.from_bytes(extension[2:], "big")
    follow = len(message) - header
    ssrc = int.from_bytes(message[8:12], "big")
    if version != 2 or follow < 0 or ssrc == 0:
        return None
    if payload_type not in _ASSIGNED and payload_type not in _DYNAMIC and not (marked and payload_type in _MORE_DYNAMIC):
        return None
    if not marked and (sources > 0 or (padding and not 1 <= message[-1] <= follow)):
        return None
    return {
        "rtp": True,
        "rtp.version": version,
        "rtp.padding": bool(padding),
        "rtp.ext": bool(extended),
        "rtp.cc": sources,
        "rtp.marker": bool(message[1] & 0x80),
        "rtp.p_type": payload_type,
        "rtp.seq": int.from_bytes(message[2:4], "big"),
        "rtp.timestamp": int.from_bytes(message[4:8], "big"),
        "rtp.ssrc": ssrc,
    }
