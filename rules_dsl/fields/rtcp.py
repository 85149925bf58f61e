# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of RTCP."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number

RTCP: Final = Protocol(
    "rtcp",
    "RTP Control Protocol (RFC 3550 section 6)",
    (Header.UDP,),
    "UDP's payload begins with a packet of version 2 and of a type from 200 to 207: sender report, receiver report, source description, "
    "goodbye, application-defined (RFC 3550 section 6), the two kinds of feedback (RFC 4585 section 6.1), extended report "
    "(RFC 3611 section 2). The payload has all the bytes that its length field says, and these are enough for what the type has: 28 bytes and 24 for each "
    "report block in a sender report, 8 and 24 for each in a receiver report, 4 and 4 for each source in a goodbye, 12 in an "
    "application-defined packet and in feedback, 8 in an extended report, 4 in a source description. What follows may be encrypted (SRTCP) and is not asked for.",
    (
        flag("rtcp", "A packet of RTCP, or several in one.", wireshark="rtcp"),
        number("rtcp.pt", 8, "The type of each packet: 200 sender report, 201 receiver report, 202 source description, 203 goodbye, 204 application-defined, 205 and 206 feedback, 207 extended report. It ends at the first that is not of version 2 and a type from 192 to 223, or not whole.", multiple=True, wireshark="rtcp.pt"),
    ),
)  # fmt: skip
