"""NTP (RFC 5905), its control messages (RFC 9327) and the private mode 7 of ntpd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_CONTROL, _PRIVATE = 6, 7
_MONLIST = (20, 42)


def dissect_ntp(packet: Packet) -> Mapping[str, Value] | None:
    message = packet.udp_payload
    if not message:
        return None
    version, mode = message[0] >> 3 & 7, message[0] & 7
    is_valid = {0: _never, _CONTROL: _is_control, _PRIVATE: _is_private}.get(mode, _is_time)
    if not 1 <= version <= 4 or not is_valid(message):
        return None
    values: dict[str, Value] = {"ntp": True, "ntp.version": version, "ntp.mode": mode, "ntp.response": False, "ntp.monlist": False}
    if mode <= _CONTROL:
        values["ntp.leap"] = message[0] >> 6
    if mode < _CONTROL:
        values["ntp.stratum"] = message[1]
        values["ntp.poll"] = message[2]
        values["ntp.refid"] = message[12:16]
    elif mode == _CONTROL:
        values["ntp.response"] = bool(message[1] & 0x80)
        values["ntp.ctrl.opcode"] = message[1] & 0x1F
    else:
        values["ntp.response"] = bool(message[0] & 0x80)
        values["ntp.request_code"] = message[3]
        values["ntp.monlist"] = message[3] in _MONLIST and not message[0] & 0x80
    return values


def _never(message: bytes) -> bool:
    return False


def _is_time(message: bytes) -> bool:
    """Modes 1 to 5, RFC 5905 section 7.3."""
    if len(message) < 48 or len(message) % 4:
        return False
    stratum, poll, precision = (int.from_bytes(message[place : place + 1], signed=True) for place in (1, 2, 3))
    delay, dispersion = message[4], message[8]  # seconds / 256
    if not (0 <= stratum <= 16 and -8 <= poll <= 24 and -64 <= precision <= 32 and delay in (0, 0xFF) and dispersion == 0):
        return False
    rest = message[48:]
    extension_length = int.from_bytes(rest[2:4])
    return len(rest) <= 72 or (16 <= extension_length <= len(rest) and extension_length % 4 == 0)


def _is_control(message: bytes) -> bool:
    """RFC 9327 section 2."""
    if len(message) < 12:
        return False
    response, error, more, opcode = message[1] & 0x80, message[1] & 0x40, message[1] & 0x20, message[1] & 0x1F
    status, offset, count = (int.from_bytes(message[place : place + 2]) for place in (4, 8, 10))
    if 12 < opcode < 31 or not 12 + count <= len(message) <= 12 + count + 27:
        return False
    return offset < 0x4000 if response else not (error or more or status or offset)


def _is_private(message: bytes) -> bool:
    """ntpd's include/ntp_request.h."""
    if len(message) < 8:
        return False
    implementation, error, zero = message[2], message[4] >> 4, message[6] >> 4
    items, size = (int.from_bytes(message[place : place + 2]) & 0xFFF for place in (4, 6))
    largest_error = 7 if message[0] & 0x80 else 0
    return implementation in (2, 3) and zero == 0 and error <= largest_error and items * size <= 500
