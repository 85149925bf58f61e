"""CLDAP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _cldap(test: str) -> str:
    return f"({under('udp:cldap')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("cldap", under("udp:cldap")),
    ("cldap.operation == 3", _cldap("ldap.protocolOp == 3")),
    ('cldap.operation == "search_entry"', _cldap("ldap.protocolOp == 4")),
    ("cldap.message_id == 1", _cldap("ldap.messageID#1 == 1")),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("CLDAP on other ports", ("cldap",), mantlet="cldap and not udp.srcport == 389 and not udp.dstport == 389"),
    Difference("What LDAP has and CLDAP has not", ("cldap",), wireshark="cldap and not ldap.protocolOp in {3, 4, 5, 16, 19}"),
)  # fmt: skip
