"""TFTP (RFC 1350), with options (RFC 2347)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_READ, _DATA = 1, 3
_MODES = (b"netascii", b"octet", b"mail")


def dissect_tftp(packet: Packet) -> Mapping[str, Value] | None:
    message = packet.udp_payload
    if message is None or len(message) < 4:
        return None
    opcode, body = int.from_bytes(message[:2]), message[2:]
    values: dict[str, Value] = {"tftp": True, "tftp.opcode": opcode}
    match opcode:
        case 1 | 2:
            file, mode, *rest = body.split(b"\0") if body.count(b"\0") >= 2 else (b"", b"")
            if not rest or mode.lower() not in _MODES:
                return None
            values["tftp.file"] = values["tftp.source_file" if opcode == _READ else "tftp.destination_file"] = file
            values["tftp.type"] = mode
        case 3 | 4:
            if len(message) != (516 if opcode == _DATA else 4):
                return None
            values["tftp.block"] = int.from_bytes(body[:2])
        case 5:
            code = int.from_bytes(body[:2])
            if code > 8 or body.find(b"\0", 2) != len(body) - 1:
                return None
            values["tftp.error.code"] = code
        case 6:
            names, texts = body.split(b"\0")[:-1:2], body.split(b"\0")[1:-1:2]
            if not body.endswith(b"\0") or len(names) != len(texts) or not all(map(_is_name, names)) or not all(map(_is_text, texts)):
                return None
        case _:
            return None
    return values


def _is_text(option: bytes) -> bool:
    return all(0x20 <= byte <= 0x7E for byte in option)


def _is_name(option: bytes) -> bool:
    return option != b"" and _is_text(option) and b" " not in option
