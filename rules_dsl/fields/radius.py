# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of RADIUS."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import address, flag, number, text

RADIUS: Final = Protocol(
    "radius",
    "Remote Authentication Dial In User Service (RFC 2865; accounting RFC 2866, dynamic authorization RFC 5176)",
    (Header.UDP,),
    "UDP's payload begins with a code that IANA has assigned (1 to 13, 21 to 27, 29 to 34, 40 to 45 and 50 to 52); its length is 20 to 4,096 "
    "bytes and the one that bytes 2 and 3 state; and from byte 20 on attributes, each at least as long as the two bytes of its type and "
    "length, fill it exactly.",
    (
        flag("radius", "A message of RADIUS.", wireshark="radius"),
        number("radius.code", 8, "The code: 1 Access-Request, 2 Access-Accept, 3 Access-Reject, 4 Accounting-Request, 5 Accounting-Response, 11 Access-Challenge, 40 Disconnect-Request, 43 CoA-Request.", wireshark="radius.code"),
        number("radius.id", 8, "The identifier, which pairs requests and replies.", wireshark="radius.id"),
        number("radius.length", 16, "The message's length in bytes.", wireshark="radius.length"),
        text("radius.user_name", "The value of the first attribute User-Name (1); absent where there is none.", aliases=("radius.User_Name",), wireshark="radius.User_Name"),
        address("radius.nas_ip", "The address in the first attribute NAS-IP-Address (4); absent where there is none or it has not four bytes.", aliases=("radius.NAS_IP_Address",), wireshark="radius.NAS_IP_Address"),
    ),
)  # fmt: skip
