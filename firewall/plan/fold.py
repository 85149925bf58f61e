"""Third pass: what is constant for a class of packets, on this node and at this hook, becomes `true` or `false`.

Tests on fields that the class cannot have are false; a test of many values that nft asks one by one is taken apart."""

from __future__ import annotations

from collections.abc import Callable

from firewall.match import PacketClass
from firewall.native_fields import header_exists, place_in
from firewall.plan.constants import on_constant
from firewall.plan.model import Environment
from rules_dsl import expression as ex
from rules_dsl.expression import And, Const, Expression, Not, Or, Test, Xor
from rules_dsl.fields import PROTOCOL_OF, Field
from rules_dsl.policy import Hook

TRUE, FALSE = Const(True), Const(False)

_EXTENSIONS = (0, 43, 44, 51, 60)
"""Values that ipv6.exthdr can have."""

_TRANSPORT_FIELDS = frozenset(
    ("tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "esp", "tcp.payload", "tcp.payload.len", "udp.payload", "udp.payload.len",
     "tcp.options.mss", "payload", "payload.len")
)  # fmt: skip
"""Fields without plain bits that are absent where there is no transport header."""


def fold_place(expression: Expression, hook: Hook, environment: Environment) -> Expression:
    """`expression` with what is constant on this node and at this hook, for all packets."""

    def known(test: Test) -> Expression:
        root = ex.root_of(ex.operand_of(test))
        is_place = isinstance(root, ex.FieldValue) and root.field.group == "place"
        return _place_test(test, root.field, hook, environment) if is_place else test  # type: ignore[union-attr]  # a field, then

    return mapped(expression, known)


def mapped(expression: Expression, change: Callable[[Test], Expression]) -> Expression:
    """`expression` with each test changed. Nothing constant is left inside the result."""
    match expression:
        case Const():
            return expression
        case Not(item):
            return negation(mapped(item, change))
        case And(items):
            return conjunction([mapped(item, change) for item in items])
        case Or(items):
            return disjunction([mapped(item, change) for item in items])
        case Xor(left, right):
            return _exclusive(mapped(left, change), mapped(right, change))
        case _:
            return change(expression)


def fold(expression: Expression, packets: PacketClass, hook: Hook, environment: Environment) -> Expression:
    """`expression` for packets of one class. Nothing constant is left inside the result."""

    return mapped(expression, lambda test: fold_test(test, packets, hook, environment))


def negation(item: Expression) -> Expression:
    match item:
        case Const(value):
            return Const(not value)
        case Not(inner):
            return inner
        case _:
            return Not(item)


def conjunction(items: list[Expression]) -> Expression:
    kept: dict[Expression, None] = {}
    for item in items:
        if item == FALSE:
            return FALSE
        if isinstance(item, And):
            kept.update(dict.fromkeys(item.items))
        elif item != TRUE:
            kept[item] = None
    return TRUE if not kept else next(iter(kept)) if len(kept) == 1 else And(tuple(kept))


def disjunction(items: list[Expression]) -> Expression:
    kept: dict[Expression, None] = {}
    for item in items:
        if item == TRUE:
            return TRUE
        if isinstance(item, Or):
            kept.update(dict.fromkeys(item.items))
        elif item != FALSE:
            kept[item] = None
    return FALSE if not kept else next(iter(kept)) if len(kept) == 1 else Or(tuple(kept))


def _exclusive(left: Expression, right: Expression) -> Expression:
    match left, right:
        case Const(value), other:
            return negation(other) if value else other
        case other, Const(value):
            return negation(other) if value else other
        case _:
            return FALSE if left == right else Xor(left, right)


# -- tests -------------------------------------------------------------------------------------------------------------


def fold_test(test: Test, packets: PacketClass, hook: Hook, environment: Environment) -> Expression:
    """One test for packets of the class; the test itself where nothing is known of it."""
    if isinstance(test, ex.InRanges) and not test.ranges:
        return FALSE
    root = ex.root_of(ex.operand_of(test))
    if isinstance(root, ex.BitSlice):
        return test if header_exists(root.header, packets) else FALSE
    field = root.field
    if field.group == "place":
        return _place_test(test, field, hook, environment)
    if field.at:
        return _plain_test(test, field, packets)
    if packets.is_later_fragment and (field.name in _TRANSPORT_FIELDS or field.name in PROTOCOL_OF):
        return FALSE
    match field.name:
        case "ip":
            return TRUE
        case "icmp" if packets.version == 6:
            return FALSE
        case "icmpv6" if packets.version == 4:
            return FALSE
        case "ip.opt.type" if packets.version == 6:
            return FALSE
        case "ip.checksum.valid":  # the kernel drops an IPv4 packet with a wrong one before the first hook (ip_rcv)
            return Const(packets.version == 4)
        case "ip.frag" if packets.is_later_fragment:
            return TRUE
        case "ipv6.exthdr":
            return _extension_test(test, packets)
        case _:
            return test


def _place_test(test: Test, field: Field, hook: Hook, environment: Environment) -> Expression:
    match field.name:
        case "cf.colo.name":
            return on_constant(test, environment.node.name.encode())
        case "cf.colo.region":
            return on_constant(test, environment.node.region.encode())
        case "interface.in" | "vlan.id" if hook is Hook.OUTPUT:
            return FALSE
        case "interface.out" if hook in (Hook.PREROUTING, Hook.INPUT):
            return FALSE
        case _:
            return test


def _plain_test(test: Test, field: Field, packets: PacketClass) -> Expression:
    place = place_in(field, packets)
    if place is None:
        return FALSE
    if field.name == "ip.version":
        return on_constant(test, packets.version)
    if place.scale == 0:
        return on_constant(test, place.add)
    if field.name == "ip.frag.offset" and packets is PacketClass.IP4:
        return on_constant(test, 0)
    return test


def _extension_test(test: Test, packets: PacketClass) -> Expression:
    """`ipv6.exthdr` has several values: any of those in the ranges is one existence test each."""
    if packets.version == 4:
        return FALSE
    match test:
        case ex.InRanges(operand, ranges):
            wanted = [number for number in _EXTENSIONS if any(low <= number <= high for low, high in ranges)]
        case ex.AnyBit(operand, mask):
            wanted = [number for number in _EXTENSIONS if number & mask]
        case _:
            return test
    if packets is not PacketClass.IP6_ODD and 51 in wanted:
        wanted.remove(51)  # with an authentication header the packet is of the class IP6_ODD
    if packets is PacketClass.IP6_LATER and 44 in wanted:
        return TRUE
    return disjunction([ex.InRanges(operand, ((number, number),)) for number in wanted])
