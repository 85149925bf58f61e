"""The canonical spelling of an expression: one line, one space, signs for comparisons and words for logic."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rules_dsl.fields import BY_NAME
from rules_dsl.lexemes import Gathered, Lexeme
from rules_dsl.syntax import ListName, Name, SetOf, Text, Word

_SPELLING = {
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "bitwise_and": "&", "~": "matches",
    "&&": "and", "||": "or", "^^": "xor", "!": "not",
}  # fmt: skip
_RANGE_SPACE = re.compile(r"[ \t]*\.\.[ \t]*")
_OPENS = frozenset({"(", "["})
_CLOSES = frozenset({")", "]", ","})
_NOT_CALLED = frozenset({"and", "or", "xor", "not", "when", "in"})


def word_spelling(text: str) -> str:
    """A number, address, range or run of bytes in canonical form."""
    return _RANGE_SPACE.sub("..", text).lower() if ".." in text else text.lower()


def spelling(word: Lexeme, in_expression: bool) -> str:
    """One lexeme in canonical form."""
    text = str(word)
    match word.type:
        case "WORD":
            return word_spelling(text)
        case "NAME" | "sign" if in_expression:
            text = _SPELLING.get(text, text)
            field = BY_NAME.get(text)
            return field.name if field is not None else text
        case _:
            return text


def joined(parts: Iterable[tuple[str, str]]) -> str:
    """Lexemes, by their types and canonical spellings, as one line."""
    result: list[str] = []
    before = ""
    for kind, text in parts:
        if before and not _adjoin(before, kind, text):
            result.append(" ")
        result.append(text)
        before = text if kind in ("sign", "NAME") else "value"
    return "".join(result)


def _adjoin(before: str, kind: str, text: str) -> bool:
    """Whether no space stands between these two."""
    if kind != "sign":
        return before in _OPENS or before == "/"
    if text in _CLOSES or text == "/" or before in _OPENS:
        return True
    if text in _OPENS:
        return before[0].isalpha() and before != "value" and before not in _NOT_CALLED
    return False


def _item(node: Word | Text | Name | ListName) -> str:
    match node:
        case Word(text):
            return word_spelling(text)
        case ListName(text):
            return "$" + text
        case _:
            return node.text


def _set(node: SetOf) -> str:
    return "{ " + " ".join([_item(item) for item in node.items]) + " }" if node.items else "{}"


_HOLE = "\0"
_KINDS_KEPT = frozenset({"NAME", "sign"})
_templates: dict[tuple[str, ...], list[str]] = {}
"""A cache: what stands around the literals of a shape."""
_TEMPLATES_KEPT = 4_096


def canonical_expression(gathered: Gathered, first: int = 0) -> str:
    """The parts of an expression, from the part `first` on, in canonical form."""
    shape = gathered.shape[first:]
    parts = gathered.parts[first:]
    template = _templates.get(shape)
    if template is None:
        kinds = [
            ("literal", _HOLE) if isinstance(part, SetOf) or part.type not in _KINDS_KEPT else (part.type, spelling(part, True))
            for part in parts
        ]
        template = joined(kinds).split(_HOLE)
        if len(_templates) >= _TEMPLATES_KEPT:
            _templates.clear()
        _templates[shape] = template
    result = [template[0]]
    holes = iter(template[1:])
    for part in parts:
        if isinstance(part, SetOf):
            result += _set(part), next(holes)
        elif part.type not in _KINDS_KEPT:
            result += word_spelling(part) if part.type == "WORD" else str(part), next(holes)
    return "".join(result)
