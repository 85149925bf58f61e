"""The canonical spelling of an expression: one line, one space, signs for comparisons and words for logic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rules_dsl.fields import BY_NAME
from rules_dsl.lexemes import Gathered, Lexeme
from rules_dsl.syntax import Item, ListName, SetOf, Text, Word

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


def _item(node: Item) -> tuple[str, tuple[int, str] | None]:
    match node:
        case Word(text, start):
            return word_spelling(text), (start, text)
        case Text(text, start):
            return text, (start, text)
        case ListName(text):
            return "$" + text, None
        case _:
            return node.text, None


def _set(node: SetOf) -> Iterator[tuple[str, tuple[int, str] | None]]:
    yield "{" if node.items else "{}", None
    for item in node.items:
        yield " ", None
        yield _item(item)
    if node.items:
        yield " }", None


_HOLE = "\0"
_KINDS_KEPT = frozenset({"NAME", "sign"})
_templates: dict[tuple[str, ...], list[str]] = {}
"""A cache: what stands around the literals of a shape."""
_TEMPLATES_KEPT = 4_096


def canonical_expression(gathered: Gathered, first: int = 0) -> str:
    """The parts of an expression, from the part `first` on, in canonical form."""
    return "".join([text for text, _ in canonical_parts(gathered, first)])


def canonical_parts(gathered: Gathered, first: int = 0) -> Iterator[tuple[str, tuple[int, str] | None]]:
    """The same in pieces; with a piece that is a number, an address or a string, where it stands and how it is written there."""
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
    yield template[0], None
    holes = iter(template[1:])
    for part in parts:
        if isinstance(part, SetOf):
            yield from _set(part)
        elif part.type not in _KINDS_KEPT:
            text = str(part)
            yield word_spelling(text) if part.type == "WORD" else text, None if part.type == "LIST" else (part.start, text)
        else:
            continue
        yield next(holes), None
