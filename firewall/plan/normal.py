"""Fourth pass: an expression as alternatives (disjunctive normal form), each a conjunction of literals.

A part that no nft match can say anything about stays whole, as one literal for eBPF; negation ends up at the literals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from firewall.plan.fold import FALSE, TRUE, conjunction, disjunction, negation
from rules_dsl import expression as ex
from rules_dsl.expression import And, Const, Expression, Not, Or, Ranges, Xor
from rules_dsl.ranges import merged

MOST_TERMS = 64
"""More alternatives than this are not worth a chain of nft rules."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A native test or a whole payload expression, negated or not."""

    expression: Expression
    positive: bool

    def as_expression(self) -> Expression:
        return self.expression if self.positive else negation(self.expression)


Alternative = tuple[Literal, ...]


class TooManyTermsError(Exception):
    """The expression has more than `MOST_TERMS` alternatives."""


def alternatives(expression: Expression, is_payload: Callable[[ex.Test], bool]) -> tuple[Alternative, ...]:
    """The alternatives of a folded expression: none if it is false, one without literals if it is true.

    Raises TooManyTermsError."""
    return _reduced(_terms(simplify(_without_xor(expression, is_payload)), True, is_payload))


def is_all_payload(expression: Expression, is_payload: Callable[[ex.Test], bool]) -> bool:
    return all(is_payload(test) for test in ex.tests_of(expression))


def _without_xor(expression: Expression, is_payload: Callable[[ex.Test], bool]) -> Expression:
    match expression:
        case Xor(left, right):
            if is_all_payload(expression, is_payload):
                return expression
            one, other = _without_xor(left, is_payload), _without_xor(right, is_payload)
            return disjunction([conjunction([one, negation(other)]), conjunction([negation(one), other])])
        case Not(item):
            return negation(_without_xor(item, is_payload))
        case And(items):
            return conjunction([_without_xor(item, is_payload) for item in items])
        case Or(items):
            return disjunction([_without_xor(item, is_payload) for item in items])
        case _:
            return expression


def _terms(expression: Expression, positive: bool, is_payload: Callable[[ex.Test], bool]) -> list[Alternative]:
    if not isinstance(expression, Const) and is_all_payload(expression, is_payload):
        while isinstance(expression, Not):
            expression, positive = expression.item, not positive
        return [(Literal(expression, positive),)]
    match expression:
        case Const(value):
            return [()] if value is positive else []
        case Not(item):
            return _terms(item, not positive, is_payload)
        case And(items) | Or(items):
            loose: list[Expression] = []
            packed: list[Expression] = []
            for item in items:
                (packed if is_all_payload(item, is_payload) else loose).append(item)
            parts = [_terms(item, positive, is_payload) for item in loose]
            if packed:  # the payload parts together are one literal
                whole: Expression = packed[0] if len(packed) == 1 else type(expression)(tuple(packed))
                parts.append(_terms(whole, positive, is_payload))
            if isinstance(expression, And) is positive:
                return _product(parts)
            return _bounded([term for part in parts for term in part])
        case Xor():
            raise AssertionError("Xor was expanded")
        case _:
            return [(Literal(expression, positive),)]


def _product(parts: list[list[Alternative]]) -> list[Alternative]:
    product: list[Alternative] = [()]
    for part in sorted(parts, key=len):
        product = _bounded([joined for left in product for right in part if (joined := _join(left, right)) is not None])
    return product


def _join(left: Alternative, right: Alternative) -> Alternative | None:
    """Both together; None where they contradict each other."""
    joined = dict.fromkeys(left)
    for literal in right:
        if Literal(literal.expression, not literal.positive) in joined:
            return None
        joined[literal] = None
    return tuple(joined)


def _bounded(terms: list[Alternative]) -> list[Alternative]:
    unique = list(dict.fromkeys(terms))
    if len(unique) > MOST_TERMS:
        raise TooManyTermsError
    return unique


def _reduced(terms: list[Alternative]) -> tuple[Alternative, ...]:
    """Without those that another alternative covers."""
    sets = [frozenset(term) for term in terms]
    kept: list[Alternative] = []
    for number, literals in enumerate(sets):
        covered = any(other < literals or (other == literals and place < number) for place, other in enumerate(sets) if place != number)
        if not covered:
            kept.append(terms[number])
    return tuple(kept)


# -- tests of one operand ----------------------------------------------------------------------------------------------


def simplify(expression: Expression) -> Expression:
    """Ranges of one operand that stand side by side become one test."""
    match expression:
        case Not(item):
            return negation(simplify(item))
        case Or(items):
            return _union(disjunction([simplify(item) for item in items]))
        case And(items):
            return _intersection(conjunction([simplify(item) for item in items]))
        case _:
            return expression


def _union(expression: Expression) -> Expression:
    """`a in X or a in Y` is `a in X+Y`, for fields of many values too."""
    if not isinstance(expression, Or):
        return expression
    kept: dict[object, Expression] = {}
    for item in expression.items:
        match item:
            case ex.InRanges(operand, ranges):
                before = kept.get(operand)
                if isinstance(before, ex.InRanges) and not _is_multiple(operand):
                    kept[operand] = ex.InRanges(operand, merged((*before.ranges, *ranges)))
                else:
                    kept[item if _is_multiple(operand) else operand] = item
            case ex.InAddresses(operand, v4, v6):
                key = (operand, "address")
                before = kept.get(key)
                if isinstance(before, ex.InAddresses):
                    kept[key] = ex.InAddresses(operand, merged((*before.v4, *v4)), merged((*before.v6, *v6)))
                else:
                    kept[key] = item
            case _:
                kept[item] = item
    return disjunction(list(kept.values()))


def _intersection(expression: Expression) -> Expression:
    """`a in X and a in Y` is `a in X*Y` for fields of one value; `not a in X and not a in Y` is `not a in X+Y`."""
    if not isinstance(expression, And):
        return expression
    kept: dict[object, Expression] = {}
    for item in expression.items:
        match item:
            case ex.InRanges(operand, ranges) if not _is_multiple(operand):
                before = kept.get(operand)
                if isinstance(before, ex.InRanges):
                    both = _common(before.ranges, ranges)
                    if not both:
                        return FALSE
                    kept[operand] = ex.InRanges(operand, both)
                else:
                    kept[operand] = item
            case Not(ex.InRanges(operand, ranges)) if not _is_multiple(operand):
                key = (operand, "not")
                before = kept.get(key)
                if isinstance(before, Not) and isinstance(before.item, ex.InRanges):
                    kept[key] = Not(ex.InRanges(operand, merged((*before.item.ranges, *ranges))))
                else:
                    kept[key] = item
            case _:
                kept[item] = item
    return conjunction(list(kept.values()))


def _is_multiple(operand: ex.Operand) -> bool:
    root = ex.root_of(operand)
    return isinstance(root, ex.FieldValue) and root.field.multiple


def _common(left: Ranges, right: Ranges) -> Ranges:
    both = [(max(a, c), min(b, d)) for a, b in left for c, d in right if max(a, c) <= min(b, d)]
    return tuple(sorted(both))


__all__ = ["FALSE", "MOST_TERMS", "TRUE", "Alternative", "Literal", "TooManyTermsError", "alternatives", "is_all_payload", "simplify"]
