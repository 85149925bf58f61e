"""QUIC's long headers (RFC 8999, RFC 9000 section 17.2, RFC 9369)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_NEGOTIATION = 0
_VERSION_2 = (0x6B3343CF, 0x709A50C4)
_OTHER_VERSIONS = (1, 0xFACEB001, 0xFACEB002, 0xFACEB00E, 0x51303530, 0x54303530, 0x54303531)
_LONGEST_CONNECTION_ID = 20
_TAG = 16
"""Bytes of the tag of an encrypted packet or of a Retry packet."""
_INITIAL, _RETRY = 0, 3
_MANY = 16
"""Values of a field that are looked at."""


@dataclass(frozen=True, slots=True)
class _Packet:
    first_byte: int
    version: int
    dcid: bytes
    scid: bytes
    token_length: int | None
    length: int | None
    size: int
    """Of the whole packet, in bytes."""

    @property
    def type_bits(self) -> int:
        return self.first_byte >> 4 & 3


def dissect_quic(packet: Packet) -> Mapping[str, Value] | None:
    payload = packet.udp_payload or b""
    packets = list(islice(_packets(payload), _MANY))
    values: dict[str, Value] = {}
    if packets:
        first = packets[0]
        values["quic.fixed_bit"] = bool(first.first_byte & 0x40)
        is_version_2 = first.version in _VERSION_2
        kinds = tuple(each.type_bits for each in packets)
        values["quic.long.packet_type_v2" if is_version_2 else "quic.long.packet_type"] = kinds
        if first.token_length is not None:
            values["quic.token_length"] = first.token_length
        if first.length is not None:
            values["quic.length"] = first.length
    else:
        head = _head(payload)
        if head is None:
            return None
        first, offered = head
        versions = tuple(int.from_bytes(offered[at : at + 4], "big") for at in range(0, len(offered), 4))
        if first.version != _NEGOTIATION or len(offered) % 4 or not any(map(_is_known, versions)):
            return None
        values["quic.supported_version"] = versions[:_MANY]
    values |= {
        "quic": True,
        "quic.header_form": 1,
        "quic.version": first.version,
        "quic.dcil": len(first.dcid),
        "quic.scil": len(first.scid),
    }
    if first.dcid:
        values["quic.dcid"] = first.dcid
    if first.scid:
        values["quic.scid"] = first.scid
    return values


def _is_known(version: int) -> bool:
    is_draft = 0xFF000016 <= version <= 0xFF0000FF
    return is_draft or version in _VERSION_2 or version in _OTHER_VERSIONS or version & 0x0F0F0F0F == 0x0A0A0A0A


def _head(payload: bytes) -> tuple[_Packet, bytes] | None:
    """What the long headers of all versions have, and what follows (RFC 8999 section 5.1)."""
    if len(payload) < 7 or payload[0] < 0x80 or payload[5] > _LONGEST_CONNECTION_ID:
        return None
    dcid, rest = payload[6 : 6 + payload[5]], payload[6 + payload[5] :]
    if not rest or rest[0] > _LONGEST_CONNECTION_ID or len(rest) < 1 + rest[0]:
        return None
    scid, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
    return _Packet(payload[0], int.from_bytes(payload[1:5], "big"), dcid, scid, None, None, len(payload)), rest


def _packets(payload: bytes) -> Iterator[_Packet]:
    """The packets of the datagram, which are of one version (RFC 9000 section 12.2); none in version negotiation."""
    first = packet = _packet(payload)
    while first is not None and packet is not None and packet.version == first.version:
        yield packet
        payload = payload[packet.size :]
        packet = _packet(payload)


def _packet(payload: bytes) -> _Packet | None:
    head = _head(payload)
    if head is None or not _is_known(head[0].version):
        return None
    packet, rest = head
    kind = packet.type_bits - 1 & 3 if packet.version in _VERSION_2 else packet.type_bits
    if kind == _RETRY:
        return packet if len(rest) >= _TAG else None
    token_length = None
    if kind == _INITIAL:
        token = _vector(rest)
        if token is None:
            return None
        token_length, rest = len(token[0]), token[1]
    sealed = _vector(rest)
    if sealed is None or len(sealed[0]) <= _TAG:
        return None
    size = len(payload) - len(sealed[1])
    return _Packet(packet.first_byte, packet.version, packet.dcid, packet.scid, token_length, len(sealed[0]), size)


def _vector(data: bytes) -> tuple[bytes, bytes] | None:
    """The bytes behind a length of variable size (RFC 9000 section 16), as many as it says, and what follows them."""
    if not data:
        return None
    size = 1 << (data[0] >> 6)
    if len(data) < size:
        return None
    length = int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1)
    end = size + length
    return (data[size:end], data[end:]) if end <= len(data) else None
