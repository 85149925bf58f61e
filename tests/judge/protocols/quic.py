"""QUIC: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import udp

PAIRS: tuple[tuple[str, str], ...] = (
    ("quic", udp("quic")),
    ("quic.version == 1", udp("quic.version == 1")),
    ("quic.version == 0", udp("quic.version == 0")),
    ("quic.version == 0x6b3343cf", udp("quic.version == 0x6b3343cf")),
    ("quic.version >= 0xfaceb000", udp("quic.version >= 0xfaceb000")),
    ("quic.header_form == 1", udp("quic.header_form == 1")),
    ("quic.fixed_bit and not quic.long.packet_type == 3", udp("quic.fixed_bit == 1 and quic.header_form == 1")),
    ("quic and not quic.fixed_bit and quic.version > 0", udp("quic.fixed_bit == 0")),
    ("quic.dcil == 8", udp("quic.dcil == 8")),
    ("quic.dcil == 0", udp("quic.dcil == 0")),
    ("quic.scil == 8", udp("quic.scil == 8")),
    ("quic.scil == 0", udp("quic.scil == 0")),
    ("len(quic.dcid) >= 8", udp("len(quic.dcid) >= 8")),
    ("len(quic.scid) > 0", udp("len(quic.scid) > 0")),
    ("quic.long.packet_type == 0", udp("quic.long.packet_type == 0")),
    ("quic.long.packet_type == 1", udp("quic.long.packet_type == 1")),
    ("quic.long.packet_type == 2", udp("quic.long.packet_type == 2")),
    ("quic.long.packet_type == 3", udp("quic.long.packet_type == 3")),
    ("quic.long.packet_type_v2 == 0", udp("quic.long.packet_type_v2 == 0")),
    ("quic.long.packet_type_v2 == 1", udp("quic.long.packet_type_v2 == 1")),
    ("quic.long.packet_type_v2 == 2", udp("quic.long.packet_type_v2 == 2")),
    ("quic.long.packet_type_v2 == 3", udp("quic.long.packet_type_v2 == 3")),
    ("quic.token_length == 0", udp("quic.token_length#1 == 0")),
    ("quic.token_length > 0", udp("quic.token_length#1 > 0")),
    ("quic.length > 1000", udp("quic.length#1 > 1000")),
    ("quic.length <= 100", udp("quic.length#1 <= 100")),
    ("quic.supported_version == 0xff00001d", udp("quic.supported_version == 0xff00001d")),
    ("quic.supported_version == 1", udp("quic.supported_version == 1")),
    ("quic.supported_version > 0", udp("quic.supported_version")),
)

_KNOWN = (
    "(quic.version in {0, 1, 0x6b3343cf, 0x709a50c4, 0xff000016..0xff0000ff, 0xfaceb001, 0xfaceb002, 0xfaceb00e, "
    "0x51303530, 0x54303530, 0x54303531} or quic.version & 0x0f0f0f0f == 0x0a0a0a0a)"
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("QUIC's short headers", ("quic",), wireshark="quic and not quic.version"),
    Difference("QUIC's short headers", ("quic.length", "quic.token_length"), wireshark="count(quic.length) > 1"),
    Difference("QUIC on port 443", ("quic",), wireshark=f"udp.port == 443 and quic.version and not {_KNOWN}"),
)
