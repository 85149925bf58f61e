"""The patterns of `matches` and `wildcard`, checked; an error points into the string where that is possible."""

from __future__ import annotations

from rules_dsl.checker_values import string, wrong_type
from rules_dsl.checking import Context, Left
from rules_dsl.expression import Matches, Wildcard
from rules_dsl.literals import LiteralError, wildcard_segments
from rules_dsl.regexes import parse_regex
from rules_dsl.syntax import Text, Value


def _report(context: Context, node: Value, error: LiteralError) -> None:
    """Reports an error at an offset within a string's value. Where escapes move the offsets, the whole string is underlined."""
    start, end = node.start, node.end
    if isinstance(node, Text):
        raw = node.text[0] == "r"
        opening = node.text.index('"') + 1
        if raw or "\\" not in node.text:
            start, end = node.start + opening + error.start, min(node.start + opening + error.end, node.end)
    context.error(error.code, error.message, (start, max(end, start + 1)), help=error.help)


def matches(context: Context, left: Left, node: Value) -> Matches | None:
    """`field matches "pattern"`."""
    if not isinstance(node, Text):
        wrong_type(context, left, node)
        return None
    value = string(context, node)
    if value is None:
        return None
    try:
        pattern = value.decode()
    except UnicodeDecodeError:
        help = r'write a byte by its number as \xHH within the pattern, in a raw string: r"\xff"'
        context.error("E0308", "this pattern is no text in UTF-8", (node.start, node.end), help=help)
        return None
    limit = context.limits.regex_characters
    if len(pattern) > limit:
        context.error("E0405", f"a pattern has at most {limit:,} characters, and this one has {len(pattern):,}", (node.start, node.end))
        return None
    try:
        parse_regex(pattern, context.limits.regex_repeat)
    except LiteralError as error:
        _report(context, node, error)
        return None
    return Matches(left.bytes_operand, f"(?i:{pattern})" if left.caseless else pattern)


def wildcard(context: Context, left: Left, node: Value, value: bytes, *, strict: bool) -> Wildcard | None:
    """`field wildcard "pattern"`, whose string has this value."""
    try:
        segments = wildcard_segments(value)
    except LiteralError as error:
        _report(context, node, error)
        return None
    return Wildcard(left.bytes_operand, segments if strict else tuple(part.lower() for part in segments), strict)
