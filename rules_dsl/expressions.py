"""Expressions on their own: the text of a rule's condition, as the API and `mantlet match` take it."""

from __future__ import annotations

from collections.abc import Mapping

from rules_dsl.checker import check_expression
from rules_dsl.checking import Context
from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.expression import Expression
from rules_dsl.files import stray_return
from rules_dsl.geo import Geo
from rules_dsl.limits import Limits
from rules_dsl.lists import ListValue
from rules_dsl.parser import parse_expression_tree

NO_LISTS: Mapping[str, ListValue] = {}


def too_long(source: Source, start: int, end: int, limits: Limits) -> Diagnostic | None:
    """E0401 for an expression that is longer than the limit."""
    length = end - start
    if length <= limits.expression_characters:
        return None
    message = f"an expression has at most {limits.expression_characters:,} characters, and this one has {length:,}"
    help = "put long sets into lists, or split the rule"
    return Diagnostic("E0401", message, Span(source, start + limits.expression_characters, end), "beyond the limit", help=help)


def not_text(source: Source) -> Diagnostic | None:
    """E0007 for text that no UTF-8 encodes: a lone surrogate, which JSON and the command line can smuggle in. E0008 for a carriage
    return within a line."""
    try:
        source.text.encode()
    except UnicodeEncodeError as error:
        return Diagnostic("E0007", "this text is not Unicode: it cannot be written as UTF-8", Span(source, error.start, error.start + 1))
    return stray_return(source)


def parse_expression(
    text: str,
    *,
    name: str = "<expression>",
    lists: Mapping[str, ListValue] | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    geo: Geo | None = None,
) -> Expression:
    """The checked expression. `lists` are those that `$name` may name. Raises DiagnosticError with all that is wrong."""
    source = Source(name, text)
    refused = too_long(source, 0, len(text), limits) or not_text(source)
    if refused is not None:
        raise DiagnosticError((refused,))
    tree, _ = parse_expression_tree(source, 0, len(text), limits.nesting)
    context = Context(source, NO_LISTS if lists is None else lists, limits, geo)
    expression = check_expression(context, tree)
    if expression is None:
        raise DiagnosticError(tuple(context.found))
    return expression
