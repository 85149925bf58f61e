"""STUN (RFC 8489): the header, and the attributes that tell who speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_HEADER_BYTES = 20
_COOKIE = bytes.fromhex("2112a442")
_CLASS_BITS = 0x0110
_USERNAME, _SOFTWARE = 0x0006, 0x8022
_ATTRIBUTES_LOOKED_AT = 64


def dissect_stun(packet: Packet) -> Mapping[str, Value] | None:
    message = _message_in_udp(packet.udp_payload) or _message_in_tcp(packet.tcp_payload)
    if message is None:
        return None
    kind = int.from_bytes(message[:2], "big")
    values: dict[str, Value] = {
        "stun": True,
        "stun.type": kind,
        "stun.method": kind & ~_CLASS_BITS,
        "stun.class": (kind & _CLASS_BITS) >> 4,
        "stun.length": int.from_bytes(message[2:4], "big"),
        "stun.cookie": message[4:8],
        "stun.id": message[8:20],
    }
    attributes = list(_attributes(message))
    if attributes:
        values["stun.att.type"] = tuple(kind for kind, _ in attributes)
    for name, wanted in (("stun.att.username", _USERNAME), ("stun.att.software", _SOFTWARE)):
        found = next((value for kind, value in attributes[:_ATTRIBUTES_LOOKED_AT] if kind == wanted), None)
        if found is not None:
            values[name] = found
    return values


def _message_in_udp(payload: bytes | None) -> bytes | None:
    if payload is None or not _is_header(payload) or _stated_end(payload) != len(payload):
        return None
    return payload


def _message_in_tcp(payload: bytes | None) -> bytes | None:
    """The message, as far as it is in the segment."""
    if payload is None:
        return None
    for message in (payload, payload[2:]):  # RFC 4571: two bytes of length before it
        if _is_header(message):
            return message[: _stated_end(message)]
    return None


def _is_header(message: bytes) -> bool:
    return len(message) >= _HEADER_BYTES and message[0] < 0x40 and message[4:8] == _COOKIE


def _stated_end(message: bytes) -> int:
    return _HEADER_BYTES + int.from_bytes(message[2:4], "big")


def _attributes(message: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Type and value of each (RFC 8489 section 14); the value is None where it is not whole."""
    at = _HEADER_BYTES
    while at + 4 <= len(message):
        length = int.from_bytes(message[at + 2 : at + 4], "big")
        value = message[at + 4 : at + 4 + length]
        yield int.from_bytes(message[at : at + 2], "big"), value if len(value) == length else None
        at += 4 + length + -length % 4
