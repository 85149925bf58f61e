"""What a payload predicate implies of the packet, so that nftables can leave out those that no program need look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from firewall.match import Key, Match, Notation
from rules_dsl import expression as ex
from rules_dsl.expression import Expression
from rules_dsl.fields import PROTOCOL_NUMBER, PROTOCOL_OF, Field, Header

HAS_CONTENT = Match("@ih,0,8 & 0x0", ((0, 0),), Notation.HEX)
"""There is a byte behind the TCP or UDP header: masked with 0 it is always 0 (nf_tables' inner header, Linux 5.16)."""


@dataclass(frozen=True, slots=True)
class Implied:
    """What is true of every packet for which a predicate holds."""

    protocols: frozenset[int] | None
    """The transport protocol is one of these; None: any, or none."""
    has_content: bool
    """Behind a TCP or UDP header there is a byte at least."""

    def matches(self) -> tuple[Match, ...]:
        """The same as nft matches, which hold for no less."""
        if self.protocols is None:
            return ()
        protocol = Match("meta l4proto", tuple((number, number) for number in sorted(self.protocols)), key=Key.PROTOCOL)
        return (protocol, HAS_CONTENT) if self.has_content and self.protocols <= _WITH_PORTS else (protocol,)


_NOTHING = Implied(None, False)
_WITH_PORTS = frozenset((PROTOCOL_NUMBER[Header.TCP], PROTOCOL_NUMBER[Header.UDP]))


def implied(expression: Expression) -> Implied:
    match expression:
        case ex.Const() | ex.Not() | ex.Xor():
            return _NOTHING
        case ex.And(items):
            return reduce(_both, map(implied, items))
        case ex.Or(items):
            return reduce(_either, map(implied, items))
        case _:
            root = ex.root_of(ex.operand_of(expression))
            return _of_field(root.field, expression) if isinstance(root, ex.FieldValue) else _NOTHING


def _both(one: Implied, other: Implied) -> Implied:
    if one.protocols is None or other.protocols is None:
        protocols = one.protocols if other.protocols is None else other.protocols
    else:
        protocols = one.protocols & other.protocols
    return Implied(protocols, one.has_content or other.has_content)


def _either(one: Implied, other: Implied) -> Implied:
    protocols = None if one.protocols is None or other.protocols is None else one.protocols | other.protocols
    return Implied(protocols, one.has_content and other.has_content)


def _of_field(field: Field, test: ex.Test) -> Implied:
    protocol = PROTOCOL_OF.get(field.name)
    if protocol is not None:
        return Implied(frozenset(PROTOCOL_NUMBER[header] for header in protocol.carriers), True)
    match field.name:
        case "tcp.payload":
            return Implied(frozenset((PROTOCOL_NUMBER[Header.TCP],)), _wants_bytes(test))
        case "udp.payload":
            return Implied(frozenset((PROTOCOL_NUMBER[Header.UDP],)), _wants_bytes(test))
        case _:
            return _NOTHING


def _wants_bytes(test: ex.Test) -> bool:
    """Whether the test holds for no empty value of its field."""
    match test:
        case ex.Contains(_, patterns):
            return all(patterns)
        case ex.StartsWith(_, value) | ex.EndsWith(_, value) | ex.CompareBytes(_, ex.Order.EQ, value):
            return value != b""
        case ex.InStrings(_, values):
            return all(values)
        case _:
            return False
