"""RTCP (RFC 3550 section 6, RFC 4585, RFC 3611)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_FIRST_TYPES = range(200, 208)
_TYPES = range(192, 224)
"""Of packets that follow the first (RFC 5761 section 4)."""


def dissect_rtcp(packet: Packet) -> Mapping[str, Value] | None:
    packets = list(_packets(packet.udp_payload or b""))
    if not packets or packets[0][1] not in _FIRST_TYPES or len(packets[0]) < _shortest(packets[0]):
        return None
    return {"rtcp": True, "rtcp.pt": tuple(each[1] for each in packets)}


def _packets(rest: bytes) -> Iterator[bytes]:
    """The packets of the compound, as long as they are right."""
    while len(rest) >= 4 and rest[0] >> 6 == 2 and rest[1] in _TYPES:
        length = 4 + 4 * int.from_bytes(rest[2:4], "big")
        if length > len(rest):
            return
        yield rest[:length]
        rest = rest[length:]


def _shortest(packet: bytes) -> int:
    count = packet[0] & 0x1F
    match packet[1]:
        case 200:  # sender report
            return 28 + 24 * count
        case 201:  # receiver report
            return 8 + 24 * count
        case 202:  # source description
            return 4
        case 203:  # goodbye
            return 4 + 4 * count
        case 207:  # extended report
            return 8
        case _:
            return 12
