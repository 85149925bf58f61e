"""The canonical spelling of an expression: one line, one space, signs for comparisons and words for logic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rules_dsl.fields import BY_NAME
from rules_dsl.lexemes import Lexeme

_SPELLING = {
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "bitwise_and": "&", "~": "matches",
    "&&": "and", "||": "or", "^^": "xor", "!": "not",
}  # fmt: skip
_RANGE_SPACE = re.compile(r"[ \t]*\.\.[ \t]*")
_OPENS = frozenset({"(", "["})
_CLOSES = frozenset({")", "]", ","})
_NOT_CALLED = frozenset({"and", "or", "xor", "not", "when"})


def spelling(word: Lexeme, in_expression: bool) -> str:
    """One lexeme in canonical form."""
    text = str(word)
    match word.type:
        case "WORD":
            return _RANGE_SPACE.sub("..", text).lower()
        case "NAME" | "sign" if in_expression:
            text = _SPELLING.get(text, text)
            field = BY_NAME.get(text)
            return field.name if field is not None else text
        case _:
            return text


def joined(parts: Iterable[tuple[Lexeme, str]]) -> str:
    """Lexemes with their canonical spellings, as one line."""
    result: list[str] = []
    before = ""
    for word, text in parts:
        if before and not _adjoin(before, text, word):
            result.append(" ")
        result.append(text)
        before = text if word.type in ("sign", "NAME") else "value"
    return "".join(result)


def _adjoin(before: str, text: str, word: Lexeme) -> bool:
    """Whether no space stands between these two."""
    if word.type != "sign":
        return before in _OPENS or before == "/"
    if text in _CLOSES or text == "/" or before in _OPENS:
        return True
    if text in _OPENS:
        return before[0].isalpha() and before != "value" and before not in _NOT_CALLED and before not in ("in",)
    return False


def without_set_commas(words: Sequence[Lexeme]) -> list[Lexeme]:
    """The commas between the items of sets go; those between arguments stay."""
    result = []
    in_set = False
    for word in words:
        if word.type == "sign":
            if word == "{":
                in_set = True
            elif word == "}":
                in_set = False
            elif word == "," and in_set:
                continue
        result.append(word)
    return result


def canonical_expression(words: Sequence[Lexeme]) -> str:
    """The lexemes of an expression in canonical form."""
    return joined((word, spelling(word, True)) for word in without_set_commas(words))
