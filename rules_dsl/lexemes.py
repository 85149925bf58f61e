"""Lexemes: a text cut into names, literals and signs, with sets gathered. The parser and the formatter both start here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rules_dsl.syntax import ListName, Name, SetOf, Text, Word

WORD = (
    r"-?(?:[0-9]|[A-Fa-f][0-9A-Fa-f]{0,3}(?=:)|:(?=[0-9A-Fa-f:]))(?:[0-9A-Za-z_:%]|\.(?!\.))*(?:\/[0-9](?:[0-9A-Za-z:]|\.(?!\.))*)?"
    r"(?:[ \t]*\.\.(?:[ \t]*-?[0-9A-Fa-f:](?:[0-9A-Za-z_:%]|\.(?!\.))*(?:\/[0-9]+)?)?)?"
)
RAW_STRING = r'r(?P<hashes>#*)"[^\n]*?"(?P=hashes)'
STRING = r'"(?:[^"\\\n]|\\[^\n])*"'
LIST = r"\$[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*"
NAME = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*"
"""The terminals of the same names in grammar.lark (a test compares them)."""

LEXEME = re.compile(
    rf"[ \t\r\n\f]*(?:(?P<COMMENT>#[^\n]*)|(?P<WORD>{WORD})|(?P<RAW_STRING>{RAW_STRING})|(?P<STRING>{STRING})|(?P<LIST>{LIST})"
    rf"|(?P<bad_raw>r#*\")|(?P<NAME>{NAME})|(?P<sign>==|!=|<=|>=|&&|\|\||\^\^|[<>&~!(){{}}\[\],*/=:])|(?P<bad>[^ \t\r\n\f]))"
)

RESERVED = frozenset(
    {"and", "or", "xor", "not", "in", "eq", "ne", "lt", "le", "gt", "ge", "contains", "matches", "wildcard", "strict", "bitwise_and",
     "true", "false", "when"}
)  # fmt: skip
"""Words that are never the name of a field, a list or a tenant."""


class Lexeme(str):
    """A piece of text with its kind (a group of LEXEME) and its offset."""

    __slots__ = ("start", "type")
    type: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self)


def lexeme(text: str, kind: str, start: int) -> Lexeme:
    made = Lexeme(text)
    made.type = kind
    made.start = start
    return made


class BadTextError(Exception):
    """At `start` stands what starts no lexeme."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


class MisplacedWordError(Exception):
    """A reserved word stands where only a name can."""

    def __init__(self, word: Lexeme) -> None:
        super().__init__(str(word))
        self.word = word


def cut(text: str) -> list[Lexeme]:
    """The lexemes of `text`, without comments. Raises BadTextError."""
    result = []
    for match in LEXEME.finditer(text):
        kind = match.lastgroup
        assert kind is not None
        if kind == "COMMENT":
            continue
        if kind in ("bad", "bad_raw"):
            raise BadTextError(match.start(kind))
        made = Lexeme(match[kind])
        made.type = kind
        made.start = match.start(kind)
        result.append(made)
    return result


def leaf(word: Lexeme) -> Word | Text | Name | ListName:
    """A literal or a name as a node. Raises MisplacedWordError."""
    start = word.start
    end = start + len(word)
    match word.type:
        case "WORD":
            return Word(str(word), start, end)
        case "STRING" | "RAW_STRING":
            return Text(str(word), start, end)
        case "LIST":
            return ListName(str(word[1:]), start, end)
        case _:
            if word in RESERVED:
                raise MisplacedWordError(word)
            return Name(str(word), start, end)


_ITEMS = frozenset({"WORD", "STRING", "RAW_STRING", "LIST", "NAME"})


@dataclass(frozen=True, slots=True)
class Gathered:
    """Lexemes in which each well-formed set is one part."""

    parts: tuple[Lexeme | SetOf, ...]
    shape: tuple[str, ...]
    """Of each part what the grammar sees: names and signs as they are, literals and sets by their kind."""


def gather(words: list[Lexeme]) -> Gathered:
    """Replaces every `{ item, item ... }` by the set that it is; what is not a well-formed set stays as lexemes."""
    parts: list[Lexeme | SetOf] = []
    shape: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "{" and (closing := _closing(words, at)) is not None:
            items = tuple([leaf(item) for item in words[at + 1 : closing] if item.type != "sign"])
            parts.append(SetOf(items, word.start, words[closing].start + 1))
            shape.append("{0}")
            at = closing + 1
            continue
        parts.append(word)
        shape.append(_STAND_IN.get(word.type) or str(word))
        at += 1
    return Gathered(tuple(parts), tuple(shape))


_STAND_IN = {"WORD": "0", "STRING": '""', "RAW_STRING": 'r""', "LIST": "$0"}
"""A literal of each kind, which stands for all of them in a shape."""


def _closing(words: list[Lexeme], opening: int) -> int | None:
    """The index of the brace that closes a well-formed set, or None."""
    item_before = False
    for at in range(opening + 1, len(words)):
        word = words[at]
        if word.type in _ITEMS:
            if word.type == "NAME" and word in RESERVED:
                return None
            item_before = True
        elif word == "}":
            return at
        elif word == "," and item_before:
            item_before = False
        else:
            return None
    return None
