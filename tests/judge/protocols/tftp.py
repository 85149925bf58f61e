"""TFTP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _tftp(test: str) -> str:
    return f"({under('udp:tftp')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("tftp", under("udp:tftp")),
    ("tftp.opcode == 1", _tftp("tftp.opcode == 1")),
    ('tftp.opcode in {"wrq" "oack"}', _tftp("tftp.opcode in {2, 6}")),
    ('tftp.opcode == "data"', _tftp("tftp.opcode == 3")),
    ('tftp.opcode == "ack"', _tftp("tftp.opcode == 4")),
    ('tftp.file contains "1"', _tftp('tftp.opcode <= 2 and (tftp.source_file contains "1" or tftp.destination_file contains "1")')),
    ('tftp.source_file == "rfc1350.txt"', _tftp('tftp.opcode == 1 and tftp.source_file == "rfc1350.txt"')),
    ('tftp.destination_file == "zz.bin"', _tftp('tftp.opcode == 2 and tftp.destination_file == "zz.bin"')),
    ('tftp.type == "octet"', _tftp('tftp.type == "octet"')),
    ("tftp.block == 1", _tftp("tftp.block == 1")),
    ("tftp.block > 20", _tftp("tftp.block > 20")),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("TFTP data of other sizes", ("tftp",), wireshark="tftp.opcode == 3 and not udp.length == 524"),
    Difference(
        "TFTP requests without a mode", ("tftp",), wireshark='tftp.opcode <= 2 and not tftp.type matches "^(netascii|octet|mail)$"'
    ),
)  # fmt: skip
