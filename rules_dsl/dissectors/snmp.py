"""SNMP of versions 1 (RFC 1157), 2c (RFC 1901, RFC 3416) and 3 (RFC 3412, RFC 3414), in BER (ITU-T X.690)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_INTEGER, _OCTET_STRING, _SEQUENCE = 0x02, 0x04, 0x30
_PDUS = range(0xA0, 0xA9)
_TRAP_V1, _GET_BULK = 4, 5
_USER_BASED = 3
"""The security model of RFC 3414."""


class _NotSnmpError(Exception):
    """The bytes are not what they should be."""


class _Elements:
    """The elements in some bytes, taken one after the other."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    @property
    def tag(self) -> int | None:
        """Of the next."""
        return self.rest[0] if self.rest else None

    def take(self, *tags: int) -> bytes:
        """The contents of the next element, which has one of the tags and is whole."""
        if self.tag not in tags or len(self.rest) < 2:
            raise _NotSnmpError
        length, start = self.rest[1], 2
        if length >= 0x80:
            size = length & 0x7F
            start += size
            if not 1 <= size <= 4 or start > len(self.rest):
                raise _NotSnmpError
            length = int.from_bytes(self.rest[2:start], "big")
        if start + length > len(self.rest):
            raise _NotSnmpError
        contents = self.rest[start : start + length]
        self.rest = self.rest[start + length :]
        return contents

    def integer(self) -> int:
        """The next element, an integer, as 32 bits of two's complement."""
        contents = self.take(_INTEGER)
        if not 1 <= len(contents) <= 5 or (len(contents) == 5 and contents[0] != 0):
            raise _NotSnmpError
        return int.from_bytes(contents, "big", signed=True) & 0xFFFF_FFFF

    def octets(self) -> bytes:
        return self.take(_OCTET_STRING)

    def sequence(self) -> _Elements:
        return _Elements(self.take(_SEQUENCE))


def dissect_snmp(packet: Packet) -> Mapping[str, Value] | None:
    payload = packet.udp_payload if packet.udp_payload is not None else packet.tcp_payload
    try:
        return _message(_Elements(payload or b"").sequence())
    except _NotSnmpError:
        return None


def _message(message: _Elements) -> Mapping[str, Value]:
    version = message.integer()
    values: dict[str, Value] = {"snmp": True, "snmp.version": version}
    match version:
        case 0 | 1:  # SNMPv1, SNMPv2c
            values["snmp.community"] = message.octets()
            values |= _pdu(message)
        case 3:  # SNMPv3
            header = message.sequence()
            values["snmp.msgID"] = header.integer()
            header.integer()
            if len(header.octets()) != 1:
                raise _NotSnmpError
            model = header.integer()
            parameters = message.octets()
            if model == _USER_BASED:
                values |= _user(parameters)
            encrypted = message.tag == _OCTET_STRING
            scoped = _Elements(message.take(_SEQUENCE, _OCTET_STRING))
            if not encrypted:
                values |= _scoped_pdu(scoped)
        case _:
            raise _NotSnmpError
    return values


def _user(parameters: bytes) -> Mapping[str, Value]:
    """The user's name (RFC 3414 section 2.4), if it is there."""
    try:
        elements = _Elements(parameters).sequence()
        elements.octets()
        elements.integer()
        elements.integer()
        return {"snmp.msgUserName": elements.octets()}
    except _NotSnmpError:
        return {}


def _scoped_pdu(elements: _Elements) -> Mapping[str, Value]:
    """The PDU behind the context's engine and name (RFC 3412 section 6.8), if it is there."""
    try:
        elements.octets()
        elements.octets()
        return _pdu(elements)
    except _NotSnmpError:
        return {}


def _pdu(elements: _Elements) -> Mapping[str, Value]:
    """What the PDU says, as far as it is there (RFC 3416 section 3)."""
    tag = elements.tag
    contents = _Elements(elements.take(*_PDUS))
    assert tag is not None
    values: dict[str, Value] = {"snmp.pdu_type": tag & 0x1F}
    if tag & 0x1F == _TRAP_V1:
        return values
    with suppress(_NotSnmpError):
        values["snmp.request_id"] = contents.integer()
        if tag & 0x1F != _GET_BULK:
            values["snmp.error_status"] = contents.integer()
    return values
