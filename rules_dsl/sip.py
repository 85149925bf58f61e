"""What the Boolean field `sip` stands for: the payload of TCP or UDP starts as a SIP message does (RFC 3261 section 7).

Either the status line's `SIP/2.0 `, or a method, a space and a URI of scheme sip, sips or tel. Methods are case-sensitive
(RFC 3261 section 7.1), schemes are not (RFC 3986 section 3.1).
"""

from __future__ import annotations

from rules_dsl.expression import And, CompareBytes, Expression, FieldValue, Folded, InStrings, IsTrue, Or, Order, StartsWith, Substring
from rules_dsl.fields import FIELDS

METHODS = (
    "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE",
    "UPDATE",
)  # fmt: skip
"""RFC 3261, 3262 (PRACK), 3311 (UPDATE), 3428 (MESSAGE), 3515 (REFER), 3903 (PUBLISH), 6086 (INFO), 6665 (SUBSCRIBE, NOTIFY)."""

_PAYLOAD = FieldValue(FIELDS["payload"])


def _requests() -> list[Expression]:
    result: list[Expression] = []
    for length in sorted({len(method) for method in METHODS}):
        words = tuple(sorted(method.encode() + b" " for method in METHODS if len(method) == length))
        at = length + 1
        short = InStrings(Folded(Substring(_PAYLOAD, at, at + 4), upper=False), (b"sip:", b"tel:"))
        long = CompareBytes(Folded(Substring(_PAYLOAD, at, at + 5), upper=False), Order.EQ, b"sips:")
        result.append(And((InStrings(Substring(_PAYLOAD, 0, at), words), Or((short, long)))))
    return result


SIP: Expression = And(
    (
        Or((IsTrue(FIELDS["tcp"]), IsTrue(FIELDS["udp"]))),
        Or((StartsWith(_PAYLOAD, b"SIP/2.0 "), *_requests())),
    )
)
