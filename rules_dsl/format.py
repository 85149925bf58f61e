"""The canonical form of rule files and expressions: what `mantlet fmt` writes. Formatting what is formatted changes nothing.

One space between words, signs for comparisons and words for logic, fields by their own names, no commas in sets, no space around
`..`. Line breaks stay where the author put them, and lines that go on with a statement are indented by four; one empty line stays,
more become one. In neighbouring rules `when` stands in one column, in neighbouring lists `=`, in neighbouring tests what follows
the verdict. Comments stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rules_dsl.canonical import canonical_expression, joined, spelling
from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source
from rules_dsl.expressions import not_text
from rules_dsl.files import BYTE_ORDER_MARK
from rules_dsl.lexemes import LEXEME, Lexeme, lexeme
from rules_dsl.limits import Limits
from rules_dsl.parser import parse_expression_tree
from rules_dsl.rulefile import parse_piece
from rules_dsl.statements import pieces

INDENT = "    "
MAX_COLUMN = 40
"""A line whose head is longer does not move its neighbours' columns."""

_ACTIONS = frozenset({"allow", "block", "reject", "log", "count", "limit"})
_ACTION_WIDTH = 5
_BOUNDLESS = Limits(expression_characters=1 << 62, list_items=1 << 62, rules=1 << 62)
"""Formatting asks for the syntax only; nesting stays bounded."""


def format_expression(text: str) -> str:
    """The expression on one line, in canonical form. Raises DiagnosticError where it does not parse; names and types are not looked at."""
    source = Source("<expression>", text)
    refused = not_text(source)
    if refused is not None:
        raise DiagnosticError((refused,))
    _, gathered = parse_expression_tree(source, 0, len(text), _BOUNDLESS.nesting)
    return canonical_expression(gathered)


def format_policy(text: str, *, name: str = "<policy>") -> str:
    """The rule file in canonical form. Raises DiagnosticError where it does not parse; names and types are not looked at."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    source = Source(name, text)
    refused = not_text(source)
    if refused is not None:
        raise DiagnosticError((refused,))
    found: list[Diagnostic] = []
    spans: list[tuple[int, int]] = []
    for piece in pieces(text):
        parsed = parse_piece(source, piece, _BOUNDLESS, found)
        if parsed is not None:
            parts = parsed[1].parts
            spans.append((piece.start + parts[0].start, piece.start + parts[-1].end))
    if found:
        raise DiagnosticError(tuple(found))
    return "".join(f"{line}\n" for line in _aligned(_lines(text, spans)))


# -- from the text to lines --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Line:
    """One line of the result: its head and tail, which alignment may draw apart, and its comment."""

    head: str = ""
    tail: str = ""
    comment: str = ""
    kind: str = ""
    """What it is aligned with: `when`, `=`, `expect`; empty: nothing."""
    continued: bool = False
    """Goes on with a statement that began on an earlier line."""


@dataclass(slots=True)
class _Raw:
    """The lexemes and the comment of one line of the source."""

    words: list[Lexeme] = field(default_factory=list)
    comment: Lexeme | None = None


def _raw_lines(text: str) -> Iterator[_Raw]:
    """The source by lines; an empty line is an empty one of these. No lexeme goes over a line break."""
    raw = _Raw()
    at = 0
    for match in LEXEME.finditer(text):
        kind = match.lastgroup
        assert kind is not None
        start = match.start(kind)
        for _ in range(text.count("\n", at, start)):
            yield raw
            raw = _Raw()
        at = match.end()
        word = lexeme(match[kind], kind, start)
        if kind == "COMMENT":
            raw.comment = word
        else:
            raw.words.append(word)
    yield raw


def _lines(text: str, spans: list[tuple[int, int]]) -> Iterator[_Line]:
    starts = {start for start, _ in spans}
    ends = iter(spans)
    end = -1
    in_expression = in_set = in_names = False
    started = empty = False
    for raw in _raw_lines(text):
        words = raw.words
        if not words and raw.comment is None:
            empty = started
            continue
        begins = bool(words) and words[0].start in starts
        if begins:
            end = next(ends)[1]
            in_expression = in_set = False
            in_names = words[0] == "early_drop"
        place = words[0].start if words else raw.comment.start if raw.comment is not None else 0
        continued = not begins and place < end
        line = _Line(continued=continued)
        parts: list[tuple[Lexeme, str]] = []
        for word in words:
            if word.type == "sign" and word in "{}":
                in_set = word == "{"
            if (word == "," and in_set) or (word.type == "sign" and in_names):
                continue
            parts.append((word, spelling(word, in_expression)))
            in_expression = in_expression or word in ("when", "per")
        if not parts and raw.comment is None:
            continue  # a line of commas
        _fill(line, parts, begins)
        if raw.comment is not None:
            line.comment = raw.comment.rstrip()
        if empty:
            yield _Line()
        started, empty = True, False
        yield line


def _fill(line: _Line, parts: list[tuple[Lexeme, str]], begins: bool) -> None:
    """Sets the text of a line, cut in two where it may be aligned."""
    if not begins:
        closes = parts and parts[0][0] == "}" and len(parts) == 1
        line.head = ("" if closes or not parts else INDENT) + _joined(parts)
        if not parts and line.continued:
            line.head = INDENT
        return
    words = [str(word) for word, _ in parts]
    first = words[0]
    cut = None
    if first in ("list",):
        line.kind, cut = "=", _index(words, "=")
    elif first == "expect":
        named = len(parts) > 2 and parts[2][0].type in ("STRING", "RAW_STRING")
        line.kind, cut = "expect", 3 if named and len(parts) > 3 else 2 if len(parts) > 2 else None
    elif first in _ACTIONS or first in ("monitor", "disabled"):
        line.kind, cut = "when", _index(words, "when")
    if first in _ACTIONS and len(parts) > 1:
        line.head = first.ljust(_ACTION_WIDTH) + " " + _joined(parts[1:cut])
    else:
        line.head = _joined(parts[:cut])
    if cut is None:
        line.kind = ""
    else:
        line.head, line.tail = line.head.rstrip(), _joined(parts[cut:])


def _joined(parts: list[tuple[Lexeme, str]]) -> str:
    return joined((word.type, text) for word, text in parts)


def _index(words: list[str], wanted: str) -> int | None:
    return words.index(wanted) if wanted in words else None


# -- columns -----------------------------------------------------------------------------------------------------------


def _aligned(lines: Iterator[_Line]) -> Iterator[str]:
    group: list[_Line] = []
    for line in lines:
        kind = next((member.kind for member in group if member.kind), "")
        if group and not line.continued and line.kind != kind:
            yield from _written(group)
            group = []
        if line.kind or (line.continued and group):
            group.append(line)
        else:
            yield from _written([line])
    yield from _written(group)


def _written(group: list[_Line]) -> Iterator[str]:
    column = max((len(line.head) for line in group if line.tail and len(line.head) <= MAX_COLUMN), default=0)
    for line in group:
        text = f"{line.head.ljust(column)} {line.tail}" if line.tail else line.head
        if line.comment:
            text = f"{text}  {line.comment}" if text.strip() else text + line.comment
        yield text.rstrip()
