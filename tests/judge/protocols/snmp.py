"""SNMP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _snmp(test: str) -> str:
    return f"({under('(?:udp|tcp):snmp')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("snmp", under("(?:udp|tcp):snmp")),
    ("snmp.version in {0 1}", _snmp("(snmp.version == 0 or snmp.version == 1)")),
    ("snmp.version == 3", _snmp("snmp.msgVersion == 3")),
    ('snmp.community == "public"', _snmp('snmp.community == "public"')),
    ("snmp.pdu_type in {0 1 5}", _snmp("snmp.data in {0, 1, 5}")),
    ("snmp.data == 2", _snmp("snmp.data == 2")),
    ("snmp.request_id > 0", _snmp("snmp.request_id > 0")),
    ("snmp.error_status > 0", _snmp("snmp.error_status > 0")),
    ("snmp.msgID > 0", _snmp("snmp.msgID > 0")),
    ('snmp.msgUserName == "admin"', _snmp('snmp.msgUserName == "admin"')),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "SNMP that is cut or malformed", ("snmp",), mantlet="not snmp and (udp.srcport in {161 162} or udp.dstport in {161 162})"
    ),
)  # fmt: skip
