# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of CLDAP."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number

_OPERATIONS: Final = MappingProxyType(
    {"search_request": 3, "search_entry": 4, "search_done": 5, "abandon_request": 16, "search_reference": 19}
)

CLDAP: Final = Protocol(
    "cldap",
    "Connectionless Lightweight Directory Access Protocol (RFC 1798; LDAP's messages, RFC 4511 section 4, as Active Directory sends them)",
    (Header.UDP,),
    "UDP's payload begins with an LDAPMessage in BER: a SEQUENCE (0x30), in it an INTEGER of 1 to 4 bytes (length in the short form), and a search request (0x63), result entry (0x64), "
    "result done (0x65), result reference (0x73) or abandon request (0x50), which ends within the SEQUENCE. Lengths are of the short form or of 1 to 4 "
    "bytes. The message may go on beyond the payload.",
    (
        flag("cldap", "A message of CLDAP.", wireshark="cldap"),
        number("cldap.message_id", 32, "The identifier of the payload's first message.", wireshark="ldap.messageID"),
        number("cldap.operation", 5, "What each message of the payload is, in order: 3 search_request, 4 search_entry, 5 search_done, 16 abandon_request, 19 search_reference.", names=_OPERATIONS, multiple=True, wireshark="ldap.protocolOp"),
    ),
)  # fmt: skip
