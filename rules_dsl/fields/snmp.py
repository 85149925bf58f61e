# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of SNMP."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

SNMP: Final = Protocol(
    "snmp",
    "Simple Network Management Protocol, versions 1 (RFC 1157), 2c (RFC 1901) and 3 (RFC 3412)",
    (Header.UDP, Header.TCP),
    "The payload begins with a SEQUENCE whose first element is the INTEGER 0, 1 or 3, the version. In versions 1 and 2c an OCTET STRING "
    "follows, the community, and then a PDU, an element with a context tag of 0 to 8. In version 3 there follow a SEQUENCE of a message id, "
    "a largest size, flags (an OCTET STRING of one byte) and a security model, then an OCTET STRING, and then a SEQUENCE or, encrypted, an "
    "OCTET STRING. Each element lies in the one that holds it, the first in the payload. Lengths are in the short form or in the long form "
    "of 1 to 4 bytes; integers have 1 to 4 bytes, or 5 of which the first is 0.",
    (
        flag("snmp", "A message of SNMP.", wireshark="snmp"),
        number("snmp.version", 2, "The version as the message has it: 0 is SNMPv1, 1 SNMPv2c, 3 SNMPv3 (Wireshark has 0 and 1 only, and `snmp.msgVersion` for 3).", names=MappingProxyType({"v1": 0, "v2c": 1, "v3": 3}), wireshark="snmp.version"),
        text("snmp.community", "The community; absent in version 3.", wireshark="snmp.community"),
        number("snmp.pdu_type", 4, "The kind of PDU: 0 get, 1 get-next, 2 response, 3 set, 4 trap of version 1, 5 get-bulk, 6 inform, 7 trap, 8 report; absent where it is encrypted.", aliases=("snmp.data",), names=MappingProxyType({"get": 0, "get-next": 1, "response": 2, "set": 3, "trap-v1": 4, "get-bulk": 5, "inform": 6, "trap": 7, "report": 8}), wireshark="snmp.data"),
        number("snmp.request_id", 32, "The request id, a negative one as its two's complement of 32 bits; absent in a trap of version 1 and where the PDU is encrypted.", wireshark="snmp.request_id"),
        number("snmp.error_status", 32, "The error status; absent in get-bulk and in a trap of version 1, which have none, and where the PDU is encrypted.", wireshark="snmp.error_status"),
        number("snmp.msgID", 32, "The message id of version 3, a negative one as its two's complement; absent in others.", aliases=("snmp.msg_id",), wireshark="snmp.msgID"),
        text("snmp.msgUserName", "The user of version 3's user-based security model (RFC 3414), empty in a discovery; absent in other versions and models.", aliases=("snmp.user_name",), wireshark="snmp.msgUserName"),
    ),
)  # fmt: skip
