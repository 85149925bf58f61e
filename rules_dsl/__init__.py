"""The language: what a rule says and means. Knows no kernel.

What is public here is loaded when it is first asked for: a part of the package alone (the field catalogue, a checked Policy) costs no
more than itself.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rules_dsl.codes import CODES, Code
    from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
    from rules_dsl.expressions import parse_expression
    from rules_dsl.format import format_expression, format_policy
    from rules_dsl.geo import Geo
    from rules_dsl.limits import Limits
    from rules_dsl.lists import ListKind, ListValue
    from rules_dsl.report import render, render_all, to_json
    from rules_dsl.rulefile import check_policy, load_policy, parse_policy

__all__ = [
    "CODES",
    "Code",
    "Diagnostic",
    "DiagnosticError",
    "Geo",
    "Limits",
    "ListKind",
    "ListValue",
    "Source",
    "Span",
    "check_policy",
    "format_expression",
    "format_policy",
    "load_policy",
    "parse_expression",
    "parse_policy",
    "render",
    "render_all",
    "to_json",
]

_HOME = {
    "CODES": "codes",
    "Code": "codes",
    "Diagnostic": "diagnostics",
    "DiagnosticError": "diagnostics",
    "Geo": "geo",
    "Limits": "limits",
    "ListKind": "lists",
    "ListValue": "lists",
    "Source": "diagnostics",
    "Span": "diagnostics",
    "check_policy": "rulefile",
    "format_expression": "format",
    "format_policy": "format",
    "load_policy": "rulefile",
    "parse_expression": "expressions",
    "parse_policy": "rulefile",
    "render": "report",
    "render_all": "report",
    "to_json": "report",
}
"""The module of each public name."""


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
