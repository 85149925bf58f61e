"""Rules that differ in their literals alone: what was found out of one of them serves the others.

A statement is cut at its literals. What stands around them is the key: of two texts with the same key the lexemes are the same but for
the literals (a literal begins behind a sign or a space, so that it lengthens no name), and so is the syntax. So the first text of a key
is parsed and checked as a whole, and of another only the tests whose literals were not met before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rules_dsl.canonical import canonical_parts, word_spelling
from rules_dsl.checker import chain, check_expression, compared
from rules_dsl.checker_functions import operand
from rules_dsl.checker_geo import GEO_FIELDS
from rules_dsl.expression import Const, Expression, Not
from rules_dsl.lexemes import STRING, WORD, Gathered
from rules_dsl.policy import Action, Mode, Rule
from rules_dsl.syntax import (
    Chain,
    Comparison,
    FieldName,
    Group,
    Item,
    ListName,
    Logic,
    Negation,
    Node,
    RuleStatement,
    SetOf,
    Text,
    Truth,
    Value,
    Word,
)

if TYPE_CHECKING:
    from rules_dsl.checking import Context, Left

_LITERAL: Final = re.compile(rf"(?<=[ \t\n=<>&~(,{{\[])({WORD}|{STRING})")

Key = tuple[str, ...]
Made = dict[str | Key, Expression]
"""Tests of one field by one operator, by their literals: a value, or those of a set."""
Test = Comparison | FieldName


def cut(text: str) -> tuple[Key, list[str]]:
    """What stands around the literals of a statement, and the literals."""
    parts = _LITERAL.split(text)
    return tuple(parts[::2]), parts[1::2]


@dataclass(frozen=True, slots=True, eq=False)
class _Slot:
    """A test of the expression, with some of the statement's literals."""

    test: Test
    literals: tuple[int, ...]
    left: Left | None
    """Of a comparison with literals, its left side."""
    made: Made
    """A test without literals may depend on lists, and is not kept here."""

    def checked(self, spelled: Sequence[str], context: Context) -> Expression | None:
        """The test with these literals; None where something is wrong with them, of which nothing is reported here."""
        test, before = self.test, len(context.found)
        if self.left is None or isinstance(test, FieldName):
            made = check_expression(context, test)
        else:
            right = _with(test.right, [spelled[at] for at in self.literals])
            made = compared(context, self.left, Comparison(test.left, test.operator, right, test.operator_start, test.operator_end))
        if len(context.found) > before:
            del context.found[before:]
            return None
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What the texts of one key have in common."""

    action: Action
    mode: Mode
    name: int | None
    """The literal that is the rule's name."""
    expression: Node
    """Of the first text."""
    slots: tuple[_Slot, ...]
    """Its tests, from left to right."""
    is_flat: bool
    """It is one test, or several joined by `and`."""
    spelling: tuple[str, ...]
    """Its canonical form in pieces."""
    spelled: tuple[tuple[int, int], ...]
    """Which pieces are literals, and which literals these are."""
    start: int
    """Of the statement."""
    behind: int
    """Characters that follow the statement."""
    lists: frozenset[str]

    def rule(self, name: str, literals: Sequence[str], context: Context) -> Rule | None:
        """The rule with these literals; None where something is wrong with it."""
        values: list[Expression] = []
        for slot in self.slots:
            places = slot.literals
            if places:
                key = literals[places[0]] if len(places) == 1 else tuple([literals[at] for at in places])
                made = slot.made.get(key)
                if made is None and (made := slot.checked(literals, context)) is not None:
                    slot.made[key] = made
                    context.learned += 1
            else:
                made = context.unspelled.get(slot)
                if made is None and (made := slot.checked(literals, context)) is not None:
                    context.unspelled[slot] = made
            if made is None:
                return None
            values.append(made)
        predicate: Expression | None
        if self.is_flat:
            predicate = values[0] if len(values) == 1 else chain(Logic.AND, values)
        else:
            predicate = _joined(self.expression, iter(values))
        if predicate is None:
            return None
        pieces = list(self.spelling)
        for place, at in self.spelled:
            literal = literals[at]
            pieces[place] = literal if literal[0] == '"' else word_spelling(literal)
        return Rule(name, self.action, self.mode, predicate, "".join(pieces))


def template(text: str, statement: RuleStatement, gathered: Gathered, context: Context, made: Callable[[str], Made]) -> Template | None:
    """Of a text whose statement is right. None where a literal stands where none is looked for. `made`: tests by field and operator."""
    tests = _tests(statement.expression)
    if tests is None or statement.rate is not None:
        return None
    numbers: dict[tuple[int, str], int] = {}
    at = 0
    for index, part in enumerate(_LITERAL.split(text)):
        if index % 2:
            numbers[at, part] = len(numbers)
        at += len(part)
    slots = []
    for test in tests:
        places = tuple([numbers.get((item.start, item.text), -1) for item in _literals(test)])
        left = operand(context, test.left) if isinstance(test, Comparison) and places else None
        slots.append(_Slot(test, places, left, made(_field_and_operator(test))))
    name = None if statement.name is None else numbers.get((statement.name.start, statement.name.text), -1)
    taken = [*(at for slot in slots for at in slot.literals), *(() if name is None else (name,))]
    if -1 in taken or len(taken) != len(numbers):
        return None
    whole, start = statement.expression, statement.expression.start
    parts = [*canonical_parts(gathered, next(index for index, part in enumerate(gathered.parts) if part.start == start))]
    return Template(
        statement.action,
        statement.modes[0][0] if statement.modes else Mode.ENABLED,
        name,
        whole,
        tuple(slots),
        tests == ([*whole.items] if isinstance(whole, Chain) and whole.logic is Logic.AND else [whole]),
        tuple([text for text, _ in parts]),
        tuple([(place, numbers[literal]) for place, (_, literal) in enumerate(parts) if literal is not None]),
        statement.start,
        len(text) - statement.end,
        frozenset([test.right.text for test in tests if isinstance(test, Comparison) and isinstance(test.right, ListName)]),
    )


def _tests(node: Node) -> list[Test] | None:
    """From left to right; None where there is one of another form than `field` or `field operator value`, or of geo files."""
    match node:
        case Chain(_, items):
            found = [_tests(item) for item in items]
            return None if None in found else [test for some in found for test in some or ()]
        case Negation(item) | Group(item):
            return _tests(item)
        case Truth():
            return []
        case FieldName(index=None):
            return [node]
        case Comparison(left=FieldName(name=name, index=None)) if name not in GEO_FIELDS:
            return [node]
        case _:
            return None


def _field_and_operator(test: Test) -> str:
    if isinstance(test, FieldName):
        return test.name
    assert isinstance(test.left, FieldName)
    return f"{test.left.name} {test.operator.value}"


def _literals(test: Test) -> list[Word | Text]:
    if isinstance(test, FieldName):
        return []
    items = test.right.items if isinstance(test.right, SetOf) else (test.right,)
    return [item for item in items if isinstance(item, Word | Text)]


def _with(node: Value | Item, spelled: Sequence[str]) -> Value:
    """The value with other literals, perhaps of the other kind."""
    if isinstance(node, SetOf):
        items = [_literal(literal, item.start, item.end) for literal, item in zip(spelled, node.items, strict=True)]
        return SetOf(tuple(items), node.start, node.end)
    return _literal(spelled[0], node.start, node.end)


def _literal(spelled: str, start: int, end: int) -> Word | Text:
    return Text(spelled, start, end) if spelled[0] == '"' else Word(spelled, start, end)


def _joined(node: Node, values: Iterator[Expression]) -> Expression | None:
    """The expression with these values for its tests, from left to right."""
    match node:
        case Chain(logic, items):
            return chain(logic, [_joined(item, values) for item in items])
        case Negation(item):
            inner = _joined(item, values)
            return None if inner is None else Not(inner)
        case Group(item):
            return _joined(item, values)
        case Truth(value):
            return Const(value)
        case _:
            return next(values)
