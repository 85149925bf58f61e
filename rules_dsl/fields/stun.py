# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of STUN."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

STUN: Final = Protocol(
    "stun",
    "Session Traversal Utilities for NAT (RFC 8489), as TURN (RFC 8656) and ICE (RFC 8445) use it too",
    (Header.UDP, Header.TCP),
    "The payload begins with a header of 20 bytes whose first two bits are 0 and whose bytes 4 to 7 are the magic cookie 0x2112a442. In UDP "
    "the header's length and its own 20 bytes are the payload's length. In TCP the message may go on in the next segment, others may follow "
    "it, and it may stand behind the two bytes of a frame's length (RFC 4571), as ICE has it (RFC 6544); the fields are those of the first "
    "message. Messages of RFC 3489, which have no cookie, and TURN's channel data are not `stun`: nothing marks them. An attribute is there "
    "where the four bytes of its type and length are in the message.",
    (
        flag("stun", "A message of STUN.", wireshark="stun"),
        number("stun.type", 14, "The message type, method and class together: 0x0001 is a Binding request, 0x0101 its success response.", wireshark="stun.type"),
        number("stun.method", 14, "The method, the message type without the bits of the class: 1 Binding, 3 Allocate, 4 Refresh, 6 Send, 7 Data, 8 CreatePermission, 9 ChannelBind.", aliases=("stun.type.method",), names=MappingProxyType({"binding": 1, "allocate": 3, "refresh": 4, "send": 6, "data": 7, "createpermission": 8, "channelbind": 9}), wireshark="stun.type.method"),
        number("stun.class", 5, "The class, with its two bits as far apart as in the message type: 0x00 request, 0x01 indication, 0x10 success response, 0x11 error response.", aliases=("stun.type.class",), names=MappingProxyType({"request": 0x00, "indication": 0x01, "success": 0x10, "error": 0x11}), wireshark="stun.type.class"),
        number("stun.length", 16, "The length that the header states: bytes of attributes.", wireshark="stun.length"),
        text("stun.cookie", "The magic cookie, always `21:12:a4:42`.", wireshark="stun.cookie"),
        text("stun.id", "The 12 bytes of the transaction id.", wireshark="stun.id"),
        number("stun.att.type", 16, "The attributes' types, of the first 64; absent where the message has no attribute.", multiple=True, bound=64, wireshark="stun.att.type"),
        text("stun.att.username", "The value of the first attribute USERNAME; absent where it is not whole in the message or not among the first 64 attributes.", wireshark="stun.att.username"),
        text("stun.att.software", "The value of the first attribute SOFTWARE; absent where it is not whole in the message or not among the first 64 attributes.", wireshark="stun.att.software"),
    ),
)  # fmt: skip
