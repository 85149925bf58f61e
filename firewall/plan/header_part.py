"""What a predicate asks of addresses, ports and the protocol, where it asks for more: an expression that holds for no fewer packets."""

from __future__ import annotations

from collections.abc import Iterable

from firewall.plan.fold import FALSE, TRUE, conjunction, disjunction, negation
from firewall.plan.implied import implied
from rules_dsl import expression as ex
from rules_dsl.expression import Expression, Test
from rules_dsl.fields import FIELDS, PROTOCOL_NUMBER
from rules_dsl.ranges import merged

_KEYS = frozenset(
    (
        "ip.src",
        "ip.dst",
        "ip.proto",
        "ip.version",
        "tcp.srcport",
        "tcp.dstport",
        "udp.srcport",
        "udp.dstport",
        "sctp.srcport",
        "sctp.dstport",
    )
)
_ALWAYS_THERE = frozenset(("ip.src", "ip.dst", "ip.version"))
"""Those that boxes have negated too."""
_PROTOCOLS = {header.value: number for header, number in PROTOCOL_NUMBER.items()}


def header_part(expression: Expression, most: int) -> Expression:
    """`most`: ranges of one test; one of more is left out."""
    match expression:
        case ex.Const():
            return expression
        case ex.And(items):
            return conjunction([header_part(item, most) for item in items])
        case ex.Or(items):
            return disjunction([header_part(item, most) for item in items])
        case ex.Not(item) if all(_is_key(test, _ALWAYS_THERE, most) for test in ex.tests_of(item)):
            return negation(item)
        case ex.Not() | ex.Xor():
            return TRUE
        case ex.IsTrue(field) if field.name in _PROTOCOLS:
            return expression
        case _ if _is_key(expression, _KEYS, most):
            return expression
        case _:
            return _protocol(implied(expression).protocols if (told := _transport(expression)) is None else (told,))


def _is_key(test: Test, names: frozenset[str], most: int) -> bool:
    match test:
        case ex.InAddresses(ex.FieldValue(field), v4, v6):
            return field.name in names and max(len(v4), len(v6)) <= most
        case ex.InRanges(ex.FieldValue(field), ranges):
            return field.name in names and len(ranges) <= most
        case _:
            return False


def _transport(test: Test) -> int | None:
    """The protocol of a packet that has what the test asks for."""
    root = ex.root_of(ex.operand_of(test))
    if isinstance(root, ex.BitSlice):
        return PROTOCOL_NUMBER.get(root.header)
    return _PROTOCOLS.get(root.field.name.partition(".")[0]) if root.field.group == "l4" else None


def _protocol(numbers: Iterable[int] | None) -> Expression:
    if numbers is None:
        return TRUE
    ranges = merged((number, number) for number in numbers)
    return ex.InRanges(ex.FieldValue(FIELDS["ip.proto"]), ranges) if ranges else FALSE
