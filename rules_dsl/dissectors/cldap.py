"""CLDAP (RFC 1798): messages of LDAP (RFC 4511 section 4) in UDP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_SEQUENCE, _INTEGER = 0x30, 0x02
_OPERATIONS = (0x63, 0x64, 0x65, 0x73, 0x50)


class _Message(NamedTuple):
    identifier: int
    operation: int
    """The number in its tag."""
    end: int
    """Where the message ends by its own length."""


def dissect_cldap(packet: Packet) -> Mapping[str, Value] | None:
    messages = tuple(_messages(packet.udp_payload or b""))
    if not messages:
        return None
    operations = tuple(message.operation for message in messages)
    return {"cldap": True, "cldap.message_id": messages[0].identifier, "cldap.operation": operations}


def _messages(payload: bytes) -> Iterator[_Message]:
    start = 0
    while (message := _message(payload, start)) is not None:
        yield message
        start = message.end


def _message(payload: bytes, start: int) -> _Message | None:
    """The message that begins there."""
    if payload[start : start + 1] != bytes([_SEQUENCE]) or (sequence := _contents(payload, start)) is None:
        return None
    payload = payload[: sequence.stop]
    begin = sequence.start
    if payload[begin : begin + 1] != bytes([_INTEGER]) or payload[begin + 1 : begin + 2] not in (b"\1", b"\2", b"\3", b"\4"):
        return None
    place = begin + 2 + payload[begin + 1]
    if place >= len(payload) or payload[place] not in _OPERATIONS or (operation := _contents(payload, place)) is None:
        return None
    if operation.stop > sequence.stop:
        return None
    return _Message(int.from_bytes(payload[begin + 2 : place]), payload[place] & 0x1F, sequence.stop)


def _contents(payload: bytes, start: int) -> range | None:
    """Where the contents of the element are whose tag is at `start`, by its length (X.690 section 8.1.3); they may end beyond the
    payload. None where the length is not whole, or is of another form."""
    first = payload[start + 1 : start + 2]
    if not first or first[0] == 0x80 or first[0] > 0x84:
        return None
    if first[0] < 0x80:
        return range(start + 2, start + 2 + first[0])
    begin = start + 2 + first[0] - 0x80
    if begin > len(payload):
        return None
    return range(begin, begin + int.from_bytes(payload[start + 2 : begin]))
