# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of QUIC."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

QUIC: Final = Protocol(
    "quic",
    "QUIC, packets with a long header (RFC 8999, RFC 9000, RFC 9369)",
    (Header.UDP,),
    "UDP's payload begins with a packet of long header: the first bit is 1, and both connection ids, of at most 20 bytes each, are in the payload. The "
    "version is 1, 2 (0x6b3343cf, or 0x709a50c4 of its drafts), a draft of version 1 from 22 on (0xff000016 to 0xff0000ff), 0x?a?a?a?a (RFC 9000 section 15), "
    "mvfst's 0xfaceb001, 0xfaceb002 or 0xfaceb00e, or Google's Q050, T050 or T051. An Initial packet's token and the length of all but Retry packets lie "
    "within the payload, the length is at least 17 (a packet number and the tag of its encryption), and a Retry has at least the 16 bytes of its tag. "
    "With version 0, version negotiation, the connection ids are followed by one or more versions and nothing else, and one of them is of those above. Further packets "
    "of the payload are those that follow without a gap and have such a header with the same version. Short headers have no mark of their own; nothing is decrypted.",
    (
        flag("quic", "A datagram that begins with a packet of long header: the beginning of a connection.", wireshark="quic"),
        number("quic.header_form", 1, "The header form: 1, long.", wireshark="quic.header_form"),
        flag("quic.fixed_bit", "The fixed bit, which is 1 but for greasing (RFC 9287); absent in version negotiation.", wireshark="quic.fixed_bit"),
        number("quic.version", 32, "The version of the first packet: 1, 0x6b3343cf (version 2), 0 (version negotiation), ...", wireshark="quic.version"),
        number("quic.dcil", 8, "The length of the destination connection id.", wireshark="quic.dcil"),
        text("quic.dcid", "The destination connection id; absent where it is empty.", wireshark="quic.dcid"),
        number("quic.scil", 8, "The length of the source connection id.", wireshark="quic.scil"),
        text("quic.scid", "The source connection id; absent where it is empty.", wireshark="quic.scid"),
        number("quic.long.packet_type", 2, "The type of each packet: 0 Initial, 1 0-RTT, 2 Handshake, 3 Retry; absent in version negotiation and in version 2.", multiple=True, wireshark="quic.long.packet_type"),
        number("quic.long.packet_type_v2", 2, "The type of each packet of version 2: 1 Initial, 2 0-RTT, 3 Handshake, 0 Retry; absent in other versions.", multiple=True, wireshark="quic.long.packet_type_v2"),
        number("quic.token_length", 32, "The length of the token of the first packet; absent where that is no Initial.", wireshark="quic.token_length"),
        number("quic.length", 32, "The length of the first packet behind its length field; absent in Retry and version negotiation.", wireshark="quic.length"),
        number("quic.supported_version", 32, "Each version that a version negotiation offers.", multiple=True, wireshark="quic.supported_version"),
    ),
)  # fmt: skip
