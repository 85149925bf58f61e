"""From the parser's reductions to the syntax tree: one method a rule of grammar.lark, called while parsing.

Lark calls these bottom-up during the parse, so that no tree is walked and nothing recurses, however deep the text nests.
"""

from __future__ import annotations

from typing import Any

from rules_dsl import syntax
from rules_dsl.lexemes import RESERVED, Lexeme, MisplacedWordError, leaf
from rules_dsl.policy import Action, Mode
from rules_dsl.syntax import Chain, Logic, Operator

OPERATOR_OF = {
    "==": Operator.EQ, "eq": Operator.EQ, "!=": Operator.NE, "ne": Operator.NE, "<": Operator.LT, "lt": Operator.LT,
    "<=": Operator.LE, "le": Operator.LE, ">": Operator.GT, "gt": Operator.GT, ">=": Operator.GE, "ge": Operator.GE,
    "in": Operator.IN, "&": Operator.AND, "bitwise_and": Operator.AND, "contains": Operator.CONTAINS, "any": Operator.CONTAINS_ANY,
    "matches": Operator.MATCHES, "~": Operator.MATCHES, "wildcard": Operator.WILDCARD, "strict": Operator.STRICT_WILDCARD,
}  # fmt: skip


def _span(word: Lexeme) -> tuple[int, int]:
    return word.start, word.start + len(word)


def _leaf(word: Lexeme) -> Any:
    """The node of a word; the grammar has made sure that it is of the kind that the caller wants."""
    return leaf(word)


def _chain(logic: Logic, items: list[Any]) -> Chain:
    return Chain(logic, tuple(items))


class TreeBuilder:
    """Children come as tokens and as what other methods returned; grammar.lark says which."""

    # -- logic

    def expression(self, children: list[Any]) -> Any:
        return children[0]

    def disjunction(self, children: list[Any]) -> Any:
        return _chain(Logic.OR, children)

    def exclusion(self, children: list[Any]) -> Any:
        return _chain(Logic.XOR, children)

    def conjunction(self, children: list[Any]) -> Any:
        return _chain(Logic.AND, children)

    def negate(self, children: list[Any]) -> Any:
        return syntax.Negation(children[1], children[0].start)

    def group(self, children: list[Any]) -> Any:
        return syntax.Group(children[1], _span(children[0])[0], _span(children[2])[1])

    def yes(self, children: list[Any]) -> Any:
        return syntax.Truth(True, *_span(children[0]))

    def no(self, children: list[Any]) -> Any:
        return syntax.Truth(False, *_span(children[0]))

    # -- operands

    def field(self, children: list[Any]) -> Any:
        token = children[0]
        if token in RESERVED:
            raise MisplacedWordError(token)
        return syntax.FieldName(str(token), None, *_span(token))

    def field_every(self, children: list[Any]) -> Any:
        return self._indexed(children, syntax.Every(*_span(children[1])))

    def field_word(self, children: list[Any]) -> Any:
        return self._indexed(children, _leaf(children[1]))

    field_key = field_word

    def _indexed(self, children: list[Any], index: Any) -> Any:
        return syntax.FieldName(str(children[0]), index, _span(children[0])[0], _span(children[-1])[1])

    def call(self, children: list[Any]) -> Any:
        name, _, *arguments, closing = children
        if name in RESERVED:
            raise MisplacedWordError(name)
        start, name_end = _span(name)
        return syntax.Call(str(name), tuple(a for a in arguments if a is not None), start, _span(closing)[1], name_end)

    def call_every(self, children: list[Any]) -> Any:
        return children[0]

    def comparison(self, children: list[Any]) -> Any:
        left, sign, right = children
        if isinstance(sign, tuple):
            return syntax.Comparison(left, sign[0], right, sign[1], sign[2])
        return syntax.Comparison(left, OPERATOR_OF[sign], right, *_span(sign))

    def comparison_not_in(self, children: list[Any]) -> Any:
        left, sign, word, right = children
        return syntax.Negation(syntax.Comparison(left, Operator.IN, right, sign.start, _span(word)[1]), left.start)

    def two_words(self, children: list[Any]) -> Any:
        first, second = children
        operator = Operator.STRICT_WILDCARD if first == "strict" else Operator.CONTAINS_ANY
        return operator, _span(first)[0], _span(second)[1]

    # -- values

    def word(self, children: list[Any]) -> Any:
        return _leaf(children[0])

    text = name = list_name = word

    # -- statements

    def mode(self, children: list[Any]) -> Any:
        return Mode(str(children[0])), *_span(children[0])

    def rule(self, children: list[Any]) -> Any:
        modes: list[Any] = []
        while isinstance(children[len(modes)], tuple):
            modes.append(children[len(modes)])
        action, name, *rate, expression = children[len(modes) :]
        start = modes[0][1] if modes else _span(action)[0]
        return syntax.RuleStatement(
            tuple(modes), Action(str(action)), name, rate[0] if rate else None, expression, start, expression.end
        )  # fmt: skip

    def rate(self, children: list[Any]) -> Any:
        count, unit, per, burst = children
        field, prefix = per or (None, None)
        return syntax.Rate(_leaf(count), _leaf(unit), field, prefix, burst)

    def per(self, children: list[Any]) -> Any:
        return _leaf(children[0]), _leaf(children[1]) if children[1] is not None else None

    def burst(self, children: list[Any]) -> Any:
        return _leaf(children[0])

    def tenant(self, children: list[Any]) -> Any:
        name = _leaf(children[1])
        return syntax.TenantStatement(name, _span(children[0])[0], name.end)

    def protect(self, children: list[Any]) -> Any:
        word, *targets = children
        ends, parts = [end for end, _ in targets], tuple(part for _, part in targets)
        return syntax.ProtectStatement(parts, _span(word)[0], ends[-1])

    def target_prefix(self, children: list[Any]) -> Any:
        return _span(children[0])[1], _leaf(children[0])

    def target_interface(self, children: list[Any]) -> Any:
        return _span(children[0])[1], syntax.ProtectInterface(_leaf(children[0]))

    def target_mark(self, children: list[Any]) -> Any:
        return _span(children[0])[1], syntax.ProtectMark(_leaf(children[0]))

    def target_all(self, children: list[Any]) -> Any:
        return _span(children[0])[1], syntax.ProtectAll(*_span(children[0]))

    def hook(self, children: list[Any]) -> Any:
        return syntax.HookStatement(_leaf(children[1]), *self._ends(children))

    def early_drop(self, children: list[Any]) -> Any:
        word, *interfaces = (child for child in children if child is not None)
        return syntax.EarlyDropStatement(tuple(interfaces), _span(word)[0], interfaces[-1].end)

    def list_of_items(self, children: list[Any]) -> Any:
        word, name, items = children
        return syntax.ListStatement(_leaf(name), items, _span(word)[0], items.end)

    def list_of_file(self, children: list[Any]) -> Any:
        return syntax.ListStatement(_leaf(children[1]), _leaf(children[2]), *self._ends(children))

    def default(self, children: list[Any]) -> Any:
        return syntax.DefaultStatement(_leaf(children[1]), *self._ends(children))

    def geo(self, children: list[Any]) -> Any:
        word, *paths = children
        return syntax.GeoStatement(tuple(paths), _span(word)[0], paths[-1].end)

    def expect(self, children: list[Any]) -> Any:
        word, verdict, rule, when, capture, frames = children
        end = frames.end if frames is not None else capture.end
        return syntax.ExpectStatement(_leaf(verdict), rule, when, capture, frames, _span(word)[0], end)

    def frames(self, children: list[Any]) -> Any:
        return _leaf(children[0])

    def _ends(self, children: list[Any]) -> tuple[int, int]:
        return _span(children[0])[0], _span(children[-1])[1]
