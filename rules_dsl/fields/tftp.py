# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of TFTP."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

_OPCODES: Final = MappingProxyType({"rrq": 1, "wrq": 2, "data": 3, "ack": 4, "error": 5, "oack": 6})

TFTP: Final = Protocol(
    "tftp",
    "Trivial File Transfer Protocol (RFC 1350, options RFC 2347)",
    (Header.UDP,),
    "UDP's payload begins with an opcode of 16 bits. Behind 1 and 2 (read and write request) follow a file name and a mode, `netascii`, `octet` or "
    "`mail` in any case, each closed by a NUL byte. The others have little mark of their own, and only their most telling forms count: data (3) is 516 bytes "
    "long, which is a full block of the default size; an acknowledgement (4) is 4 bytes long; an error (5) has a code of 0 to 8 and a message that "
    "a NUL byte closes at the payload's end; an option acknowledgement (6) has pairs of a name and a value of printable ASCII, the name not "
    "empty and without spaces, each closed by a NUL byte, up to the payload's end.",
    (
        flag("tftp", "A message of TFTP.", wireshark="tftp"),
        number("tftp.opcode", 16, "1 rrq, 2 wrq, 3 data, 4 ack, 5 error, 6 oack.", names=_OPCODES, wireshark="tftp.opcode"),
        text("tftp.file", "The file name of a read or write request; absent in others."),
        text("tftp.source_file", "The file name of a read request; absent in others.", wireshark="tftp.source_file"),
        text("tftp.destination_file", "The file name of a write request; absent in others.", wireshark="tftp.destination_file"),
        text("tftp.type", "The mode of a read or write request as it stands there: `octet`, `netascii`, `mail`; absent in others.", wireshark="tftp.type"),
        number("tftp.block", 16, "The block number of data and acknowledgements; absent in others.", wireshark="tftp.block"),
        number("tftp.error.code", 16, "The code of an error: 1 is a file not found; absent in others.", wireshark="tftp.error.code"),
    ),
)  # fmt: skip
