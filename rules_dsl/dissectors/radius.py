"""RADIUS (RFC 2865)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Address, Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_CODES = frozenset((*range(1, 14), *range(21, 28), *range(29, 35), *range(40, 46), *range(50, 53)))
"""IANA, RADIUS Packet Type Codes."""
_HEADER_BYTES, _LONGEST = 20, 4096
_USER_NAME, _NAS_IP_ADDRESS = 1, 4


def dissect_radius(packet: Packet) -> Mapping[str, Value] | None:
    payload = packet.udp_payload
    if payload is None or len(payload) < _HEADER_BYTES or payload[0] not in _CODES:
        return None
    length = int.from_bytes(payload[2:4], "big")
    if length > _LONGEST or length != len(payload):
        return None
    attributes = _attributes(payload[_HEADER_BYTES:])
    if attributes is None:
        return None
    values: dict[str, Value] = {"radius": True, "radius.code": payload[0], "radius.id": payload[1], "radius.length": length}
    first: dict[int, bytes] = {}
    for kind, value in attributes:
        first.setdefault(kind, value)
    if _USER_NAME in first:
        values["radius.user_name"] = first[_USER_NAME]
    if len(first.get(_NAS_IP_ADDRESS, b"")) == 4:
        values["radius.nas_ip"] = Address(4, int.from_bytes(first[_NAS_IP_ADDRESS], "big"))
    return values


def _attributes(data: bytes) -> list[tuple[int, bytes]] | None:
    """Type and value of each (RFC 2865 section 5); None where they do not fill the data exactly."""
    found = []
    while data:
        if len(data) < 2 or not 2 <= data[1] <= len(data):
            return None
        found.append((data[0], data[2 : data[1]]))
        data = data[data[1] :]
    return found
