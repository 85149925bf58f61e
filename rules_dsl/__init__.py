"""The language: what a rule says and means. Knows no kernel."""

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
