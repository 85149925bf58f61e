"""The type checker: from the syntax tree of an expression to the typed nodes of expression.py, or to what is wrong with it.

It goes on after an error, so that one run reports them all; a part that is wrong becomes None, and so does all around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from rules_dsl import checker_values as values
from rules_dsl.checker_functions import TESTS, VALUES, bytes_argument, operand, unknown_function, wrong_arguments
from rules_dsl.checker_geo import GEO_FIELDS, Quantifier, geo_test
from rules_dsl.checker_patterns import matches, wildcard
from rules_dsl.checking import TYPE_WORDS, Context, Left, place_of
from rules_dsl.expression import (
    All,
    And,
    AnyBit,
    BitSlice,
    CompareBytes,
    Const,
    Contains,
    EndsWith,
    Expression,
    InAddresses,
    InRanges,
    InStrings,
    IsTrue,
    Not,
    Or,
    Order,
    Ranges,
    StartsWith,
    Test,
    Xor,
)
from rules_dsl.fields import Field, Type
from rules_dsl.literals import BITS
from rules_dsl.syntax import (
    Call,
    Chain,
    Comparison,
    FieldName,
    Group,
    ListName,
    Logic,
    Name,
    Negation,
    Node,
    Operator,
    SetOf,
    Text,
    Truth,
    Word,
)

_ORDERED = (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_SEARCHES = (Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.MATCHES, Operator.WILDCARD, Operator.STRICT_WILDCARD)
OPERATORS_OF = {
    Type.BOOL: (Operator.EQ, Operator.NE),
    Type.INT: (*_ORDERED, Operator.IN, Operator.AND),
    Type.ADDRESS: (*_ORDERED, Operator.IN),
    Type.BYTES: (*_ORDERED, Operator.IN, *_SEARCHES),
}
"""The operators that a value of the type takes."""


def check_expression(context: Context, node: Node) -> Expression | None:
    """The typed expression, or None after errors, which stand in `context.found`."""
    match node:
        case Comparison():
            return _comparison(context, node)
        case Chain(logic, items):
            return chain(logic, [check_expression(context, item) for item in items])
        case Negation(item):
            inner = check_expression(context, item)
            return None if inner is None else Not(inner)
        case Group(item):
            return check_expression(context, item)
        case FieldName():
            return _bare_field(context, node)
        case Call():
            return _bare_call(context, node)
        case Truth(value):
            return Const(value)
        case _:
            assert_never(node)


def chain(logic: Logic, items: Sequence[Expression | None]) -> Expression | None:
    """The items joined; None where one of them is."""
    good = [item for item in items if item is not None]
    if len(good) != len(items):
        return None
    match logic:
        case Logic.AND:
            return And(tuple(part for item in good for part in (item.items if isinstance(item, And) else (item,))))
        case Logic.OR:
            return Or(tuple(part for item in good for part in (item.items if isinstance(item, Or) else (item,))))
        case Logic.XOR:
            # Balanced, so that a long chain (`xor` is associative) does not nest deeply.
            while len(good) > 1:
                pairs = [Xor(good[i], good[i + 1]) for i in range(0, len(good) - 1, 2)]
                good = [*pairs, *good[len(pairs) * 2 :]]
            return good[0]
        case _:
            assert_never(logic)


# -- Booleans ----------------------------------------------------------------------------------------------------------


def _bare_field(context: Context, node: FieldName) -> Expression | None:
    left = operand(context, node)
    if left is None:
        return None
    if left.type is not Type.BOOL:
        _not_a_test(context, left)
        return None
    assert left.field is not None
    return IsTrue(left.field)


def _not_a_test(context: Context, left: Left) -> None:
    name = context.text(*left.place)
    example = {Type.INT: f"{name} == 1", Type.ADDRESS: f"{name} == 192.0.2.1", Type.BYTES: f'{name} contains "text"'}.get(left.type)
    message = f"`{name}` is {TYPE_WORDS[left.type]}, not a test"
    context.error("E0102", message, left.place, "compare it with something", help=f"such as: {example}")


def _false(field: Field) -> Expression:
    """`field == false`: present and not set. A field that is a bit of a header is absent where the header is; any other Boolean is
    always known."""
    if not field.at:
        return Not(IsTrue(field))
    clear = [InRanges(BitSlice(bits.header, bits.offset, bits.offset + bits.width), ((0, 0),)) for bits in field.at]
    return clear[0] if len(clear) == 1 else Or(tuple(clear))


def _bare_call(context: Context, node: Call) -> Expression | None:
    match node.function:
        case "starts_with" | "ends_with":
            return _edge(context, node)
        case "any" | "all":
            return _quantified(context, node)
        case _ if node.function in VALUES:
            left = operand(context, node)
            if left is not None:
                _not_a_test(context, left)
        case _:
            unknown_function(context, node)
    return None


def _edge(context: Context, node: Call) -> Expression | None:
    if len(node.arguments) != 2:
        wrong_arguments(context, node, f"`{node.function}` takes a field and a string, and there are {len(node.arguments)} arguments")
        return None
    left, argument = bytes_argument(context, node), node.arguments[1]
    if left is None:
        return None
    if not isinstance(argument, Word | Text):
        wrong_arguments(context, node, f"`{node.function}` takes a field and a string")
        return None
    value = values.byte_string(context, left, argument)
    if value is None:
        return None
    return (StartsWith if node.function == "starts_with" else EndsWith)(left.bytes_operand, value)


def _quantified(context: Context, node: Call) -> Expression | None:
    """`any(...)` and `all(...)`: one comparison, perhaps negated, of a field of many values."""
    every = node.function == "all"
    item = node.arguments[0] if node.arguments else None
    negated = False
    while isinstance(item, Group | Negation):
        negated ^= isinstance(item, Negation)
        item = item.item
    inner = item.left if isinstance(item, Comparison) else item.arguments[0] if isinstance(item, Call) and item.arguments else None
    if len(node.arguments) != 1 or not isinstance(inner, FieldName | Call) or (isinstance(item, Call) and item.function not in TESTS):
        message = f"`{node.function}` takes one comparison of a field with many values"
        context.error("E0105", message, (node.start, node.end), help=f"write {TESTS[node.function]}")
        return None
    assert isinstance(item, Comparison | Call)
    left = operand(context, inner)
    if left is None:
        return None
    if not left.multiple:
        message = f"`{context.text(*left.place)}` has one value, and `{node.function}` is for fields with many"
        context.error("E0105", message, left.place, "one value", help=f"write the comparison without {node.function}(...)")
        return None
    if left.field is not None and left.field.name in GEO_FIELDS:
        if isinstance(item, Call):
            bytes_argument(context, item)  # which says why not
            return None
        return geo_test(context, left, item, Quantifier.ALL if every else Quantifier.ANY, negated=negated)
    if isinstance(item, Comparison):
        negated ^= item.operator is Operator.NE
    test = _positive(context, item) if isinstance(item, Comparison) else _bare_call(context, item)
    if test is None:
        return None
    if not isinstance(test, Test):
        # Only a comparison that no value passes is folded to a constant.
        assert test == Const(False)
        return _present(left) if negated else test
    if negated:
        return And((_present(left), Not(test if every else All(test))))
    return All(test) if every else test


def _present(left: Left) -> Expression:
    if left.type is Type.BYTES:
        return Contains(left.bytes_operand, (b"",))
    return InRanges(left.int_operand, ((0, left.maximum),))


# -- comparisons -------------------------------------------------------------------------------------------------------


def _comparison(context: Context, node: Comparison) -> Expression | None:
    left, right = node.left, node.right
    if not (isinstance(left, FieldName) and left.index is None and isinstance(right, Word | Text)):
        return _new_comparison(context, node)
    key = (left.name, node.operator, right.text)
    known = context.tests.get(key)
    if known is None:
        known = _new_comparison(context, node)
        if known is not None:
            context.tests[key] = known
    return known


def _new_comparison(context: Context, node: Comparison) -> Expression | None:
    if isinstance(node.left, FieldName) and node.left.name in GEO_FIELDS:
        left = operand(context, node.left)
        return None if left is None else geo_test(context, left, node, Quantifier.NONE)
    test = _positive(context, node)
    if test is None:
        return None
    return Not(test) if node.operator is Operator.NE else test


def _positive(context: Context, node: Comparison) -> Expression | None:
    """The comparison, with `!=` taken for `==`."""
    left = operand(context, node.left)
    if left is None:
        return None
    operator = node.operator
    if operator not in OPERATORS_OF[left.type]:
        allowed = " ".join(op.value for op in OPERATORS_OF[left.type])
        message = f"`{operator.value}` does not apply to `{context.text(*left.place)}`, which is {TYPE_WORDS[left.type]}"
        place = (node.operator_start, node.operator_end)
        context.error(
            "E0101", message, place, help=f"{TYPE_WORDS[left.type]} takes: {allowed}", related=((left.place, TYPE_WORDS[left.type]),)
        )
        return None
    return _by_type(context, left, node) if _right_shape(context, node) else None


def compared(context: Context, left: Left, node: Comparison) -> Expression | None:
    """A comparison (not of a field of the geo files) that differs in literals alone from one that was found right."""
    test = _by_type(context, left, node)
    return Not(test) if test is not None and node.operator is Operator.NE else test


def _by_type(context: Context, left: Left, node: Comparison) -> Expression | None:
    right = node.right
    match left.type:
        case Type.BOOL:
            return _boolean(context, left, right)
        case Type.INT:
            return _number(context, left, node)
        case Type.ADDRESS:
            return _address(context, left, node)
        case Type.BYTES:
            return _bytes(context, left, node)
        case _:
            assert_never(left.type)


def _right_shape(context: Context, node: Comparison) -> bool:
    """Whether a set or list stands where one must, and only there."""
    right = node.right
    many = node.operator in (Operator.IN, Operator.CONTAINS_ANY)
    if many == isinstance(right, SetOf | ListName):
        return True
    shown = context.text(*place_of(right))
    if many:
        help = f"write {{{shown}}}" if isinstance(right, Word | Text) else f"write ${shown}" if isinstance(right, Name) else None
        context.error(
            "E0106", f"`{node.operator.value}` is followed by a set or a list", place_of(right), "expected { ... } or $list", help=help
        )
    else:
        other = {Operator.EQ: "in", Operator.NE: "in", Operator.CONTAINS: "contains any"}.get(node.operator)
        what = "a set" if isinstance(right, SetOf) else "a list"
        help = f"use `{other}`" + (", and `not` before the field" if node.operator is Operator.NE else "") if other else None
        message = f"`{node.operator.value}` is followed by one value, and {shown} is {what}"
        context.error("E0106", message, place_of(right), "expected one value", help=help)
    return False


def _boolean(context: Context, left: Left, right: object) -> Expression | None:
    assert left.field is not None
    if isinstance(right, Truth):
        return IsTrue(left.field) if right.value else _false(left.field)
    if isinstance(right, Word) and right.text in ("0", "1"):  # as in Wireshark: tcp.flags.syn == 1
        return IsTrue(left.field) if right.text == "1" else _false(left.field)
    assert isinstance(right, Word | Text | Name)
    values.wrong_type(context, left, right, f"write {context.text(*left.place)}, or not {context.text(*left.place)}")
    return None


def _order_ranges(order: Operator, low: int, high: int, maximum: int) -> Ranges:
    """The values up to `maximum` that stand in this order to the one value `low` (= `high`, except for EQ)."""
    match order:
        case Operator.LT:
            low, high = 0, low - 1
        case Operator.LE:
            low = 0
        case Operator.GT:
            low, high = low + 1, maximum
        case Operator.GE:
            high = maximum
    return ((low, high),) if low <= high else ()


def _number(context: Context, left: Left, node: Comparison) -> Expression | None:
    right = node.right
    ranges: Ranges | None
    if isinstance(right, ListName):
        found = values.named_list(context, left, right)
        if found is None:
            return None
        ranges = found.numbers
        if ranges and ranges[-1][1] > left.maximum:
            name = context.text(*left.place)
            message = f"`{name}` never reaches {ranges[-1][1]}, which `${right.text}` holds"
            context.error(
                "E0305", message, place_of(right), help=f"the largest value of `{name}` is {left.maximum}", related=((left.place, ""),)
            )
            return None
    elif isinstance(right, SetOf):
        ranges = values.number_ranges(context, left, right)
        if ranges is None:
            return None
    else:
        pair = values.number_range(context, left, right)
        if pair is None:
            return None
        if isinstance(right, Word) and ".." in right.text:
            context.error(
                "E0106", f"`{node.operator.value}` is followed by one value", place_of(right), "a range", help=f"write in {{{right.text}}}"
            )
            return None
        if node.operator is Operator.AND:
            if pair[0] == 0:
                context.error(
                    "E0305", "a mask of 0 has no bit to test", place_of(right), help="`&` tests whether one of the mask's bits is set"
                )
                return None
            return AnyBit(left.int_operand, pair[0])
        ranges = _order_ranges(node.operator, *pair, left.maximum)
    return InRanges(left.int_operand, ranges) if ranges else Const(False)


def _address(context: Context, left: Left, node: Comparison) -> Expression | None:
    right = node.right
    if isinstance(right, ListName):
        found = values.named_list(context, left, right)
        return None if found is None else InAddresses(left.field_value, found.v4, found.v6, right.text)
    if isinstance(right, SetOf):
        both = values.address_ranges(context, left, right)
        return None if both is None else InAddresses(left.field_value, *both)
    item = values.address_range(context, left, right)
    if item is None:
        return None
    assert isinstance(right, Word)
    version, low, high = item
    ordered = node.operator not in (Operator.EQ, Operator.NE)
    if ".." in right.text or (ordered and low != high):
        help = f"write in {{{right.text}}}" if not ordered else "compare with the first or the last address"
        context.error("E0106", f"`{node.operator.value}` is followed by one address", place_of(right), "many addresses", help=help)
        return None
    ranges = _order_ranges(node.operator, low, high, (1 << BITS[version]) - 1)
    if not ranges:
        return Const(False)
    return InAddresses(left.field_value, ranges, ()) if version == 4 else InAddresses(left.field_value, (), ranges)


_BYTE_ORDER = {
    Operator.EQ: Order.EQ,
    Operator.NE: Order.EQ,
    Operator.LT: Order.LT,
    Operator.LE: Order.LE,
    Operator.GT: Order.GT,
    Operator.GE: Order.GE,
}


def _bytes(context: Context, left: Left, node: Comparison) -> Expression | None:
    right, of = node.right, left.bytes_operand
    if isinstance(right, ListName | SetOf):
        if isinstance(right, ListName):
            found = values.named_list(context, left, right)
            several = None if found is None else found.strings
            if several is not None and left.caseless:
                several = tuple(dict.fromkeys(text.lower() for text in several))
        else:
            several = values.strings(context, left, right)
        if several is None:
            return None
        if not several:
            return Const(False)
        return Contains(of, several) if node.operator is Operator.CONTAINS_ANY else InStrings(of, tuple(sorted(several)))
    if node.operator is Operator.MATCHES:
        return matches(context, left, right)
    value = values.byte_string(context, left, right)
    if value is None:
        return None
    match node.operator:
        case Operator.CONTAINS:
            return Contains(of, (value,))
        case Operator.WILDCARD | Operator.STRICT_WILDCARD:
            return wildcard(context, left, right, value, strict=node.operator is Operator.STRICT_WILDCARD)
        case _:
            return CompareBytes(of, _BYTE_ORDER[node.operator], value)
