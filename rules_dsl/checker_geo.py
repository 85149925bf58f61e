"""Country and autonomous system fields: turned into address ranges by the operator's table, so that no back end meets them."""

from __future__ import annotations

from enum import Enum

from rules_dsl import checker_values as values
from rules_dsl.checking import TYPE_WORDS, Context, Left, Place, place_of
from rules_dsl.expression import And, Const, Expression, FieldValue, InAddresses, Not, Or
from rules_dsl.fields import FIELDS, Type
from rules_dsl.geo import Addresses, Geo, is_country
from rules_dsl.syntax import Comparison, ListName, Operator, SetOf, Word

GEO_FIELDS = {
    "ip.src.country": ("ip.src",),
    "ip.dst.country": ("ip.dst",),
    "ip.geoip.country": ("ip.src", "ip.dst"),
    "ip.src.asnum": ("ip.src",),
    "ip.dst.asnum": ("ip.dst",),
}
"""The addresses that each one looks up."""

HOW_TO_GIVE_ONE = (
    'name your file in the rule file: geo "FILE", or on the command line: --geo FILE '
    "(MMDB; a registry's delegated statistics, which have countries only; or CSV: network,country,asn)"
)
OTHER_CODES = {b"UK": "GB", b"EL": "GR", b"FX": "FR", b"SU": "RU", b"YU": "RS", b"AN": "CW"}
"""Codes that are in use, or were, for what has another in ISO 3166-1."""
SHOWN = 5
"""Codes or numbers that one warning names."""

_OPERATORS = {
    Type.BYTES: (Operator.EQ, Operator.NE, Operator.IN),
    Type.INT: (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.IN),
}


class Quantifier(Enum):
    """How a test of a field with many values is asked."""

    NONE = ""
    """Bare: where one value passes; `!=` is then `not ==`."""
    ANY = "any"
    ALL = "all"


def geo_test(context: Context, left: Left, node: Comparison, quantifier: Quantifier, *, negated: bool = False) -> Expression | None:
    """The comparison of a country or asn field; `negated` as in `all(not ...)`."""
    assert left.field is not None
    name = left.field.name
    context.asked_geo = True
    if context.geo is None:
        message = f"`{name}` needs a table of countries and autonomous systems"
        context.error("E0607", message, left.place, "no table given", help=HOW_TO_GIVE_ONE)
        return None
    if _lacks(left, context.geo):
        what, file = ("countries", "a country") if left.type is Type.BYTES else ("AS numbers", "an ASN")
        help = f'give a file that has them besides: geo "FILE.mmdb" in the rule file, or --geo FILE.mmdb ({file} database)'
        context.error("E0608", f"`{name}` needs {what}, and none of the geo files has any", left.place, f"no {what}", help=help)
        return None
    if node.operator not in _OPERATORS[left.type]:
        allowed = " ".join(operator.value for operator in _OPERATORS[left.type])
        message = f"`{node.operator.value}` does not apply to `{name}`"
        place = (node.operator_start, node.operator_end)
        context.error("E0101", message, place, help=f"it takes: {allowed}", related=((left.place, TYPE_WORDS[left.type]),))
        return None
    passing = _countries(context, left, node, context.geo) if left.type is Type.BYTES else _systems(context, left, node, context.geo)
    if passing is None:
        return None
    addresses = [FieldValue(FIELDS[address]) for address in GEO_FIELDS[name]]
    unequal = node.operator is Operator.NE
    if not left.multiple:
        test = _within(addresses[0], passing)
        return Not(test) if unequal else test
    if quantifier is Quantifier.NONE:
        one = Or(tuple(_within(address, passing) for address in addresses))
        return Not(one) if unequal else one
    known = context.geo.in_countries(lambda code: True)
    return _each(addresses, passing, known, every=quantifier is Quantifier.ALL, negated=negated ^ unequal)


def _lacks(left: Left, geo: Geo) -> bool:
    """Whether the files say nothing at all of what the field is about."""
    return not geo.incomplete and not (geo.countries if left.type is Type.BYTES else geo.systems)


def _warn_unknown(context: Context, place: Place, what: str, unknown: list[str], help: str | None) -> None:
    """What no entry has is no error: a table may lose an entry from one day to the next."""
    if not unknown or (context.geo is not None and context.geo.incomplete):
        return
    shown = ", ".join(f"`{item}`" for item in unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
    context.error("W0503", f"no network of the geo files has the {what} {shown}", place, "not in the geo files", help=help)


def _within(address: FieldValue, ranges: Addresses) -> Expression:
    return InAddresses(address, *ranges) if ranges[0] or ranges[1] else Const(False)


def _each(addresses: list[FieldValue], passing: Addresses, known: Addresses, *, every: bool, negated: bool) -> Expression:
    """`any` or `all` over the addresses whose country is known."""
    seen = [_within(address, known) for address in addresses]
    good = [_within(address, passing) for address in addresses]
    if negated:
        good = [And((s, Not(g))) for s, g in zip(seen, good, strict=True)]
    if not every:
        return Or(tuple(good))
    return And((Or(tuple(seen)), *(Or((g, Not(s))) for s, g in zip(seen, good, strict=True))))


def _countries(context: Context, left: Left, node: Comparison, geo: Geo) -> Addresses | None:
    right = node.right
    if isinstance(right, ListName) and node.operator is Operator.IN:
        found = values.named_list(context, left, right)
        wanted = None if found is None else found.strings
    elif isinstance(right, SetOf) and node.operator is Operator.IN:
        wanted = values.strings(context, left, right)
    elif node.operator is Operator.IN or isinstance(right, ListName | SetOf):
        _wrong_shape(context, node)
        return None
    else:
        value = values.byte_string(context, left, right)
        wanted = None if value is None else (value,)
    if wanted is None:
        return None
    for code in wanted:
        if not is_country(code):
            help = "a country is two capital letters (ISO 3166-1 alpha-2)"
            context.error("E0203", f"{code.decode(errors='replace')!r} is no country code", place_of(right), help=help)
            return None
    unknown = [code for code in wanted if code not in geo.countries]
    better = [f"{code.decode()} is {OTHER_CODES[code]} in ISO 3166-1" for code in unknown if code in OTHER_CODES]
    _warn_unknown(context, place_of(right), "country", [code.decode() for code in unknown], "; ".join(better) or None)
    return geo.in_countries(frozenset(wanted).__contains__)


def _systems(context: Context, left: Left, node: Comparison, geo: Geo) -> Addresses | None:
    right = node.right
    if isinstance(right, ListName) and node.operator is Operator.IN:
        found = values.named_list(context, left, right)
        ranges = None if found is None else found.numbers
    elif isinstance(right, SetOf) and node.operator is Operator.IN:
        ranges = values.number_ranges(context, left, right)
    elif node.operator is Operator.IN or isinstance(right, ListName | SetOf) or (isinstance(right, Word) and ".." in right.text):
        _wrong_shape(context, node)
        return None
    else:
        pair = values.number_range(context, left, right)
        if pair is None:
            return None
        low = pair[0]
        ranges = {
            Operator.LT: ((0, low - 1),),
            Operator.LE: ((0, low),),
            Operator.GT: ((low + 1, left.maximum),),
            Operator.GE: ((low, left.maximum),),
        }.get(node.operator, (pair,))
    if ranges is None:
        return None
    if node.operator in (Operator.EQ, Operator.NE, Operator.IN):
        unknown = [str(low) for low, high in ranges if low == high and low not in geo.systems]
        _warn_unknown(context, place_of(right), "AS number", unknown, None)
    return geo.in_systems(tuple((low, high) for low, high in ranges if low <= high))


def _wrong_shape(context: Context, node: Comparison) -> None:
    right = node.right
    if node.operator is Operator.IN:
        help = f"write {{{context.text(*place_of(right))}}}" if not isinstance(right, ListName | SetOf) else None
        context.error("E0106", "`in` is followed by a set or a list", place_of(right), "expected { ... } or $list", help=help)
    else:
        context.error("E0106", f"`{node.operator.value}` is followed by one value", place_of(right), "expected one value", help="use `in`")
