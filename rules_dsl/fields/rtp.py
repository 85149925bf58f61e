# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of RTP."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number

RTP: Final = Protocol(
    "rtp",
    "Real-time Transport Protocol (RFC 3550)",
    (Header.UDP,),
    "UDP's payload begins with a header of version 2 (RFC 3550 section 5.1), which is whole with its contributing sources and its extension; "
    "the synchronization source is not 0; the payload type is one that RFC 3551 (section 6) assigns or a dynamic one from 96 to 127 (64 "
    "to 95 are left to RTCP, RFC 5761 section 4). RTP has no mark of its own, so more is asked for: no contributing sources, and where the "
    "padding bit is set, a last byte that says from 1 to as many bytes as follow the header. A packet with a header extension of RFC 8285 "
    "(profile 0xBEDE or 0x1000 to 0x100F), as WebRTC's have, is marked by that: it may have contributing sources, padding that is "
    "encrypted (SRTP), and payload types from 35 to 63 too. About one of 300 packets of random bytes passes: where it matters, ask for "
    "ports and addresses as well.",
    (
        flag("rtp", "A packet of RTP, or of SRTP, whose header is the same.", wireshark="rtp"),
        number("rtp.version", 2, "The version: 2.", wireshark="rtp.version"),
        flag("rtp.padding", "The padding bit.", wireshark="rtp.padding"),
        flag("rtp.ext", "The extension bit.", wireshark="rtp.ext"),
        number("rtp.cc", 4, "How many contributing sources the header has.", wireshark="rtp.cc"),
        flag("rtp.marker", "The marker bit.", wireshark="rtp.marker"),
        number("rtp.p_type", 7, "The payload type: 0 PCMU, 8 PCMA, 9 G.722, 13 comfort noise, 18 G.729, 33 MPEG-2 transport stream, 96 to 127 as the session's signalling says.", wireshark="rtp.p_type"),
        number("rtp.seq", 16, "The sequence number.", wireshark="rtp.seq"),
        number("rtp.timestamp", 32, "The timestamp.", wireshark="rtp.timestamp"),
        number("rtp.ssrc", 32, "The synchronization source.", wireshark="rtp.ssrc"),
    ),
)  # fmt: skip
