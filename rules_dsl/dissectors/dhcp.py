"""DHCP for IPv4 (RFC 2131) and its options (RFC 2132)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Address, Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_COOKIE = bytes.fromhex("63825363")
_OPTIONS_AT = 240
_LONGEST_OPTIONS = 2048
_PAD, _END = 0, 255
_HOST_NAME, _REQUESTED_ADDRESS, _MESSAGE_TYPE, _VENDOR_CLASS = 12, 50, 53, 60
_ETHERNET, _IEEE_802 = 1, 6


def dissect_dhcp(packet: Packet) -> Mapping[str, Value] | None:
    message = packet.udp_payload
    if message is None or len(message) < _OPTIONS_AT:
        return None
    operation, hardware, hardware_length, hops = message[:4]
    if operation not in (1, 2) or hardware_length > 16 or message[236:240] != _COOKIE:
        return None
    values: dict[str, Value] = {
        "dhcp": True,
        "dhcp.op": operation,
        "dhcp.hw.type": hardware,
        "dhcp.hops": hops,
        "dhcp.id": int.from_bytes(message[4:8], "big"),
        "dhcp.secs": int.from_bytes(message[8:10], "big"),
        "dhcp.ip.client": _address(message[12:16]),
        "dhcp.ip.your": _address(message[16:20]),
        "dhcp.ip.server": _address(message[20:24]),
        "dhcp.ip.relay": _address(message[24:28]),
    }
    if hardware in (_ETHERNET, _IEEE_802) and hardware_length == 6:
        values["dhcp.hw.mac_addr"] = message[28:34]
    options = list(_options(message[_OPTIONS_AT:][:_LONGEST_OPTIONS]))
    if options:
        values["dhcp.option.type"] = tuple(code for code, _ in options)
    first: dict[int, bytes] = {}
    for code, value in options:
        first.setdefault(code, value)
    if len(first.get(_MESSAGE_TYPE, b"")) == 1:
        values["dhcp.option.dhcp"] = first[_MESSAGE_TYPE][0]
    if len(first.get(_REQUESTED_ADDRESS, b"")) == 4:
        values["dhcp.option.requested_ip_address"] = _address(first[_REQUESTED_ADDRESS])
    for name, code in (("dhcp.option.hostname", _HOST_NAME), ("dhcp.option.vendor_class_id", _VENDOR_CLASS)):
        if code in first:
            values[name] = first[code].partition(b"\0")[0]  # trailing NULs do not count (RFC 2132 section 2)
    return values


def _address(data: bytes) -> Address:
    return Address(4, int.from_bytes(data, "big"))


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Code and value of each whole option."""
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            return
        end = at + 2 + data[at + 1]
        yield data[at], data[at + 2 : end]
        at = end
